"""The whole product on a week in which each restaurant has one order of every odd kind: everything else arrives, each
odd order is found once where it belongs, and nothing of a guest is said.

``--full`` does the same by ``dagster asset materialize``.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from toast_assets.defs.build import build_defs
from toast_assets.orders.raw import with_restaurant
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data.odd_orders import CARD_DIGITS, GUEST, Fate, OddOrder, odd_orders
from toast_assets_tests.support.services.toast_orders import put_bytes
from toast_assets_tests.support.stores.deliveries import rejects
from toast_assets_tests.support.stores.pulls import manifest_of, stored_rows

VARIABLES = {
    "AMPERITY_DELIVERY": "stream,s3_pull",
    "AMPERITY_BRAND": "harbor",
    # Records that are too large or that no decoder reads are rejects, at each restaurant.
    "AMPERITY_MAX_REJECT_SHARE": "0.1",
    "TOAST_REQUESTS_PER_SECOND": "100000",
}
Key = tuple[str, str]
"""A restaurant's GUID and an order's."""


@dataclass
class Said:
    """What Dagster keeps of a run."""

    metadata: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    checks: list[dg.AssetCheckEvaluation] = field(default_factory=list)
    everything: str = ""

    @classmethod
    def of(cls, instance: dg.DagsterInstance, run_id: str) -> Said:
        """All of a run's events."""
        said = cls()
        entries = instance.all_logs(run_id)
        for entry in entries:
            event = entry.dagster_event
            if event is not None and event.is_step_materialization:
                made = event.step_materialization_data.materialization
                said.metadata[made.asset_key.path[-1]] = {name: one.value for name, one in made.metadata.items()}
            if event is not None and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                said.checks.append(event.asset_check_evaluation_data)
        said.everything = "\n".join(map(str, entries))
        return said


@pytest.fixture
def odd(sandbox: Sandbox) -> dict[str, list[OddOrder]]:
    """The odd orders that each restaurant has beside its usual ones."""
    found = {guid: odd_orders(guid) for guid in sandbox.restaurant_guids}
    for guid, orders in found.items():
        for one in orders:
            put_bytes(sandbox.toast.orders[guid], one.name, one.at, one.body)
    return found


def check_week(sandbox: Sandbox, store: OrderStore, week: Week, odd: Mapping[str, list[OddOrder]], said: Said) -> None:
    """Every order is where it belongs."""
    expected: dict[Key, Fate] = {}
    for restaurant, orders in odd.items():
        expected |= check_stored(sandbox, store, week, restaurant, orders)
    assert len(expected) >= 600
    check_sent(sandbox, week, expected)
    check_tables(store, week, expected, said)
    check_feeds(store, week, expected, odd)


def check_stored(
    sandbox: Sandbox, store: OrderStore, week: Week, restaurant: str, odd: list[OddOrder]
) -> dict[Key, Fate]:
    """Each order of Toast's is stored once, byte for byte: as an order and in the export, or kept apart; the fates of
    the former."""
    bodies = {one.json for one in sandbox.toast.orders[restaurant].between(week.start_ms, week.end_ms)}
    rows = stored_rows(store, week, restaurant)
    apart = kept_apart(store, week, restaurant)
    assert Counter([row.body for row in rows] + apart) == Counter(bodies)
    for one in odd:
        assert (one.body in apart) is (one.fate is Fate.UNREADABLE) or one.fate is Fate.NAMED, one.name
    record = manifest_of(store, week).stored[restaurant]
    assert record.orders == len(rows)
    found = store.bucket.read(store.layout.export(week, restaurant))
    assert found is not None
    export = gzip.decompress(found[0])
    assert not [row.guid[:40] for row in rows if with_restaurant(row.body, restaurant) not in export]
    fates = {one.body: one.fate for one in odd}
    return {(restaurant, row.guid): fates.get(row.body, Fate.WHOLE) for row in rows}


def kept_apart(store: OrderStore, week: Week, restaurant: str) -> list[bytes]:
    """The bodies below ``unreadable/``."""
    found = store.bucket.read(f"{store.layout.prefix}unreadable/week={week.key}/restaurant={restaurant}.ndjson.gz")
    assert found is not None
    lines = [json.loads(line) for line in gzip.decompress(found[0]).splitlines()]
    assert all(line["reason"] for line in lines)
    return [base64.b64decode(line["body_base64"]) for line in lines]


