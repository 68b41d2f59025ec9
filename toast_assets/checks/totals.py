"""The check of the flat tables against the raw orders."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pyarrow.compute as pc

from toast_assets.checks.amounts import AMOUNTS, OF_CHECKS, OF_PAYMENTS, SUMS, UnreadableAmountsError, read_amounts
from toast_assets.checks.check import CheckedWeek, CheckResult, causes
from toast_assets.checks.drift import decoded
from toast_assets.checks.facts import MOST_NAMED
from toast_assets.errors import StoreError
from toast_assets.markdown import plain
from toast_assets.orders.raw_file import read_groups
from toast_assets.orders.read import Rejection
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
    """Orders and amounts of the tables (sales, discounts, refunds, waste, deferred revenue, donations, tax, tips and
    payments) are those of the raw orders, which are added up on their own, for every restaurant to the cent. Orders
    that the tables reject are named and count on neither side.

    Where nothing else differs, rejected orders are a warning. Raises StoreError where the bucket is missing or refuses
    access.
    """
    store = checked.store
    problems: list[str] = []
    found_causes: list[str] = []
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
                found_causes.append(error.code)
            else:
                compared += [*_COLUMNS[table], *(["orders"] if table == "orders" else [])]
    wanted = {
        guid: {"orders": Decimal(of.orders)} | {name: Decimal(amount) for name, amount in of.amounts.items()}
        for guid, of in checked.facts.restaurants.items()
    }
    rejected: Counter[str] = Counter()
    left_out: list[tuple[str, str, str, str]] = []
    if "orders" in compared:
        # Only where orders are missing: one that can be converted by now is a difference instead.
        unreadable: dict[str, str] = {}
        short = [guid for guid, raw in wanted.items() if in_tables[guid].get("orders", 0) < raw["orders"]]
        for guid, one, amounts in _rejected(checked, short, unreadable):
            for name, amount in amounts.items():
                wanted[guid][name] -= amount
            rejected[guid] += 1
            if rejected[guid] <= MOST_NAMED:
                order, reason = f"order {plain(one.order_guid or '')}", f"{one.reason.value}: {one.detail}"
                left_out.append((checked.named(guid), order, reason, "rejected"))
        problems += unreadable.values()
        found_causes += causes(unreadable)
    left_out += [
        (checked.named(guid), f"{count - MOST_NAMED} more orders", "rejected as well", "rejected")
        for guid, count in rejected.items()
        if count > MOST_NAMED
    ]
    rows = [
        (checked.named(guid), name if "." in name else f"orders.{name}", amounts[name], found)
        for guid, amounts in wanted.items()
        for name in compared
        if amounts[name] != (found := in_tables[guid].get(name, Decimal(0)))
    ]
    problems += [f"{restaurant}: {name} is {found}, raw {raw}" for restaurant, name, raw, found in rows]
    problems += checked.damaged
    sums = {name: sum((amounts[name] for amounts in wanted.values()), Decimal(0)) for name in AMOUNTS}
    return CheckResult(
        [*problems, *(f"{restaurant}: {what} in no table ({reason})" for restaurant, what, reason, _ in left_out)],
        f"All amounts agree; net sales {sums['net_sales']:,.2f}.",
        warns=not problems,
        figures={
            "differences": len(rows),
            "rejected_orders": rejected.total(),
            **{name: round(float(amount), 2) for name, amount in sums.items()},
        },
        heads=("restaurant", "amount or order", "raw orders", "tables"),
        rows=[*rows, *left_out],
        causes=[*found_causes, *checked.damaged_causes],
    )


def _table_totals(table: str, path: Path) -> Iterator[tuple[str, dict[str, Decimal]]]:
    """What a table adds up to, by restaurant."""
    columns, flags = _COLUMNS[table], ["taken"] if table == "payments" else []
    for guid, rows in restaurants_in(path, ["restaurant_guid", *columns.values(), *flags]):
        counting = rows.filter(rows["taken"]) if flags else rows
        totals = {name: pc.sum(counting[column]).as_py() or Decimal(0) for name, column in columns.items()}
        yield guid, totals | ({"orders": Decimal(rows.num_rows)} if table == "orders" else {})


def _rejected(
    checked: CheckedWeek, guids: Iterable[str], unreadable: dict[str, str]
) -> Iterator[tuple[str, Rejection, dict[str, Decimal]]]:
    """The orders that the tables cannot hold, each with its restaurant and what it adds to the raw sums; raw files that
    cannot be read are added to ``unreadable``."""
    records = {guid: checked.manifest.restaurants[guid] for guid in guids}
    for file in raw_files(checked.week, records, checked.store, unreadable):
        with one_restaurant(file.guid, unreadable, checked.store), reading_raw(checked.week, file.guid, checked.store):
            for orders in read_groups(file.path):
                bodies = {order.guid: order.body for order in orders}
                for one in flatten(file.batch([*bodies.values()]))[0].rejections:
                    if one.order_guid in bodies:
                        amounts = {"orders": Decimal(1)}
                        # What cannot be added up is not in the sums of the raw orders either.
                        with suppress(UnreadableAmountsError):
                            amounts |= zip(SUMS, read_amounts(decoded(bodies[one.order_guid])), strict=True)
                        yield file.guid, one, amounts
