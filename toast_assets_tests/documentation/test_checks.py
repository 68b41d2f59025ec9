"""docs/checks.md says of every check what the code says."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from toast_assets.checks import verdicts
from toast_assets.checks.facts import Reach, RestaurantFacts
from toast_assets.checks.inspection import DriftFinding, Inspection
from toast_assets.checks.unreadable import UnreadableOrders
from toast_assets.checks.verdicts import Verdict
from toast_assets.definitions import build_defs
from toast_assets.store.manifest import Manifest, RestaurantRecord
from toast_assets.week import WeekCalendar

PAGE = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| \[`(\w+)`\]\(#(\w+)\) \| `(\w+)` \| (yes|no) \| (.+) \|$", re.MULTILINE)
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
        assert "What to do:" in text or "Materialize `amperity_delivery`" in text, name


def failing() -> dict[str, Verdict]:
    facts = RestaurantFacts(
        orders=20,
        repeats=1,
        repeated=("a",),
        strays=1,
        outside=("a",),
        unreadable=0,
        amounts={},
        versions="",
        channels={"DELIVERY": Reach(20, 0, 0)},
    )
    drift = (DriftFinding("new field", "lane", None, "a"),)
    found = Inspection(form=1, data_version="", restaurants={"here": facts}, drift=drift)
    odd = UnreadableOrders("here", "s3://bucket/key", Counter({"it is not JSON": 2}), {"it is not JSON": "a to b"})
    records = {"here": RestaurantRecord(outcome="failed", failure="403")}
    manifest = Manifest(partition="", start_date="", end_date="", outcome="incomplete", restaurants=records)
    return {
        "every_restaurant_complete": verdicts.every_restaurant_complete(manifest),
        "every_order_readable": verdicts.every_order_readable(manifest, [odd]),
        "order_guids_unique": verdicts.order_guids_unique(manifest, found),
        "modified_times_inside_week": verdicts.modified_times_inside_week(
            WeekCalendar().week("2025-09-15"), manifest, found
        ),
        "no_schema_drift": verdicts.no_schema_drift(found),
        "guests_scope_present": verdicts.guests_scope_present(found),
    }


@pytest.mark.parametrize("name", list(failing()))
def test_the_severity_of_a_failure_is_the_one_that_is_described(name: str) -> None:
    verdict = failing()[name]
    assert not verdict.passed
    assert ("`WARN`" if verdict.warns else "`ERROR`") in ROWS[name][5]


def test_what_is_inside_a_new_field_is_told_with_it_and_not_by_itself() -> None:
    paths = ("lane", "lane.number", "lane.deep.down", "other.lane")
    drift = tuple(DriftFinding("new field", path, None, "a") for path in (*paths[:2], "lane.deep", *paths[2:]))
    found = verdicts.no_schema_drift(Inspection(form=1, data_version="", restaurants={}, drift=drift))
    assert found.description == "new field lane (first in order a); new field other.lane (first in order a)"
    assert (len(found.rows), found.figures["new_fields"]) == (5, 5)
