"""How a table is declared, and how rows of decoded orders become an Arrow batch of it.

Most columns name an attribute of the row's struct (``item.guid``), from which the Toast field in the documentation
follows; the walk through the order hands over others, and names come from Toast's configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.errors import UnrepresentableError
from toast_assets.orders.names import NO_NAMES, Names
from toast_assets.orders.times import business_day, instant
from toast_assets.week import epoch_ms, from_epoch_ms

# No amount of this world, nor the noise of one, has more places before or after the point.
_MOST_PLACES = 40
# The years 1 to 9999 in milliseconds since 1970; counted from the first, times before 1970 are rounded down, too.
_FIRST_MS = -62_135_596_800_000
_LAST_MS = 253_402_300_799_999
_QUARTER_MS = 15 * 60 * 1000
# The rest of a key can be null where Toast leaves a GUID out, and Parquet refuses a null in a required column.
_NEVER_NULL = frozenset({"restaurant_guid", "order_guid"})
# Attributes that stand for two of Toast's fields: the real one, and the one of the guide's example.
_ALIASES = {
    "number": "displayNumber",
    "served_as": "diningOption",
    "place": "",
    "instructions": "notes",
    "lookup_code": "plu",
    "gone_date": "deletedDate",
}


class Kind(Enum):
    """What a column holds; the value is its Arrow type."""

    TEXT = pa.string()
    MONEY = pa.decimal128(18, 4)
    """Currency units, rounded half-even. Toast computes in binary floating point: more digits are its noise."""
    QUANTITY = pa.decimal128(18, 6)
    """Rounded half-even."""
    INSTANT = pa.timestamp("ms", "UTC")
    """From Toast's text; fractions beyond the millisecond are cut off."""
    LOCAL = pa.timestamp("ms")
    """On the restaurant's clock."""
    DAY = pa.date32()
    """The local business date, from Toast's integer, 20250919."""
    FLAG = pa.bool_()
    """Null counts as no."""
    COUNT = pa.int32()
    COORDINATE = pa.float64()


def is_representable(amount: Decimal) -> bool:
    """Whether ``amount`` can be one of money: finite, and not beyond 40 places around the point."""
    return amount.is_finite() and (not amount or abs(amount.adjusted()) <= _MOST_PLACES)


def local_times(moments: pa.Array, clock: ZoneInfo | None) -> pa.Array:
    """The moments on a restaurant's clock; null where there is none. Raises OverflowError where a time is beyond the
    calendar there."""
    if clock is None:
        return pa.nulls(len(moments), Kind.LOCAL.value)
    # Clocks change on a quarter of an hour at the earliest, so that few of them have to be asked for.
    milliseconds = moments.cast(pa.int64())
    quarters = pc.divide(pc.subtract(milliseconds, _FIRST_MS), _QUARTER_MS).dictionary_encode()
    starts = (quarter * _QUARTER_MS + _FIRST_MS for quarter in quarters.dictionary.to_pylist())
    offsets = [_offset_ms(clock, start) for start in starts]
    shifted = pc.add(milliseconds, pa.array(offsets, pa.int64()).take(quarters.indices))
    return shifted.cast(pa.timestamp("ms")).cast(Kind.LOCAL.value)


@lru_cache(maxsize=10_000)
def _offset_ms(clock: ZoneInfo, moment_ms: int) -> int:
    """How much a restaurant's clock is ahead of UTC, in milliseconds."""
    moment = from_epoch_ms(moment_ms)
    return epoch_ms(moment.astimezone(clock).replace(tzinfo=UTC)) - moment_ms


def _array(kind: Kind, values: Any) -> pa.Array:
    """The Arrow array of ``values``, or a ValueError, ArithmeticError or ArrowException where one does not fit."""
    if isinstance(values, pa.Array):
        return values
    match kind:
        case Kind.MONEY | Kind.QUANTITY:
            return _decimals(kind.value, values)
        case Kind.INSTANT:
            return _instants(kind.value, values)
        case Kind.DAY:
            values = list(map(business_day, values))
        case Kind.FLAG:
            return pa.array(values, kind.value).fill_null(False)
    return pa.array(values, kind.value)


def _decimals(form: pa.Decimal128Type, exact: Sequence[Decimal | None]) -> pa.Array:
    places = [value.adjusted() for value in exact if value is not None]
    # Arrow takes what needs no rounding, and refuses the rest. Extremes it must not see: 1e-9999999 ends the process.
    if min(places, default=0) >= -_MOST_PLACES and max(places, default=0) <= _MOST_PLACES:
        with suppress(pa.ArrowInvalid):
            return pa.array(exact, form)
    scale = Decimal(1).scaleb(-form.scale)
    values = [value if value is None else value.quantize(scale, ROUND_HALF_EVEN) for value in exact]
    # What is too large to be rounded, or no number, Decimal or Arrow refuses.
    if not all(is_representable(one) for one, rounded in zip(exact, values, strict=True) if one and not rounded):
        raise ValueError("an amount is too small")
    return pa.array(values, form)


