"""Cuts a page of Toast's orders into single orders without decoding them, so that every byte survives.

Only the few fields that place an order are read; money is never decoded here, because a float would not give back its
digits.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from datetime import date

import msgspec

from toast_assets.orders.scanner import UncuttableError, decode, elements, members
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


class UnreadableOrder(msgspec.Struct, frozen=True):
    """An element of a page that cannot be placed as an order: its bytes, why, and its ``guid`` where that can be read.
    ``reason`` never quotes the body."""

    body: bytes
    reason: str
    guid: str | None


class _Head(msgspec.Struct, gc=False):
    # Without these two an order cannot be placed. The rest may have any type: a strange business date is no reason to
    # give up an order.
    guid: str
    modifiedDate: str
    businessDate: msgspec.Raw = msgspec.Raw(b"null")
    deleted: msgspec.Raw = msgspec.Raw(b"null")
    voided: msgspec.Raw = msgspec.Raw(b"null")
    restaurantGuid: msgspec.Raw = msgspec.Raw(b"")


# Values of ``restaurantGuid`` that name nobody.
_NOBODY = (b"null", b'""')
# Letters need no escape, so hardly any software writes one.
_ESCAPED_LETTERS = re.compile(rb"\\u00[4-7]")


class _MisplacedError(ValueError):
    """Why an element cannot be placed as an order."""


def cut_orders(array: bytes, *, restaurant_guid: str, pulled_ms: int) -> tuple[list[RawOrder], list[UnreadableOrder]]:
    """The orders of a JSON array, in its order, and those that cannot be read or placed, which affect no other one.
    Raises UncuttableError where the bytes are no array, or the array cannot be cut into its elements."""
    try:
        bodies = list(map(bytes, msgspec.json.decode(array, type=list[msgspec.Raw])))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        bodies = elements(array)
    orders, unreadable = [], []
    for body in bodies:
        try:
            orders.append(_placed(body, restaurant_guid, pulled_ms))
        except _MisplacedError as error:
            unreadable.append(UnreadableOrder(body, str(error), guid_of(body)))
    return orders, unreadable


def guid_of(body: bytes) -> str | None:
    """The GUID of an order that may be unreadable, where that can be read."""
    try:
        values = [field.value for field in members(body) if field.name == "guid"]
        return (decode(values[-1], str) or None) if values else None
    except (UncuttableError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _placed(body: bytes, restaurant_guid: str, pulled_ms: int) -> RawOrder:
    try:
        # The decoder skips over what it does not keep, and does not look whether that is UTF-8.
        body.decode()
        head = decode(body, _Head)
        modified_ms = parse_time_ms(head.modifiedDate)
    except UnicodeDecodeError:
        raise _MisplacedError("it is not UTF-8") from None
    except msgspec.ValidationError as error:
        raise _MisplacedError(f"it lacks what every order has ({error})") from None
    except msgspec.DecodeError as error:
        raise _MisplacedError(f"it is not JSON ({error})") from None
    except ValueError as error:
        raise _MisplacedError(f"its modifiedDate {error}") from None
    if not head.guid:
        # Two such orders would count as one.
        raise _MisplacedError("its guid is empty")
    asked_for = msgspec.json.encode(restaurant_guid).lower()
    if bytes(head.restaurantGuid).lower() not in (b"", *_NOBODY, asked_for):
        raise _MisplacedError("its restaurantGuid is not that of the restaurant that was asked for")
    business_date = None
    # Some bodies hold 0 or nothing; the order itself keeps whatever was sent.
    with suppress(ValueError, OverflowError):
        business_date = business_day(int(bytes(head.businessDate).strip(b'"')))
    return RawOrder(
        guid=head.guid,
        modified_ms=modified_ms,
        business_date=business_date,
        deleted=bytes(head.deleted) == b"true",
        voided=bytes(head.voided) == b"true",
        pulled_ms=pulled_ms,
        body=body,
        version=version_of(body),
    )


def with_restaurant(body: bytes, restaurant_guid: str) -> bytes:
    """Toast's object plus ``restaurantGuid`` as its last field; all other bytes stay as they are.

    Toast's orders do not say which restaurant they belong to. One that already does is returned unchanged. A field of
    that name that is null or empty, or occurs more than once, is replaced, so that the name is there once.
    """
    # Without the first quote, which is everywhere, the search is three times as fast.
    if b'restaurantGuid"' in body or _ESCAPED_LETTERS.search(body):
        fields = members(body)
        owners = [field.value for field in fields if field.name == "restaurantGuid"]
        if len(owners) == 1 and owners[0] not in _NOBODY:
            return body
        if owners:
            body = b"{" + b",".join(field.text for field in fields if field.name != "restaurantGuid") + b"}"
    rest = body.rstrip()[:-1].rstrip()
    comma = b"" if rest[-1:] == b"{" else b","
    return rest + comma + b'"restaurantGuid":' + msgspec.json.encode(restaurant_guid) + b"}"
