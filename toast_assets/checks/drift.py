"""Schema drift: which fields, types and enum values the orders of a week have, and what of that no earlier week had.

What Toast documents (``orders/known_fields.json``) is no news: a small restaurant has its first refund or its first
curbside order at some time. Everything else is: unknown fields stay in the raw orders, and here they are named, each
with the first order that has it. A path leaves array indices out (``checks.selections.price``), and a modifier's
modifiers count as modifiers, so that depth is no drift.

Names and values of orders can be data: a guest's e-mail, phone or name. So only those that have the form of a field's
name or of an enum's value are kept; others are described, and the first order that has one leads there. A parent
with very many unknown fields counts as a map, whose fields are one, ``*``. Whatever orders hold, this holds little.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cache
from types import NoneType
from typing import Any, NamedTuple

import msgspec

from toast_assets.markdown import plain
from toast_assets.orders.model import Order, known_fields
from toast_assets.orders.read import members
from toast_assets.orders.scanner import readable, shallow
from toast_assets.orders.shown import shown_name, shown_value

# Changes when records of earlier weeks cannot be compared any more.
FIELDS_FORM = 1
# More unknown fields below one parent are a map's keys.
_MOST_BELOW = 50
# Unknown fields in all, levels of a path, unknown values of an enum: far more than anybody reads.
_MOST_UNKNOWN = 500
_MOST_LEVELS = 10
_MOST_VALUES = 50
# A field is always there if hardly any object lacks it; with fewer objects that have it, or lack it, nothing is said.
_ALWAYS = 0.95
_FEWEST_OBJECTS = 10
_MAP, _OTHERS = "*", "(other values)"
# Types that have other forms in JSON than their own.
_FORMS: Mapping[type, tuple[type, ...]] = {float: (int, Decimal), Decimal: (int, Decimal, str)}
KINDS = ("vanished field", "other type", "new value", "new field")
_TYPES: Mapping[type, str] = {
    **{str: "text", int: "integer", Decimal: "decimal", bool: "boolean", list: "array", dict: "object"},
    NoneType: "null",
}
_SAID = {
    **{"text": "text", "integer": "a number", "decimal": "a number", "boolean": "true or false"},
    **{"array": "an array", "object": "an object"},
}


class Seen(NamedTuple):
    """The GUID of the first order in which something was seen, and how often it was seen in all orders."""

    first_order: str | None
    times: int


class FieldRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a week's orders have at one path: values by type (``text``, ``integer``, …, ``null``), the ``objects`` there
    that can have fields, and an enum's ``values`` that Toast does not document."""

    types: dict[str, Seen] = {}
    objects: Seen | None = None
    values: dict[str, Seen] = {}

    @property
    def times(self) -> int:
        """In how many objects the field is, null included."""
        return sum(seen.times for seen in self.types.values())


Fields = Mapping[str, FieldRecord]
"""All fields of a week by path; ``""`` is the order itself."""


class WeekFields(msgspec.Struct, frozen=True):
    """The fields of a week's orders as they are stored, with the version of the orders."""

    form: int
    data_version: str
    fields: dict[str, FieldRecord]


class DriftFinding(msgspec.Struct, frozen=True):
    """One difference from earlier weeks, with the GUID of the first order that shows it.

    ``value`` is a new value of an enum, or what a field holds instead of its own type: text, a number, an array, …;
    ``times`` counts these. A vanished field was always there, and is in no object that should have it.
    """

    kind: str
    path: str
    value: str | None
    first_order: str | None
    times: int | None = None


@cache
def _known_types() -> Mapping[str, frozenset[str]]:
    """The types that a field of the tables and feeds may have in JSON besides null, by path."""
    return {path: frozenset(_TYPES[one] for one in types) for path, types in _types_of(Order, "")}


def _types_of(struct: type, before: str) -> Iterator[tuple[str, tuple[type, ...]]]:
    for name, member in members(struct).items():
        # Of an annotated type the type.
        of_member = getattr(member.holds, "__origin__", member.holds)
        below = issubclass(of_member, msgspec.Struct)
        holds = list if member.many else dict if below else of_member
        yield f"{before}{name}", (*_FORMS.get(holds, (holds,)), *([str] if member.or_text else []))
        # Modifiers of modifiers have the path of modifiers.
        if below and not before.endswith(f"{name}."):
            yield from _types_of(member.holds, f"{before}{name}.")


