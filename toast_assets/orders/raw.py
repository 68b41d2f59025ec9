"""Cuts a page of Toast's orders into single orders without decoding them, so that every byte survives.

Only the few fields that the pipeline needs to place an order are read; money is never decoded here, because a
float would not give back its digits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import msgspec

from toast_assets.week import epoch_ms


class RawOrder(msgspec.Struct, frozen=True, order=False, gc=False):
    """One version of one order.

    ``modified_ms`` and ``pulled_ms`` are milliseconds since 1970 in UTC, ``business_date`` is the restaurant's
    local one, ``body`` holds the order's JSON exactly as Toast sent it (UTF-8 bytes) and ``version`` is ``version_of``
    it. ``may_name_restaurant`` is false where it is known that ``body`` does not say which restaurant it is of.
    """

    guid: str
    modified_ms: int
    business_date: date | None
    deleted: bool
    voided: bool
    pulled_ms: int
    body: bytes
    version: str
    may_name_restaurant: bool = True

    @property
    def sort_key(self) -> tuple[int, str]:
        """The order of rows in raw files and exports: by modified time, then GUID."""
        return (self.modified_ms, self.guid)


def version_of(body: bytes) -> str:
    """Which version of an order ``body`` is: the SHA-256 of its bytes, hexadecimal. Toast can change an order without a
    new modified time."""
    return hashlib.sha256(body).hexdigest()


class MalformedOrderError(ValueError):
    """A page that is not JSON, or an order in it without the fields that place it. Never quotes the body."""


class _Head(msgspec.Struct, gc=False):
    # Without these two an order cannot be placed. The rest is looked at as it comes: a strange business date is no
    # reason to give up a restaurant's week.
    guid: str
    modifiedDate: str
    businessDate: Any = None
    deleted: Any = None
    voided: Any = None
    restaurantGuid: Any = None


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_heads = msgspec.json.Decoder(list[_Head]).decode
_decode_head = msgspec.json.Decoder(_Head).decode
# An escaped pair, half of one, or any other escape, from left to right.
_ESCAPES = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def cut_orders(array: bytes, *, restaurant_guid: str, pulled_ms: int) -> list[RawOrder]:
    """The orders of a JSON array, in the array's order.

    Raises:
        MalformedOrderError: the bytes are no JSON array in UTF-8, an order lacks ``guid`` or ``modifiedDate``,
            or it says that it belongs to another restaurant.
    """
    bodies: Iterable[bytes]
    try:
        try:
            bodies, heads = map(bytes, _decode_array(array)), _decode_heads(array)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            mended = readable(array)
            if mended == array:
                raise
            bodies, heads = _elements(array, mended), _decode_heads(mended)
        return [_cut(body, head, restaurant_guid, pulled_ms) for body, head in zip(bodies, heads, strict=True)]
    except UnicodeDecodeError:
        raise MalformedOrderError("the body is not UTF-8") from None
    except msgspec.ValidationError as error:
        raise MalformedOrderError(f"an order lacks what every order has ({error})") from None
    except msgspec.DecodeError as error:
        raise MalformedOrderError(f"the body is not JSON ({error})") from None


def readable(body: bytes) -> bytes:
    """JSON that decoders read, as long as ``body``: half of an escaped pair of characters becomes U+FFFD.

    JSON's grammar allows such a half, and software that cuts a text in the middle of an emoji sends one. No decoder for
    UTF-8 can read it, but that is no reason to give up an order, let alone the others of its restaurant.
    """
    # Most bodies have no escape at all, and looking for one byte is much faster than looking for two.
    if b"\\" not in body or b"\\u" not in body:
        return body
    return _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[2] else escape[0], body)


def _elements(array: bytes, mended: bytes) -> Iterator[bytes]:
    """The elements of ``array`` byte for byte, found by ``mended``, which is as long and readable."""
    end = 0
    for element in map(bytes, _decode_array(mended)):
        start = mended.index(element, end)
        end = start + len(element)
        yield array[start:end]


def _cut(body: bytes, head: _Head, restaurant_guid: str, pulled_ms: int) -> RawOrder:
    # The decoder skips over what it does not keep, and does not look whether that is UTF-8. ASCII is told at once.
    if not body.isascii():
        str(body, "utf-8")
    if not head.guid:
        # Two such orders would count as one.
        raise MalformedOrderError("an order has an empty guid")
    if isinstance(head.restaurantGuid, str) and head.restaurantGuid.lower() != restaurant_guid.lower():
        raise MalformedOrderError("an order belongs to another restaurant")
    return RawOrder(
        guid=head.guid,
        modified_ms=parse_time_ms(head.modifiedDate),
        business_date=_business_date(head.businessDate),
        deleted=head.deleted is True,
        voided=head.voided is True,
        pulled_ms=pulled_ms,
        body=body,
        version=version_of(body),
        may_name_restaurant=head.restaurantGuid is not None,
    )


def with_restaurant(body: bytes, restaurant_guid: str) -> bytes:
    """Toast's object plus ``restaurantGuid`` as its last field; all other bytes stay as they are.

    Toast's orders do not say which restaurant they belong to. One that already does is returned unchanged.
    """
    if b'"restaurantGuid"' in body and _decode_head(readable(body)).restaurantGuid is not None:
        return body
    return body.rstrip()[:-1].rstrip() + last_field(restaurant_guid)


@lru_cache(maxsize=64)
def last_field(restaurant_guid: str) -> bytes:
    """What takes the place of an order's last brace, so that it says which restaurant it is of."""
    return b',"restaurantGuid":' + msgspec.json.encode(restaurant_guid) + b"}"


def parse_time_ms(text: str) -> int:
    """Milliseconds since 1970, UTC, of Toast's ``2025-09-19T14:30:00.000+0000`` or ``…Z``.

    Raises:
        MalformedOrderError: the text is not a time with a zone.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MalformedOrderError("an order's modifiedDate is not an ISO-8601 time") from None
    if moment.tzinfo is None:
        raise MalformedOrderError("an order's modifiedDate has no time zone")
    return epoch_ms(moment)


def format_time(milliseconds: int) -> str:
    """Toast's form of a time: exactly three fraction digits and ``+0000`` (Toast: Orders API, date formats)."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}+0000"


def _business_date(value: object) -> date | None:
    # Some bodies hold 0 or nothing; the order itself keeps whatever was sent.
    return _date_of(str(value))


@lru_cache(maxsize=64)
def _date_of(text: str) -> date | None:
    try:
        number = int(text)
        return date(number // 10000, number // 100 % 100, number % 100)
    except (ValueError, OverflowError):
        return None


def total_bytes(orders: Iterable[RawOrder]) -> int:
    """Bytes of the orders' JSON."""
    return sum(len(order.body) for order in orders)
