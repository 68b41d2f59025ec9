"""Toast's locations: which there are, what they are called, and where their day begins (Toast: Restaurants API)."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, TypeGuard, TypeVar

import msgspec

from toast_assets.errors import ToastReplyError
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.markdown import first_of, plain
from toast_assets.setting_values import is_identifier

PARTNERS_PATH = "/partners/v1/restaurants"
_UNREADABLE_LIST = "Toast's list of restaurants cannot be read."
_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class Restaurant(msgspec.Struct, frozen=True, rename="camel"):
    """One location. ``time_zone`` is an IANA name, ``closeout_hour`` the local hour at which its day begins,
    ``currency_code`` one of ISO 4217, ``first_business_date`` an integer such as 20250919."""

    guid: str = ""
    name: str | None = None
    location_name: str | None = None
    location_code: str | None = None
    time_zone: str | None = None
    closeout_hour: int | None = None
    currency_code: str | None = None
    first_business_date: int | None = None
    management_group_guid: str | None = None
    archived: bool | None = False

    @property
    def full_name(self) -> str | None:
        """The name of the restaurant with that of the location."""
        return " – ".join(filter(None, (self.name, self.location_name))) or None


class _Details(msgspec.Struct):
    general: dict[str, Any] | None = None


def read_restaurant(body: bytes, guid: str) -> Restaurant:
    """A restaurant's details; what is of an unexpected type is left out. Raises ToastReplyError where the body is not
    what Toast documents."""
    general = _decoded(body, _Details, f"Toast's details of restaurant {guid} cannot be read.").general or {}
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(Restaurant):
        with suppress(KeyError, msgspec.ValidationError):
            found[field.name] = msgspec.convert(general[field.encode_name], field.type, strict=False)
    return Restaurant(**found | {"guid": guid})


def read_partner_list(body: bytes) -> dict[str, bool]:
    """The restaurants that a partner client may read: by GUID, whether it is deleted. Raises as ``read_restaurant``."""
    entries = _entries(body, "restaurantGuid")
    deleted = {guid for guid, entry in entries if entry.get("deleted") is True}
    return {guid: guid in deleted for guid in sorted({guid for guid, _ in entries})}


def read_group_list(body: bytes) -> list[str]:
    """GUIDs of a management group's restaurants, sorted. Raises as ``read_restaurant``."""
    return sorted({guid for guid, _ in _entries(body, "guid")})


def _entries(body: bytes, name: str) -> list[tuple[str, dict[str, Any]]]:
    """The entries of a list with their GUIDs (``name``); those without one are left out, with a warning."""
    listed = _decoded(body, list[Any], _UNREADABLE_LIST)
    guids = [entry.get(name) if isinstance(entry, dict) else None for entry in listed]
    # They become parts of headers and of keys in the bucket.
    found = [(guid, entry) for guid, entry in zip(guids, listed, strict=True) if _is_guid(guid)]
    if len(found) < len(listed):
        if not found:
            raise ToastReplyError("Toast's list of restaurants holds nothing that is a GUID.")
        strange = ", ".join(first_of([plain(repr(guid)) for guid in guids if not _is_guid(guid)]))
        _LOG.warning("In Toast's list of restaurants these are no GUIDs, and are left out: %s", strange)
    return found


def _is_guid(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and is_identifier(value)


def _decoded(body: bytes, form: type[T], problem: str) -> T:
    try:
        return decode(body, form)
    except UnreadableBodyError:
        raise ToastReplyError(problem) from None
