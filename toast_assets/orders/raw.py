"""Cuts a page of Toast's orders into single orders without decoding them, so that every byte survives.

Only the few fields that place an order are read; money is never decoded here, because a float would not give back its
digits.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date

import msgspec

from toast_assets.orders.scanner import UncuttableError, elements, is_json, members, readable, shallow
from toast_assets.orders.times import business_day, parse_time_ms


class RawOrder(msgspec.Struct, frozen=True, order=False, gc=False):
    """One version of one order: times in milliseconds since 1970 (UTC), the restaurant's ``business_date``, the JSON
    exactly as Toast sent it (UTF-8) and its ``version_of``."""

    guid: str
    modified_ms: int
    business_date: date | None
    deleted: bool
    voided: bool
    pulled_ms: int
    body: bytes
    version: str

    @property
    def sort_key(self) -> tuple[int, str]:
        """The order of rows in raw files and exports: by modified time, then GUID."""
        return (self.modified_ms, self.guid)


def version_of(body: bytes) -> str:
    """Which version of an order ``body`` is: the SHA-256 of its bytes, hexadecimal. Toast can change an order without a
    new modified time."""
    return hashlib.sha256(body).hexdigest()


class MalformedOrderError(ValueError):
    """An order without the fields that place it, or with an invalid time. Never quotes the body."""


class MalformedPageError(ValueError):
    """A page that cannot be cut into orders. Never quotes the body."""


class UnreadableOrder(msgspec.Struct, frozen=True):
    """An element of a page that cannot be placed as an order: its bytes, why, and its ``guid`` where that can be read.
    ``reason`` never quotes the body."""

    body: bytes
    reason: str
    guid: str | None

    @property
    def sha256(self) -> str:
        """The same bytes count as the same order."""
        return version_of(self.body)


class _Head(msgspec.Struct, gc=False):
    # Without these two an order cannot be placed. The rest may have any type: a strange business date is no reason to
    # give up an order.
    guid: str
    modifiedDate: str
    businessDate: msgspec.Raw = msgspec.Raw(b"null")
    deleted: msgspec.Raw = msgspec.Raw(b"null")
    voided: msgspec.Raw = msgspec.Raw(b"null")
    restaurantGuid: msgspec.Raw = msgspec.Raw(b"")


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_text = msgspec.json.Decoder(str).decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NAMES_NOBODY = (b"null", b'""')
# Letters need no escape, so hardly any software writes one.
_ESCAPED_LETTERS = re.compile(rb"\\u00[4-7]")
_BUSINESS_DATE = re.compile(rb'"?([0-9]{8})"?')


def cut_orders(
    array: bytes, *, restaurant_guid: str, pulled_ms: int, aside: list[UnreadableOrder] | None = None
) -> list[RawOrder]:
    """The orders of a JSON array, in its order. One that cannot be read or placed is put ``aside``, and affects no
    other one; without a list to put it in, it is an error.

    Raises:
        MalformedPageError: the bytes are no array, or the array cannot be cut into its elements.
        MalformedOrderError: an order cannot be read or placed, and ``aside`` is None.
    """
    orders = []
    try:
        bodies = list(map(bytes, _decode_array(array)))
    except _REFUSED:
        try:
            bodies = elements(array)
        except UncuttableError as error:
            raise MalformedPageError(f"the body cannot be cut into orders: {error}") from None
    for body in bodies:
        try:
            orders.append(_placed(body, _head(body), restaurant_guid, pulled_ms))
        except MalformedOrderError as error:
            if aside is None:
                raise
            aside.append(UnreadableOrder(body, str(error), _guid(body)))
    return orders


def _head(body: bytes) -> _Head:
    try:
        return _decode_head(readable(body))
    except RecursionError:
        if is_json(body):
            return _head(shallow(body))
        raise MalformedOrderError("it is not JSON") from None
    except UnicodeDecodeError:
        raise MalformedOrderError("it is not UTF-8") from None
    except msgspec.ValidationError as error:
        raise MalformedOrderError(f"it lacks what every order has ({error})") from None
    except msgspec.DecodeError as error:
        raise MalformedOrderError(f"it is not JSON ({error})") from None


def _guid(body: bytes) -> str | None:
    try:
        values = [field.value for field in members(body) if field.name == "guid"]
        return (_decode_text(readable(values[-1])) or None) if values else None
    except (UncuttableError, *_REFUSED):
        return None


def _placed(body: bytes, head: _Head, restaurant_guid: str, pulled_ms: int) -> RawOrder:
    # The decoder skips over what it does not keep, and does not look whether that is UTF-8.
    if not body.isascii():
        try:
            str(body, "utf-8")
        except UnicodeDecodeError:
            raise MalformedOrderError("it is not UTF-8") from None
    if not head.guid:
        # Two such orders would count as one.
        raise MalformedOrderError("its guid is empty")
    owner = bytes(head.restaurantGuid)
    if owner and owner not in _NAMES_NOBODY and not _names(owner, restaurant_guid):
        raise MalformedOrderError("its restaurantGuid is not that of the restaurant that was asked for")
    try:
        modified_ms = parse_time_ms(head.modifiedDate)
    except ValueError as error:
        raise MalformedOrderError(f"its modifiedDate {error}") from None
    return RawOrder(
        guid=head.guid,
        modified_ms=modified_ms,
        business_date=_business_date(bytes(head.businessDate)),
        deleted=bytes(head.deleted) == b"true",
        voided=bytes(head.voided) == b"true",
        pulled_ms=pulled_ms,
        body=body,
        version=version_of(body),
    )


def _names(value: bytes, restaurant_guid: str) -> bool:
    try:
        return _decode_text(value).lower() == restaurant_guid.lower()
    except _REFUSED:
        return False


def _business_date(value: bytes) -> date | None:
    # Some bodies hold 0 or nothing; the order itself keeps whatever was sent.
    found = _BUSINESS_DATE.fullmatch(value)
    try:
        return business_day(int(found[1])) if found else None
    except ValueError:
        return None


def with_restaurant(body: bytes, restaurant_guid: str) -> bytes:
    """Toast's object plus ``restaurantGuid`` as its last field; all other bytes stay as they are.

    Toast's orders do not say which restaurant they belong to. One that already does is returned unchanged. A field of
    that name that is null or empty, or occurs more than once, is replaced, so that the name is there once.
    """
    if _mentions_restaurant(body):
        fields = members(body)
        owners = [field for field in fields if field.name == "restaurantGuid"]
        if len(owners) == 1 and owners[0].value not in _NAMES_NOBODY:
            return body
        if owners:
            kept = [body[field.start : field.end] for field in fields if field.name != "restaurantGuid"]
            body = body[: fields[0].start] + b",".join(kept) + b"}"
    rest = body.rstrip()[:-1].rstrip()
    comma = b"" if rest[-1:] == b"{" else b","
    return rest + comma + b'"restaurantGuid":' + msgspec.json.encode(restaurant_guid) + b"}"


def _mentions_restaurant(text: bytes) -> bool:
    # Without the first quote, which is everywhere, the search is three times as fast.
    return b'restaurantGuid"' in text or _ESCAPED_LETTERS.search(text) is not None
