"""Raw orders in, typed orders out, and what becomes of a record that cannot be read.

Toast sends a restaurant another type now and then. A guest's name that is a number is no reason to give up an order
with its amounts: what is optional becomes null and is noted. Amounts, quantities, times, flags and GUIDs, and the
objects that hold them, are needed: an order that lacked one silently would be a wrong order.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from toast_assets.orders.model import Order, Reference
from toast_assets.orders.scanner import readable, shallow

# Objects and arrays without which amounts would be missing.
_HOLDERS = {
    *("checks", "selections", "payments", "appliedDiscounts", "appliedServiceCharges"),
    *("refund", "refundDetails", "voidInfo"),
}
_IDENTIFIERS = {"guid", "channelGuid"}
# A menu has a handful; what walks through modifiers calls itself for each level.
_MOST_MODIFIER_LEVELS = 100
_WHOLE = re.compile(r"-?\d+", re.ASCII)
_DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_WHOLE_OR_POINT_ZERO = re.compile(r"(-?\d{1,18})(?:\.0+)?", re.ASCII)
# What Arrow's int32 holds.
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class RawOrders:
    """Some hundred orders of one restaurant, each the bytes of one JSON object as Toast sent it, with the restaurant's
    IANA time zone and ISO currency (Toast: in its ``general`` record, not in the order)."""

    restaurant_guid: str
    orders: Sequence[bytes]
    timezone: str | None = None
    currency: str | None = None


class Reason(StrEnum):
    """Why a record was rejected."""

    UNREADABLE = "unreadable"
    """Not JSON, or a field that is needed cannot be read: an amount, a quantity, a time, a flag, a GUID."""
    NO_KEY = "no_key"
    """The record has no GUID, so that nothing could ever refer to it."""
    UNREPRESENTABLE = "unrepresentable"
    """A value does not fit the declared type: an invalid date, an amount beyond 14 digits, a missing time."""
    UNKNOWN_TIME_ZONE = "unknown_time_zone"
    """The restaurant's time zone is missing or not an IANA name, so that its local time is unknown."""


@dataclass(frozen=True)
class Rejection:
    """One record that was left out, while the rest went on. ``detail`` never holds a guest's data."""

    restaurant_guid: str
    order_guid: str | None
    reason: Reason
    detail: str


@dataclass(frozen=True)
class ReadOrders:
    """The readable orders of a batch, a rejection for each other, and how often which optional field was ``nulled``
    because it had an unexpected type."""

    orders: list[Order]
    rejections: list[Rejection]
    nulled: Counter[str]


class UnreadableOrderError(ValueError):
    """An order that is no JSON, or with a value that is needed and cannot be read; names the field, not the value."""


_decode = msgspec.json.Decoder(Order).decode


def read(batch: RawOrders) -> ReadOrders:
    """The orders of ``batch`` as types."""
    found = ReadOrders([], [], Counter())
    for data in batch.orders:
        noted: list[str] = []
        try:
            order = decode_order(data, noted)
        except UnreadableOrderError as error:
            found.rejections.append(Rejection(batch.restaurant_guid, _guid(data), Reason.UNREADABLE, str(error)))
            continue
        if order.guid:
            found.orders.append(order)
            found.nulled.update(noted)
        else:
            found.rejections.append(Rejection(batch.restaurant_guid, None, Reason.NO_KEY, "the order has no guid"))
    return found


def _guid(data: bytes) -> str | None:
    try:
        return msgspec.json.decode(shallow(readable(data)), type=Reference).guid
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def decode_order(data: bytes, noted: list[str] | None = None) -> Order:
    """The order in ``data``, one JSON object as Toast sent it; the path of each optional field that is null because of
    its unexpected type (``checks.customer``) is appended to ``noted``.

    Raises:
        UnreadableOrderError: ``data`` is no order, or a field that is needed cannot be read.
    """
    notes: list[str] = [] if noted is None else noted
    try:
        order = _decoded(data, notes)
    except RecursionError:
        order = _decoded(shallow(data), notes)
    _check_modifiers(order)
    return order


