"""The walk through orders: every row of every table, beside what only the way there knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from toast_assets.orders.model import AppliedDiscount, Check, Customer, Order, Payment, Selection


class Line(msgspec.Struct, frozen=True, gc=False):
    """An item or modifier of a check, with its place in the tree."""

    selection: Selection
    parent_guid: str | None
    depth: int
    position: int


def lines(selections: Sequence[Selection] | None, parent: str | None = None, depth: int = 0) -> Iterator[Line]:
    """Every item and modifier, each item followed by what is below it."""
    for position, selection in enumerate(selections or ()):
        yield Line(selection, parent, depth, position)
        if selection.modifiers:
            yield from lines(selection.modifiers, selection.guid, depth + 1)


class DiscountPlace(msgspec.Struct, frozen=True, gc=False):
    """Where a discount was applied; ``check`` is the check's row, -1 for a discount on the order."""

    order: int
    check: int
    selection_guid: str | None
    level: str


@dataclass
class Walk:
    """The rows of a batch of orders. ``…_check`` and ``…_order`` are row numbers of what a row belongs to."""

    orders: list[Order] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    check_order: list[int] = field(default_factory=list)
    check_position: list[int] = field(default_factory=list)
    check_counts: list[bool] = field(default_factory=list)
    items: list[Line] = field(default_factory=list)
    item_check: list[int] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    payment_check: list[int] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    customer_check: list[int] = field(default_factory=list)
    discounts: list[AppliedDiscount] = field(default_factory=list)
    discount_place: list[DiscountPlace] = field(default_factory=list)

    def add(self, order: Order) -> None:
        """Appends the rows of ``order``."""
        row = len(self.orders)
        self.orders.append(order)
        self._add_discounts(order.applied_discounts, DiscountPlace(row, -1, None, "order"))
        counts = not order.is_gone
        for position, check in enumerate(order.checks or ()):
            self.check_order.append(row)
            self.check_position.append(position)
            self.check_counts.append(counts and not check.is_gone)
            self._add_check(row, check)

    def _add_check(self, order: int, check: Check) -> None:
        row = len(self.checks)
        self.checks.append(check)
        self._add_discounts(check.applied_discounts, DiscountPlace(order, row, None, "check"))
        if check.customer is not None:
            self.customers.append(check.customer)
            self.customer_check.append(row)
        self.payments += check.payments or ()
        self.payment_check += [row] * len(check.payments or ())
        before = len(self.items)
        self.items.extend(lines(check.selections))
        self.item_check.extend([row] * (len(self.items) - before))
        for line in self.items[before:]:
            if found := line.selection.applied_discounts:
                level = "modifier" if line.depth else "item"
                self._add_discounts(found, DiscountPlace(order, row, line.selection.guid, level))

    def _add_discounts(self, found: Sequence[AppliedDiscount] | None, place: DiscountPlace) -> None:
        self.discounts += found or ()
        self.discount_place += [place] * len(found or ())
