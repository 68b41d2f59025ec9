"""Schema drift: which fields, types and enum values orders have, against ``orders/known_fields.json`` and the types of
``orders.model``.

Unknown fields stay in the raw orders, and here they are named, each with the first order that has it. A path leaves
array indices out (``checks.selections.price``), and a modifier's modifiers count as modifiers, so that depth is no
drift.

Names and values of orders can be data: a guest's e-mail, phone or name. So only those that have the form of a field's
name or of an enum's value are shown; others are described, and the first order that has one leads there. A parent
with very many unknown fields counts as a map, whose fields are one, ``*``. Whatever orders hold, this holds little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

import msgspec

from toast_assets.markdown import plain
from toast_assets.orders.model import Order, known_fields
from toast_assets.orders.read import members
from toast_assets.orders.scanner import readable, shallow

# More unknown fields below one parent are a map's keys.
_MOST_BELOW = 50
# Unknown fields in all, levels of a path, unknown values of an enum: far more than anybody reads.
_MOST_UNKNOWN = 500
_MOST_LEVELS = 10
_MOST_VALUES = 50
_MAP, _OTHERS = "*", "(other values)"
# Toast writes fields in camelCase; what else is in use for fields passes too.
_NAME = re.compile(r"[a-z_][A-Za-z0-9_]{0,59}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}", re.ASCII)
_LIKE_A_PHONE = re.compile(r"\d{7}", re.ASCII)
_SIGNS = {"@": "@", "+": "+", "-": "-", ".": ".", " ": "blanks"}
# Types that have other forms in JSON than their own.
_FORMS: Mapping[type, tuple[type, ...]] = {float: (int, Decimal), Decimal: (int, Decimal, str)}
KINDS = ("vanished field", "other type", "new value", "new field")
_SAID = {str: "text", int: "a number", Decimal: "a number", bool: "true or false", list: "an array", dict: "an object"}


class DriftFinding(msgspec.Struct, frozen=True):
    """One difference from the recorded schema, with the GUID of the first order that shows it.

    ``value`` is a new value of an enum, or what a field holds instead of its own type: text, a number, an array, …;
    ``times`` counts these. A vanished field is recorded as always there, and in no object that should have it.
    """

    kind: str
    path: str
    value: str | None
    first_order: str | None
    times: int | None = None


def shown_value(value: str) -> str:
    """An enum's value, or what it looks like where it may be a guest's data: ``(a text of 21 characters with @)``."""
    return _shown(value, _VALUE, "text")


def _shown(text: str, form: re.Pattern[str], what: str) -> str:
    if form.fullmatch(text) is not None and _LIKE_A_PHONE.search(text) is None:
        return text
    signs = ", ".join(said for sign, said in _SIGNS.items() if sign in text)
    size = "1 character" if len(text) == 1 else f"{len(text)} characters"
    return f"(a {what} of {size}{f' with {signs}' if signs else ''})"


@cache
def _known_types() -> Mapping[str, frozenset[type]]:
    """The types that a field of the tables and feeds may have in JSON besides null, by path."""
    return dict(_types_of(Order, ""))


def _types_of(struct: type, before: str) -> Iterator[tuple[str, frozenset[type]]]:
    for name, member in members(struct).items():
        # Of an annotated type the type.
        of_member = getattr(member.holds, "__origin__", member.holds)
        below = issubclass(of_member, msgspec.Struct)
        holds = list if member.many else dict if below else of_member
        yield f"{before}{name}", frozenset((*_FORMS.get(holds, (holds,)), *([str] if member.or_text else [])))
        # Modifiers of modifiers have the path of modifiers.
        if below and not before.endswith(f"{name}."):
            yield from _types_of(member.holds, f"{before}{name}.")


@dataclass(slots=True)
class _Node:
    """A field in the tree of all fields seen; ``first`` is the first order that had it.

    ``filled`` has the first order in which it held an object: only then can a field be missing. ``values`` are those of
    an enum that are not known, ``others`` what it held instead of its own type, with the first order and the number.
    ``fields`` has what was met below by its name, or by the description of a name that is not shown.
    """

    path: str
    level: int
    first: str | None
    known: bool
    types: frozenset[type] = frozenset(_SAID)
    known_values: frozenset[str] | None = None
    values: dict[str, str | None] = field(default_factory=dict)
    others: dict[str, tuple[str | None, int]] = field(default_factory=dict)
    fields: dict[str, _Node] = field(default_factory=dict)
    filled: tuple[str | None, ...] = ()

    def nodes(self) -> Iterator[_Node]:
        """This one and all below it."""
        yield self
        for below in self.fields.values():
            if below is not self:
                yield from below.nodes()


class DriftDetector:
    """Collects what fields orders have. Show it some orders or all of them, then ask for the ``findings``."""

    def __init__(self) -> None:
        self._known = known_fields()
        self._root = _Node("", 0, None, known=True)
        self._order: str | None = None

    def add(self, order: object) -> None:
        """Looks at an order, as it is ``decoded``; what is no JSON object is passed over."""
        if type(order) is dict:
            self._order = plain(guid) if isinstance(guid := order.get("guid"), str) else None
            self._look(order)

    def findings(self) -> tuple[DriftFinding, ...]:
        """What the orders had, against the recorded schema: what may cost an amount first, new fields, of which there
        can be many, last; each by path and value."""
        nodes = {node.path: node for node in self._root.nodes()}
        found = [
            DriftFinding("vanished field", path, None, parent.filled[0])
            for path in self._known.always
            if path not in nodes and (parent := nodes.get(path.rpartition(".")[0])) is not None and parent.filled
        ]
        for path, node in nodes.items():
            found += [DriftFinding("other type", path, one, *seen) for one, seen in node.others.items()]
            found += [DriftFinding("new value", path, value, first) for value, first in node.values.items()]
            if not node.known:
                found.append(DriftFinding("new field", path, None, node.first))
        return tuple(sorted(found, key=lambda one: (KINDS.index(one.kind), one.path, one.value or "")))

    def _look(self, order: dict[str, Any]) -> None:
        # A list of what is left to look at instead of calls: an order may be nested deeper than calls may be.
        left: list[tuple[Any, _Node]] = [(order, self._root)]
        while left:
            item, node = left.pop()
            if type(item) is list:
                for element in item:
                    if type(element) is dict or type(element) is list:
                        left.append((element, node))
                    elif node.known_values is not None:
                        self._look_at_value(node, element)
                continue
            if not node.filled:
                node.filled = (self._order,)
            fields = node.fields
            for name, value in item.items():
                below = fields.get(name) or self._below(node, name)
                if value is None:
                    continue
                kind = type(value)
                if kind not in below.types:
                    first, times = below.others.get(_SAID[kind]) or (self._order, 0)
                    below.others[_SAID[kind]] = (first, times + 1)
                if kind is dict or kind is list:
                    if below.level < _MOST_LEVELS:
                        left.append((value, below))
                elif below.known_values is not None:
                    self._look_at_value(below, value)

    def _look_at_value(self, node: _Node, value: object) -> None:
        if type(value) is not str or value in (node.known_values or ()) or value in node.values:
            return
        shown = shown_value(value)
        if len(node.values) >= _MOST_VALUES and shown not in node.values:
            shown = _OTHERS
        node.values.setdefault(shown, self._order)

    def _below(self, parent: _Node, name: str) -> _Node:
        """The field below ``parent`` that ``name`` is, made where it is met for the first time."""
        known = _path(parent, name) in self._known.fields
        if not known:
            name = self._label(parent, name)
            if name in parent.fields:
                return parent.fields[name]
        path = _path(parent, name)
        node = _Node(path, parent.level + 1, self._order, known, _known_types().get(path, frozenset(_SAID)))
        if known:
            node.known_values = self._known.values.get(path)
            if name == "modifiers":
                node.fields[name] = node
        parent.fields[name] = node
        return node

    def _label(self, parent: _Node, name: str) -> str:
        if _MAP in parent.fields:
            return _MAP
        label = _shown(name, _NAME, "name")
        if label in parent.fields:
            return label
        unknown = [label for label, node in parent.fields.items() if not node.known]
        if len(unknown) < _MOST_BELOW and sum(not node.known for node in self._root.nodes()) < _MOST_UNKNOWN:
            return label
        # One field instead of all unknown ones below, and of what is below them.
        first = parent.fields[unknown[0]].first if unknown else self._order
        for label in unknown:
            del parent.fields[label]
        parent.fields[_MAP] = _Node(_path(parent, _MAP), _MOST_LEVELS, first, known=False)
        return _MAP


def _path(parent: _Node, name: str) -> str:
    return f"{parent.path}.{name}".removeprefix(".")


def decoded(body: bytes) -> Any:
    """The JSON in ``body``, with exact decimals; None where nothing can read it."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        pass
    try:
        return _decode_slowly(str(shallow(readable(body)), "utf-8", "replace"))
    except (ValueError, msgspec.DecodeError):
        return None


def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")


_decode = msgspec.json.Decoder(float_hook=Decimal).decode
# Python refuses to read a whole number of very many digits; without some of them it is still too large for an amount.
_decode_slowly = json.JSONDecoder(
    parse_int=lambda digits: int(digits[:1000]), parse_float=_decimal, parse_constant=_decimal
).decode
