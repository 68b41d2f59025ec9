"""Checks that hold one stored thing against another: exports and tables against the raw orders."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from toast_assets.pipeline.export_reading import UnreadableExportError, read_export
from toast_assets.pipeline.inspection import Inspection
from toast_assets.pipeline.order_facts import RestaurantFacts
from toast_assets.pipeline.raw_amounts import AMOUNTS
from toast_assets.pipeline.table_files import restaurants_in
from toast_assets.pipeline.verdicts import Verdict, named, verdict
from toast_assets.store.manifest import Manifest, PullRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

# Which column of a table holds which amount; False rows of the flag are no money taken.
_COLUMNS: Mapping[str, Mapping[str, str]] = {
    "orders": {name: name for name in AMOUNTS},
    "checks": {name: name for name in AMOUNTS if name != "tax_amount"},
    "payments": {"payment_amount": "amount", "tip_amount": "tip_amount", "refund_amount": "refund_amount"},
}
_FLAGS = {"payments": "taken"}
# Fetching, unpacking and hashing overlap; more would only cost room on the disk.
_AT_ONCE = 2


def export_equals_raw(week: Week, manifest: Manifest, store: OrderStore) -> Verdict:
    """Every restaurant's export unpacks and holds the orders that the manifest describes, by count and hash.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    orders, problems = 0, []
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="exports") as threads:
        check = partial(_export_problem, week, store)
        found = threads.map(check, manifest.stored, manifest.stored.values())
        for guid, (problem, count) in zip(manifest.stored, found, strict=True):
            orders += count
            if problem:
                problems.append(f"{store.bucket.uri(store.layout.export(week, guid))} {problem}")
    fine = f"{len(manifest.stored)} exports hold the {orders} stored orders, byte for byte."
    return verdict(problems, fine, figures={"exports": len(manifest.stored), "orders": orders})


def _export_problem(week: Week, store: OrderStore, guid: str, pull: PullRecord) -> tuple[str | None, int]:
    with tempfile.TemporaryDirectory(prefix="toast-assets-") as folder:
        path = Path(folder) / "export.json.gz"
        if not store.bucket.download(store.layout.export(week, guid), path):
            return "is missing", 0
        try:
            content = read_export(path)
        except UnreadableExportError as error:
            return f"cannot be read: {error}", 0
    said = content.metadata
    problem = None
    if content.orders != pull.orders or said.total_orders != pull.orders:
        problem = f"holds {content.orders} orders and says {said.total_orders}, stored are {pull.orders}"
    elif content.sha256 != pull.orders_sha256 or said.orders_sha256 != pull.orders_sha256:
        problem = "holds other orders than those that are stored"
    elif (said.restaurant_guid, said.partition) != (guid, week.key):
        problem = f"says that it is of {said.restaurant_guid} in {said.partition}"
    return problem, content.orders


def totals_reconcile(week: Week, manifest: Manifest, found: Inspection, store: OrderStore) -> Verdict:
    """What the tables add up to is what the raw orders add up to, for every restaurant, to the cent.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    problems: list[str] = []
    rows: list[tuple[object, ...]] = []
    sums = dict.fromkeys(AMOUNTS, 0.0)
    with tempfile.TemporaryDirectory(prefix="toast-assets-") as folder:
        path = Path(folder) / "table.parquet"
        for table in _COLUMNS:
            if not store.bucket.download(store.layout.table(table, week.key), path):
                problems.append(f"the table {table} was not made")
                continue
            totals = dict(_table_totals(table, path))
            for guid, facts in found.restaurants.items():
                rows += _differences(table, named(manifest, guid), facts, totals.get(guid, {}))
    problems += [f"{place}: {table}.{name} is {of_table}, raw {raw}" for place, table, name, raw, of_table in rows]
    for facts in found.restaurants.values():
        sums = {name: total + float(facts.amounts[name]) for name, total in sums.items()}
    return verdict(
        problems,
        f"All amounts agree; net sales {sums['net_sales']:,.2f}.",
        figures={"differences": len(rows), **{name: round(sums[name], 2) for name in AMOUNTS}},
        heads=("restaurant", "table", "amount", "raw orders", "table"),
        rows=rows,
    )


def _table_totals(table: str, path: Path) -> Iterator[tuple[str, dict[str, Decimal]]]:
    columns, flag = _COLUMNS[table], _FLAGS.get(table)
    for guid, rows in restaurants_in(path, ["restaurant_guid", *columns.values(), *([flag] if flag else [])]):
        counting = rows.filter(rows[flag]) if flag else rows
        totals = {name: pc.sum(counting[column]).as_py() or Decimal(0) for name, column in columns.items()}
        yield guid, totals | {"orders": Decimal(rows.num_rows)}


def _differences(
    table: str, place: str, facts: RestaurantFacts, totals: Mapping[str, Decimal]
) -> Iterator[tuple[object, ...]]:
    wanted = {name: Decimal(facts.amounts[name]) for name in _COLUMNS[table]}
    if table == "orders":
        wanted["orders"] = Decimal(facts.orders)
    for name, raw in wanted.items():
        of_table = totals.get(name, Decimal(0))
        if raw != of_table:
            yield place, table, name, raw, of_table
