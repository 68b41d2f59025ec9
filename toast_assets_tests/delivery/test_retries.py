"""Rejects of other weeks: a week's delivery sends them again once their cause may be gone, within bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from toast_assets.delivery.open_rejects import MOST_TRIES, Try, claim, note_rejects
from toast_assets.delivery.retries import MOST_WEEKS
from toast_assets.errors import AmperityRefusedError, StoreError
from toast_assets.http.retry import RetryPolicy
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.store.deliveries import load_delivered
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import check, encode, order, selection
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.stores.deliveries import (
    accepted,
    deliver,
    deliver_and_retry,
    guids,
    ledger,
    open_rejects,
    prepare,
    rejects,
)

PLACE = "place-1"
NOW = datetime(2025, 10, 1, 12, tzinfo=UTC)
WEEKS = [WeekCalendar().week(f"{datetime(2025, 9, 1, tzinfo=UTC) + timedelta(weeks=n):%Y-%m-%d}") for n in range(12)]
BEFORE, FIRST, NEXT = WEEKS[:3]
NOTIFY_ONLY = {"AMPERITY_DELIVERY": "notify"}


def orders(count: int) -> list[bytes]:
    return encode(*(order(check(selection(f"{number + 5}.00"))) for number in range(count)))


def large() -> list[bytes]:
    return encode(order(check(selection("5.00", displayName="x" * 8000))))


def refuse(sandbox: Sandbox, *guids: str, times: int | None = 1) -> None:
    """Lets Amperity refuse these orders, so often."""
    for guid in guids:
        sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=guid.encode(), last=times)


async def refused_week(sandbox: Sandbox, week: Week, *, times: int | None = 1) -> str:
    """Delivers a week of four orders, one of which is refused, and retries no other week's; that one."""
    stored = {PLACE: orders(4)}
    prepare(sandbox, week, stored)
    refuse(sandbox, guids(stored)[0], times=times)
    await deliver(sandbox, week, now=NOW)
    assert len(rejects(sandbox, week)) == 1
    return guids(stored)[0]


def asked_for(sandbox: Sandbox, guid: str) -> int:
    """How often Amperity was sent an order."""
    (attempts,) = ledger(sandbox, FIRST).query("record_id == @guid")["attempts"]
    return int(attempts)


