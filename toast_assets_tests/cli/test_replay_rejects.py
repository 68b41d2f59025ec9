"""``toast-assets replay-rejects``: what was refused goes again, nothing else, and the report says what became of it."""

from __future__ import annotations

import asyncio
import re

import pytest
from click.testing import CliRunner, Result

from toast_assets.cli.app import main
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import check, encode, order, selection
from toast_assets_tests.support.stores.deliveries import (
    ROW_STREAMS,
    accepted,
    deliver,
    guids,
    ledger,
    open_rejects,
    prepare,
    rejects,
)

PLACE = "place-1"
LATER = WeekCalendar().week("2025-09-22")
REFUSED = "Amperity answered 400 to this record"


def orders(count: int) -> list[bytes]:
    return encode(*(order(check(selection(f"{number + 5}.00"))) for number in range(count)))


@pytest.fixture
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of the sandbox."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def refuse_two(sandbox: Sandbox, week: Week, times: int | None = 1) -> list[str]:
    """A week of which Amperity refuses two orders, so often."""
    stored = {PLACE: orders(6)}
    prepare(sandbox, week, stored)
    bad = guids(stored)[:2]
    for guid in bad:
        sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=guid.encode(), last=times)
    asyncio.run(deliver(sandbox, week))
    assert len(rejects(sandbox, week)) == 2
    return bad


def replay(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["replay-rejects", *arguments])


@pytest.mark.usefixtures("environment")
class TestReplay:
    def test_one_weeks_rejects_go_again_and_nothing_else(self, sandbox: Sandbox, week: Week) -> None:
        bad = refuse_two(sandbox, week)
        sent = len(accepted(sandbox))
        result = replay("--week", week.key)
        assert result.exit_code == 0, result.output
        expected = "stream: 2 of 2 accepted now, 0 superseded, 0 refused again, 0 without an answer"
        assert result.output == f"Week 2025-09-15\n  {expected}\n  none left\n"
        assert sorted(str(record.guid) for record in accepted(sandbox)[sent:]) == bad
        assert not rejects(sandbox, week)
        assert set(ledger(sandbox, week)["state"]) == {"accepted"}
        assert open_rejects(sandbox) == {}

    def test_without_a_week_all_weeks_with_rejects_go(self, sandbox: Sandbox, week: Week) -> None:
        refuse_two(sandbox, week)
        refuse_two(sandbox, LATER)
        result = replay()
        assert result.exit_code == 0
        assert re.findall("Week ([0-9-]+)", result.output) == [week.key, LATER.key]
        assert replay().output == "There are no rejects.\n"

    def test_another_weeks_rejects_stay(self, sandbox: Sandbox, week: Week) -> None:
        refuse_two(sandbox, week)
        refuse_two(sandbox, LATER)
        assert replay("--week", LATER.key).exit_code == 0
        assert len(rejects(sandbox, week)) == 2
        assert replay("--week", LATER.key).output == f"Week {LATER.key} has no rejects.\n"

    def test_what_is_refused_again_is_told_and_ends_with_one(self, sandbox: Sandbox, week: Week) -> None:
        refuse_two(sandbox, week, times=None)
        result = replay("--week", week.key)
        assert result.exit_code == 1
        assert "0 of 2 accepted now, 0 superseded, 2 refused again" in result.output
        assert f"2 × {REFUSED}" in result.output
        assert (
            f"2 left in s3://{sandbox.bucket}/toast-orders/rejects/week=2025-09-15/rejects.ndjson.gz" in result.output
        )
        assert len(rejects(sandbox, week)) == 2
        found = open_rejects(sandbox)[week.key]
        assert (found["rejects"], found.get("tries", 0)) == ({"stream": 2}, 0)

    def test_rows_of_feeds_go_again_too(self, sandbox: Sandbox, week: Week, environment: pytest.MonkeyPatch) -> None:
        for name, value in ROW_STREAMS.items():
            environment.setenv(name, value)
        made = order(check(selection("5.00"), selection("6.00")))
        prepare(sandbox, week, {PLACE: encode(made)})
        row = made["checks"][0]["selections"][0]["guid"]
        sandbox.faults.arm(
            Kind.STATUS,
            "stream",
            status=413,
            target=ROW_STREAMS["AMPERITY_ORDER_ITEMS_STREAM_ID"],
            containing=row.encode(),
        )
        asyncio.run(deliver(sandbox, week, **ROW_STREAMS))
        result = replay()
        assert "stream_order_items: 1 of 1 accepted now" in result.output
        assert result.exit_code == 0

    def test_rejects_of_a_method_that_is_off_are_left_and_told(
        self, sandbox: Sandbox, week: Week, environment: pytest.MonkeyPatch
    ) -> None:
        refuse_two(sandbox, week)
        environment.setenv("AMPERITY_DELIVERY", "s3_pull")
        result = replay()
        assert (result.exit_code, len(rejects(sandbox, week))) == (1, 2)
        assert "2 left in" in result.output

    def test_a_wrong_key_is_one_sentence_and_the_rejects_stay(
        self, sandbox: Sandbox, week: Week, environment: pytest.MonkeyPatch
    ) -> None:
        refuse_two(sandbox, week)
        environment.setenv("AMPERITY_TENANT_ID", "other")
        result = replay()
        assert result.exit_code == 1
        assert "Check AMPERITY_TENANT_ID" in result.output
        assert len(rejects(sandbox, week)) == 2

    def test_a_week_that_is_none_is_named(self) -> None:
        result = replay("--week", "2025-09-16")
        assert result.exit_code == 2
        assert "weeks begin on a Monday" in result.output

    def test_all_missing_variables_are_named_at_once(self, environment: pytest.MonkeyPatch) -> None:
        for name in ("S3_BUCKET_NAME", "AMPERITY_STREAM_ID", "AMPERITY_TENANT_ID"):
            environment.delenv(name)
        result = replay()
        assert result.exit_code == 2
        for name in ("S3_BUCKET_NAME", "AMPERITY_STREAM_ID", "AMPERITY_TENANT_ID"):
            assert name in result.output
