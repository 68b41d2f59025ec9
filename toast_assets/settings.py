"""Settings of the three services: read once, checked all at once, handed to plain clients.

Each field's alias is its environment variable, so that every problem names the variable to change. Secrets are
``SecretStr``: neither ``repr`` nor an error shows them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self, get_origin
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from toast_assets import setting_values as forms
from toast_assets.errors import SettingsError
from toast_assets.week import DAY_NAMES, KEY_FORMAT, WeekCalendar


def _http_host(value: str) -> str:
    if not forms.is_host(value):
        raise ValueError(f"holds {forms.shown(value)}; write names of hosts alone, without http:// and port")
    return value


Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0.001, le=1_000_000, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class Settings(BaseModel):
    """What the services' settings share: strings in, all problems out at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=False)

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """The environment variables of these settings."""
        return tuple(each.alias for each in cls.model_fields.values() if each.alias)

    @classmethod
    def parse(cls, values: Mapping[str, str | None]) -> Self:
        """Settings from environment variables' names and values; unset and empty ones take their defaults, and those
        of other settings are ignored. Raises SettingsError, with one line for each variable that is missing or
        malformed."""
        present: dict[str, str] = {}
        problems: dict[str, str] = {}
        for field in cls.model_fields.values():
            if (name := field.alias) and (value := (values.get(name) or "").strip()):
                present[name] = value
                if problem := forms.spoilt(value, is_list=get_origin(field.annotation) in (tuple, dict)):
                    problems[name] = problem
        try:
            settings = cls.model_validate(present)
        except ValidationError as error:
            rules = cls.model_json_schema()["properties"]
            for details in error.errors():
                name = str(details["loc"][0]) if details["loc"] else ""
                problems.setdefault(name, forms.problem(details, present.get(name, ""), rules.get(name, {})))
        lines = [f"{name} {problem}".strip() for name, problem in problems.items()] + cls.cross_check(present)
        if lines:
            raise SettingsError(lines)
        return settings

    @classmethod
    def from_environment(cls) -> Self:
        """The settings by this process's environment; as ``parse``."""
        return cls.parse(os.environ)

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """Problems that concern several variables; found even where single ones are malformed."""
        del present
        return []


class NetworkSettings(Settings):
    """Which hosts besides this machine may be reached by plain HTTP; ``toast_assets.http.network`` reads it."""

    http_hosts: Annotated[tuple[Annotated[str, AfterValidator(_http_host)], ...], BeforeValidator(forms.split)] = Field(
        (),
        alias="ALLOW_HTTP_HOSTS",
        description="Hosts besides this machine that may be reached by plain HTTP, separated by commas.",
    )


class RetentionSettings(Settings):
    """After how many days, counted from a week's end, what is stored of it is removed; None keeps it for ever."""

    raw_days: Days | None = Field(None, alias="RETENTION_RAW_DAYS", description="Days that raw orders are kept.")
    export_days: Days | None = Field(None, alias="RETENTION_EXPORT_DAYS", description="Days that exports are kept.")
    ledger_days: Days | None = Field(None, alias="RETENTION_LEDGER_DAYS", description="Days that receipts are kept.")

    @model_validator(mode="after")
    def _receipts_last(self) -> Self:
        """Receipts outlive the orders, which would else be sent again."""
        if self.ledger_days is None:
            return self
        if self.raw_days is None or self.export_days is None:
            raise ValueError("RETENTION_LEDGER_DAYS is set without RETENTION_RAW_DAYS and RETENTION_EXPORT_DAYS")
        if self.ledger_days < max(self.raw_days, self.export_days):
            raise ValueError("RETENTION_LEDGER_DAYS is less than RETENTION_RAW_DAYS or RETENTION_EXPORT_DAYS")
        return self


_SETTLING: Any = Field(
    900.0,
    alias="TOAST_SETTLING_SECONDS",
    description="Seconds after a week's end until it may be pulled.",
    ge=0,
    le=31 * 86_400,
    allow_inf_nan=False,
)


