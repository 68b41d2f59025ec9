"""``toast-assets status``: readable at 100 columns, JSON for machines, and an exit code that says if all is well."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from click.testing import CliRunner, Result

from toast_assets.cli.app import main
from toast_assets.sandbox import Sandbox
from toast_assets.store.manifest import RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.stores.status_weeks import delivered, store_delivery, store_weeks

CALENDAR = WeekCalendar()
NEEDED = ("S3_", "AWS_")
LONG = "Harbor & Thistle Steakhouse and Oyster Bar – North Boulevard Shopping Mall, Pier"


@pytest.fixture(autouse=True)
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of the bucket, and no other."""
    for name, value in sandbox.environment().items():
        if name.startswith(NEEDED):
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def weeks() -> list[Week]:
    """The last ten closed weeks, oldest first."""
    last = CALENDAR.last_closed(datetime.now(UTC))
    assert last is not None
    return [
        CALENDAR.week(f"{date.fromisoformat(last.key) - timedelta(days=7 * number)}") for number in range(9, -1, -1)
    ]


def names(count: int) -> dict[str, str]:
    return {f"00000000-0000-4000-8000-{number:012d}": f"{LONG} {number}" for number in range(count)}


def status(*options: str) -> Result:
    return CliRunner().invoke(main, ["status", *options])


def test_where_all_is_well_there_is_a_line_for_each_week_and_the_exit_code_is_0(
    store: OrderStore, weeks: list[Week]
) -> None:
    store_weeks(store, weeks, names(2))
    result = status()
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "2 restaurants, 10 weeks: 20 of 20 are complete and delivered."
    assert lines[2].split()[:2] == ["week", "complete"]
    assert [line[:10] for line in lines[3:11]] == [week.key for week in reversed(weeks[2:])]
    assert lines[3].split() == [weeks[-1].key, "2", "–", "2,000", "2,000", "0", "0", "done", "all", "held"]
    assert lines[11:] == ["2 earlier weeks, 0 of them incomplete. All: --all."]
    assert len(status("--all").output.splitlines()) == 13


def test_every_restaurant_that_is_not_fine_has_its_reason_and_what_happens_next(
    store: OrderStore, weeks: list[Week]
) -> None:
    known = names(3)
    first, second, _ = known
    failed = RestaurantRecord(
        outcome="failed",
        name=known[first],
        failure=f"Toast refused (403) the call for restaurant {first}. [TOAST-REFUSED]",
    )
    store_weeks(store, weeks, known, lambda week: {first: failed} if week in weeks[-3:-1] else {})
    store_delivery(store, weeks[-1], {guid: delivered(weeks[-1], arrived=998, rejected=2) for guid in (first, second)})
    result = status()
    assert result.exit_code == 1
    text = result.output
    assert f"\n{weeks[-1].key}: refused, 2 restaurants\n" in text
    assert "  Why: Amperity refused records.\n  Next: refused records are sent again with the next delivery\n" in text
    assert f"\n{weeks[-1].key}: not delivered, 1 restaurant\n" in text
    assert f"\n{weeks[-3].key} to {weeks[-2].key} (2 weeks): failed, 1 restaurant\n" in text
    assert "  Why: Toast refused (403) the call. [TOAST-REFUSED]\n  Next: nothing by itself: materialize" in text


def test_three_hundred_restaurants_with_long_names_fit_on_a_screen_of_100_columns(
    store: OrderStore, weeks: list[Week]
) -> None:
    known = names(300)
    down = f"Toast answered 503{' again' * 11} [TOAST-UNAVAILABLE]"

    def changed(week: Week) -> dict[str, RestaurantRecord]:
        if week != weeks[-2]:
            return {}
        return {
            guid: RestaurantRecord(outcome="failed", name=name, failure=down) for guid, name in [*known.items()][:250]
        }

    store_weeks(store, [week for week in weeks if week != weeks[5]], known, changed)
    for options in ((), ("--all",)):
        lines = status(*options).output.splitlines()
        assert max(map(len, lines)) <= 100
        assert f"{weeks[5].key}: not pulled, all 300 restaurants" in lines
        assert f"{weeks[-2].key}: failed, 250 restaurants" in lines
        assert ("  and 246 more" in lines) is (not options)
        assert not any(line.strip() == "UNAVAILABLE]" for line in lines)
    assert len(status().output.splitlines()) < 40


def test_one_week_and_one_restaurant_can_be_asked_for(store: OrderStore, weeks: list[Week]) -> None:
    known = names(2)
    first, second = known
    store_weeks(store, weeks, known)
    store_delivery(store, weeks[0], {first: delivered(weeks[0])})
    assert status("--week", weeks[1].key).exit_code == 0
    result = status("--week", weeks[0].key, "--week", weeks[1].key)
    assert result.exit_code == 1
    assert result.output.startswith("2 restaurants, 2 weeks: 3 of 4 are complete")
    assert status("--restaurant", first.upper()).exit_code == 0
    assert status("--restaurant", second, "--restaurant", first).exit_code == 1


def test_for_machines_there_are_all_rows_as_json(store: OrderStore, weeks: list[Week]) -> None:
    known = names(2)
    store_weeks(store, weeks, known)
    result = status("--json")
    assert result.exit_code == 0
    content = json.loads(result.output)
    assert content["complete"] is True
    assert [row["week"] for row in content["rows"]] == [week.key for week in reversed(weeks) for _ in known]
    assert content["rows"][0]["delivered_at"] == (weeks[-1].end + timedelta(days=3.2)).isoformat()
    (one,) = json.loads(status("--json", "--week", weeks[0].key, "--restaurant", next(iter(known))).output)["rows"]
    assert (one["state"], one["orders"]) == ("complete", 1000)


def test_an_empty_bucket_is_not_complete(store: OrderStore) -> None:
    result = status()
    assert (result.exit_code, result.output.partition(".")[0]) == (1, "No week is stored yet")
    assert json.loads(status("--json").output) == {"complete": False, "rows": []}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--week", "2025-09-16"), "weeks begin on a Monday"),
        (("--week", "2199-01-07"), "has not closed yet"),
        (("--week", "2025-01-06"), "before the first week that is stored"),
        (("--restaurant", "nowhere"), "No stored week has a restaurant nowhere."),
    ],
)
def test_a_week_or_restaurant_that_is_none_is_wrong_input(
    store: OrderStore, weeks: list[Week], options: tuple[str, str], reason: str
) -> None:
    store_weeks(store, weeks[-1:], names(1))
    result = status(*options)
    assert result.exit_code == 2
    assert reason in result.output


def test_settings_that_are_malformed_are_wrong_input(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOAST_WEEK_HOUR", "25")
    environment.delenv("S3_BUCKET_NAME")
    result = status()
    assert result.exit_code == 2
    assert "TOAST_WEEK_HOUR" in result.output
    assert "S3_BUCKET_NAME" in result.output


def test_boundaries_that_moved_are_an_error(
    store: OrderStore, weeks: list[Week], environment: pytest.MonkeyPatch
) -> None:
    store_weeks(store, weeks[-1:], names(1))
    environment.setenv("TOAST_WEEK_HOUR", "5")
    assert "would move their boundaries" in status().output
