"""Schema drift: which fields and enum values orders really have, against those that are recorded.

Unknown fields are never dropped silently: they stay in the raw orders, and here they are named, each with the first
order it was seen in. A path leaves array indices out (``checks.selections.price``), and a modifier's modifiers count
as modifiers, so that depth is no drift. The recorded schema is ``known_fields.json`` in this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import msgspec


class KnownFields(msgspec.Struct, frozen=True):
    """A recorded schema: all ``fields``, the ``values`` of enums, and what keys and amounts need ``always``."""

    about: str
    always: tuple[str, ...]
    fields: frozenset[str]
    values: dict[str, frozenset[str]]


@dataclass(frozen=True)
class Drift:
    """How orders differ from the recorded schema; each finding with the GUID of the first order that shows it."""

    new_fields: Mapping[str, str | None]
    """Paths that are not recorded."""
    new_values: Mapping[tuple[str, str], str | None]
    """Path and value of an enum, not recorded."""
    vanished_fields: Mapping[str, str | None]
    """Recorded as always there, and in none of the objects that should have it."""

    def __bool__(self) -> bool:
        return bool(self.new_fields or self.new_values or self.vanished_fields)


class SeenFields(msgspec.Struct, frozen=True):
    """What orders had, each thing with the GUID of the first order that showed it.

    ``fields`` are all paths, ``filled`` those that held an object ("" is the order itself): only there can a field be
    missing. ``values`` are those of recorded enums, by path.
    """

    fields: dict[str, str | None]
    filled: dict[str, str | None]
    values: dict[str, dict[str, str | None]]

    def and_then(self, later: SeenFields) -> SeenFields:
        """What these orders had, and after them those of ``later``."""
        values = {path: later.values.get(path, {}) | self.values.get(path, {}) for path in later.values | self.values}
        return SeenFields(later.fields | self.fields, later.filled | self.filled, values)

    def drift(self, known: KnownFields) -> Drift:
        """What was seen, against the recorded schema; by path and value."""
        missing = (path for path in known.always if path not in self.fields and _parent(path) in self.filled)
        return Drift(
            {path: first for path, first in sorted(self.fields.items()) if path not in known.fields},
            {
                (path, value): first
                for path, values in sorted(self.values.items())
                for value, first in sorted(values.items())
                if value not in known.values[path]
            },
            {path: self.filled[_parent(path)] for path in sorted(missing)},
        )


@cache
def known_fields() -> KnownFields:
    """The recorded schema that comes with the package."""
    data = resources.files("toast_assets.tables").joinpath("known_fields.json").read_bytes()
    return msgspec.json.decode(data, type=KnownFields)


@dataclass
class _Node:
    """A field in the tree of all fields seen; ``first`` is the first order that had it.

    ``filled`` says that it held an object, in ``filled_first`` for the first time: only then can a field be missing.
    """

    path: str
    first: str | None
    values: dict[str, str | None] | None
    fields: dict[str, _Node] = field(default_factory=dict)
    filled: bool = False
    filled_first: str | None = None


class FieldObserver:
    """Collects what fields orders have. Show it some orders or all of them, then ask for the ``drift``.

    It holds one entry per field and enum value, not per order, and takes about as long as parsing the JSON.
    """

    def __init__(self, known: KnownFields | None = None) -> None:
        self._known = known or known_fields()
        self._decoder = msgspec.json.Decoder()
        self._root = _Node("", None, None)
        self._order: str | None = None

    def add(self, orders: Iterable[bytes]) -> FieldObserver:
        """Looks at each order's bytes; what is no JSON object is passed over."""
        for data in orders:
            try:
                order = self._decoder.decode(data)
            except (msgspec.DecodeError, RecursionError):
                continue
            if type(order) is dict:
                guid = order.get("guid")
                self._order = guid if isinstance(guid, str) else None
                self._look(order, self._root)
        return self

    def seen(self) -> SeenFields:
        """What the orders had."""
        nodes = list(self._nodes(self._root))
        return SeenFields(
            {node.path: node.first for node in nodes},
            {node.path: node.filled_first for node in [self._root, *nodes] if node.filled},
            {node.path: dict(node.values) for node in nodes if node.values},
        )

    def drift(self) -> Drift:
        """What the orders had, against the recorded schema."""
        return self.seen().drift(self._known)

    def _look(self, item: dict[str, Any], node: _Node) -> None:
        if not node.filled:
            node.filled, node.filled_first = True, self._order
        fields = node.fields
        for name, value in item.items():
            below = fields.get(name) or self._new(node, name)
            kind = type(value)
            if kind is dict:
                self._look(value, below)
            elif kind is list:
                for element in value:
                    if type(element) is dict:
                        self._look(element, below)
                    elif below.values is not None:
                        self._note(below.values, element)
            elif below.values is not None:
                self._note(below.values, value)

    def _note(self, values: dict[str, str | None], value: object) -> None:
        if isinstance(value, str) and value not in values:
            values[value] = self._order

    def _new(self, parent: _Node, name: str) -> _Node:
        path = f"{parent.path}.{name}" if parent.path else name
        node = _Node(path, self._order, {} if path in self._known.values else None)
        if name == "modifiers":
            node.fields[name] = node
        parent.fields[name] = node
        return node

    def _nodes(self, node: _Node) -> Iterable[_Node]:
        for below in node.fields.values():
            if below is not node:
                yield below
                yield from self._nodes(below)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def observed_fields(order: bytes) -> frozenset[str]:
    """The field paths of one order."""
    return frozenset(FieldObserver().add([order]).seen().fields)