class TestRecovery:
    async def test_the_next_weeks_delivery_sends_exactly_what_was_refused_once_the_cause_is_gone(
        self, sandbox: Sandbox
    ) -> None:
        stored, later = {PLACE: orders(10)}, {PLACE: orders(3)}
        prepare(sandbox, FIRST, stored)
        prepare(sandbox, NEXT, later)
        bad = guids(stored)[:2]
        refuse(sandbox, *bad)
        await deliver_and_retry(sandbox, FIRST)
        ids = set(ledger(sandbox, FIRST)["request_id"])
        assert len(rejects(sandbox, FIRST)) == 2
        assert open_rejects(sandbox)[FIRST.key]["rejects"] == {"stream": 2}
        retries = await deliver_and_retry(sandbox, NEXT)
        assert (retries.weeks, retries.accepted, retries.rejected) == ([FIRST.key], 2, 0)
        assert (retries.left, retries.problems) == ([], {})
        assert sorted(str(record.guid) for record in accepted(sandbox)[8:]) == sorted([*bad, *guids(later)])
        assert not rejects(sandbox, FIRST)
        assert order_store(sandbox).bucket.info(order_store(sandbox).layout.rejects(FIRST)) is None
        table = ledger(sandbox, FIRST)
        assert (set(table["state"]), set(table["request_id"])) == ({"accepted"}, ids)
        assert open_rejects(sandbox) == {}
        known = load_delivered(order_store(sandbox), FIRST.key)
        assert known is not None
        assert known.restaurants[PLACE].methods["stream"].arrived == 10
        assert known.restaurants[PLACE].methods["stream"].rejected == 0

    async def test_on_the_same_day_an_earlier_weeks_delivery_or_the_same_one_again_retries_nothing(
        self, sandbox: Sandbox
    ) -> None:
        bad = await refused_week(sandbox, FIRST, times=None)
        prepare(sandbox, BEFORE, {PLACE: orders(1)})
        prepare(sandbox, NEXT, {PLACE: orders(1)})
        assert (await deliver_and_retry(sandbox, BEFORE, now=NOW)).weeks == []
        assert (await deliver_and_retry(sandbox, NEXT, now=NOW)).weeks == [FIRST.key]
        assert (await deliver_and_retry(sandbox, NEXT, now=NOW)).weeks == []
        assert asked_for(sandbox, bad) == 2

    async def test_seven_days_later_any_weeks_delivery_retries(self, sandbox: Sandbox) -> None:
        await refused_week(sandbox, FIRST)
        prepare(sandbox, BEFORE, {PLACE: orders(1)})
        almost = NOW + timedelta(days=7, seconds=-1)
        assert (await deliver_and_retry(sandbox, BEFORE, now=almost)).weeks == []
        assert (await deliver_and_retry(sandbox, BEFORE, now=NOW + timedelta(days=7))).accepted == 1

    async def test_a_raised_limit_of_bytes_retries_at_once_whichever_week_is_delivered(self, sandbox: Sandbox) -> None:
        prepare(sandbox, FIRST, {PLACE: orders(2) + large()})
        prepare(sandbox, BEFORE, {PLACE: orders(1)})
        lowered: dict[str, Any] = {"AMPERITY_MAX_RECORD_BYTES": "6000", "AMPERITY_MAX_REJECT_SHARE": "1"}
        await deliver_and_retry(sandbox, FIRST, now=NOW, **lowered)
        assert (await deliver_and_retry(sandbox, BEFORE, now=NOW, **lowered)).weeks == []
        assert (await deliver_and_retry(sandbox, BEFORE, now=NOW)).accepted == 1
        assert not rejects(sandbox, FIRST)

    @pytest.mark.parametrize(
        "changes",
        [
            {"AMPERITY_REDACT": "displayName=drop"},
            {"AMPERITY_BRAND": "Another"},
            {"AMPERITY_ORDER_ITEMS_STREAM_ID": "is-toast-order-items"},
        ],
        ids=["redaction", "brand", "streams"],
    )
    async def test_other_settings_retry_at_once(self, sandbox: Sandbox, changes: dict[str, Any]) -> None:
        await refused_week(sandbox, FIRST)
        prepare(sandbox, BEFORE, {PLACE: orders(1)})
        assert (await deliver_and_retry(sandbox, BEFORE, now=NOW, **changes)).accepted == 1

    async def test_a_backfill_from_the_oldest_week_on_retries_on_its_way(self, sandbox: Sandbox) -> None:
        stored = [prepare(sandbox, week, {PLACE: orders(2)}) for week in WEEKS[:5]]
        refuse(sandbox, guids(stored[0])[0], times=3)
        found = [(await deliver_and_retry(sandbox, week, now=NOW)).accepted for week in WEEKS[:5]]
        assert found == [0, 0, 0, 1, 0]

    async def test_an_order_that_a_later_week_has_superseded_is_not_sent(self, sandbox: Sandbox) -> None:
        old = order(check(selection("5.00")), modifiedDate="2025-09-09T10:00:00.000+0000")
        prepare(sandbox, FIRST, {PLACE: [*orders(200), *encode(old)]})
        refuse(sandbox, old["guid"])
        await deliver_and_retry(sandbox, FIRST)
        new = old | {"modifiedDate": "2025-09-16T10:00:00.000+0000"}
        prepare(sandbox, NEXT, {PLACE: encode(new)})
        sent = len(accepted(sandbox))
        retries = await deliver_and_retry(sandbox, NEXT)
        assert (retries.weeks, retries.accepted, len(accepted(sandbox))) == ([FIRST.key], 0, sent + 1)
        assert set(ledger(sandbox, FIRST).query("record_id == @old['guid']")["state"]) == {"superseded"}
        assert not rejects(sandbox, FIRST)
        known = load_delivered(order_store(sandbox), FIRST.key)
        assert known is not None
        assert known.restaurants[PLACE].methods["stream"].superseded == 1