@dataclass
class FieldHistory:
    """What the weeks before a week had; ``add`` them from the oldest to the newest. ``weeks`` counts them,
    ``unrecorded`` stored ones of which nothing is known."""

    weeks: int = 0
    unrecorded: int = 0
    _types: dict[str, set[str]] = field(default_factory=dict)
    _values: dict[str, set[str]] = field(default_factory=dict)
    _below: Counter[str] = field(default_factory=Counter)
    """How many fields an unknown parent had in all weeks together: a map can have few in each."""
    _always: dict[str, list[int]] = field(default_factory=dict)
    """Fields that were always there: in how many objects so far, and how many have lacked it since."""
    _irregular: set[str] = field(default_factory=set)
    """Fields that were not always there, or whose absence an earlier week has reported."""

    def add(self, fields: Fields) -> None:
        """Take the next week into account."""
        self.weeks += 1
        for path, record in fields.items():
            if path not in self._types and _parent(path) and _parent(path) not in known_fields().fields:
                self._below[_parent(path)] += 1
            self._types.setdefault(path, set()).update(record.types.keys() - {"null"})
            if record.values:
                self._values.setdefault(path, set()).update(record.values)
            if path not in self._irregular:
                counts = self._always.setdefault(path, [0, 0])
                counts[:] = counts[0] + record.times, 0
                if record.times < _ALWAYS * _objects(fields, path) or path.endswith(_MAP):
                    self._no_more(path)
        for path in self._always.keys() - fields.keys():
            counts = self._always[path]
            counts[1] += _objects(fields, path)
            if counts[1] >= _FEWEST_OBJECTS:
                self._no_more(path)

    def _no_more(self, path: str) -> None:
        del self._always[path]
        self._irregular.add(path)

    def drift(self, fields: Fields) -> tuple[DriftFinding, ...]:
        """What a week has that no earlier one had, and what of the earlier ones it lacks: what may cost an amount
        first, new fields, of which there can be many, last; each by path and value.

        Of the first week only types are named that cost amounts, or leave columns of tables and feeds empty.
        """
        found = [*self._vanished(fields)]
        for path, record in fields.items():
            found += [DriftFinding("other type", path, said, *seen) for said, seen in self._odd_types(path, record)]
            known = self._values.get(path, set())
            if self.weeks and len(known) < _MOST_VALUES:
                new = ((value, seen) for value, seen in record.values.items() if value not in known)
                found += [DriftFinding("new value", path, value, seen.first_order) for value, seen in new]
            if self.weeks and self._is_new(path):
                first = next(iter(record.types.values())).first_order
                found.append(DriftFinding("new field", path, None, first))
        return tuple(sorted(found, key=lambda one: (KINDS.index(one.kind), one.path, one.value or "")))

    def _vanished(self, fields: Fields) -> Iterator[DriftFinding]:
        for path, (present, lacking) in self._always.items():
            parent = fields.get(_parent(path))
            if path in fields or _in_map(path, fields) or parent is None or parent.objects is None:
                continue
            if present >= _FEWEST_OBJECTS and lacking + parent.objects.times >= _FEWEST_OBJECTS:
                yield DriftFinding("vanished field", path, None, parent.objects.first_order)

    def _odd_types(self, path: str, record: FieldRecord) -> Iterator[tuple[str, Seen]]:
        before, own = self._types.get(path, set()), _known_types().get(path)
        if own is None and not before:
            return
        own = own or frozenset()
        known, odd = {_SAID[one] for one in before - own}, dict[str, Seen]()
        for name, seen in record.types.items():
            if name not in own and name != "null" and _SAID[name] not in known:
                first, times = odd.get(_SAID[name], (seen.first_order, 0))
                odd[_SAID[name]] = Seen(first, times + seen.times)
        yield from odd.items()

    def _is_new(self, path: str) -> bool:
        if not path or path in self._types or path in known_fields().fields:
            return False
        return self._below[_parent(path)] < _MOST_BELOW and not _in_map(path, self._types)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _objects(fields: Fields, path: str) -> int:
    """How many objects of a week can have the field."""
    parent = fields.get(_parent(path))
    return parent.objects.times if parent and parent.objects and path else 0


