"""One reading of a week's raw orders for all asset checks that need more than the manifest.

The result is kept beside the orders with the version of the data it was made from, so that the first check to ask pays
for it and the others do not, and it is made again once an order changed. It holds nothing of any guest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import msgspec

from toast_assets.pipeline.order_facts import LONGEST_TEXT, FactsReader, OrderFacts, RestaurantFacts
from toast_assets.pipeline.raw_files import RawFile, raw_files
from toast_assets.pipeline.reader_process import ReaderProcess
from toast_assets.store.manifest import Manifest, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.drift import SeenFields, known_fields
from toast_assets.week import Week

# Changes when the same orders would give another result.
_FORM = 3
# Bytes of the orders' JSON: what takes half a second to read.
_WORTH_A_PROCESS = 100_000_000


class DriftFinding(msgspec.Struct, frozen=True):
    """One difference from the recorded schema: ``kind`` is new field, new value or vanished field."""

    kind: str
    path: str
    value: str | None
    first_order: str | None


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """All facts of a week, by restaurant, and the drift over all of them."""

    form: int
    data_version: str
    restaurants: dict[str, RestaurantFacts]
    drift: tuple[DriftFinding, ...]


def inspection_of(week: Week, manifest: Manifest, store: OrderStore) -> Inspection:
    """The week's inspection: the stored one if it is of these very orders, else a new one, which is stored.

    Raises:
        ExportError: raw orders and manifest do not belong together.
        StoreError: the bucket is missing or refuses access.
    """
    key = store.layout.inspection(week)
    found = store.bucket.read(key)
    if found is not None:
        try:
            known = msgspec.json.decode(found[0], type=Inspection)
        except msgspec.DecodeError:
            known = None
        if known is not None and (known.form, known.data_version) == (_FORM, manifest.data_version):
            return known
    made = _inspect(week, manifest, store)
    store.bucket.write(
        key, msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n", ContentType="application/json"
    )
    return made


def _inspect(week: Week, manifest: Manifest, store: OrderStore) -> Inspection:
    facts = _facts(week, manifest.restaurants, store)
    return Inspection(
        form=_FORM,
        data_version=manifest.data_version,
        restaurants=facts.restaurants,
        drift=tuple(_findings(facts.seen)),
    )


def _facts(week: Week, restaurants: Mapping[str, RestaurantRecord], store: OrderStore) -> OrderFacts:
    here, beside = _shares(restaurants)
    reader = FactsReader(week.start_ms, week.end_ms)
    if not beside:
        return _read(reader, raw_files(week, here, store))
    # The process ends first, so that after an error the thread has nothing to wait for.
    with (
        ThreadPoolExecutor(1, thread_name_prefix="reader") as thread,
        ReaderProcess(week.start_ms, week.end_ms) as process,
    ):
        later = thread.submit(_read, process, raw_files(week, beside, store))
        return _read(reader, raw_files(week, here, store)).and_then(later.result())


def _read(reader: FactsReader | ReaderProcess, files: Iterator[RawFile]) -> OrderFacts:
    for file in files:
        file.check_count(reader.read(file.guid, file.path).orders)
    return reader.facts()


def _shares(
    restaurants: Mapping[str, RestaurantRecord],
) -> tuple[Mapping[str, RestaurantRecord], Mapping[str, RestaurantRecord]]:
    """By GUID the first restaurants, and the others: half of the bytes each if that is worth a process, else none."""
    sizes = {guid: record.pull.bytes for guid, record in sorted(restaurants.items()) if record.pull is not None}
    total = sum(sizes.values())
    if total < _WORTH_A_PROCESS or _processors() == 1:
        return restaurants, {}
    ends = accumulate(sizes.values())
    middles = {guid: end - size / 2 for (guid, size), end in zip(sizes.items(), ends, strict=True)}
    here = {guid: restaurants[guid] for guid, middle in middles.items() if middle <= total / 2}
    return here, {guid: restaurants[guid] for guid in middles if guid not in here}


def _processors() -> int:
    # Not every system tells which ones a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _findings(seen: SeenFields) -> Iterator[DriftFinding]:
    drift = seen.drift(known_fields())
    for path, first in drift.new_fields.items():
        yield DriftFinding("new field", path, None, first)
    for (path, value), first in drift.new_values.items():
        yield DriftFinding("new value", path, value[:LONGEST_TEXT], first)
    for path, first in drift.vanished_fields.items():
        yield DriftFinding("vanished field", path, None, first)