class TestBounds:
    async def test_what_stays_refused_is_tried_so_often_under_one_recipe_and_again_under_another(
        self, sandbox: Sandbox
    ) -> None:
        bad = await refused_week(sandbox, FIRST, times=None)
        prepare(sandbox, NEXT, {PLACE: orders(1)})
        for number in range(1, MOST_TRIES + 3):
            retries = await deliver_and_retry(sandbox, NEXT, now=NOW + timedelta(weeks=number))
            assert retries.rejected == (number <= MOST_TRIES)
        assert asked_for(sandbox, bad) == 1 + MOST_TRIES
        # Whoever asks for it is not bound, and gives no further tries.
        await deliver(sandbox, FIRST, replay=True)
        assert asked_for(sandbox, bad) == 2 + MOST_TRIES
        later = NOW + timedelta(weeks=30)
        assert (await deliver_and_retry(sandbox, NEXT, now=later)).weeks == []
        assert open_rejects(sandbox)[FIRST.key]["tries"] == MOST_TRIES
        changed: dict[str, Any] = {"AMPERITY_BRAND": "Another"}
        assert (await deliver_and_retry(sandbox, NEXT, now=later, **changed)).rejected == 1
        assert open_rejects(sandbox)[FIRST.key]["tries"] == 1

    async def test_a_run_retries_a_few_weeks_the_oldest_first_and_names_those_that_are_left(
        self, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
    ) -> None:
        keys = [week.key for week in WEEKS[1:7]]
        for week in WEEKS[1:7]:
            stored = {PLACE: orders(1)}
            prepare(sandbox, week, stored)
            refuse(sandbox, *guids(stored), times=None)
            await deliver(sandbox, week, now=NOW)
        prepare(sandbox, WEEKS[7], {PLACE: orders(1)})
        caplog.set_level("INFO")
        first = await deliver_and_retry(sandbox, WEEKS[7], now=NOW)
        assert (first.weeks, first.left) == (keys[:MOST_WEEKS], keys[MOST_WEEKS:])
        assert f"The next delivery retries rejects of {', '.join(keys[MOST_WEEKS:])}." in caplog.text
        prepare(sandbox, WEEKS[8], {PLACE: orders(1)})
        second = await deliver_and_retry(sandbox, WEEKS[8], now=NOW)
        # All are due again; those that have waited go first.
        assert (sorted(second.weeks), second.left) == (sorted([*keys[4:], *keys[:2]]), keys[2:4])

    async def test_a_delivery_of_which_records_are_refused_retries_those_of_other_weeks_all_the_same(
        self, sandbox: Sandbox
    ) -> None:
        await refused_week(sandbox, FIRST)
        stored = {PLACE: orders(2)}
        prepare(sandbox, NEXT, stored)
        refuse(sandbox, guids(stored)[0])
        assert (await deliver_and_retry(sandbox, NEXT)).accepted == 1
        assert (rejects(sandbox, FIRST), len(rejects(sandbox, NEXT))) == ([], 1)

    async def test_a_dry_run_and_a_delivery_without_all_answers_retry_nothing(self, sandbox: Sandbox) -> None:
        bad = await refused_week(sandbox, FIRST, times=None)
        stored = {PLACE: orders(2)}
        prepare(sandbox, NEXT, stored)
        before = dict(order_store(sandbox).bucket.listed(""))
        assert (await deliver_and_retry(sandbox, NEXT, dry_run=True)).weeks == []
        assert dict(order_store(sandbox).bucket.listed("")) == before
        sandbox.faults.arm(Kind.STATUS, "stream", status=503, containing=guids(stored)[0].encode(), last=None)
        assert (await deliver_and_retry(sandbox, NEXT)).weeks == []
        assert asked_for(sandbox, bad) == 1

    async def test_rejects_of_a_method_that_is_off_stay_and_wait_for_it(self, sandbox: Sandbox) -> None:
        await refused_week(sandbox, FIRST)
        prepare(sandbox, NEXT, {PLACE: orders(1)})
        before = rejects(sandbox, FIRST), open_rejects(sandbox)
        url: dict[str, Any] = {"AMPERITY_API_URL": f"{sandbox.amperity_url}/api/v1/streaming"}
        for changes in (NOTIFY_ONLY | url, {"AMPERITY_DELIVERY": "s3_pull"}):
            later = NOW + timedelta(weeks=3)
            assert (await deliver_and_retry(sandbox, NEXT, now=later, **changes)).weeks == []
            # Its own delivery has no stream either.
            await deliver_and_retry(sandbox, FIRST, now=later, **changes)
            assert (rejects(sandbox, FIRST), open_rejects(sandbox)) == before
        assert (await deliver_and_retry(sandbox, NEXT, now=NOW)).accepted == 1