def check_sent(sandbox: Sandbox, week: Week, expected: Mapping[Key, Fate]) -> None:
    """Each order was accepted once or is a reject; no card's digits left."""
    records = sandbox.amperity.of_stream("is-toast-orders")
    sent = Counter((str(record.restaurant), str(record.guid)) for record in records)
    refused = Counter((str(one["restaurant_guid"]), str(one["order_guid"])) for one in rejects(sandbox, week))
    assert sent + refused == Counter(expected.keys())
    wrong = [
        key
        for key, fate in expected.items()
        if fate is not Fate.NAMED and (key in refused) is not (fate is Fate.REFUSED)
    ]
    assert [guid[:40] for _, guid in wrong] == []
    # As a text of its own: these digits may be a part of an identifier.
    left = [digits for digits in CARD_DIGITS for record in records if b'"%s"' % digits.encode() in (record.body or b"")]
    assert left == []


def check_tables(store: OrderStore, week: Week, expected: Mapping[Key, Fate], said: Said) -> None:
    """Each order is in the tables, or counted and, as far as there is room, named as rejected."""
    tables = {}
    for name, part in (("orders", week.key), ("current_orders", None)):
        frame = store.load_table(name, part)
        tables[name] = Counter(zip(frame["restaurant_guid"], frame["order_guid"], strict=True))
    assert tables["orders"] == tables["current_orders"]
    assert set(tables["orders"].values()) == {1}
    missing = expected.keys() - tables["orders"].keys()
    right = {Fate.REJECTED: True, Fate.WHOLE: False, Fate.REFUSED: None, Fate.NAMED: None}
    assert [key for key, fate in expected.items() if right[fate] not in (None, key in missing)] == []
    assert said.metadata["orders"]["rejected_orders"] == len(missing)


def check_feeds(store: OrderStore, week: Week, expected: Mapping[Key, Fate], odd: Mapping[str, list[OddOrder]]) -> None:
    """What the tables have is in the feeds for Amperity's couriers."""
    found: set[Key] = set()
    for restaurant in {restaurant for restaurant, _ in expected}:
        file = store.bucket.read(store.layout.feed(week, restaurant, "order_items"))
        assert file is not None
        found |= {(restaurant, json.loads(line)["order_id"]) for line in gzip.decompress(file[0]).splitlines()}
    assert not [key for key, fate in expected.items() if fate is Fate.REJECTED and key in found]
    # Of the usual ones, deleted orders and those of the test mode are in no feed.
    missing = [key for key, fate in expected.items() if fate is Fate.WHOLE and key not in found]
    assert [key for key in missing if key[1] in {one.guid for one in odd[key[0]]}] == []
    assert len(missing) < 0.1 * len(expected)


def check_said(said: Said) -> None:
    """Nothing worse than a warning; the odd orders are counted; nothing of a guest."""
    failed = {one.check_name: one.severity for one in said.checks if not one.passed}
    assert dg.AssetCheckSeverity.ERROR not in failed.values(), failed
    assert {"every_order_readable", "order_guids_unique"} <= failed.keys()
    assert GUEST not in said.everything
    assert "@secret.example" not in said.everything


@pytest.mark.usefixtures("sandbox_environment")
def test_odd_orders_hold_up_no_other_and_are_found_once(
    sandbox: Sandbox,
    store: OrderStore,
    week: Week,
    odd: dict[str, list[OddOrder]],
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    job = build_defs().resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=instance, partition_key=week.key, raise_on_error=False)
    assert result.success
    said = Said.of(instance, result.run_id)
    check_week(sandbox, store, week, odd, said)
    check_said(said)
    assert "@secret.example" not in caplog.text


@pytest.mark.full
def test_the_command_materializes_a_week_with_odd_orders(
    sandbox: Sandbox, store: OrderStore, week: Week, odd: dict[str, list[OddOrder]], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "toast_assets.definitions"]
    command += ["--select", "*", "--partition", week.key]
    environment = os.environ | sandbox.environment() | VARIABLES | {"DAGSTER_HOME": str(tmp_path)}
    (tmp_path / "dagster.yaml").touch()
    # The second run finds nothing new and sends nothing again.
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
        assert done.returncode == 0, done.stderr[-4000:]
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            newest, *_ = instance.get_runs()
            said = Said.of(instance, newest.run_id)
        check_week(sandbox, store, week, odd, said)
        check_said(said)
        assert "@secret.example" not in done.stdout + done.stderr
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and b"@secret.example" in path.read_bytes()]
    assert kept == []
