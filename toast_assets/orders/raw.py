"""Cuts a page of Toast's orders into single orders without decoding them, so that every byte survives.

Only the few fields that the pipeline needs to place an order are read; money is never decoded here, because a
float would not give back its digits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec

from toast_assets.orders.scanner import UncuttableError, elements, is_json, members
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
    """An order without the fields that place it, or a time that is none. Never quotes the body."""


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
        """The SHA-256 of its bytes, hexadecimal; the same bytes count as the same order."""
        return version_of(self.body)


class Cut(NamedTuple):
    """What a page consists of: ``orders`` and elements that are ``unreadable``, each in the page's order."""

    orders: list[RawOrder]
    unreadable: list[UnreadableOrder]


_NULL = msgspec.Raw(b"null")
_ABSENT = msgspec.Raw(b"")


class _Head(msgspec.Struct, gc=False):
    # Without these two an order cannot be placed. The rest is looked at as it comes: a strange business date is no
    # reason to give up an order.
    guid: str
    modifiedDate: str
    businessDate: msgspec.Raw = _NULL
    deleted: msgspec.Raw = _NULL
    voided: msgspec.Raw = _NULL
    restaurantGuid: msgspec.Raw = _ABSENT


class _Owner(msgspec.Struct, gc=False):
    restaurantGuid: msgspec.Raw = _ABSENT


_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_heads = msgspec.json.Decoder(list[_Head]).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_owner = msgspec.json.Decoder(_Owner).decode
_decode_text = msgspec.json.Decoder(str).decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# An escaped pair, half of one, or any other escape, from left to right.
_ESCAPES = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_NAMES_RESTAURANT = re.compile(rb'restaurantGuid"')
# Letters that nothing forces to be escaped, so that hardly any software does it.
_ESCAPED_LETTERS = re.compile(rb"\\u00[4-7]")
_BUSINESS_DATE = re.compile(rb'"?([0-9]{8})"?')
_EARLIEST_MS = epoch_ms(datetime.min.replace(tzinfo=UTC))
_LATEST_MS = epoch_ms(datetime.max.replace(tzinfo=UTC))


def cut_orders(array: bytes, *, restaurant_guid: str, pulled_ms: int) -> Cut:
    """The orders of a JSON array. One that cannot be read or placed affects no other one.

    Raises:
        MalformedPageError: the bytes are no array, or nobody can say where its elements begin and end.
    """
    cut = Cut([], [])
    try:
        bodies = list(map(bytes, _decode_array(array)))
        heads: list[_Head] | None = _decode_heads(array)
    except _REFUSED:
        bodies, heads = _elements(array), None
    for number, body in enumerate(bodies):
        try:
            head = _head(body) if heads is None else heads[number]
            cut.orders.append(_cut(body, head, restaurant_guid, pulled_ms))
        except MalformedOrderError as error:
            cut.unreadable.append(UnreadableOrder(body, str(error), _guid(body)))
    return cut


def _elements(array: bytes) -> list[bytes]:
    try:
        return list(map(bytes, _decode_array(array)))
    except _REFUSED:
        try:
            return elements(array)
        except UncuttableError as error:
            raise MalformedPageError(f"the body cannot be cut into orders: {error}") from None


def _head(body: bytes) -> _Head:
    try:
        return _decode_head(readable(body))
    except RecursionError:
        if not is_json(body):
            raise MalformedOrderError("it is not JSON") from None
    except UnicodeDecodeError:
        raise MalformedOrderError("it is not UTF-8") from None
    except msgspec.ValidationError as error:
        raise MalformedOrderError(f"it lacks what every order has ({error})") from None
    except msgspec.DecodeError as error:
        raise MalformedOrderError(f"it is not JSON ({error})") from None
    return _head_of_deep(body)


def _head_of_deep(body: bytes) -> _Head:
    """The head of JSON that is nested deeper than decoders go: that of the same object with nothing nested in it."""
    try:
        fields = {field.name: field.value for field in members(body) if field.name in _Head.__struct_fields__}
    except UncuttableError as error:
        raise MalformedOrderError(f"it lacks what every order has ({error})") from None
    flat = (b'"%s":%s' % (str(name).encode(), b"[]" if value[:1] in b"[{" else value) for name, value in fields.items())
    return _head(b"{" + b",".join(flat) + b"}")


def _guid(body: bytes) -> str | None:
    """The GUID of an order that cannot be read as a whole, or None."""
    try:
        values = [field.value for field in members(body) if field.name == "guid"]
        return (_decode_text(readable(values[-1])) or None) if values else None
    except (UncuttableError, *_REFUSED):
        return None