def _in_map(path: str, fields: Mapping[str, object]) -> bool:
    """Whether the field is inside of one that counts as a map."""
    parts = path.split(".")
    return any(".".join((*parts[:number], _MAP)) in fields for number in range(len(parts)))


# A first order and a count that grows.
_Count = list[Any]


@dataclass(slots=True)
class _Node:
    """A field in the tree of all fields seen, with what a ``FieldRecord`` has of it.

    ``fields`` has what was met below by its name, or by the description of a name that is not shown.
    """

    path: str
    level: int
    known: bool
    known_values: frozenset[str] | None = None
    types: dict[type, _Count] = field(default_factory=dict)
    objects: _Count | None = None
    values: dict[str, _Count] = field(default_factory=dict)
    fields: dict[str, _Node] = field(default_factory=dict)

    def nodes(self) -> Iterator[_Node]:
        """This one and all below it."""
        yield self
        for below in self.fields.values():
            if below is not self:
                yield from below.nodes()

    def record(self) -> FieldRecord:
        types = {_TYPES[one]: Seen(*count) for one, count in self.types.items()}
        objects = Seen(*self.objects) if self.objects else None
        return FieldRecord(types, objects, {value: Seen(*count) for value, count in self.values.items()})


class FieldCollector:
    """Collects what fields orders have. Show it some orders or all of them, then ask for the ``fields``."""

    def __init__(self) -> None:
        self._known = known_fields()
        self._root = _Node("", 0, known=True)
        self._order: str | None = None

    def add(self, order: object) -> None:
        """Looks at an order, as it is ``decoded``; what is no JSON object is passed over."""
        if type(order) is dict:
            self._order = plain(guid) if isinstance(guid := order.get("guid"), str) else None
            self._look(order)

    def fields(self) -> dict[str, FieldRecord]:
        """All fields of these orders."""
        return {node.path: node.record() for node in self._root.nodes()}

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
            if node.objects is None:
                node.objects = [self._order, 0]
            node.objects[1] += 1
            fields = node.fields
            for name, value in item.items():
                below = fields.get(name) or self._below(node, name)
                kind = type(value)
                count = below.types.get(kind)
                if count is None:
                    count = below.types[kind] = [self._order, 0]
                count[1] += 1
                if kind is dict or kind is list:
                    if below.level < _MOST_LEVELS:
                        left.append((value, below))
                elif below.known_values is not None:
                    self._look_at_value(below, value)

    def _look_at_value(self, node: _Node, value: object) -> None:
        if type(value) is str and value not in (node.known_values or ()):
            shown = shown_value(value)
            if len(node.values) >= _MOST_VALUES and shown not in node.values:
                shown = _OTHERS
            node.values.setdefault(shown, [self._order, 0])[1] += 1

    def _below(self, parent: _Node, name: str) -> _Node:
        """The field below ``parent`` that ``name`` is, made where it is met for the first time."""
        known = _path(parent, name) in self._known.fields
        if not known:
            name = self._label(parent, name)
            if name in parent.fields:
                return parent.fields[name]
        path = _path(parent, name)
        node = _Node(path, parent.level + 1, known)
        if known:
            node.known_values = self._known.values.get(path)
            if name == "modifiers":
                node.fields[name] = node
        parent.fields[name] = node
        return node

    def _label(self, parent: _Node, name: str) -> str:
        if _MAP in parent.fields:
            return _MAP
        label = shown_name(name)
        if label in parent.fields:
            return label
        unknown = [label for label, node in parent.fields.items() if not node.known]
        if len(unknown) < _MOST_BELOW and sum(not node.known for node in self._root.nodes()) < _MOST_UNKNOWN:
            return label
        # One field instead of all unknown ones below, and of what is below them.
        types = parent.fields[unknown[0]].types if unknown else {}
        for label in unknown:
            del parent.fields[label]
        parent.fields[_MAP] = _Node(_path(parent, _MAP), _MOST_LEVELS, known=False, types=types)
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