class TestProblems:
    async def test_a_delivery_that_was_down_has_not_tried_its_weeks_rejects(self, sandbox: Sandbox) -> None:
        bad = await refused_week(sandbox, FIRST)
        before = open_rejects(sandbox)
        sandbox.faults.arm(Kind.STATUS, "stream", status=403, containing=bad.encode())
        changed: dict[str, Any] = {"AMPERITY_BRAND": "Another"}
        with pytest.raises(AmperityRefusedError):
            await deliver_and_retry(sandbox, FIRST, now=NOW, **changed)
        assert open_rejects(sandbox) == before
        prepare(sandbox, BEFORE, {PLACE: orders(1)})
        assert (await deliver_and_retry(sandbox, BEFORE, now=NOW, **changed)).accepted == 1

    async def test_of_two_runs_that_found_a_week_due_one_makes_the_try(self, sandbox: Sandbox) -> None:
        await refused_week(sandbox, FIRST)
        of = Try(NEXT.key, ("stream",), "recipe", NOW)
        assert [claim(order_store(sandbox), FIRST.key, of) for _ in range(2)] == [True, False]

    async def test_what_another_run_has_stored_meanwhile_stays_in_the_index(self, sandbox: Sandbox) -> None:
        await refused_week(sandbox, FIRST)
        store, before = order_store(sandbox), open_rejects(sandbox)
        note_rejects(store, FIRST.key, {}, None)
        assert open_rejects(sandbox) == before
        store.bucket.delete(store.layout.rejects(FIRST))
        note_rejects(store, FIRST.key, {}, None)
        assert open_rejects(sandbox) == {}

    async def test_an_amperity_that_goes_down_during_a_retry_ends_the_retries_and_nothing_else(
        self, sandbox: Sandbox
    ) -> None:
        bad = await refused_week(sandbox, BEFORE, times=2)
        await refused_week(sandbox, FIRST, times=None)
        stored = {PLACE: orders(1)}
        prepare(sandbox, NEXT, stored)
        sandbox.faults.clear()
        sandbox.faults.arm(Kind.STATUS, "stream", status=403, containing=bad.encode())
        retries = await deliver_and_retry(sandbox, NEXT)
        assert (retries.weeks, retries.left, list(retries.problems)) == ([BEFORE.key], [FIRST.key], [BEFORE.key])
        assert "AMPERITY_TENANT_ID" in retries.problems[BEFORE.key]
        assert guids(stored)[0] in {record.guid for record in accepted(sandbox)}
        assert [len(rejects(sandbox, week)) for week in (BEFORE, FIRST)] == [1, 1]
        # What was not tried is due at once.
        assert (await deliver_and_retry(sandbox, NEXT)).weeks == [FIRST.key]
        prepare(sandbox, WEEKS[3], {PLACE: orders(1)})
        assert (await deliver_and_retry(sandbox, WEEKS[3])).accepted == 1
        assert open_rejects(sandbox) == {}

    async def test_a_bucket_that_fails_in_the_same_moment_does_not_hide_that_amperity_takes_no_more(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bad = await refused_week(sandbox, BEFORE, times=2)
        await refused_week(sandbox, FIRST, times=None)
        prepare(sandbox, NEXT, {PLACE: orders(1)})
        sandbox.faults.clear()
        sandbox.faults.arm(Kind.STATUS, "stream", status=403, containing=bad.encode())

        def failing(store: OrderStore, week_key: str, *arguments: Any) -> Any:
            if week_key == BEFORE.key:
                raise StoreError("S3 is overloaded.")
            return note_rejects(store, week_key, *arguments)

        monkeypatch.setattr("toast_assets.delivery.deliver.note_rejects", failing)
        retries = await deliver_and_retry(sandbox, NEXT)
        assert (retries.problems, retries.left) == ({BEFORE.key: "S3 is overloaded. [STORE]"}, [FIRST.key])

    async def test_a_record_without_an_answer_is_reported_and_stays_among_the_rejects(self, sandbox: Sandbox) -> None:
        bad = await refused_week(sandbox, FIRST)
        prepare(sandbox, NEXT, {PLACE: orders(1)})
        sandbox.faults.arm(Kind.STATUS, "stream", status=503, containing=bad.encode(), last=None)
        retries = await deliver_and_retry(sandbox, NEXT, retry=RetryPolicy(attempts=2, first_wait=0.001))
        assert "1 records had no answer" in retries.problems[FIRST.key]
        assert len(rejects(sandbox, FIRST)) == 1

    @pytest.mark.parametrize("damaged", ["raw", "rejects", "manifest", "export"])
    async def test_a_damaged_object_of_another_week_is_reported_and_the_others_are_retried(
        self, sandbox: Sandbox, damaged: str
    ) -> None:
        await refused_week(sandbox, BEFORE, times=2)
        await refused_week(sandbox, FIRST)
        prepare(sandbox, NEXT, {PLACE: orders(1)})
        store = order_store(sandbox)
        keys = {
            "raw": store.layout.raw(BEFORE, PLACE),
            "rejects": store.layout.rejects(BEFORE),
            "manifest": store.layout.manifest(BEFORE),
            "export": store.layout.export(BEFORE, PLACE),
        }
        store.bucket.write(keys[damaged], b"damaged")
        retries = await deliver_and_retry(sandbox, NEXT)
        assert keys[damaged] in retries.problems[BEFORE.key]
        assert (retries.accepted, rejects(sandbox, FIRST)) == (1, [])
        # That was a try, too: else each delivery would do so again.
        assert (await deliver_and_retry(sandbox, NEXT)).weeks == []

    @pytest.mark.parametrize("body", [None, b"{", b'{"weeks":{"2025-09-08":{"tried_at":"soon"}}}'])
    async def test_an_index_that_is_lost_or_damaged_is_made_again_and_all_is_due(
        self, sandbox: Sandbox, body: bytes | None
    ) -> None:
        await refused_week(sandbox, FIRST)
        prepare(sandbox, BEFORE, {PLACE: orders(1)})
        store = order_store(sandbox)
        if body is None:
            store.bucket.delete(store.layout.open_rejects)
        else:
            store.bucket.write(store.layout.open_rejects, body)
        store.bucket.write(f"{store.layout.all_rejects}notes.txt", b"of somebody")
        assert (await deliver_and_retry(sandbox, BEFORE, now=NOW)).accepted == 1
        assert open_rejects(sandbox) == {}

    @pytest.mark.parametrize("tries", [0, MOST_TRIES])
    async def test_a_week_whose_file_is_gone_leaves_the_index(self, sandbox: Sandbox, tries: int) -> None:
        await refused_week(sandbox, FIRST)
        prepare(sandbox, NEXT, {PLACE: orders(1)})
        store = order_store(sandbox)
        body = json.dumps({"weeks": {FIRST.key: open_rejects(sandbox)[FIRST.key] | {"tries": tries}}})
        store.bucket.write(store.layout.open_rejects, body.encode())
        store.bucket.delete(store.layout.rejects(FIRST))
        sent = len(accepted(sandbox))
        await deliver_and_retry(sandbox, NEXT)
        assert (open_rejects(sandbox), len(accepted(sandbox))) == ({}, sent + 1)

    async def test_a_bug_in_a_retry_is_reported_by_its_name_and_fails_nothing(
        self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await refused_week(sandbox, FIRST)
        prepare(sandbox, NEXT, {PLACE: orders(1)})

        def fault(*_: Any) -> None:
            raise LookupError("perhaps a guest's name")

        monkeypatch.setattr("toast_assets.delivery.retries.week_of", fault)
        assert (await deliver_and_retry(sandbox, NEXT)).problems == {FIRST.key: "LookupError"}
