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


def test_the_files_can_be_looked_at_where_the_report_says(
    demo: subprocess.CompletedProcess[str], folder: Path, week: Week
) -> None:
    layout, bucket = Layout(CONFIG.prefix), folder / ".toast-assets" / "bucket"
    assert "Open the files in .toast-assets/bucket" in demo.stdout
    keys = {layout.manifest(week)}
    for each in LIVE:
        keys |= {layout.export(week, each.guid), layout.raw(week, each.guid), layout.ledger(week, each.guid)}
    files = {path.relative_to(bucket).as_posix(): path.stat().st_size for path in bucket.rglob("*") if path.is_file()}
    assert keys <= files.keys()
    listed = re.findall(r"^(\S+/) +([\d,]+) +([\d,]+)\s*$", demo.stdout, re.MULTILINE)
    numbers = [tuple(int(number.replace(",", "")) for number in row[1:]) for row in listed]
    assert [sum(column) for column in zip(*numbers, strict=True)] == [len(files), sum(files.values())]


def test_it_fits_on_a_page(demo: subprocess.CompletedProcess[str]) -> None:
    lines = demo.stdout.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    for asset in ("raw_toast_orders", "toast_orders_s3_export", "amperity_delivery", "toast_tables"):
        assert any(line.startswith(f"✓ {asset} ") for line in lines)
    assert any(line.startswith("✓ toast/current_orders ") for line in lines)


def test_a_second_materialization_finds_and_sends_nothing(demo: subprocess.CompletedProcess[str]) -> None:
    assert "again: 0 new, nothing sent twice" in demo.stdout


def test_the_runs_are_in_the_history_that_the_ui_opens(
    demo: subprocess.CompletedProcess[str], folder: Path, week: Week
) -> None:
    assert "make ui" in demo.stdout
    with dg.DagsterInstance.from_config(str(folder / ".toast-assets" / "dagster_home")) as instance:
        runs = instance.get_runs()
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * 2
        assert {run.tags["dagster/partition"] for run in runs} == {week.key}
        assert instance.get_latest_materialization_event(dg.AssetKey("amperity_delivery")) is not None
