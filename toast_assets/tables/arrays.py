"""Python values to Arrow arrays, a column at a time: one kind of column, one Arrow type, one conversion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import Enum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.errors import UnrepresentableError
from toast_assets.orders.times import business_day, instant

_MONEY_SCALE = Decimal("0.0001")
_QUANTITY_SCALE = Decimal("0.000001")
# Arrow reads beyond its tables where a decimal's exponent is extreme. Of at most 38 digits, which it checks, none is
# then further behind the point than it can move: 42 places.
_SMALLEST_FOR_ARROW, _LARGEST_FOR_ARROW = -5, 14
# No amount of this world, nor the noise of one.
_MOST_PLACES = 40
# Years 1 to 9999, in milliseconds since 1970: what is outside is a moment for Arrow and none for Python.
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    MONEY = "currency units"
    """Rounded half-even to four places. Toast computes in binary floating point: more digits are its noise."""
    QUANTITY = "number"
    """Rounded half-even to six places."""
    INSTANT = "moment, UTC"
    """Given as Toast's text; fractions beyond the millisecond are cut off."""
    LOCAL = "moment, the restaurant's clock"
    DAY = "local business date"
    """Given as Toast's integer, 20250919."""
    FLAG = "yes or no"
    """Null counts as no."""
    COUNT = "whole number"
    COORDINATE = "degrees"

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type."""
        return _TYPES[self]


_TYPES: dict[Kind, pa.DataType] = {
    Kind.TEXT: pa.string(),
    Kind.MONEY: pa.decimal128(18, 4),
    Kind.QUANTITY: pa.decimal128(18, 6),
    Kind.INSTANT: pa.timestamp("ms", "UTC"),
    Kind.LOCAL: pa.timestamp("ms"),
    Kind.DAY: pa.date32(),
    Kind.FLAG: pa.bool_(),
    Kind.COUNT: pa.int32(),
    Kind.COORDINATE: pa.float64(),
}


def to_array(kind: Kind, values: Sequence[Any]) -> pa.Array:
    """The Arrow array of ``values``.

    Raises:
        ValueError, OverflowError, ArithmeticError, UnrepresentableError: a value does not fit ``kind``
            (``pa.ArrowInvalid`` is a ``ValueError``).
    """
    return _CONVERSIONS.get(kind, _plain(kind))(values)


def empty(kind: Kind, rows: int) -> pa.Array:
    """The array of ``rows`` values where Toast said nothing: null, for a flag no."""
    return pa.repeat(pa.scalar(False), rows) if kind is Kind.FLAG else pa.nulls(rows, kind.arrow)


def _plain(kind: Kind) -> Callable[[Sequence[Any]], pa.Array]:
    return lambda values: pa.array(values, kind.arrow)


def is_representable(amount: Decimal) -> bool:
    """Whether ``amount`` is a number that can be one of money: finite, and not beyond 40 places around the point."""
    return amount.is_finite() and (not amount or abs(amount.adjusted()) <= _MOST_PLACES)


def _decimals(kind: Kind, scale: Decimal) -> Callable[[Sequence[Decimal | None]], pa.Array]:
    def rounded(value: Decimal | None) -> Decimal | None:
        if value is None or is_representable(value):
            return value if value is None else value.quantize(scale, ROUND_HALF_EVEN)
        raise UnrepresentableError("an amount is too large, too small, or no number")

    def convert(values: Sequence[Decimal | None]) -> pa.Array:
        places = [value.adjusted() for value in values if value is not None]
        if not places or (min(places) >= _SMALLEST_FOR_ARROW and max(places) <= _LARGEST_FOR_ARROW):
            # Only noise such as 10.989999999999998 needs rounding, which would cost every other column.
            with suppress(pa.ArrowInvalid):
                return pa.array(values, kind.arrow)
        return pa.array([rounded(value) for value in values], kind.arrow)

    def convert_once(values: Sequence[Decimal | None]) -> pa.Array:
        # Often an amount is the very same object, ZERO, all through a batch: no refunds, no gratuities.
        if values and all(value is values[0] for value in values):
            return pa.repeat(convert(values[:1])[0], len(values))
        return convert(values)

    return convert_once


def _instants(texts: Sequence[str | None]) -> pa.Array:
    with suppress(pa.ArrowInvalid):
        moments = pa.array(texts, pa.string()).cast(Kind.INSTANT.arrow)
        extremes = pc.min_max(moments.cast(pa.int64())).as_py()
        # Whether a moment is one must not depend on whether another of its column needs the slow way.
        if extremes["min"] is None or (extremes["min"] >= _FIRST_MS and extremes["max"] <= _LAST_MS):
            return moments
    exact = [instant(text) for text in texts]
    cut = [moment and moment - timedelta(microseconds=moment.microsecond % 1000) for moment in exact]
    return pa.array(cut, Kind.INSTANT.arrow)


def _days(numbers: Sequence[int | None]) -> pa.Array:
    return pa.array(list(map(business_day, numbers)), Kind.DAY.arrow)


def _flags(values: Sequence[bool | None]) -> pa.Array:
    return pa.array(values, Kind.FLAG.arrow).fill_null(False)


_CONVERSIONS: dict[Kind, Callable[[Sequence[Any]], pa.Array]] = {
    Kind.MONEY: _decimals(Kind.MONEY, _MONEY_SCALE),
    Kind.QUANTITY: _decimals(Kind.QUANTITY, _QUANTITY_SCALE),
    Kind.INSTANT: _instants,
    Kind.DAY: _days,
    Kind.FLAG: _flags,
}
