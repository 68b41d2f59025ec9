"""Raw orders in, typed orders out, and what becomes of a record that cannot be read.

Toast sends a restaurant another type now and then. A guest's name that is a number is no reason to give up an order
with its amounts: what is optional becomes null and is noted. Amounts, quantities, times, flags and GUIDs, and the
objects that hold them, are needed: an order that lacked one silently would be a wrong order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from json import JSONDecodeError
from types import NoneType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from toast_assets.orders.model import Order
from toast_assets.orders.names import NO_NAMES, Names
from toast_assets.orders.raw import guid_of
from toast_assets.orders.scanner import decode, readable, shallow

# Objects and arrays without which amounts would be missing.
_HOLDERS = {
    *("checks", "selections", "payments", "appliedDiscounts", "appliedServiceCharges"),
    *("refund", "refundDetails", "voidInfo"),
}
_IDENTIFIERS = {"guid", "channelGuid"}
# A menu has a handful; what walks through modifiers calls itself for each level.
_MOST_MODIFIER_LEVELS = 100
_TOO_DEEP = f"modifiers are nested more than {_MOST_MODIFIER_LEVELS} levels deep"


@dataclass(frozen=True)
class RawOrders:
    """Some hundred orders of one restaurant, each the bytes of one JSON object as Toast sent it, with the restaurant's
    IANA time zone, ISO currency and name (Toast: in its ``general`` record, not in the order), and the ``names`` in its
    configuration."""

    restaurant_guid: str
    orders: Sequence[bytes]
    timezone: str | None = None
    currency: str | None = None
    name: str | None = None
    names: Names = NO_NAMES


class Reason(StrEnum):
    """Why a record was rejected."""

    UNREADABLE = "unreadable"
    """Not JSON, without a GUID, or a field that is needed cannot be read: an amount, a quantity, a time, a flag."""
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


def read(batch: RawOrders) -> ReadOrders:
    """The orders of ``batch`` as types."""
    found = ReadOrders([], [], Counter())
    for data in batch.orders:
        noted: list[str] = []
        try:
            found.orders.append(decode_order(data, noted))
            found.nulled.update(noted)
        except UnreadableOrderError as error:
            found.rejections.append(Rejection(batch.restaurant_guid, guid_of(data), Reason.UNREADABLE, str(error)))
    return found


def decode_order(data: bytes, noted: list[str] | None = None) -> Order:
    """The order in ``data``, one JSON object as Toast sent it; the path of each optional field that is null because of
    its unexpected type (``checks.customer``) is appended to ``noted``. Raises UnreadableOrderError where ``data`` is no
    order, or a field that is needed cannot be read."""
    try:
        order = decode(data, Order)
    except msgspec.ValidationError:
        order = _read_leniently(data, [] if noted is None else noted)
    except UnicodeDecodeError:
        raise UnreadableOrderError("it is not UTF-8") from None
    except msgspec.DecodeError as error:
        raise UnreadableOrderError(f"it is no JSON ({error})") from None
    if not order.guid:
        raise UnreadableOrderError("it has no guid")
    level = [item for check in order.checks or () for item in check.selections or () if item.modifiers]
    for _ in range(_MOST_MODIFIER_LEVELS):
        if not level:
            return order
        level = [modifier for item in level for modifier in item.modifiers or () if modifier.modifiers]
    raise UnreadableOrderError(_TOO_DEEP)


# What follows reads an order with fields of unexpected types. Readings without a loss are not noted: ``12`` where text
# is expected, ``"2"`` or ``2.0`` for a number.


class Member(NamedTuple):
    """A member of a struct: what it holds (of an array, each of its elements), whether it is needed, and whether it may
    be a text instead of an object."""

    holds: type
    many: bool
    needed: bool
    or_text: bool


_read_tree = json.JSONDecoder(parse_int=Decimal, parse_float=Decimal, parse_constant=Decimal).decode


def _read_leniently(data: bytes, noted: list[str]) -> Order:
    try:
        tree = _read_tree(str(shallow(readable(data)), "utf-8", "replace"))
        return msgspec.convert(_fitted(tree, Order, "", noted) if isinstance(tree, dict) else tree, Order)
    except msgspec.ValidationError as error:
        raise UnreadableOrderError(f"a value has an unexpected type ({error})") from None
    except (msgspec.DecodeError, JSONDecodeError, ArithmeticError):
        raise UnreadableOrderError("it is no JSON, or has a number that cannot be read") from None
    except RecursionError:
        raise UnreadableOrderError(_TOO_DEEP) from None


@cache
def members(struct: type) -> dict[str, Member]:
    """The members of a struct of an order, by Toast's name."""
    hints, found = get_type_hints(struct, include_extras=True), {}
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        holds, *others = (one for one in get_args(hints[field.name]) if one is not NoneType)
        many = get_origin(holds) is tuple
        holds = get_args(holds)[0] if many else holds
        needed = holds in (Decimal, bool) or name in _HOLDERS | _IDENTIFIERS or name.endswith("Date")
        found[name] = Member(holds, many, needed, or_text=others == [str])
    return found


def _fitted(item: dict[str, Any], struct: type, path: str, noted: list[str]) -> dict[str, Any]:
    """The members of ``struct`` that ``item`` has, without those that can be null and cannot be converted."""
    found: dict[str, Any] = {}
    for name, member in members(struct).items():
        value = item.get(name)
        if value is None:
            continue
        where = path if name == "modifiers" and path.endswith(".modifiers") else f"{path}.{name}" if path else name
        fitting = _fitting(value, member, where, noted)
        if fitting is None and not member.needed:
            noted.append(where)
        else:
            # What is needed and does not fit is refused by name.
            found[name] = value if fitting is None else fitting
    return found


def _fitting(value: object, member: Member, path: str, noted: list[str]) -> Any:
    """``value`` as it can be converted; None where it cannot."""
    if member.many:
        if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
            return None
        return [_fitted(element, member.holds, path, noted) for element in value]
    if isinstance(member.holds, type) and issubclass(member.holds, msgspec.Struct):
        if member.or_text and isinstance(value, str):
            return value
        return _fitted(value, member.holds, path, noted) if isinstance(value, dict) else None
    return _scalar(value, member)


def _scalar(value: object, member: Member) -> Any:
    if member.holds is str and isinstance(value, Decimal) and not member.needed:
        return digits if (digits := str(value)).lstrip("-").isdigit() else None
    if member.holds in (bool, str):
        return value if isinstance(value, member.holds) else None
    try:
        # Text of digits is a number, too.
        return msgspec.convert(str(value).strip().removesuffix(".0"), member.holds, strict=False)
    except msgspec.ValidationError:
        return None
