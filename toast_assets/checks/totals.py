"""The check of the flat tables against the raw orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc

from toast_assets.checks.amounts import AMOUNTS, OF_CHECKS, OF_PAYMENTS, SUMS, UnreadableAmountsError, read_amounts
from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.checks.drift import decoded
from toast_assets.checks.facts import MOST_NAMED
from toast_assets.errors import StoreError
from toast_assets.markdown import plain
from toast_assets.orders.raw_file import read_groups
from toast_assets.orders.read import RawOrders, Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.raw_weeks import one_restaurant, raw_files, reading_raw
from toast_assets.store.s3_errors import readable
from toast_assets.tables.files import restaurants_in
from toast_assets.tables.flatten import flatten

# By table, which column holds which of the raw orders' SUMS.
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "orders": {name: name for name in AMOUNTS},
    "checks": {f"checks.{name}": name for name in OF_CHECKS},
    "payments": {f"payments.{name}": "amount" if name == "payment_amount" else name for name in OF_PAYMENTS},
}


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
    compared: list[str] = []
    in_tables: defaultdict[str, dict[str, Decimal]] = defaultdict(dict)
    with scratch_folder() as folder:
        path = folder / "table.parquet"
        for table in _COLUMNS:
            key = store.layout.table(table, checked.week.key)
            if not store.bucket.fetch(key, path):
                problems.append(f"the table {table} was not made")
                continue
            try:
                with readable(store.bucket.uri(key), "Materialize the tables for the week again."):
                    for guid, amounts in _table_totals(table, path):
                        in_tables[guid] |= amounts
            except StoreError as error:
                problems.append(str(error))
            else:
                compared += [*_COLUMNS[table], *(["orders"] if table == "orders" else [])]
    rejected: defaultdict[str, _Rejected] = defaultdict(_Rejected)
    if "orders" in compared:
        # Only where orders are missing: one that can be converted by now is a difference instead.
        of_restaurants = facts.restaurants.items()
        short = [guid for guid, of in of_restaurants if in_tables[guid].get("orders", 0) < of.orders]
        _reject(checked, short, rejected, problems)
    wanted = {}
    for guid, of in facts.restaurants.items():
        raw = {"orders": Decimal(of.orders)} | {name: Decimal(amount) for name, amount in of.amounts.items()}
        wanted[guid] = {name: amount - rejected[guid].amounts[name] for name, amount in raw.items()}
    rows = [
        (checked.named(guid), name if "." in name else f"orders.{name}", amounts[name], found)
        for guid, amounts in wanted.items()
        for name in compared
        if amounts[name] != (found := in_tables[guid].get(name, Decimal(0)))
    ]
    problems += [f"{restaurant}: {name} is {found}, raw {raw}" for restaurant, name, raw, found in rows]
    problems += checked.damaged
    left_out = [(checked.named(guid), *row) for guid, one in rejected.items() for row in one.rows()]
    sums = {name: sum((amounts[name] for amounts in wanted.values()), Decimal(0)) for name in AMOUNTS}
    return CheckResult(
        [*problems, *(f"{restaurant}: {what} in no table ({reason})" for restaurant, what, reason, _ in left_out)],
        f"All amounts agree; net sales {sums['net_sales']:,.2f}.",
        warns=not problems,
        figures={
            "differences": len(rows),
            "rejected_orders": int(sum(one.amounts["orders"] for one in rejected.values())),
            **{name: round(float(amount), 2) for name, amount in sums.items()},
        },
        heads=("restaurant", "amount or order", "raw orders", "tables"),
        rows=[*rows, *left_out],
    )


def _table_totals(table: str, path: Path) -> Iterator[tuple[str, dict[str, Decimal]]]:
    """What a table adds up to, by restaurant."""
    columns, flags = _COLUMNS[table], ["taken"] if table == "payments" else []
    for guid, rows in restaurants_in(path, ["restaurant_guid", *columns.values(), *flags]):
        counting = rows.filter(rows["taken"]) if flags else rows
        totals = {name: pc.sum(counting[column]).as_py() or Decimal(0) for name, column in columns.items()}
        yield guid, totals | ({"orders": Decimal(rows.num_rows)} if table == "orders" else {})


@dataclass
class _Rejected:
    """Orders of one restaurant that the tables reject: their raw amounts and number by name, and the first of them."""

    amounts: defaultdict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    first: list[Rejection] = field(default_factory=list)

    def add(self, body: bytes, rejection: Rejection) -> None:
        self.amounts["orders"] += 1
        self.first += [rejection][: MOST_NAMED - len(self.first)]
        with suppress(UnreadableAmountsError):
            # What cannot be added up is not in the sums of the raw orders either.
            for name, amount in zip(SUMS, read_amounts(decoded(body)), strict=True):
                self.amounts[name] += amount

    def rows(self) -> Iterator[tuple[str, str, str]]:
        for one in self.first:
            yield f"order {plain(one.order_guid or '')}", f"{one.reason.value}: {one.detail}", "rejected"
        if more := self.amounts["orders"] - len(self.first):
            yield f"{more} more orders", "rejected as well", "rejected"


def _reject(checked: CheckedWeek, guids: Iterable[str], rejected: Mapping[str, _Rejected], problems: list[str]) -> None:
    """Add the orders that the tables cannot hold to ``rejected``, and raw files that cannot be read to ``problems``."""
    records = {guid: checked.manifest.restaurants[guid] for guid in guids}
    unreadable: dict[str, str] = {}
    for file in raw_files(checked.week, records, checked.store, unreadable):
        with one_restaurant(file.guid, unreadable, checked.store), reading_raw(checked.week, file.guid, checked.store):
            for orders in read_groups(file.path):
                bodies = {order.guid: order.body for order in orders}
                of_orders = [order.body for order in orders]
                batch = RawOrders(file.guid, of_orders, file.record.time_zone, file.record.currency)
                for one in flatten(batch)[0].rejections:
                    if one.order_guid in bodies:
                        rejected[file.guid].add(bodies[one.order_guid], one)
    problems += unreadable.values()
