"""A week's delivery against the strict sandbox over real HTTP: what arrives, how often, and what is noted of it."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from toast_assets.amperity.client import CONNECTIONS
from toast_assets.delivery.deliver import check_delivery
from toast_assets.errors import (
    AmperityError,
    AmperityRefusedError,
    AmperityUnreachableError,
    SettingsError,
)
from toast_assets.http.bodies import read_reply
from toast_assets.http.retry import RetryPolicy
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import check, encode, order, selection
from toast_assets_tests.support.services.clients import SkippedTime, order_store
from toast_assets_tests.support.stores.deliveries import (
    NO_CLIENT,
    STREAM,
    accepted,
    amperity_settings,
    deliver,
    guids,
    ledger,
    open_segments,
    prepare,
    rejects,
)

PLACE = "place-1"


def orders(count: int) -> list[bytes]:
    return encode(*(order(check(selection(f"{number + 5}.00"))) for number in range(count)))


def edited(body: bytes, minute: int = 30) -> bytes:
    """The same order, modified later in the week."""
    return json.dumps(json.loads(body) | {"modifiedDate": f"2025-09-20T10:{minute}:00.000+0000"}).encode()


class TestOnce:
    async def test_each_order_is_accepted_exactly_once_in_a_clean_run(self, sandbox: Sandbox, week: Week) -> None:
        stored = prepare(sandbox, week)
        report = await deliver(sandbox, week)
        assert sorted(str(record.guid) for record in accepted(sandbox)) == guids(stored)
        assert len({record.request_id for record in accepted(sandbox)}) == len(guids(stored))
        assert report.methods["stream"].accepted == report.calls.requests == len(guids(stored))
        assert Counter(record.restaurant for record in accepted(sandbox)) == {
            guid: len(bodies) for guid, bodies in stored.items()
        }

    async def test_what_is_sent_is_toasts_order_with_its_restaurant_and_without_cards_and_employees(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        stored = prepare(sandbox, week)
        await deliver(sandbox, week)
        known = {json.loads(body)["guid"]: json.loads(body) for bodies in stored.values() for body in bodies}
        cards: tuple[str, ...] = ("first6Digits", "last4Digits", "cardPaymentId", "networkTransactionIdentifier")
        cards += ("giftCardInfo", "giftCardSelectionInfo", "appliedPreauthInfo", "driverName", "driverPhoneNumber")
        employees = ("server", "openedBy", "approver", "voidUser", "voidApprover", "deliveryEmployee")

        def stripped(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: stripped(one) for name, one in value.items() if name not in cards + employees}
            return [stripped(one) for one in value] if isinstance(value, list) else value

        for record in accepted(sandbox):
            expected = stripped(known[str(record.guid)]) | {"restaurantGuid": record.restaurant}
            assert json.loads(record.body) == expected
            assert not any(f'"{name}"'.encode() in (record.body or b"") for name in cards + employees)

    async def test_a_second_run_sends_nothing_and_writes_nothing(self, sandbox: Sandbox, week: Week) -> None:
        prepare(sandbox, week)
        await deliver(sandbox, week)
        before, requests = sandbox.objects(), sandbox.amperity.log.count("stream")
        report = await deliver(sandbox, week)
        assert (report.accepted, report.methods["stream"].unchanged) == (0, requests)
        assert sandbox.amperity.log.count("stream") == requests
        assert sandbox.objects() == before

    async def test_after_a_tenth_of_the_orders_changed_exactly_those_are_sent(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        stored = orders(200)
        prepare(sandbox, week, {PLACE: stored})
        await deliver(sandbox, week)
        changed = [edited(body) for body in stored[::10]]
        untouched = [body for number, body in enumerate(stored) if number % 10]
        prepare(sandbox, week, {PLACE: untouched + changed})
        await deliver(sandbox, week)
        again = accepted(sandbox)[200:]
        assert sorted(str(record.guid) for record in again) == guids({PLACE: changed})
        assert {record.modified for record in again} == {"2025-09-20T10:30:00.000+0000"}
        assert len({record.request_id for record in accepted(sandbox)}) == 220
        table = ledger(sandbox, week)
        assert (len(table), set(table["state"])) == (200, {"accepted"})

    async def test_an_order_that_changed_under_the_same_modified_time_is_sent(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        made = order(check(selection("5.00")))
        prepare(sandbox, week, {PLACE: encode(made)})
        await deliver(sandbox, week)
        prepare(sandbox, week, {PLACE: encode(made | {"numberOfGuests": 9})})
        await deliver(sandbox, week)
        assert len({record.request_id for record in accepted(sandbox)}) == 2

    async def test_another_stream_gets_everything(self, start_sandbox: Callable[..., Sandbox], week: Week) -> None:
        sandbox = start_sandbox(streams=(STREAM, "is-second"))
        prepare(sandbox, week, {PLACE: orders(3)})
        await deliver(sandbox, week)
        await deliver(sandbox, week, AMPERITY_STREAM_ID="is-second")
        assert len(accepted(sandbox)) == len(accepted(sandbox, "is-second")) == 3


class TestFaults:
    @pytest.mark.parametrize(
        ("kind", "settings"),
        [
            pytest.param(Kind.STATUS, {"status": 429, "first": 5, "last": 60, "every": 2}, id="a burst of 429"),
            pytest.param(Kind.STATUS, {"status": 429, "retry_after": 2, "last": 20}, id="429 with Retry-After"),
            pytest.param(Kind.STATUS, {"status": 500, "first": 3, "last": None, "every": 4}, id="every fourth a 500"),
            pytest.param(Kind.STATUS, {"status": 503, "last": None, "every": 3, "html": True}, id="pages of HTML"),
            pytest.param(Kind.STATUS, {"status": 504, "last": 40, "every": 2}, id="504"),
            pytest.param(Kind.RESET, {"last": None, "every": 5}, id="resets before acceptance"),
            pytest.param(Kind.RESET_AFTER, {"last": None, "every": 5}, id="resets after acceptance"),
            pytest.param(Kind.CUT_TRANSFER, {"last": None, "every": 7}, id="answers cut off"),
            pytest.param(Kind.HTML, {"last": 10}, id="200 from a gateway"),
            # Apart by more than one revocation can cost: a rejected call and its repetition for each connection.
            pytest.param(Kind.REVOKE, {"first": 30, "last": None, "every": 2 * CONNECTIONS + 10}, id="tokens that end"),
        ],
    )
    async def test_all_that_can_be_accepted_is_and_a_resend_has_the_same_id_and_body(
        self, kind: Kind, settings: dict[str, Any], sandbox: Sandbox, week: Week
    ) -> None:
        stored = {PLACE: orders(150)}
        prepare(sandbox, week, stored)
        armed = sandbox.faults.arm(kind, "stream", **settings)
        report = await deliver(sandbox, week)
        assert armed.fired
        assert report.accepted == 150
        arrived = accepted(sandbox)
        assert sorted({str(record.guid) for record in arrived}) == guids(stored)
        assert len({(record.guid, record.request_id, record.body) for record in arrived}) == 150
        if kind not in (Kind.RESET_AFTER, Kind.CUT_TRANSFER):
            assert len(arrived) == 150
        requests = len(accepted(sandbox)) + len(sandbox.amperity.refused)
        assert ledger(sandbox, week)["attempts"].sum() >= requests - report.calls.retries
        requests = sandbox.amperity.log.count("stream")
        await deliver(sandbox, week)
        assert sandbox.amperity.log.count("stream") == requests

    async def test_all_of_it_at_once_still_delivers_everything(self, sandbox: Sandbox, week: Week) -> None:
        stored = {PLACE: orders(200)}
        prepare(sandbox, week, stored)
        sandbox.faults.arm(Kind.STATUS, "stream", status=429, last=None, every=5)
        sandbox.faults.arm(Kind.STATUS, "stream", status=500, last=None, every=7)
        sandbox.faults.arm(Kind.RESET_AFTER, "stream", last=None, every=11)
        sandbox.faults.arm(Kind.RESET, "stream", last=None, every=13)
        # Often enough that a new token can be revoked before its first answer is back.
        revoked = sandbox.faults.arm(Kind.REVOKE, "stream", first=50, last=None, every=CONNECTIONS + 20)
        bad = guids(stored)[:2]
        for guid in bad:
            sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=guid.encode(), last=None)
        report = await deliver(sandbox, week, retry=RetryPolicy(attempts=30, first_wait=0.001, longest_wait=0.004))
        assert sorted({str(record.guid) for record in accepted(sandbox)}) == guids(stored)[2:]
        assert (report.accepted, report.methods["stream"].rejected) == (198, 2)
        assert sorted(line["order_guid"] for line in rejects(sandbox, week)) == bad
        assert revoked.fired > 1

    async def test_retry_after_is_waited_for(self, sandbox: Sandbox, week: Week) -> None:
        prepare(sandbox, week, {PLACE: orders(1)})
        sandbox.faults.arm(Kind.STATUS, "stream", status=429, retry_after=7)
        sandbox.faults.arm(Kind.STATUS, "stream", status=503, retry_after=40, first=2, last=2)
        skipped = SkippedTime()
        await deliver(sandbox, week, skipped=skipped)
        assert skipped.skipped >= 47

    async def test_without_any_answer_the_delivery_stops_and_the_next_sends_only_the_rest(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        stored = {PLACE: orders(120)}
        prepare(sandbox, week, stored)
        down = sandbox.faults.arm(Kind.STATUS, "stream", status=503, first=41, last=None)
        with pytest.raises(AmperityError, match="no good answer to 25 records in a row"):
            await deliver(sandbox, week, retry=RetryPolicy(attempts=2, first_wait=0.001))
        assert down.fired
        arrived = {str(record.guid) for record in accepted(sandbox)}
        table = ledger(sandbox, week)
        assert set(table[table["state"] == "accepted"]["record_id"]) == arrived
        assert (table["state"] == "pending").sum() >= 25
        sandbox.faults.clear()
        await deliver(sandbox, week)
        assert sorted(str(record.guid) for record in accepted(sandbox)) == guids(stored)
        assert set(ledger(sandbox, week)["state"]) == {"accepted"}

    async def test_a_few_records_without_an_answer_stay_pending_and_fail_the_asset(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        stored = {PLACE: orders(20)}
        prepare(sandbox, week, stored)
        slow = guids(stored)[3]
        sandbox.faults.arm(Kind.STATUS, "stream", status=500, containing=slow.encode(), last=None)
        report = await deliver(sandbox, week)
        assert len(accepted(sandbox)) == 19
        with pytest.raises(AmperityError, match="1 of 20 stream records had no answer"):
            check_delivery(report, 0.01)
        (row,) = ledger(sandbox, week).query("state == 'pending'").to_dict("records")
        assert (row["record_id"], row["attempts"], row["status"]) == (slow, 7, 500)
        sandbox.faults.clear()
        assert (await deliver(sandbox, week)).accepted == 1
        (row,) = ledger(sandbox, week).query("record_id == @slow").to_dict("records")
        assert (row["state"], row["attempts"], row["status"]) == ("accepted", 8, 202)


class TestFaultsThatStay:
    async def test_a_service_that_cannot_be_reached_for_good_ends_the_delivery_at_once_with_the_cause(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        prepare(sandbox, week, {PLACE: orders(5)})
        skipped = SkippedTime()
        with pytest.raises(AmperityUnreachableError, match=r"does not speak TLS.* AMPERITY_API_URL"):
            await deliver(
                sandbox, week, skipped=skipped, AMPERITY_API_URL=sandbox.amperity_url.replace("http:", "https:")
            )
        assert skipped.skipped < 1
        assert ledger(sandbox, week).empty

    async def test_what_stays_pending_is_told_with_its_reason(self, sandbox: Sandbox, week: Week) -> None:
        prepare(sandbox, week, {PLACE: orders(5)})
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        report = await deliver(sandbox, week, AMPERITY_API_URL=f"http://127.0.0.1:{port}")
        with pytest.raises(AmperityError, match=r"5 of 5 stream records had no answer .* nobody listens there"):
            check_delivery(report, 0.01)

    async def test_an_answer_that_is_no_utf_8_or_nested_too_deep_is_a_reject_like_any(
        self, sandbox: Sandbox, week: Week, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stored = {PLACE: orders(60)}
        prepare(sandbox, week, stored)
        answers = iter([b'{"message": "\xff"}', b'{"message": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"])

        async def odd(response: httpx.Response, request: httpx.Request) -> httpx.Response:
            whole = await read_reply(response, request)
            body = next(answers) if whole.status_code == 400 else whole.content
            return httpx.Response(whole.status_code, content=body, request=request)

        monkeypatch.setattr("toast_assets.http.service.read_reply", odd)
        for guid in guids(stored)[:2]:
            sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=guid.encode())
        report = await deliver(sandbox, week)
        assert (report.accepted, report.methods["stream"].rejected) == (58, 2)


STOPS = {401: "AMPERITY_API_KEY", 403: "AMPERITY_TENANT_ID", 404: "AMPERITY_STREAM_ID", 405: "AMPERITY_API_URL"}
STOPS |= {411: "Content-Length", 301: "AMPERITY_API_URL"}


class TestStops:
    @pytest.mark.parametrize("status", STOPS)
    async def test_what_concerns_all_records_stops_at_the_first_with_one_sentence_and_nothing_is_marked(
        self, status: int, sandbox: Sandbox, week: Week
    ) -> None:
        prepare(sandbox, week, {PLACE: orders(30)})
        sandbox.faults.arm(Kind.STATUS, "stream", status=status, last=None)
        with pytest.raises(AmperityRefusedError, match=f"answered {status} .*{STOPS[status]}") as caught:
            await deliver(sandbox, week, **NO_CLIENT)
        assert "\n" not in str(caught.value)
        assert sandbox.amperity.log.count("stream") == 1
        assert ledger(sandbox, week).empty
        assert not open_segments(sandbox, week)
        assert not rejects(sandbox, week)

    async def test_a_key_that_ends_in_the_middle_keeps_the_receipts_of_what_arrived(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        stored = {PLACE: orders(80)}
        prepare(sandbox, week, stored)
        sandbox.faults.arm(Kind.REVOKE, "stream", first=41, last=41)
        with pytest.raises(AmperityRefusedError, match="AMPERITY_API_KEY"):
            await deliver(sandbox, week, **NO_CLIENT)
        table = ledger(sandbox, week)
        assert set(table["state"]) == {"accepted"}
        assert set(table["record_id"]) == {record.guid for record in accepted(sandbox)}
        assert not open_segments(sandbox, week)

    async def test_a_wrong_tenant_and_a_wrong_key_are_named(self, sandbox: Sandbox, week: Week) -> None:
        prepare(sandbox, week, {PLACE: orders(3)})
        with pytest.raises(AmperityRefusedError, match=r"tenant other.*AMPERITY_TENANT_ID"):
            await deliver(sandbox, week, AMPERITY_TENANT_ID="other")
        with pytest.raises(AmperityRefusedError, match="AMPERITY_API_KEY"):
            await deliver(sandbox, week, AMPERITY_API_KEY="wrong", **NO_CLIENT)
        with pytest.raises(AmperityRefusedError, match="AMPERITY_CLIENT_ID"):
            await deliver(sandbox, week, AMPERITY_API_KEY="wrong", AMPERITY_CLIENT_SECRET="wrong")
        assert ledger(sandbox, week).empty

    def test_a_stream_id_of_another_form_is_refused_before_the_first_request(self, sandbox: Sandbox) -> None:
        with pytest.raises(SettingsError, match="AMPERITY_ORDER_ITEMS_STREAM_ID is not a stream id"):
            amperity_settings(sandbox, AMPERITY_ORDER_ITEMS_STREAM_ID="order-items")
        assert not sandbox.amperity.log.entries


class TestRejects:
    async def test_a_refused_record_is_kept_with_its_reason_and_the_rest_arrives(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        stored = {PLACE: orders(50)}
        prepare(sandbox, week, stored)
        bad = guids(stored)[7]
        sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=bad.encode())
        report = await deliver(sandbox, week)
        assert (report.accepted, report.methods["stream"].rejected) == (49, 1)
        assert report.reject_reasons == {"Amperity answered 400 to this record": 1}
        (line,) = rejects(sandbox, week)
        assert list(line) == [
            *("order_guid", "restaurant_guid", "method", "status", "reason", "record"),
            *("version", "updated_at"),
        ]
        assert (line["order_guid"], line["restaurant_guid"], line["method"]) == (bad, PLACE, "stream")
        assert (line["status"], line["record"]["guid"]) == (400, bad)
        assert line["reason"] == "Amperity answered 400 to this record: Made to fail with 400."
        (row,) = ledger(sandbox, week).query("state == 'rejected'").to_dict("records")
        assert (row["record_id"], row["status"], row["attempts"]) == (bad, 400, 1)
        # Still refused, now for another reason: one line, the newest.
        sandbox.faults.arm(Kind.STATUS, "stream", status=413, containing=bad.encode())
        await deliver(sandbox, week)
        assert [line["status"] for line in rejects(sandbox, week)] == [413]
        assert (await deliver(sandbox, week)).accepted == 1
        assert not rejects(sandbox, week)
        assert sorted(str(record.guid) for record in accepted(sandbox)) == guids(stored)

    async def test_more_than_the_share_fails_after_everything_else_was_delivered(
        self, sandbox: Sandbox, week: Week
    ) -> None:
        stored = {PLACE: orders(100)}
        prepare(sandbox, week, stored)
        for bad in guids(stored)[:2]:
            sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=bad.encode(), last=None)
        report = await deliver(sandbox, week)
        assert report.accepted == 98
        with pytest.raises(AmperityError, match=r"refused 2 of 100 stream records .*400 .*replay-rejects"):
            check_delivery(report, 0.01)
        check_delivery(report, 0.02)

    async def test_a_record_over_the_limit_is_rejected_before_it_is_sent(self, sandbox: Sandbox, week: Week) -> None:
        large = encode(order(check(selection("5.00", displayName="x" * 1_000_000))))
        prepare(sandbox, week, {PLACE: [*orders(10), *large]})
        report = await deliver(sandbox, week)
        assert (report.accepted, report.methods["stream"].rejected) == (10, 1)
        assert report.reject_reasons == {
            "the record is larger than the limit of 1000000 bytes (AMPERITY_MAX_RECORD_BYTES)": 1
        }
        assert sandbox.amperity.log.count("stream") == 10
        (line,) = rejects(sandbox, week)
        assert (line["order_guid"], line["status"]) == (guids({PLACE: large})[0], None)

    async def test_a_line_that_is_no_longer_true_is_taken_out(self, sandbox: Sandbox, week: Week) -> None:
        stored = {PLACE: orders(5)}
        prepare(sandbox, week, stored)
        bad = guids(stored)[0]
        sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=bad.encode())
        await deliver(sandbox, week)
        store = order_store(sandbox)
        key = store.layout.rejects(week)
        found = store.bucket.read(key)
        assert found is not None
        await deliver(sandbox, week)
        # As a crash would leave it: the ledger knows better than the rejects.
        store.bucket.write(key, found[0])
        await deliver(sandbox, week)
        assert not rejects(sandbox, week)

    async def test_a_replay_sends_what_was_refused_and_nothing_else(self, sandbox: Sandbox, week: Week) -> None:
        stored = orders(10)
        prepare(sandbox, week, {PLACE: stored})
        bad = guids({PLACE: stored})[:2]
        for guid in bad:
            sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=guid.encode())
        await deliver(sandbox, week)
        prepare(sandbox, week, {PLACE: stored + orders(1)})
        report = await deliver(sandbox, week, replay=True)
        assert (report.methods["stream"].records, report.accepted) == (2, 2)
        assert sorted(str(record.guid) for record in accepted(sandbox)[8:]) == bad
        assert not rejects(sandbox, week)


class TestDryRun:
    async def test_it_does_all_but_send_and_write(self, sandbox: Sandbox, week: Week) -> None:
        large = encode(order(check(selection("5.00", displayName="x" * 8000))))
        prepare(sandbox, week, {PLACE: [*orders(20), *large]})
        before = sandbox.objects()
        report = await deliver(sandbox, week, dry_run=True, AMPERITY_MAX_RECORD_BYTES="6000")
        assert (report.would_send, report.methods["stream"].rejected, report.accepted) == (20, 1, 0)
        assert list(report.reject_reasons) == [
            "the record is larger than the limit of 6000 bytes (AMPERITY_MAX_RECORD_BYTES)"
        ]
        assert (sandbox.objects(), list(sandbox.amperity.log.entries)) == (before, [])
        check_delivery(report, 0.0)

    async def test_it_knows_what_has_arrived(self, sandbox: Sandbox, week: Week) -> None:
        stored = orders(20)
        prepare(sandbox, week, {PLACE: stored})
        await deliver(sandbox, week)
        prepare(sandbox, week, {PLACE: stored + orders(3)})
        assert (await deliver(sandbox, week, dry_run=True)).would_send == 3
