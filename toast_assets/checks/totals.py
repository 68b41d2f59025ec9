"""The check of the flat tables against the raw orders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc

from toast_assets.checks.amounts import AMOUNTS, OF_CHECKS, OF_PAYMENTS, SUMS, UnreadableAmountsError, read_amounts
from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.checks.facts import MOST_NAMED, RestaurantFacts
from toast_assets.errors import StoreError
from toast_assets.markdown import plain
from toast_assets.orders.raw_file import read_rows
from toast_assets.orders.read import RawOrders, Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.raw_weeks import one_restaurant, raw_files, reading_raw
from toast_assets.store.s3_errors import readable
from toast_assets.tables.files import restaurants_in
from toast_assets.tables.flatten import flatten

_Totals = Mapping[str, Mapping[str, Decimal]]
"""Amounts by name, by restaurant."""
# Which column of a table holds which amount; where the flag is false, no money was taken.
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "orders": {name: name for name in AMOUNTS},
    "checks": {name: name for name in OF_CHECKS},
    "payments": {name: "amount" if name == "payment_amount" else name for name in OF_PAYMENTS},
}
_FLAGS = {"payments": "taken"}


def totals_reconcile(checked: CheckedWeek) -> CheckResult:
    """Orders, net sales by Toast's recipe, tax, tips, payments and refunds of the tables are those of the raw orders,
    which are added up on their own, for every restaurant to the cent. Orders that the tables reject are named and count
    on neither side.

    Where nothing else differs, rejected orders are a warning.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    facts, store = checked.facts, checked.store
    problems: list[str] = []
    totals: dict[str, _Totals] = {}
    with scratch_folder() as folder:
        path = folder / "table.parquet"
        for table in _COLUMNS:
            key = store.layout.table(table, checked.week.key)
            if not store.bucket.fetch(key, path):
                problems.append(f"the table {table} was not made")
                continue
            try:
                with readable(store.bucket.uri(key), "Materialize the tables for the week again."):
                    totals[table] = dict(_table_totals(table, path))
            except StoreError as error:
                problems.append(str(error))
    rejected = _rejected(checked, totals["orders"], problems) if "orders" in totals else {}
    wanted = {guid: _wanted(of, rejected.get(guid)) for guid, of in facts.restaurants.items()}
    rows = [
        (checked.named(guid), *difference)
        for table, of_table in totals.items()
        for guid, amounts in wanted.items()
        for difference in _differences(table, amounts, of_table.get(guid, {}))
    ]
    problems += [f"{restaurant}: {name} is {of_table}, raw {raw}" for restaurant, name, raw, of_table in rows]
    problems += checked.damaged
    left_out = [(checked.named(guid), *row) for guid, one in rejected.items() for row in one.rows()]
    sums = {name: sum((amounts[name] for amounts in wanted.values()), Decimal(0)) for name in AMOUNTS}
    return CheckResult(
        [*problems, *(f"{restaurant}: {what} in no table ({reason})" for restaurant, what, reason, _ in left_out)],
        f"All amounts agree; net sales {sums['net_sales']:,.2f}.",
        warns=not problems,
        figures={
            "differences": len(rows),
            "rejected_orders": sum(one.orders for one in rejected.values()),
            **{name: round(float(amount), 2) for name, amount in sums.items()},
        },
        heads=("restaurant", "amount or order", "raw orders", "tables"),
        rows=[*rows, *left_out],
    )


def _table_totals(table: str, path: Path) -> Iterator[tuple[str, Mapping[str, Decimal]]]:
    columns, flag = _COLUMNS[table], _FLAGS.get(table)
    for guid, rows in restaurants_in(path, ["restaurant_guid", *columns.values(), *([flag] if flag else [])]):
        counting = rows.filter(rows[flag]) if flag else rows
        totals = {name: pc.sum(counting[column]).as_py() or Decimal(0) for name, column in columns.items()}
        yield guid, totals | {"orders": Decimal(rows.num_rows)}


def _wanted(facts: RestaurantFacts, rejected: _Rejected | None) -> Mapping[str, Decimal]:
    """What the tables should add up to: the raw orders without those that the tables reject."""
    wanted = {name: Decimal(amount) for name, amount in facts.amounts.items()} | {"orders": Decimal(facts.orders)}
    if rejected is not None:
        wanted = {name: amount - rejected.amounts.get(name, 0) for name, amount in wanted.items()}
    return wanted


def _differences(
    table: str, wanted: Mapping[str, Decimal], of_table: Mapping[str, Decimal]
) -> Iterator[tuple[str, Decimal, Decimal]]:
    names = (*_COLUMNS[table], *(("orders",) if table == "orders" else ()))
    for name in names:
        raw, found = wanted[name if table == "orders" else f"{table}.{name}"], of_table.get(name, Decimal(0))
        if raw != found:
            yield f"{table}.{name}", raw, found


@dataclass
class _Rejected:
    """Orders of one restaurant that the tables reject, and their raw amounts by ``SUMS`` and ``orders``."""

    orders: int = 0
    amounts: dict[str, Decimal] = field(default_factory=dict)
    first: list[Rejection] = field(default_factory=list)

    def add(self, body: bytes, rejection: Rejection) -> None:
        """Count the order in ``body``."""
        self.orders += 1
        self.first += [rejection][: MOST_NAMED - len(self.first)]
        added = {"orders": Decimal(1)}
        with suppress(UnreadableAmountsError):
            # What cannot be added up is not in the sums of the raw orders either.
            added |= zip(SUMS, read_amounts(body)[1], strict=True)
        self.amounts |= {name: self.amounts.get(name, Decimal(0)) + amount for name, amount in added.items()}

    def rows(self) -> Iterator[tuple[str, str, str]]:
        for one in self.first:
            yield f"order {plain(one.order_guid or '')}", f"{one.reason.value}: {one.detail}", "rejected"
        if more := self.orders - len(self.first):
            yield f"{more} more orders", "rejected as well", "rejected"


def _rejected(checked: CheckedWeek, in_table: _Totals, problems: list[str]) -> dict[str, _Rejected]:
    """The orders that the tables cannot hold, of restaurants that have fewer orders in the table than are stored: an
    order that can be converted now is a difference instead. Raw orders that cannot be read are added to ``problems``.
    """
    stored, facts = checked.manifest.restaurants, checked.facts.restaurants
    short = {guid: stored[guid] for guid, of in facts.items() if in_table.get(guid, {}).get("orders", 0) < of.orders}
    rejected: dict[str, _Rejected] = {}
    unreadable: dict[str, str] = {}
    for file in raw_files(checked.week, short, checked.store, unreadable):
        with one_restaurant(file.guid, unreadable, checked.store), reading_raw(checked.week, file.guid, checked.store):
            found = rejected[file.guid] = _Rejected()
            for rows in read_rows(file.path):
                bodies = dict(zip(rows.guids, rows.bodies, strict=True))
                batch = RawOrders(file.guid, rows.bodies, file.record.time_zone, file.record.currency)
                for one in flatten(batch)[0].rejections:
                    if one.order_guid in bodies:
                        found.add(bodies[one.order_guid], one)
    problems += unreadable.values()
    return rejected
