"""docs/checks.md says of every check what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest

from toast_assets.checks.check import CheckResult
from toast_assets.checks.drift import FieldHistory, FieldRecord, Seen
from toast_assets.checks.facts import GuestCoverage, NameCoverage, RestaurantFacts, WeekFacts
from toast_assets.defs.build import build_defs
from toast_assets.store.manifest import Manifest, PullRecord, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.checks.evaluating import NO_MANIFEST, conclude, evaluate

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| \[`(\w+)`\]\(#(\w+)\) \| `([\w/]+)` \| (yes|no) \| (.+) \|$", re.MULTILINE)
ROWS = {match[1]: match for match in ROW.finditer(PAGE)}


def specs() -> dict[str, dg.AssetCheckSpec]:
    graph = build_defs().get_repository_def().asset_graph
    return {key.name: graph.get_check_spec(key) for key in graph.asset_check_keys}


def test_every_check_is_described_with_its_asset_and_whether_it_blocks() -> None:
    found = {name: (spec.asset_key.to_user_string(), spec.blocking) for name, spec in specs().items()}
    assert {name: (row[3], row[4] == "yes") for name, row in ROWS.items()} == found
    assert all(row[2] == name for name, row in ROWS.items())


def test_every_section_begins_with_the_sentences_of_the_ui_and_says_what_to_do() -> None:
    sections = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(specs())
    for name, spec in specs().items():
        text = " ".join(sections[name].split())
        assert text.startswith(" ".join(str(spec.description).split())), name
        assert "What to do:" in text, name


def manifest(orders: int) -> Manifest:
    counts = {"bytes": 0, "orders_sha256": "", "new": 0, "changed": 0, "requests": 0, "retries": 0, "throttled": 0}
    pull = PullRecord(orders=orders, started_at="", finished_at="", slices=(), **counts)  # type: ignore[arg-type]
    records = {"here": RestaurantRecord(outcome="failed", failure="403", pull=pull)}
    return Manifest(partition="", start_date="", end_date="", outcome="incomplete", restaurants=records)


def fields_at(*paths: str) -> dict[str, FieldRecord]:
    return {path: FieldRecord({"text": Seen("a", 1)}) for path in ("", *paths)}


def failing() -> dict[str, CheckResult]:
    facts = RestaurantFacts(
        orders=20,
        repeats=1,
        first_repeated=("a",),
        outside_week=1,
        farthest_outside_ms=1,
        first_outside=("a",),
        amounts={},
        versions="",
        channels={"DELIVERY": GuestCoverage(20, 0, 0, 0)},
        names={"table": NameCoverage(1, 1)},
    )
    fields = fields_at("lane")
    found = WeekFacts(form=1, data_version="", names_version="1", restaurants={"here": facts}, fields=fields)
    names = (
        "order_guids_unique",
        "modified_times_inside_week",
        "no_schema_drift",
        "guests_scope_present",
        "names_known",
    )
    return {
        "every_restaurant_complete": conclude("every_restaurant_complete", manifest(1)),
        "volume_as_usual": conclude("volume_as_usual", manifest(1), earlier=[manifest(900)] * 3),
        **{name: conclude(name, manifest(1), facts=found, field_history=FieldHistory(weeks=1)) for name in names},
    }


def assert_severity_is_described(name: str, result: CheckResult) -> None:
    assert not result.passed
    assert ("`WARN`" if result.warns else "`ERROR`") in ROWS[name][5]


@pytest.mark.parametrize("name", list(failing()))
def test_the_severity_of_a_failure_is_the_one_that_is_described(name: str) -> None:
    assert_severity_is_described(name, failing()[name])


def test_the_severity_of_orders_that_cannot_be_read_is_the_one_that_is_described(store: OrderStore, week: Week) -> None:
    store.bucket.write(store.layout.unreadable(week, "here"), b"damaged")
    result = evaluate("every_order_readable", week, NO_MANIFEST, store)
    assert_severity_is_described("every_order_readable", result)


@pytest.mark.parametrize("name", ["totals_reconcile", "net_sales_agree_with_toast"])
def test_the_severity_of_tables_that_were_not_made_is_the_one_that_is_described(
    name: str, store: OrderStore, week: Week
) -> None:
    assert_severity_is_described(name, evaluate(name, week, NO_MANIFEST, store))


def test_what_is_inside_a_new_field_is_named_with_it_and_not_by_itself() -> None:
    paths = ("lane", "lane.number", "lane.deep.down", "other.lane")
    fields = fields_at(*paths, "lane.deep")
    facts = WeekFacts(form=1, data_version="", restaurants={}, fields=fields)
    found = conclude("no_schema_drift", facts=facts, field_history=FieldHistory(weeks=1))
    assert found.description == "new field lane (first in order a); new field other.lane (first in order a)"
    assert (len(found.rows), found.figures["new_fields"]) == (5, 5)
