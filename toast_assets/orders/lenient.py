"""An order with fields of unexpected types: what is optional becomes null and is noted, what is not ends the reading.

Toast calls a new field or enum value no breaking change, and sends one restaurant another type now and then. A guest's
name that is a number is no reason to give up an order with its amounts. Amounts, quantities, times, flags and GUIDs,
and the objects that hold them, are never replaced: an order that lacks one silently would be a wrong order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from math import isfinite
from types import NoneType
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

import msgspec

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
# Objects and arrays without which amounts would be missing.
_HOLDERS = frozenset(
    ("checks", "selections", "payments", "appliedDiscounts", "appliedServiceCharges", "refund", "refundDetails")
) | {"voidInfo"}
_IDENTIFIERS = frozenset(("guid", "channelGuid"))
_WHOLE = re.compile(r"-?\d+", re.ASCII)
_DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)
_WHOLE_OR_POINT_ZERO = re.compile(r"(-?\d{1,18})(?:\.0+)?", re.ASCII)
# What Arrow's int32 holds.
_LARGEST = 2**31 - 1


class UnreadableOrderError(ValueError):
    """An order that is no JSON, or with a value that is needed and cannot be read; names the field, not the value."""


class _Number(str):
    """The digits of a JSON number."""

    __slots__ = ()


class _Member(NamedTuple):
    """A member of a struct: what it holds (of an array, each of its elements), and whether it is needed."""

    holds: type
    many: bool
    needed: bool


_read_tree = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number).decode


def read_leniently(text: str, struct: type[_Struct], noted: list[str]) -> _Struct:
    """The ``struct`` in ``text``, a JSON object; the paths of what became null are appended to ``noted``.

    Readings without a loss are no reason for a note: ``12`` where text is expected, ``"2"`` or ``2.0`` for a number.

    Raises:
        UnreadableOrderError: ``text`` is no JSON object, or a value that is needed cannot be read.
        RecursionError: it is nested too deeply.
    """
    try:
        tree = _read_tree(text)
    except ValueError:
        raise UnreadableOrderError("it is no JSON") from None
    if not isinstance(tree, dict):
        raise UnreadableOrderError("it is no JSON object")
    try:
        return msgspec.convert(_fitted(tree, struct, "", noted), struct)
    except msgspec.ValidationError as error:
        raise UnreadableOrderError(str(error)) from None


@cache
def _members(struct: type) -> dict[str, _Member]:
    hints = get_type_hints(struct)
    return {one.encode_name: _member(one.encode_name, hints[one.name]) for one in msgspec.structs.fields(struct)}


def _member(name: str, hint: Any) -> _Member:
    (holds,) = (one for one in get_args(hint) if one is not NoneType)
    many = bool(get_args(holds))
    holds = get_args(holds)[0] if many else holds
    needed = holds in (Decimal, bool) or name in _HOLDERS | _IDENTIFIERS or name.endswith("Date")
    return _Member(holds, many, needed)


def _fitted(item: dict[str, Any], struct: type, path: str, noted: list[str]) -> dict[str, Any]:
    """The members of ``struct`` that ``item`` has, with values that can be converted."""
    found: dict[str, Any] = {}
    for name, member in _members(struct).items():
        value = item.get(name)
        if value is None:
            continue
        where = path if name == "modifiers" and path.endswith(".modifiers") else f"{path}.{name}" if path else name
        fitting = _fitting(value, member, where, noted)
        if fitting is None:
            if member.needed:
                raise UnreadableOrderError(f"{where} is {_said(value, member.holds)}")
            noted.append(where)
        else:
            found[name] = fitting
    return found


def _fitting(value: object, member: _Member, path: str, noted: list[str]) -> Any:
    """``value`` as it can be converted; None where it cannot."""
    if member.many:
        if not isinstance(value, list) or not all(isinstance(element, dict) for element in value):
            return None
        return [_fitted(element, member.holds, path, noted) for element in value]
    if issubclass(member.holds, msgspec.Struct):
        return _fitted(value, member.holds, path, noted) if isinstance(value, dict) else None
    if member.holds is str and member.needed:
        return value if type(value) is str else None
    return _READERS[member.holds](value)


def _text(value: object) -> str | None:
    if isinstance(value, _Number):
        return str(value) if _WHOLE.fullmatch(value) else None
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    found = _WHOLE_OR_POINT_ZERO.fullmatch(value.strip()) if isinstance(value, str) else None
    number = int(found[1]) if found else None
    return number if number is not None and abs(number) <= _LARGEST else None


def _degrees(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None


_READERS: dict[type, Callable[[object], Any]] = {
    str: _text,
    int: _whole,
    float: _degrees,
    bool: lambda value: value if isinstance(value, bool) else None,
    # Text of digits is an amount, too.
    Decimal: lambda value: value if isinstance(value, str) and _DECIMAL.fullmatch(value) else None,
}


def _said(value: object, holds: type) -> str:
    if isinstance(value, _Number):
        return "a number"
    return "text that is no number" if holds is Decimal and isinstance(value, str) else _SAID[type(value)]


_SAID: dict[type, str] = {str: "text", bool: "true or false", list: "an array", dict: "an object"}
