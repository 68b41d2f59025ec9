"""The names in a restaurant's configuration, such as a dining option's (Toast: Configuration API, config:read)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from toast_assets.errors import ToastError, ToastRefusedError, ToastReplyError
from toast_assets.http.bodies import UnreadableBodyError, decode

if TYPE_CHECKING:
    from toast_assets.toast.client import ToastClient

CONFIGURATION_PATH = "/config/v2/"
# Toast's name of each kind of entity, in the path of a call.
ENTITIES: Mapping[str, str] = {
    "dining_option": "diningOptions",
    "revenue_center": "revenueCenters",
    "restaurant_service": "restaurantServices",
    "service_area": "serviceAreas",
    "table": "tables",
    "sales_category": "salesCategories",
    "menu_group": "menuGroups",
    "menu_item": "menuItems",
    "discount": "discounts",
    "service_charge": "serviceCharges",
    "void_reason": "voidReasons",
    "alternate_payment_type": "alternatePaymentTypes",
    "tax_rate": "taxRates",
}
_NEXT_PAGE = "Toast-Next-Page-Token"
# The configuration was published while its pages were read (Toast: start again without a token).
_PUBLISHED = 409
_MOST_PUBLISHED = 5
_MOST_PAGES = 1_000


class Entity(NamedTuple):
    """One dining option, menu item, …; ``behavior`` is a dining option's. Archived ones are not returned (Toast)."""

    kind: str
    guid: str
    name: str | None
    behavior: str | None


class ConfigurationPage(NamedTuple):
    """At most 300 entities of one kind, and the token of the next page where there is one."""

    entities: list[Entity]
    token: str | None


def read_page(response: httpx.Response, kind: str) -> ConfigurationPage:
    """The page in a reply with status 200; what has no GUID is left out. Raises ToastReplyError where the body is no
    array."""
    try:
        found = decode(response.content, list[Any])
    except UnreadableBodyError:
        raise ToastReplyError(f"Toast's list of {ENTITIES[kind]} cannot be read.") from None
    entities = [
        Entity(kind, guid, _text(one.get("name")), _text(one.get("behavior")))
        for one in found
        if isinstance(one, dict) and (guid := _text(one.get("guid")))
    ]
    return ConfigurationPage(entities, response.headers.get(_NEXT_PAGE) or None)


async def read_names(toast: ToastClient, restaurant_guid: str) -> tuple[list[Entity], ToastError | None]:
    """A restaurant's entities of all kinds that can be read: a request for each kind, and one for each further page;
    and the first error, if there was one. Where Toast refuses access or is out of reach, no other kind is asked for."""
    found: list[Entity] = []
    problem: ToastError | None = None
    for kind in ENTITIES:
        try:
            found += await _read_kind(toast, restaurant_guid, kind)
        except ToastError as error:
            problem = problem or error
            concerns_kind = error.status not in (401, 403) if isinstance(error, ToastRefusedError) else False
            if not (concerns_kind or isinstance(error, ToastReplyError)):
                break
    return found, problem


async def _read_kind(toast: ToastClient, restaurant_guid: str, kind: str) -> list[Entity]:
    for _ in range(_MOST_PUBLISHED - 1):
        try:
            return await _read_pages(toast, restaurant_guid, kind)
        except ToastRefusedError as error:
            if error.status != _PUBLISHED:
                raise
    return await _read_pages(toast, restaurant_guid, kind)


async def _read_pages(toast: ToastClient, restaurant_guid: str, kind: str) -> list[Entity]:
    found: list[Entity] = []
    token, tokens = None, set[str]()
    while True:
        page = await toast.configuration_page(restaurant_guid, kind, token)
        found += page.entities
        token = page.token
        if token is None:
            return found
        if token in tokens or len(tokens) >= _MOST_PAGES:
            raise ToastReplyError(f"Toast's pages of {ENTITIES[kind]} for restaurant {restaurant_guid} do not end.")
        tokens.add(token)


def _text(value: object) -> str | None:
    """A text as it is, without what surrounds it; a number's digits; None where there is neither."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return (str(value).strip() if isinstance(value, str) or is_number else "") or None
