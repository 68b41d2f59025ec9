"""Which fields differ between two versions of an order: their names, never a value."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal

import msgspec

from toast_assets.orders.scanner import readable, shallow
from toast_assets.orders.shown import shown_name

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Change(msgspec.Struct, frozen=True, order=True):
    """A field by its path, ``checks[].payments[].tipAmount``, that the later version adds, removes or changes."""

    path: str
    what: Literal["added", "changed", "removed"]


def changes(before: bytes, after: bytes) -> list[Change] | None:
    """The fields that differ between two versions (JSON), each once; None where one of them cannot be read. Elements of
    arrays are compared by their ``guid``, without one by their place. A field that is null equals one that is absent.
    """
    contents = [_content(body) for body in (before, after)]
    if any(not isinstance(content, dict) for content in contents):
        return None
    return sorted(set(_differing("", *contents)))


def _content(body: bytes) -> Any:
    try:
        text = readable(body)
        try:
            return _decode(text)
        except RecursionError:
            return _decode(shallow(text))
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError):
        return None


def _differing(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            below = f"{path}.{shown_name(name)}".removeprefix(".")
            yield from _differing(below, before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list):
        ours, theirs = _elements(before), _elements(after)
        for key in ours.keys() | theirs.keys():
            yield from _differing(f"{path}[]", ours.get(key), theirs.get(key))
    elif before != after:
        yield Change(path, "added" if before is None else "removed" if after is None else "changed")


def _elements(items: list[Any]) -> dict[tuple[Any, int], Any]:
    """Elements by their GUID, else by their place; of those with one GUID each has a number."""
    found: dict[tuple[Any, int], Any] = {}
    for place, item in enumerate(items):
        guid = item.get("guid") if isinstance(item, dict) else None
        key, number = (guid, 0) if isinstance(guid, str) else (place, 0)
        while (key, number) in found:
            number += 1
        found[key, number] = item
    return found