def _instants(form: pa.TimestampType, texts: Sequence[str | None]) -> pa.Array:
    # Arrow is much faster, and reads whatever it takes as ``instant`` does, except for years that Python does not have.
    with suppress(pa.ArrowInvalid):
        found = pa.array(texts, pa.string()).cast(form)
        first, last = pc.min_max(found.cast(pa.int64())).as_py().values()
        if first is None or (first >= _FIRST_MS and last <= _LAST_MS):
            return found
    moments = map(instant, texts)
    return pa.array([one and one - timedelta(microseconds=one.microsecond % 1000) for one in moments], form)


class Lookup(NamedTuple):
    """Which of the ``names`` in Toast's configuration a column has: of the things of a ``kind`` their ``what`` (an
    attribute of ``Name``), by the GUID in another column, which compares without case."""

    kind: str
    guid: str
    what: str

    def find(self, guids: pa.Array, names: Names) -> pa.Array:
        """The text for each of ``guids``; null where it is unknown. Each GUID is looked up once."""
        encoded = guids.dictionary_encode()
        found = [getattr(names.find(self.kind, guid), self.what) for guid in encoded.dictionary.to_pylist()]
        return pa.array(found, Kind.TEXT.value).take(encoded.indices)


@dataclass(frozen=True)
class Column:
    """One column: its kind, its name, a sentence on what it holds, and where in Toast's order it comes from.

    ``path`` is the attribute of the row's struct, by default the column's name. The walk hands over the value of a
    column with ``given``, which names the Toast fields behind it. ``toast`` replaces the field that follows from
    ``path``. A column with a ``lookup`` has what that finds, else the attribute at ``path`` where it has one.
    """

    kind: Kind
    name: str
    description: str
    path: str = ""
    given: str | None = None
    toast: str = ""
    lookup: Lookup | None = None


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
                column.kind.value,
                nullable=not (column.kind is Kind.FLAG or column.name in _NEVER_NULL),
                metadata={"description": column.description, "toast": self.toast_field(column)},
            )
            for column in self.columns
        ]
        return pa.schema(fields, metadata={"table": self.name, "description": self.description})

    def toast_field(self, column: Column) -> str:
        """Where a column's value comes from, ``checks[].selections[].item.guid``; ``""`` where Toast has no field."""
        if column.given is not None:
            return column.given
        names = (_ALIASES.get(name, name) for name in (column.path or column.name).split("."))
        below = ".".join(re.sub("_(.)", lambda match: match[1].upper(), name) for name in names if name)
        return column.toast or (f"{self.root}.{below}" if self.root else below)

    def batch(
        self, rows: Sequence[msgspec.Struct], given: Mapping[str, Any], names: Names = NO_NAMES
    ) -> pa.RecordBatch:
        """The Arrow batch of ``rows`` of one restaurant, with the ``names`` in its configuration.

        ``given`` has the given columns: each a list, an Arrow array, or a function of the arrays of all columns that
        are not functions. Raises UnrepresentableError where a value does not fit its column's type.
        """
        arrays: dict[str, pa.Array] = {}
        structs: dict[str, Sequence[Any]] = {}
        for column in sorted(self.columns, key=lambda column: callable(given.get(column.name))):
            try:
                found = [column.lookup.find(arrays[column.lookup.guid], names)] if column.lookup else []
                if column.path or not found:
                    by_path = column.given is None
                    values = _attribute(rows, column.path or column.name, structs) if by_path else given[column.name]
                    found.append(_array(column.kind, values(arrays) if callable(values) else values))
                arrays[column.name] = pc.coalesce(*found) if len(found) > 1 else found[0]
            except (ValueError, ArithmeticError, pa.ArrowException):
                # The error of pyarrow repeats the value, which may be a guest's.
                raise UnrepresentableError(f"a value of {self.name}.{column.name} is no {column.kind.name}") from None
        return pa.RecordBatch.from_arrays([arrays[name] for name in self.schema.names], schema=self.schema)


def _attribute(rows: Sequence[Any], path: str, structs: dict[str, Sequence[Any]]) -> Sequence[Any]:
    """One value per row, None where any part of ``path`` is; ``structs`` keeps what is on the way to it."""
    above, _, name = path.rpartition(".")
    if not above:
        return list(map(attrgetter(name), rows))
    if above not in structs:
        structs[above] = _attribute(rows, above, structs)
    return [None if struct is None else getattr(struct, name) for struct in structs[above]]
