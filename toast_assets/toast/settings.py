"""Toast's settings: URL, credentials, restaurants, rate limits."""

from __future__ import annotations

import re
from collections import Counter
from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, field_validator

from toast_assets import setting_values as forms
from toast_assets.settings import Rate, Seconds, Settings

DISCOVER = "*"

Origin = Annotated[str, AfterValidator(forms.origin)]
RestaurantGuid = Annotated[str, AfterValidator(forms.identifier)]


class ToastLimits(Settings):
    """Restaurants and rate limits: what a pull's length depends on, without any credentials."""

    listed_restaurants: Annotated[tuple[str, ...], BeforeValidator(forms.split)] = Field(
        alias="TOAST_RESTAURANT_GUID",
        description="One GUID, several separated by commas, or * to discover them.",
        min_length=1,
    )
    requests_per_second: Rate = Field(
        5.0, alias="TOAST_REQUESTS_PER_SECOND", description="Calls per second and restaurant on ordersBulk."
    )
    total_requests_per_second: Rate | None = Field(
        None,
        alias="TOAST_TOTAL_REQUESTS_PER_SECOND",
        description="Calls per second over all restaurants; by default not limited.",
    )
    historical_spacing_seconds: float = Field(
        5.0,
        alias="TOAST_HISTORICAL_SPACING_SECONDS",
        description="Seconds between calls for one restaurant when the week closed more than 31 days ago; 0 for none.",
        ge=0,
        le=3600,
        allow_inf_nan=False,
    )
    concurrent_restaurants: int = Field(
        10,
        alias="TOAST_CONCURRENT_RESTAURANTS",
        description="Number of restaurants that are pulled at the same time.",
        ge=1,
        le=500,
    )
    names: Literal["on", "off"] = Field(
        "on",
        alias="TOAST_NAMES",
        description="on or off: read names of dining options, menu items, … from Toast's configuration (config:read).",
    )

    census: Literal["on", "off"] = Field(
        "on",
        alias="TOAST_CENSUS",
        description="on or off: ask Toast a second way which orders and payments each business day has.",
    )

    @field_validator("listed_restaurants")
    @classmethod
    def _identifiers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if DISCOVER in value and len(value) > 1:
            raise ValueError("mixes '*' with other items; write either '*' or GUIDs")
        for item in () if DISCOVER in value else value:
            parts = re.split(r"[\s;|]+", item)
            if len(parts) > 1 and all(map(forms.is_identifier, parts)):
                raise ValueError(f"holds {forms.shown(item)}; separate GUIDs with commas")
            forms.identifier(item)
        return value

    @cached_property
    def restaurant_guids(self) -> tuple[str, ...]:
        """The restaurants, each once in its first spelling (RFC 4122: GUIDs compare without case); or ``*``."""
        first = {guid.lower(): guid for guid in reversed(self.listed_restaurants)}
        return tuple(dict.fromkeys(first[guid.lower()] for guid in self.listed_restaurants))

    @property
    def doubled_restaurants(self) -> tuple[str, ...]:
        """The restaurants that are listed more than once, in one spelling or in several."""
        counts = Counter(guid.lower() for guid in self.listed_restaurants)
        return tuple(guid for guid in self.restaurant_guids if counts[guid.lower()] > 1)

    @property
    def discovers(self) -> bool:
        """Whether Toast is asked for the restaurants, as none is listed."""
        return self.listed_restaurants == (DISCOVER,)


class ToastSettings(ToastLimits):
    """Toast: URL, credentials, restaurants, rate limits."""

    api_url: Origin = Field(
        "https://ws-api.toasttab.com", alias="TOAST_API_URL", description="Toast's base URL; a path is ignored."
    )
    client_id: str = Field(alias="TOAST_CLIENT_ID", description="The API client's id.")
    client_secret: SecretStr = Field(alias="TOAST_CLIENT_SECRET", description="The API client's secret.")
    member_restaurant_guid: RestaurantGuid | None = Field(
        None,
        alias="TOAST_MEMBER_RESTAURANT_GUID",
        description="With *: one restaurant of the management group, to find its members without partner access.",
    )
    timeout_seconds: Seconds = Field(
        60.0, alias="TOAST_TIMEOUT_SECONDS", description="Seconds after which a call is cut off."
    )
