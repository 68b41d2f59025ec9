"""Schema drift: which fields, types and enum values orders really have, against those that are recorded.

Unknown fields are never dropped silently: they stay in the raw orders, and here they are named, each with the first
order it was seen in. A path leaves array indices out (``checks.selections.price``), and a modifier's modifiers count
as modifiers, so that depth is no drift. The recorded schema is ``orders/known_fields.json``, the types are
those of ``orders.model``.

Where field names are data (a map keyed by GUID, by e-mail), they are neither shown nor kept: what has not the form of a
field's name is described, and a parent with very many unknown fields counts as a map, whose fields are one, ``*``. So
whatever orders hold, this holds little.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from types import NoneType
from typing import Any, get_args, get_type_hints

import msgspec

from toast_assets.checks.names import shown_name, shown_value
from toast_assets.markdown import plain
from toast_assets.orders.known_fields import KnownFields, known_fields
from toast_assets.orders.model import Order
from toast_assets.orders.scanner import readable, shallow

# More unknown fields below one parent are a map's keys.
_MOST_BELOW = 50
# Unknown fields in all, levels of a path, unknown values of an enum: far more than anybody reads.
_MOST_UNKNOWN = 500
_MOST_LEVELS = 10
_MOST_VALUES = 50
_MAP, _DEEPER, _OTHERS = "*", "(nested deeper)", "(other values)"
_ANY: frozenset[type] = frozenset((str, int, float, bool, NoneType, list, dict))
_TYPES: Mapping[type, frozenset[type]] = {
    str: frozenset((str, NoneType)),
    int: frozenset((int, NoneType)),
    float: frozenset((int, float, NoneType)),
    bool: frozenset((bool, NoneType)),
    Decimal: frozenset((int, float, str, NoneType)),
}
_OBJECT: frozenset[type] = frozenset((dict, NoneType))
_ARRAY: frozenset[type] = frozenset((list, NoneType))
_SAID = {str: "text", int: "a number", float: "a number", bool: "true or false", list: "an array", dict: "an object"}


class OtherType(msgspec.Struct):
    """How often a field had a type that is not its own, and the first order."""

    first: str | None
    times: int = 0


@dataclass(frozen=True)
class Drift:
    """How orders differ from the recorded schema; each finding with the GUID of the first order that shows it."""

    new_fields: Mapping[str, str | None]
    """Paths that are not recorded."""
    new_values: Mapping[tuple[str, str], str | None]
    """Path and value of an enum, not recorded."""
    other_types: Mapping[tuple[str, str], OtherType]
    """Path and what was there instead of the field's own type: text, a number, an array, …."""
    vanished_fields: Mapping[str, str | None]
    """Recorded as always there, and in none of the objects that should have it."""

    def __bool__(self) -> bool:
        return bool(self.new_fields or self.new_values or self.other_types or self.vanished_fields)


@cache
def known_types() -> Mapping[str, frozenset[type]]:
    """The types that JSON values of a field may have, by path, for all fields that the tables and feeds read."""
    return dict(_types_of(Order, ""))


def _types_of(struct: type, before: str) -> Iterator[tuple[str, frozenset[type]]]:
    hints = get_type_hints(struct)
    for one in msgspec.structs.fields(struct):
        (holds,) = (each for each in get_args(hints[one.name]) if each is not NoneType)
        many = bool(get_args(holds))
        holds = get_args(holds)[0] if many else holds
        path = f"{before}{one.encode_name}"
        below = issubclass(holds, msgspec.Struct)
        yield path, _ARRAY if many else _OBJECT if below else _TYPES[holds]
        # Modifiers of modifiers stand where modifiers do.
        if below and not before.endswith(f"{one.encode_name}."):
            yield from _types_of(holds, f"{path}.")


@dataclass(slots=True)
class _Node:
    """A field in the tree of all fields seen; ``first`` is the first order that had it.

    ``filled`` says that it held an object, in ``filled_first`` for the first time: only then can a field be missing.
    ``fields`` has what was met below by its name, for a name that is not shown by its description.
    """

    path: str
    level: int
    first: str | None
    known: bool
    types: frozenset[type] = _ANY
    values: dict[str, str | None] | None = None
    known_values: frozenset[str] = frozenset()
    others: dict[str, OtherType] = field(default_factory=dict)
    fields: dict[str, _Node] = field(default_factory=dict)
    unknown_below: int = 0
    filled: bool = False
    filled_first: str | None = None


