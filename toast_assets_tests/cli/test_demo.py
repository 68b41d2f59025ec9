"""The demo, run as a user runs it: its report is what the bucket and the sandbox hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import dagster as dg
import pytest

from toast_assets.cli.environment import sandbox_config
from toast_assets.sandbox import RestaurantOrders
from toast_assets.store.layout import Layout
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.cli.conftest import run

CONFIG = sandbox_config()
LIVE = [each for each in CONFIG.restaurants if not each.state]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """One run of the demo, in an environment full of variables for real services."""
    return run(folder, "demo")


@pytest.fixture
def week(demo: subprocess.CompletedProcess[str]) -> Week:
    """The week that the demo chose."""
    chosen = re.match(r"Week (\S+) of 3 restaurants", demo.stdout)
    assert chosen is not None, demo.stdout + demo.stderr
    return WeekCalendar().week(chosen[1])


def test_the_demo_succeeds_and_has_nothing_to_complain_of(demo: subprocess.CompletedProcess[str]) -> None:
    assert (demo.returncode, demo.stderr) == (0, "")


def test_the_report_counts_what_toast_the_bucket_and_amperity_hold(
    demo: subprocess.CompletedProcess[str], week: Week
) -> None:
    truth = {each.name: len(RestaurantOrders(each, CONFIG).between(week.start_ms, week.end_ms)) for each in LIVE}
    for name, number in (truth | {"all restaurants": sum(truth.values())}).items():
        assert re.search(rf"^{re.escape(name)}\s+{number}\s+{number}\s+{number}\b", demo.stdout, re.MULTILINE)
    assert f"{sum(truth.values())} records accepted, 0 refused, 0 lost" in demo.stdout


def test_the_report_lists_the_bucket(demo: subprocess.CompletedProcess[str], week: Week) -> None:
    layout = Layout(CONFIG.prefix)
    keys = {layout.manifest(week)}
    for each in LIVE:
        keys |= {layout.export(week, each.guid), layout.raw(week, each.guid), layout.ledger(week, each.guid)}
    listed = dict(re.findall(r"^ *([\d,]+) B  (\S+)$", demo.stdout, re.MULTILINE))
    assert keys <= set(listed.values())
    assert all(size != "0" for size in listed)


def test_progress_is_told_while_it_works(demo: subprocess.CompletedProcess[str]) -> None:
    before_the_report = demo.stdout.partition("Orders of the week")[0]
    for expected in (
        "raw_toast_orders",
        "(3 of 3 restaurants)",
        "toast_orders_s3_export",
        "amperity_delivery",
        "✓ every_restaurant_complete",
    ):
        assert expected in before_the_report


def test_a_second_materialization_finds_and_sends_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    assert "again: 0 new, nothing sent twice" in demo.stdout


def test_the_runs_are_in_the_history_that_the_ui_opens(
    demo: subprocess.CompletedProcess[str], folder: Path, week: Week
) -> None:
    assert "toast-assets sandbox --ui" in demo.stdout
    with dg.DagsterInstance.from_config(str(folder / ".toast-assets" / "dagster_home")) as instance:
        runs = instance.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
        assert {run.tags["dagster/partition"] for run in runs} == {week.key}
        assert instance.get_latest_materialization_event(dg.AssetKey("amperity_delivery")) is not None
