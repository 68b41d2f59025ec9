"""The check of net sales against Toast's own amounts: a witness that does not know the tables' recipe."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.errors import StoreError
from toast_assets.markdown import plain
from toast_assets.scratch import scratch_folder
from toast_assets.store.s3_errors import readable
from toast_assets.tables.files import restaurants_in

_COLUMNS = (
    *("restaurant_guid", "order_guid", "counts", "amount"),
    *("net_sales", "deferred_amount", "donation_amount", "waste_amount"),
)
_CENT = Decimal("0.01")
# Shares of a restaurant's sales and of its checks.
_MOST_OF_SALES, _MOST_OF_CHECKS = Decimal("0.005"), Decimal("0.05")
_MOST_ORDERS = 5
_ZERO = Decimal(0)


class _Compared(NamedTuple):
    """The checks of a restaurant beside Toast's amounts: how many have one, and have none; how many differ from it, and
    by how much in all; both sums, in currency units; of the ``first`` that differ the order's GUID and both amounts."""

    restaurant: str
    checks: int
    without_amount: int
    different: int
    difference: Decimal
    in_tables: Decimal
    at_toast: Decimal
    first: Sequence[tuple[str, Decimal, Decimal]]

    @property
    def warns(self) -> bool:
        too_much = self.difference > _MOST_OF_SALES * abs(self.at_toast)
        return too_much or self.different > _MOST_OF_CHECKS * self.checks

    def __str__(self) -> str:
        orders = ", ".join(f"{guid} ({ours:,.2f}, Toast {theirs:,.2f})" for guid, ours, theirs in self.first)
        return (
            f"{self.restaurant}: {self.different} of {self.checks} checks differ from Toast's amount, by "
            f"{self.difference:,.2f} in all (tables {self.in_tables:,.2f}, Toast {self.at_toast:,.2f}): orders {orders}"
        )


def net_sales_agree_with_toast(checked: CheckedWeek) -> CheckResult:
    """Net sales before refunds, deferred revenue and donations add up to Toast's own amount of each check that counts.
    Warns of a restaurant where the differences of more than a cent exceed 0.5 % of its sales, or concern more than 5 %
    of its checks.

    Toast ("Order object summary"): a check's ``amount`` includes discounts and the service charges that are no
    gratuity, but no tax. A refund leaves it as it was. Differences of opposite sign add up and do not hide each other.
    A check without an amount is only counted, and wasted food is left out. Raises StoreError where the bucket is
    missing or refuses access.
    """
    store = checked.store
    key = store.layout.table("checks", checked.week.key)
    with scratch_folder() as folder:
        path = folder / "checks.parquet"
        if not store.bucket.fetch(key, path):
            return CheckResult(["the table checks was not made"], warns=True)
        try:
            with readable(store.bucket.uri(key), "Materialize the tables for the week again."):
                found = [_compared(checked.named(guid), rows) for guid, rows in restaurants_in(path, _COLUMNS)]
        except StoreError as error:
            return CheckResult([str(error)], warns=True, causes=[error.code])
    checks, different = sum(one.checks for one in found), sum(one.different for one in found)
    at_toast = sum((one.at_toast for one in found), _ZERO)
    return CheckResult(
        [str(one) for one in found if one.warns],
        f"{checks - different:,} of {checks:,} checks agree with Toast's amounts, {at_toast:,.2f} in all.",
        warns=True,
        figures={
            "compared_checks": checks,
            "different_checks": different,
            "checks_without_amount": sum(one.without_amount for one in found),
            "difference": round(float(sum((one.difference for one in found), _ZERO)), 2),
            "toast_amount": round(float(at_toast), 2),
        },
        heads=("restaurant", "checks", "tables", "Toast"),
        rows=[
            (one.restaurant, *row)
            for one in found
            if one.different
            for row in ((f"{one.different} of {one.checks} differ", one.in_tables, one.at_toast), *one.first)
        ],
    )


def _compared(restaurant: str, rows: pa.Table) -> _Compared:
    counting = rows.filter(pc.and_(rows["counts"], pc.equal(rows["waste_amount"], _ZERO)))
    known = counting.filter(pc.is_valid(counting["amount"]))
    in_tables = pc.add(pc.add(known["net_sales"], known["deferred_amount"]), known["donation_amount"])
    difference = pc.abs(pc.subtract(in_tables, known["amount"]))
    differs = pc.greater(difference, _CENT)
    first = known.append_column("in_tables", in_tables).filter(differs).slice(0, _MOST_ORDERS).to_pylist()
    return _Compared(
        restaurant,
        checks=known.num_rows,
        without_amount=counting.num_rows - known.num_rows,
        different=pc.sum(differs).as_py() or 0,
        difference=pc.sum(difference.filter(differs)).as_py() or _ZERO,
        in_tables=pc.sum(in_tables).as_py() or _ZERO,
        at_toast=pc.sum(known["amount"]).as_py() or _ZERO,
        first=[(plain(row["order_guid"]), row["in_tables"], row["amount"]) for row in first],
    )