def readable(body: bytes) -> bytes:
    """JSON that decoders read, as long as ``body``: half of an escaped pair of characters becomes U+FFFD.

    JSON's grammar allows such a half, and software that cuts a text in the middle of an emoji sends one. No decoder for
    UTF-8 can read it, but that is no reason to give up an order.
    """
    # Most bodies have no escape at all, and looking for one byte is much faster than looking for two.
    if b"\\" not in body or b"\\u" not in body:
        return body
    return _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[2] else escape[0], body)


def _cut(body: bytes, head: _Head, restaurant_guid: str, pulled_ms: int) -> RawOrder:
    # The decoder skips over what it does not keep, and does not look whether that is UTF-8. ASCII is told at once.
    if not body.isascii():
        try:
            str(body, "utf-8")
        except UnicodeDecodeError:
            raise MalformedOrderError("it is not UTF-8") from None
    if not head.guid:
        # Two such orders would count as one.
        raise MalformedOrderError("its guid is empty")
    owner = bytes(head.restaurantGuid)
    if owner and not _names_nobody(owner) and not _names(owner, restaurant_guid):
        raise MalformedOrderError("its restaurantGuid is not that of the restaurant that was asked for")
    return RawOrder(
        guid=head.guid,
        modified_ms=parse_time_ms(head.modifiedDate),
        business_date=_business_date(bytes(head.businessDate)),
        deleted=bytes(head.deleted) == b"true",
        voided=bytes(head.voided) == b"true",
        pulled_ms=pulled_ms,
        body=body,
        version=version_of(body),
        may_name_restaurant=bool(owner),
    )


def _names_nobody(value: bytes) -> bool:
    return value in (b"null", b'""')


def _names(value: bytes, restaurant_guid: str) -> bool:
    try:
        return _decode_text(value).lower() == restaurant_guid.lower()
    except _REFUSED:
        return False


def with_restaurant(body: bytes, restaurant_guid: str) -> bytes:
    """Toast's object plus ``restaurantGuid`` as its last field; all other bytes stay as they are.

    Toast's orders do not say which restaurant they belong to. One that already does is returned unchanged. A field of
    that name that is null or empty, or stands more than once, is replaced: no name may stand in an object twice.
    """
    if mentions_restaurant(body) and _has_owner(body):
        fields = members(body)
        owners = [field for field in fields if field.name == "restaurantGuid"]
        if len(owners) == 1 and not _names_nobody(owners[0].value):
            return body
        kept = [body[field.start : field.end] for field in fields if field.name != "restaurantGuid"]
        body = body[: fields[0].start] + b",".join(kept) + b"}"
    rest = body.rstrip()[:-1].rstrip()
    return rest + last_field(restaurant_guid) if rest[-1:] != b"{" else rest + last_field(restaurant_guid)[1:]


def mentions_restaurant(data: bytes | memoryview) -> bool:
    """Whether one of the orders in ``data`` may have a field ``restaurantGuid``, however its name is spelled."""
    # Without the first quote, which is everywhere, the search is three times as fast.
    return _NAMES_RESTAURANT.search(data) is not None or _ESCAPED_LETTERS.search(data) is not None


def _has_owner(body: bytes) -> bool:
    try:
        return bool(bytes(_decode_owner(readable(body)).restaurantGuid))
    except RecursionError:
        return any(field.name == "restaurantGuid" for field in members(body))


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
        raise MalformedOrderError("its modifiedDate is not an ISO-8601 time") from None
    if moment.tzinfo is None:
        raise MalformedOrderError("its modifiedDate has no time zone")
    milliseconds = epoch_ms(moment)
    if not _EARLIEST_MS <= milliseconds <= _LATEST_MS:
        raise MalformedOrderError("its modifiedDate is not between the years 1 and 9999 in UTC")
    return milliseconds


def format_time(milliseconds: int) -> str:
    """Toast's form of a time: exactly three fraction digits and ``+0000`` (Toast: Orders API, date formats)."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}+0000"


def _business_date(value: bytes) -> date | None:
    # Some bodies hold 0 or nothing; the order itself keeps whatever was sent.
    found = _BUSINESS_DATE.fullmatch(value)
    return _date_of(int(found[1])) if found else None


@lru_cache(maxsize=64)
def _date_of(number: int) -> date | None:
    try:
        return date(number // 10000, number // 100 % 100, number % 100)
    except ValueError:
        return None


def total_bytes(orders: Iterable[RawOrder]) -> int:
    """Bytes of the orders' JSON."""
    return sum(len(order.body) for order in orders)