def _decoded(data: bytes, noted: list[str]) -> Order:
    try:
        return _decode(data)
    except msgspec.ValidationError:
        return _read_leniently(str(readable(data), "utf-8", "replace"), noted)
    except UnicodeDecodeError:
        raise UnreadableOrderError("it is not UTF-8") from None
    except msgspec.DecodeError as error:
        if (repaired := readable(data)) == data:
            raise UnreadableOrderError(f"it is no JSON ({error})") from None
        return _decoded(repaired, noted)


def _check_modifiers(order: Order) -> None:
    level = [item for check in order.checks or () for item in check.selections or () if item.modifiers]
    for _ in range(_MOST_MODIFIER_LEVELS):
        if not level:
            return
        level = [modifier for item in level for modifier in item.modifiers or () if modifier.modifiers]
    raise UnreadableOrderError(f"modifiers are nested more than {_MOST_MODIFIER_LEVELS} levels deep")


# What follows reads an order with fields of unexpected types. Readings without a loss are not noted: ``12`` where text
# is expected, ``"2"`` or ``2.0`` for a number.


class _Number(str):
    """The digits of a JSON number."""

    __slots__ = ()


class Member(NamedTuple):
    """A member of a struct: what it holds (of an array, each of its elements), and whether it is needed."""

    holds: type
    many: bool
    needed: bool


_read_tree = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number).decode


def _read_leniently(text: str, noted: list[str]) -> Order:
    try:
        tree = _read_tree(text)
    except ValueError:
        raise UnreadableOrderError("it is no JSON") from None
    if not isinstance(tree, dict):
        raise UnreadableOrderError("it is no JSON object")
    try:
        return msgspec.convert(_fitted(tree, Order, "", noted), Order)
    except msgspec.ValidationError as error:
        raise UnreadableOrderError(str(error)) from None


@cache
def members(struct: type) -> dict[str, Member]:
    """The members of a struct of an order, by Toast's name."""
    hints, found = get_type_hints(struct), {}
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        (holds,) = (one for one in get_args(hints[field.name]) if one is not NoneType)
        many = bool(get_args(holds))
        holds = get_args(holds)[0] if many else holds
        needed = holds in (Decimal, bool) or name in _HOLDERS | _IDENTIFIERS or name.endswith("Date")
        found[name] = Member(holds, many, needed)
    return found


def _fitted(item: dict[str, Any], struct: type, path: str, noted: list[str]) -> dict[str, Any]:
    """The members of ``struct`` that ``item`` has, with values that can be converted."""
    found: dict[str, Any] = {}
    for name, member in members(struct).items():
        value = item.get(name)
        if value is None:
            continue
        where = path if name == "modifiers" and path.endswith(".modifiers") else f"{path}.{name}" if path else name
        fitting = _fitting(value, member, where, noted)
        if fitting is None:
            if member.needed:
                raise UnreadableOrderError(f"{where} is {_described(value, member.holds)}")
            noted.append(where)
        else:
            found[name] = fitting
    return found


def _fitting(value: object, member: Member, path: str, noted: list[str]) -> Any:
    """``value`` as it can be converted; None where it cannot."""
    if member.many:
        if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
            return None
        return [_fitted(element, member.holds, path, noted) for element in value]
    if issubclass(member.holds, msgspec.Struct):
        return _fitted(value, member.holds, path, noted) if isinstance(value, dict) else None
    if member.holds is str and member.needed:
        return value if type(value) is str else None
    return _scalar(value, member.holds)


def _scalar(value: object, holds: type) -> Any:
    if holds is bool:
        return value if isinstance(value, bool) else None
    if not isinstance(value, str):
        return None
    if holds is str:
        return str(value) if not isinstance(value, _Number) or _WHOLE.fullmatch(value) else None
    if holds is int:
        found = _WHOLE_OR_POINT_ZERO.fullmatch(value.strip())
        return int(found[1]) if found and abs(int(found[1])) <= _LARGEST else None
    # Text of digits is a number, too.
    digits = _DECIMAL.fullmatch(value)
    if holds is Decimal:
        return value if digits else None
    return float(value) if digits and isfinite(float(value)) else None


def _described(value: object, holds: type) -> str:
    if isinstance(value, _Number):
        return "a number"
    if holds is Decimal and isinstance(value, str):
        return "text that is no number"
    return {str: "text", bool: "true or false", list: "an array", dict: "an object"}[type(value)]