class FieldObserver:
    """Collects what fields orders have. Show it some orders or all of them, then ask for the ``drift``.

    It takes about as long as parsing the JSON, and holds one entry per field and enum value, of which the unknown ones
    are limited in number and in length.
    """

    def __init__(self, known: KnownFields | None = None) -> None:
        self._known = known or known_fields()
        self._root = _Node("", 0, None, known=True)
        self._unknown = 0
        self._guid: object = None

    def add(self, orders: Iterable[bytes]) -> FieldObserver:
        """Looks at each order's bytes; what is no JSON object is passed over."""
        for data in orders:
            order = _decoded(data)
            if type(order) is dict:
                self._guid = order.get("guid")
                self._look(order)
        return self

    def drift(self) -> Drift:
        """What the orders had, against the recorded schema; by path and value."""
        nodes = {node.path: node for node in self._nodes()}
        values = [(node, value, first) for node in nodes.values() for value, first in (node.values or {}).items()]
        missing = [
            (path, parent.filled_first)
            for path in self._known.always
            if path not in nodes and (parent := nodes.get(path.rpartition(".")[0])) is not None and parent.filled
        ]
        return Drift(
            {path: node.first for path, node in sorted(nodes.items()) if not node.known},
            dict(sorted(((node.path, value), first) for node, value, first in values)),
            dict(sorted(((path, said), one) for path, node in nodes.items() for said, one in node.others.items())),
            dict(sorted(missing)),
        )

    @property
    def _order(self) -> str | None:
        return plain(self._guid) if isinstance(self._guid, str) else None

    def _look(self, order: dict[str, Any]) -> None:
        # A list of what is left to look at instead of calls: an order may be nested deeper than calls may be.
        left: list[tuple[Any, _Node]] = [(order, self._root)]
        while left:
            item, node = left.pop()
            if type(item) is list:
                self._look_at_elements(item, node, left)
                continue
            if not node.filled:
                node.filled, node.filled_first = True, self._order
            fields = node.fields
            for name, value in item.items():
                below = fields.get(name) or self._below(node, name)
                kind = type(value)
                if kind not in below.types:
                    self._note_type(below, _SAID[kind])
                if kind is dict or kind is list:
                    if below.level <= _MOST_LEVELS:
                        left.append((value, below))
                elif below.values is not None:
                    self._note_value(below, value)

    def _look_at_elements(self, elements: list[Any], node: _Node, left: list[tuple[Any, _Node]]) -> None:
        for element in elements:
            kind = type(element)
            if kind is dict or kind is list:
                left.append((element, node))
            elif node.values is not None:
                self._note_value(node, element)

    def _note_value(self, node: _Node, value: object) -> None:
        if type(value) is not str or value in node.known_values or node.values is None:
            return
        if value in node.values:
            return
        shown = shown_value(value)
        if len(node.values) >= _MOST_VALUES and shown not in node.values:
            shown = _OTHERS
        node.values.setdefault(shown, self._order)

    def _note_type(self, node: _Node, said: str) -> None:
        if said not in node.others:
            node.others[said] = OtherType(self._order)
        node.others[said].times += 1

    def _below(self, parent: _Node, name: str) -> _Node:
        """The field below ``parent`` that ``name`` is, made where it is met for the first time."""
        path = f"{parent.path}.{name}" if parent.path else name
        if path in self._known.fields:
            values: dict[str, str | None] | None = {} if path in self._known.values else None
            types = known_types().get(path, _ANY)
            node = _Node(
                path, parent.level + 1, self._order, True, types, values, self._known.values.get(path, frozenset())
            )
            if name == "modifiers":
                node.fields[name] = node
        else:
            label = self._label(parent, name)
            if (met := parent.fields.get(label)) is not None:
                return met
            path = f"{parent.path}.{label}" if parent.path else label
            node = _Node(path, parent.level + 1, self._order, False, known_types().get(path, _ANY))
            parent.unknown_below += 1
            self._unknown += 1
            name = label
        parent.fields[name] = node
        return node

    def _label(self, parent: _Node, name: str) -> str:
        if _MAP in parent.fields:
            return _MAP
        if parent.level >= _MOST_LEVELS:
            return _DEEPER
        label = shown_name(name)
        if label in parent.fields:
            return label
        if parent.unknown_below < _MOST_BELOW and self._unknown < _MOST_UNKNOWN:
            return label
        self._become_map(parent)
        return _MAP

    def _become_map(self, parent: _Node) -> None:
        """One field instead of all unknown ones below ``parent``, and of what is below them."""
        unknown = [(name, node) for name, node in parent.fields.items() if not node.known]
        for name, node in unknown:
            del parent.fields[name]
            self._unknown -= 1 + sum(not below.known for below in _all_below(node))
        path = f"{parent.path}.{_MAP}" if parent.path else _MAP
        first = unknown[0][1].first if unknown else self._order
        parent.fields[_MAP] = _Node(path, _MOST_LEVELS + 1, first, known=False)
        parent.unknown_below = 1
        self._unknown += 1

    def _nodes(self) -> Iterator[_Node]:
        yield self._root
        yield from _all_below(self._root)


def _all_below(node: _Node) -> Iterator[_Node]:
    for below in node.fields.values():
        if below is not node:
            yield below
            yield from _all_below(below)


def _decoded(data: bytes) -> Any:
    """The JSON in ``data``; None where there is none."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _decode_slowly(str(shallow(readable(data)), "utf-8", "replace"))
    except ValueError:
        return None


_decode = msgspec.json.Decoder().decode
# Which number it is does not matter here, and it may be one that neither int nor float can hold.
_decode_slowly = json.JSONDecoder(parse_int=lambda _: 0, parse_float=lambda _: 0.0, parse_constant=lambda _: 0.0).decode
