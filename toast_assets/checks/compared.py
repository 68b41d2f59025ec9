"""Checks that hold one stored thing against another: exports and tables against the raw orders."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.checks.amounts import (
    AMOUNTS,
    OF_CHECKS,
    OF_PAYMENTS,
    SUMS,
    UnreadableAmountsError,
    read_amounts,
)
from toast_assets.checks.facts import MOST_NAMED, RestaurantFacts
from toast_assets.checks.inspection import Inspection
from toast_assets.checks.verdicts import Verdict, damaged, named, verdict
from toast_assets.errors import StoreError
from toast_assets.export.read import export_problem
from toast_assets.markdown import plain
from toast_assets.orders.raw_file import read_rows
from toast_assets.orders.read import RawOrders, Rejection
from toast_assets.scratch import scratch_folder
from toast_assets.store.manifest import Manifest, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import RawFile, one_restaurant, raw_files, reading_raw
from toast_assets.store.s3_errors import readable
from toast_assets.tables.files import restaurants_in
from toast_assets.tables.flatten import flatten
from toast_assets.week import Week

_Totals = Mapping[str, Mapping[str, Decimal]]
# Which column of a table holds which amount; False rows of the flag are no money taken.
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "orders": {name: name for name in AMOUNTS},
    "checks": {name: name for name in OF_CHECKS},
    "payments": {name: "amount" if name == "payment_amount" else name for name in OF_PAYMENTS},
}
_FLAGS = {"payments": "taken"}
# Fetching, unpacking and hashing overlap; more would only cost room on the disk.
_AT_ONCE = 2


def export_equals_raw(week: Week, manifest: Manifest, store: OrderStore) -> Verdict:
    """Every restaurant's export unpacks and holds the orders that the manifest describes, by count and hash.

    What is wrong at some restaurants is a warning, as the delivery leaves them out by itself; at all of them an error.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    orders, problems = 0, []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="exports") as threads:
        check = partial(export_problem, week, store)
        found = threads.map(check, manifest.stored, manifest.stored.values())
        for guid, (problem, count) in zip(manifest.stored, found, strict=True):
            orders += count
            if problem:
                place = store.bucket.uri(store.layout.export(week, guid))
                problems.append(f"{named(manifest, guid)}: {place} {problem}")
    fine = f"{len(manifest.stored)} exports hold the {orders} stored orders, byte for byte."
    return verdict(
        problems,
        fine,
        warns=len(problems) < len(manifest.stored),
        figures={"exports": len(manifest.stored), "orders": orders, "wrong_exports": len(problems)},
    )


def totals_reconcile(week: Week, manifest: Manifest, found: Inspection, store: OrderStore) -> Verdict:
    """What the tables add up to is what the raw orders add up to, for every restaurant, to the cent.

    Orders that the tables reject count on neither side and are named; where nothing else differs, that is a warning.

    Raises:
        ExportError: raw orders and manifest do not belong together.
        StoreError: the bucket is missing or refuses access.
    """
    problems: list[str] = []
    totals: dict[str, _Totals] = {}
    in_table: dict[str, pa.ChunkedArray] = {}
    with scratch_folder() as folder:
        path = folder / "table.parquet"
        for table in _COLUMNS:
            key = store.layout.table(table, week.key)
            if not store.bucket.download(key, path):
                problems.append(f"the table {table} was not made")
                continue
            try:
                with readable(store.bucket.uri(key), "Materialize the tables for the week again."):
                    totals[table] = dict(_table_totals(table, path))
                    if table == "orders":
                        in_table = dict(_in_table(path, _short(found, totals[table])))
            except StoreError as error:
                problems.append(str(error))
    rejected: dict[str, _Rejected] = {}
    if "orders" in totals:
        unreadable: dict[str, str] = {}
        short = {guid: manifest.restaurants[guid] for guid in _short(found, totals["orders"])}
        rejected = _rejected(week, short, store, in_table, unreadable)
        problems += unreadable.values()
    wanted = {guid: _wanted(facts, rejected.get(guid)) for guid, facts in found.restaurants.items()}
    rows = [
        (named(manifest, guid), *difference)
        for table, of_table in totals.items()
        for guid, amounts in wanted.items()
        for difference in _differences(table, amounts, of_table.get(guid, {}))
    ]
    problems += [f"{place}: {name} is {of_table}, raw {raw}" for place, name, raw, of_table in rows]
    problems += damaged(manifest, found)
    left_out = [(named(manifest, guid), *row) for guid, one in rejected.items() for row in one.rows()]
    sums = {name: sum((amounts[name] for amounts in wanted.values()), Decimal(0)) for name in AMOUNTS}
    return verdict(
        [*problems, *(f"{place}: {what} in no table ({reason})" for place, what, reason, _ in left_out)],
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
    """Orders of one restaurant that the tables reject: how many, what they add up to in the raw orders by ``SUMS``
    and ``orders``, and the first of them with the reasons."""

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


def _short(found: Inspection, of_table: _Totals) -> frozenset[str]:
    """The restaurants of which the table has fewer orders than are stored."""
    counts = {guid: amounts["orders"] for guid, amounts in of_table.items()}
    return frozenset(guid for guid, facts in found.restaurants.items() if counts.get(guid, 0) < facts.orders)


def _in_table(path: Path, restaurants: Container[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The GUIDs of the orders in the table at ``path``, of each of the ``restaurants``."""
    for guid, rows in restaurants_in(path, ["restaurant_guid", "order_guid"]):
        if guid in restaurants:
            yield guid, rows["order_guid"]


def _rejected(
    week: Week,
    short: Mapping[str, RestaurantRecord],
    store: OrderStore,
    in_table: Mapping[str, pa.ChunkedArray],
    unreadable: dict[str, str],
) -> dict[str, _Rejected]:
    """The orders of the restaurants in ``short`` that are not ``in_table`` because the tables cannot hold them.

    Each is converted again by itself. One that can be converted is no rejected one: there the tables differ. To
    ``unreadable`` are added restaurants whose raw orders can no longer be read.
    """
    rejected: dict[str, _Rejected] = {}
    for file in raw_files(week, short, store, unreadable):
        with one_restaurant(file.guid, unreadable, store), reading_raw(week, file.guid, store):
            rejected[file.guid] = _rejected_of(file, in_table.get(file.guid))
    return rejected


def _rejected_of(file: RawFile, in_table: pa.ChunkedArray | None) -> _Rejected:
    known = frozenset(() if in_table is None else in_table.to_pylist())
    rejected = _Rejected()
    for rows in read_rows(file.path):
        bodies = {guid: body for guid, body in zip(rows.guids, rows.bodies, strict=True) if guid not in known}
        batch = RawOrders(file.guid, list(bodies.values()), file.record.time_zone, file.record.currency)
        for flat in flatten([batch] if bodies else []):
            for one in flat.rejections:
                if one.order_guid in bodies:
                    rejected.add(bodies[one.order_guid], one)
    return rejected
