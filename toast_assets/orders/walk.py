"""The walk through orders: every row of every table, beside what only the way there knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from typing import TypeVar

import msgspec

from toast_assets.orders.model import AppliedDiscount, AppliedTax, Order, Selection

_P = TypeVar("_P")
_C = TypeVar("_C")


class Line(msgspec.Struct, frozen=True, gc=False):
    """An item or modifier of a check, with its place in the tree."""

    selection: Selection
    parent_guid: str | None
    depth: int
    position: int
    is_sale: bool


def lines(
    selections: Sequence[Selection] | None, parent: str | None = None, depth: int = 0, *, of_sale: bool = True
) -> Iterator[Line]:
    """Every item and modifier, each item followed by what is below it; ``is_sale`` of those that are sales, as what is
    above them (``of_sale``)."""
    for position, selection in enumerate(selections or ()):
        is_sale = of_sale and selection.is_sale
        yield Line(selection, parent, depth, position, is_sale)
        if selection.modifiers:
            yield from lines(selection.modifiers, selection.guid, depth + 1, of_sale=is_sale)


class DiscountPlace(msgspec.Struct, frozen=True, gc=False):
    """Where a discount was applied; ``check`` is the check's row, -1 for a discount on the order. ``is_sale`` is false
    for a discount on an item or modifier that is no sale."""

    order: int
    check: int
    selection_guid: str | None
    level: str
    is_sale: bool = True


class TaxPlace(msgspec.Struct, frozen=True, gc=False):
    """What a tax was applied to: an item or modifier, or a service charge, of the check in row ``check``."""

    check: int
    selection_guid: str | None
    service_charge_id: str | None


class Walk:
    """The rows of some orders. ``…_check`` and ``…_order`` are row numbers of what a row belongs to."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self.orders = list(orders)
        self.checks, self.check_order = _below(self.orders, lambda order: order.checks)
        self.check_position = [number for order in self.orders for number in range(len(order.checks or ()))]
        of_checks = zip(self.checks, self.check_order, strict=True)
        self.check_counts = [not (check.is_gone or self.orders[row].is_gone) for check, row in of_checks]
        self.items, self.item_check = _below(self.checks, lambda check: lines(check.selections))
        self.payments, self.payment_check = _below(self.checks, lambda check: check.payments)
        self.customers, self.customer_check = _below(
            self.checks, lambda check: [check.customer] if check.customer else []
        )
        self.charges, self.charge_check = _below(self.checks, lambda check: check.applied_service_charges)
        taxes = [*self._taxes()]
        self.taxes, self.tax_place = [tax for tax, _ in taxes], [place for _, place in taxes]
        discounts = [*self._discounts()]
        self.discounts = [discount for discount, _ in discounts]
        self.discount_place = [place for _, place in discounts]

    def _discounts(self) -> Iterator[tuple[AppliedDiscount, DiscountPlace]]:
        discounted: dict[int, list[Line]] = defaultdict(list)
        for line, check_row in zip(self.items, self.item_check, strict=True):
            if line.selection.applied_discounts:
                discounted[check_row].append(line)
        check_rows = count()
        for row, order in enumerate(self.orders):
            for discount in order.applied_discounts or ():
                yield discount, DiscountPlace(row, -1, None, "order")
            for check, check_row in zip(order.checks or (), check_rows, strict=False):
                for discount in check.applied_discounts or ():
                    yield discount, DiscountPlace(row, check_row, None, "check")
                for line in discounted.get(check_row, ()):
                    level = "modifier" if line.depth else "item"
                    place = DiscountPlace(row, check_row, line.selection.guid, level, line.is_sale)
                    yield from ((discount, place) for discount in line.selection.applied_discounts or ())

    def _taxes(self) -> Iterator[tuple[AppliedTax, TaxPlace]]:
        for line, check in zip(self.items, self.item_check, strict=True):
            for tax in line.selection.applied_taxes or ():
                yield tax, TaxPlace(check, line.selection.guid, None)
        for charge, check in zip(self.charges, self.charge_check, strict=True):
            for tax in charge.applied_taxes or ():
                yield tax, TaxPlace(check, None, charge.guid)


def _below(parents: Sequence[_P], children: Callable[[_P], Iterable[_C] | None]) -> tuple[list[_C], list[int]]:
    """What is below ``parents``, and the row of each one's parent."""
    found: list[_C] = []
    rows: list[int] = []
    for row, parent in enumerate(parents):
        if below := children(parent):
            found += below
            rows += [row] * (len(found) - len(rows))
    return found, rows
