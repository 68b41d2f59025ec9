"""Schema drift over all orders of a week at a fraction of the cost: only orders that show something new are looked at.

An order that fits the recorded schema cannot add to the drift, and a typed decoder that refuses unknown fields tells
so several times faster than a walk through the order. What it refuses goes to the ``FieldObserver``, and what that
finds is known from then on: a field that every order has is found once, not a hundred thousand times.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Union

import msgspec

from toast_assets.tables.drift import FieldObserver, KnownFields, SeenFields, known_fields

# Enough to have seen every field that orders always have.
_LOOKED_AT_FIRST = 300
# After so many surprises the shape is not worth a decoder any more.
_MOST_DECODERS = 40
# Asking what was found takes longer than looking at an order; where nothing helps any more it is asked this rarely.
_PAUSE = 64
# Modifiers of modifiers; what is nested deeper is looked at.
_DEPTH = 4


class DriftWatch:
    """Collects the drift of the orders that are shown to it."""

    def __init__(self, known: KnownFields | None = None) -> None:
        self._known = known or known_fields()
        self._observer = FieldObserver(self._known)
        self._fields, self._values = set(self._known.fields), self._known.values
        self._decoder = _decoder(self._fields, self._values, self._known.always)
        self._decoders = 1
        self._left = _LOOKED_AT_FIRST
        self._looked = 0
        self._missing = False

    def add(self, orders: Iterable[bytes]) -> None:
        """Look at the bytes of orders; what is no JSON object is passed over."""
        for order in orders:
            if self._left or self._missing or not self._fits(order):
                self._left = max(0, self._left - 1)
                self._look(order)

    def seen(self) -> SeenFields:
        """Of what the orders had, all that can be drift."""
        return self._observer.seen()

    def _fits(self, data: bytes) -> bool:
        try:
            self._decoder.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def _look(self, data: bytes) -> None:
        self._observer.add([data])
        self._looked += 1
        if self._left or ((self._missing or self._decoders >= _MOST_DECODERS) and self._looked % _PAUSE):
            return
        # Until a field that went missing is met again, it counts as vanished: go on looking.
        seen = self._observer.seen()
        self._missing = bool(seen.drift(self._known).vanished_fields)
        fields = self._fields | seen.fields.keys()
        values: dict[str, frozenset[str]] = defaultdict(frozenset, self._values)
        for path, found in seen.values.items():
            values[path] |= found.keys()
        if (fields, values) != (self._fields, self._values) and self._decoders < _MOST_DECODERS:
            self._fields, self._values = fields, values
            self._decoder = _decoder(fields, values, self._known.always)
            self._decoders += 1


def _decoder(
    fields: Iterable[str], values: Mapping[str, frozenset[str]], always: Iterable[str]
) -> msgspec.json.Decoder[Any]:
    """Accepts an order exactly if all its fields and enum values are known and it has what orders always have."""
    below: dict[str, list[str]] = defaultdict(list)
    for path in sorted(fields):
        below[path.rpartition(".")[0]].append(path)
    required = frozenset(always)

    def type_of(path: str, depth: int) -> Any:
        allowed = values.get(path)
        accepted: list[Any] = [Literal[tuple(sorted(allowed))] if allowed else str, int, float, bool, None]
        if path in below:
            accepted.append(struct_of(path, depth))
        one: Any = Union.__getitem__(tuple(accepted))
        return Union.__getitem__((one, tuple.__class_getitem__((one, ...))))

    def struct_of(path: str, depth: int) -> Any:
        children = [(child, child.rpartition(".")[2]) for child in below[path]]
        members: list[Any] = [(name, type_of(child, depth)) for child, name in children if child in required]
        members += [(name, type_of(child, depth), None) for child, name in children if child not in required]
        if path.endswith(".modifiers") and depth < _DEPTH:
            members.append(("modifiers", type_of(path, depth + 1), None))
        return msgspec.defstruct("Known", members, forbid_unknown_fields=True, gc=False)

    return msgspec.json.Decoder(struct_of("", 0))
