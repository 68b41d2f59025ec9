"""Toast's locations: which there are, what they are called, and where their day begins (Toast: Restaurants API)."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from toast_assets.errors import ToastReplyError

PARTNERS_PATH = "/partners/v1/restaurants"


@dataclass(frozen=True)
class Restaurant:
    """One location. ``time_zone`` is an IANA name, ``closeout_hour`` the local hour at which its day begins."""

    guid: str
    name: str | None = None
    time_zone: str | None = None
    closeout_hour: int | None = None
    archived: bool = False


class _General(msgspec.Struct):
    name: str | None = None
    locationName: str | None = None
    timeZone: str | None = None
    closeoutHour: int | None = None
    archived: bool | None = None


class _Details(msgspec.Struct):
    general: _General | None = None


class _Listed(msgspec.Struct):
    restaurantGuid: str
    deleted: bool | None = None


def restaurant_path(guid: str) -> str:
    """The path of one restaurant's details."""
    return f"/restaurants/v1/restaurants/{guid}"


def read_restaurant(body: bytes, guid: str) -> Restaurant:
    """A restaurant's details.

    Raises:
        ToastReplyError: the body is not what Toast documents.
    """
    try:
        general = msgspec.json.decode(body, type=_Details).general or _General()
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ToastReplyError(f"Toast's details of restaurant {guid} cannot be read.") from None
    names = [part for part in (general.name, general.locationName) if part]
    return Restaurant(
        guid, " – ".join(names) or None, general.timeZone, general.closeoutHour, archived=bool(general.archived)
    )


def read_partner_list(body: bytes) -> list[str]:
    """GUIDs of the restaurants that a partner client may read, without deleted ones, in a stable order.

    Raises:
        ToastReplyError: the body is not what Toast documents.
    """
    try:
        listed = msgspec.json.decode(body, type=list[_Listed])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ToastReplyError("Toast's list of restaurants cannot be read.") from None
    return sorted({entry.restaurantGuid for entry in listed if not entry.deleted})
