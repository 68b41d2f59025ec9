"""How a table is declared, and how a declared table becomes an Arrow batch.

A table is a tuple of columns. Most name an attribute path in the decoded struct of the row (``item.guid``), from
which the Toast field in the documentation follows; the others are handed over by the walk through the order.
Conversion is by column, a batch at a time: that is what makes it fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

from toast_assets.errors import UnrepresentableError
from toast_assets.tables.arrays import Kind, empty, to_array


@dataclass(frozen=True)
class Column:
    """One column: its name and kind, a sentence on what it holds, and where in Toast's order it comes from.

    With a ``path`` the value is that attribute of the row's struct, ``None`` where any part of it is. Without one
    the value is handed over, and ``toast`` says where it comes from.
    """

    name: str
    kind: Kind
    description: str
    path: str = ""
    toast: str = ""


class Attributes:
    """The attributes of a batch's rows, by path; what several paths share (``delivery_info``) is fetched once.

    A row's own fields are fetched all at once, a block of rows at a time: touching each object once, while it is in
    the processor's cache, instead of once per column takes a third of the time.
    """

    _BLOCK = 64

    def __init__(self, rows: Sequence[msgspec.Struct]) -> None:
        self._rows = rows
        names = rows[0].__struct_fields__ if rows else ()
        columns: list[list[Any]] = [[] for _ in names]
        for start in range(0, len(rows), self._BLOCK):
            block = map(msgspec.structs.astuple, rows[start : start + self._BLOCK])
            for column, values in zip(columns, zip(*block, strict=True), strict=True):
                column.extend(values)
        self._values: dict[str, Sequence[Any] | None] = dict(zip(names, map(_unless_empty, columns), strict=True))

    def get(self, path: str) -> Sequence[Any] | None:
        """One value per row, ``None`` where any part of ``path`` is; ``None`` at all where every row's is."""
        if path not in self._values:
            parent, _, name = path.rpartition(".")
            get = attrgetter(name)
            owners = self.get(parent) if parent else self._rows
            self._values[path] = owners and _unless_empty([None if one is None else get(one) for one in owners])
        return self._values[path]


def _unless_empty(values: Sequence[Any]) -> Sequence[Any] | None:
    return values if any(value is not None for value in values) else None


@dataclass(frozen=True)
class Table:
    """A table: what one row is, where the rows are in Toast's order (``root``), the key, and the columns."""

    name: str
    description: str
    root: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema. Each field's metadata has its ``description`` and its Toast field, ``toast``."""
        fields = [
            pa.field(
                column.name,
                column.kind.arrow,
                nullable=not (column.kind is Kind.FLAG or column.name in _NEVER_NULL),
                metadata={"description": column.description, "toast": self.toast_field(column)},
            )
            for column in self.columns
        ]
        return pa.schema(fields, metadata={"table": self.name, "description": self.description})

    def toast_field(self, column: Column) -> str:
        """Where a column's value comes from, ``checks[].selections[].item.guid``; ``""`` where Toast has no field."""
        if column.toast or not column.path:
            return column.toast
        return f"{self.root}.{camel(column.path)}" if self.root else camel(column.path)

    def batch(self, rows: Sequence[msgspec.Struct], given: Mapping[str, Any]) -> pa.RecordBatch:
        """The Arrow batch of ``rows``; ``given`` has the columns without a path.

        A given column is a list, an Arrow array, or a function of the arrays of all columns that are not functions.

        Raises:
            UnrepresentableError: a value does not fit its column's type.
        """
        attributes = Attributes(rows)
        arrays: dict[str, pa.Array] = {}
        derived = {}
        for column in self.columns:
            values = attributes.get(column.path) if column.path else given[column.name]
            if callable(values):
                derived[column] = values
            else:
                arrays[column.name] = self._guarded(column, partial(_array, column.kind, values, len(rows)))
        for column, function in derived.items():
            arrays[column.name] = self._guarded(column, partial(function, arrays))
        return pa.RecordBatch.from_arrays([arrays[column.name] for column in self.columns], schema=self.schema)

    def _guarded(self, column: Column, convert: Callable[[], pa.Array]) -> pa.Array:
        try:
            return convert()
        except (ValueError, OverflowError, ArithmeticError, pa.ArrowException, UnrepresentableError):
            # The error of pyarrow repeats the value, which may be a guest's.
            raise UnrepresentableError(f"a value of {self.name}.{column.name} is no {column.kind.name}") from None


def _array(kind: Kind, values: Any, rows: int) -> pa.Array:
    if values is None:
        return empty(kind, rows)
    return values if isinstance(values, pa.Array) else to_array(kind, values)


# The rest of a key can be null where Toast leaves a GUID out, and Parquet refuses a null in a required column.
_NEVER_NULL = frozenset({"restaurant_guid", "order_guid"})

# Attributes that stand for two of Toast's fields: the real one, and the one of the guide's example.
_ALIASES = {
    "number": "displayNumber",
    "served_as": "diningOption",
    "place": "",
    "instructions": "notes",
    "name": "displayName",
    "lookup_code": "plu",
    "gone_date": "deletedDate",
}


def camel(path: str) -> str:
    """Toast's spelling of an attribute path: ``item.multi_location_id`` is ``item.multiLocationId``."""
    parts = []
    for name in path.split("."):
        head, *tail = _ALIASES.get(name, name).split("_")
        parts.append(head + "".join(part.title() for part in tail))
    return ".".join(part for part in parts if part)