class CalendarSettings(Settings):
    """Where weeks begin."""

    first: date | None = Field(
        None,
        alias="TOAST_START_DATE",
        description="The first week's first day; by default on or after 2025-01-06.",
    )
    timezone: str = Field("UTC", alias="TOAST_WEEK_TIMEZONE", description="The IANA time zone in which weeks begin.")
    weekday: int = Field(0, alias="TOAST_WEEK_WEEKDAY", description="The day on which weeks begin, by default Monday.")
    hour: int = Field(4, alias="TOAST_WEEK_HOUR", description="The hour at which weeks begin.", ge=0, le=23)
    settling_seconds: float = _SETTLING

    @field_validator("first", mode="before")
    @classmethod
    def _date(cls, value: object) -> date:
        try:
            day = datetime.strptime(str(value), KEY_FORMAT).date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            raise ValueError(
                f"holds {forms.shown(str(value))}, which is not a date; write one such as 2025-01-06"
            ) from None
        # Toast has no orders from before 2015-12 (Toast: ordersBulk), and weeks cannot be counted at the ends of what a
        # date can be.
        if not 2010 <= day.year <= 2100:
            raise ValueError(f"holds {day}; the first week lies in the years 2010 to 2100")
        return day

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        zones = {zone.lower(): zone for zone in available_timezones()}
        if value not in zones.values():
            near = get_close_matches(value.lower(), zones, n=1)
            write = zones[near[0]] if near else "one such as America/New_York"
            raise ValueError(f"holds {forms.shown(value)}, which is no IANA time zone; write {write}")
        return value

    @field_validator("weekday", mode="before")
    @classmethod
    def _day(cls, value: object) -> int:
        names = [name.lower() for name in DAY_NAMES]
        if str(value).lower() not in names:
            raise ValueError(f"holds {forms.shown(str(value))}, which is no day; write one such as Monday")
        return names.index(str(value).lower())

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """The first week's date has to be a first day."""
        try:
            weekday = cls._day(present.get("TOAST_WEEK_WEEKDAY", DAY_NAMES[0]))
            first = cls._date(present["TOAST_START_DATE"])
        except (KeyError, ValueError):
            return []
        if first.weekday() == weekday:
            return []
        return [f"TOAST_START_DATE {first} is a {DAY_NAMES[first.weekday()]}; weeks begin on a {DAY_NAMES[weekday]}"]

    def calendar(self) -> WeekCalendar:
        """The calendar that these settings describe."""
        default = WeekCalendar().first
        first = self.first or default + timedelta(days=(self.weekday - default.weekday()) % 7)
        settling = timedelta(seconds=self.settling_seconds)
        return WeekCalendar(first, ZoneInfo(self.timezone).key, self.weekday, self.hour, settling)


class SensorSettings(Settings):
    """Whether the weekly sensor starts runs, and when it looks at a week again."""

    mode: Literal["on", "off", "auto"] = Field(
        "auto",
        alias="TOAST_SENSOR",
        description="on, off, or auto: the weekly sensor starts runs except on a temporary Dagster instance.",
    )
    second_look_hours: float = Field(
        72.0,
        alias="TOAST_SECOND_LOOK_HOURS",
        description="Hours after a week's end until the weekly sensor asks Toast for it again.",
        gt=0,
        le=24 * 62,
        allow_inf_nan=False,
    )
    settling_seconds: float = _SETTLING

    @model_validator(mode="after")
    def _after_the_first_look(self) -> Self:
        """A week that is first asked for when its second look is due gets none."""
        if self.second_look_after <= timedelta(seconds=self.settling_seconds):
            raise ValueError("TOAST_SECOND_LOOK_HOURS is not longer than TOAST_SETTLING_SECONDS")
        return self

    @property
    def second_look_after(self) -> timedelta:
        """``second_look_hours`` as a duration."""
        return timedelta(hours=self.second_look_hours)


def _addresses(value: object) -> object:
    return [str(forms.address(each)) for each in value.split()] if isinstance(value, str) else value


def _link(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise ValueError("is not an http(s) URL such as https://dagster.example.com")
    return value.rstrip("/")


class AlertSettings(Settings):
    """Where alerts are posted, and what the links in them begin with. The addresses are secrets."""

    webhook_urls: Annotated[tuple[SecretStr, ...], BeforeValidator(_addresses)] = Field(
        (),
        alias="ALERT_WEBHOOK_URL",
        description="Takes a POST of {text}, as Slack's incoming webhooks do; several are separated by blanks.",
    )
    ui_url: Annotated[str, AfterValidator(_link)] | None = Field(
        None, alias="DAGSTER_UI_URL", description="The Dagster UI's base URL, for links to runs."
    )


def problems_of(*readings: Callable[[], object]) -> list[str]:
    """What is missing or malformed for several readers of settings, each line once."""
    problems: dict[str, None] = {}
    for read in readings:
        try:
            read()
        except SettingsError as error:
            problems |= dict.fromkeys(error.problems)
    return list(problems)
