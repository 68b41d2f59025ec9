"""What a trace says where weeks are damaged, expired or half delivered, what it never says, and what it asks of S3."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.records import STREAM, RecordKey
from toast_assets.delivery.ledger import LedgerEntry, encode_ledger, to_table
from toast_assets.index.orders import change_state
from toast_assets.index.weeks import WeekOrders
from toast_assets.lookup.answers import GuestTrace, Trace, TracedOrder, TracedVersion
from toast_assets.lookup.search import Search
from toast_assets.lookup.trace import Tracer
from toast_assets.sandbox import Kind, Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order, payment, selection
from toast_assets_tests.support.services.clients import order_store, s3_client
from toast_assets_tests.support.stores.deliveries import ROW_STREAMS, amperity_settings, deliver, prepare
from toast_assets_tests.support.stores.guests import GUID, SECRETS, namings

WEEKS = tuple(map(WeekCalendar().week, ("2025-09-15", "2025-09-22", "2025-09-29")))
PLACE, OTHER = "place-1", "place-2"


def made(day: int = 19, **more: Any) -> Json:
    guest = customer("ann@example.com")
    bill = check(selection("7.00"), selection("5.00"), guest=guest, payments=[payment("12.96")])
    return order(bill, modifiedDate=f"2025-09-{day}T18:45:12.345+0000", **more)


def edited(one: Json, day: int) -> Json:
    (bill,) = one["checks"]
    items, (paid,) = bill["selections"][:1], bill["payments"]
    bill = {**bill, "selections": items, "payments": [{**paid, "tipAmount": 3}]}
    return {**one, "modifiedDate": f"2025-09-{day}T18:45:12.345+0000", "checks": [bill]}


def store_orders(sandbox: Sandbox, week: Week, *orders: Json, place: str = PLACE) -> None:
    """Store, export and index a week as a pull does."""
    store = order_store(sandbox)
    prepare(sandbox, week, {place: encode(*orders)})
    run = WeekOrders(store, week)
    run.found |= run._read(place)
    run.save([place])


def tracer(sandbox: Sandbox, restaurant: str | None = None, week: str | None = None, **changes: str) -> Tracer:
    store = order_store(sandbox)
    return Tracer(store, Search(store, restaurant, week), amperity_settings(sandbox, **changes))


def traced(sandbox: Sandbox, guid: str, **changes: str) -> TracedOrder:
    (found,) = tracer(sandbox, **changes).order(guid).orders
    return found


def outcomes(version: TracedVersion) -> list[tuple[str, str, str]]:
    return [(one.method, due.record_id, due.outcome) for one in version.outlook or () for due in one.due]


async def test_rows_are_traced_as_orders_are_and_the_outlook_is_that_of_a_dry_run(sandbox: Sandbox) -> None:
    first = made()
    later = edited(first, 24)
    store_orders(sandbox, WEEKS[0], first)
    await deliver(sandbox, WEEKS[0], **ROW_STREAMS)
    store_orders(sandbox, WEEKS[1], later)
    before = traced(sandbox, first["guid"], **ROW_STREAMS)
    dry = await deliver(sandbox, WEEKS[1], dry_run=True, **ROW_STREAMS)
    said = Counter(method for method, _, outcome in outcomes(before.versions[1]) if outcome == "would_send")
    assert said == {name: one.would_send for name, one in dry.methods.items() if name != "stream_customers"}
    items = [item["guid"] for item in first["checks"][0]["selections"]]
    assert {row.key for row in before.feed_rows if row.feed == "order_items"} == {
        f"{first['guid']}|{one}" for one in items
    }
    assert all(row.current for row in before.feed_rows)
    await deliver(sandbox, WEEKS[1], **ROW_STREAMS)
    after = traced(sandbox, first["guid"], **ROW_STREAMS)
    assert outcomes(after.versions[1]) == []
    assert {row.key for row in after.feed_rows if not row.current} == {f"{first['guid']}|{items[1]}"}
    methods = Counter(receipt.method for receipt in after.versions[1].receipts)
    assert methods == {"stream": 1, "stream_order_items": 2, "stream_transactions": 1}
    # The earlier week would send a row of 0 now, but its ledger says that nothing is due.
    dry = await deliver(sandbox, WEEKS[0], dry_run=True, **ROW_STREAMS)
    assert len(outcomes(after.versions[0])) == dry.would_send == 0
    brand = ROW_STREAMS | {"AMPERITY_BRAND": "another"}
    dry = await deliver(sandbox, WEEKS[0], dry_run=True, **brand)
    looked = traced(sandbox, first["guid"], **brand).versions[0]
    assert len(outcomes(looked)) == dry.would_send - dry.methods["stream_customers"].would_send > 0


async def test_a_notice_and_a_record_that_is_too_large_are_in_the_answer(sandbox: Sandbox) -> None:
    one = made()
    store_orders(sandbox, WEEKS[0], one)
    notify: dict[str, Any] = {
        "AMPERITY_DELIVERY": "stream,notify",
        "AMPERITY_API_URL": f"{sandbox.amperity_url}/api/v1/streaming",
    }
    (version,) = traced(sandbox, one["guid"], **notify, AMPERITY_MAX_RECORD_BYTES="100").versions
    found = {method: outcome for method, _, outcome in outcomes(version)}
    assert found == {"stream": "rejected", "notify": "would_send"}
    await deliver(sandbox, WEEKS[0], **notify)
    (version,) = traced(sandbox, one["guid"], **notify).versions
    assert {receipt.method for receipt in version.receipts} == {"stream", "notify"}
    assert outcomes(version) == []


async def test_without_the_weeks_orders_the_raw_files_are_read_and_damage_is_a_problem(sandbox: Sandbox) -> None:
    one, store = made(), order_store(sandbox)
    prepare(sandbox, WEEKS[0], {PLACE: encode(one), OTHER: encode(made())})
    found = tracer(sandbox).order(one["guid"])
    assert [(each.restaurant_guid, len(each.versions)) for each in found.orders] == [(PLACE, 1)]
    assert found.problems == ()
    store.bucket.write(store.layout.week_orders(WEEKS[0].key), b"PAR1")
    damaged = tracer(sandbox).order(one["guid"])
    assert damaged.orders == found.orders
    assert [problem.week for problem in damaged.problems] == [WEEKS[0].key]
    assert not damaged.is_done


@pytest.mark.parametrize("what", ["manifest", "ledger", "raw", "rejects", "workflow_ledger", "ledger_segment"])
async def test_a_damaged_object_is_a_problem_of_its_week_and_stops_nothing_else(sandbox: Sandbox, what: str) -> None:
    one, store = made(), order_store(sandbox)
    for week, version in zip(WEEKS, (one, edited(one, 24)), strict=False):
        store_orders(sandbox, week, version)
        await deliver(sandbox, week)
    where = {"ledger": (PLACE,), "raw": (PLACE,), "ledger_segment": (PLACE, 7)}.get(what, ())
    store.bucket.write(getattr(store.layout, what)(WEEKS[1], *where), b"{}")
    found = tracer(sandbox).order(one["guid"])
    assert {problem.week for problem in found.problems} == {WEEKS[1].key}
    (order_,) = found.orders
    assert order_.versions[0].is_done
    assert order_.versions[0].outlook is not None
    assert [version.from_index for version in order_.versions] == [False, what == "raw"]
    assert not found.is_done


async def test_a_version_of_an_expired_week_is_known_from_the_order_index(sandbox: Sandbox) -> None:
    one, store = made(), order_store(sandbox)
    store_orders(sandbox, WEEKS[0], one)
    await deliver(sandbox, WEEKS[0])
    (before,) = traced(sandbox, one["guid"]).versions
    store.bucket.delete(store.layout.raw(WEEKS[0], PLACE))
    missing = tracer(sandbox).order(one["guid"])
    assert [(problem.week, "are missing" in problem.problem) for problem in missing.problems] == [(WEEKS[0].key, True)]
    change_state(store, PLACE, expired=[WEEKS[0].key])
    only = tracer(sandbox).order(one["guid"].upper())
    (version,) = only.orders[0].versions
    assert (version.from_index, version.version, version.modified_at) == (True, before.version, before.modified_at)
    assert only.is_done
    store_orders(sandbox, WEEKS[1], edited(one, 24))
    both = traced(sandbox, one["guid"]).versions
    assert [(each.week, each.from_index) for each in both] == [(WEEKS[0].key, True), (WEEKS[1].key, False)]


async def test_one_guid_at_two_restaurants_is_two_orders_and_a_restaurant_narrows_it(sandbox: Sandbox) -> None:
    one = made()
    prepare(sandbox, WEEKS[0], {PLACE: encode(one), OTHER: encode(one)})
    assert [each.restaurant_guid for each in tracer(sandbox).order(one["guid"]).orders] == [PLACE, OTHER]
    assert [each.restaurant_guid for each in tracer(sandbox, OTHER.upper()).order(one["guid"]).orders] == [OTHER]
    assert tracer(sandbox, week=WEEKS[1].key).order(one["guid"]).orders == ()


async def test_a_display_number_finds_every_order_that_had_it_that_day(sandbox: Sandbox) -> None:
    two = [made(displayNumber="7"), made(displayNumber="7")]
    others = [made(displayNumber="77"), made(displayNumber="7", businessDate=20250918)]
    late = made(displayNumber="8")
    store_orders(sandbox, WEEKS[0], *two, *others)
    store_orders(sandbox, WEEKS[1], edited(two[0], 24))
    store_orders(sandbox, WeekCalendar().week("2026-01-05"), late)
    day = date(2025, 9, 19)
    found = tracer(sandbox, PLACE).number("7", day)
    assert {each.order_guid: len(each.versions) for each in found.orders} == {two[0]["guid"]: 2, two[1]["guid"]: 1}
    # Months after its day, so the weeks around it do not have it.
    assert [each.order_guid for each in tracer(sandbox, PLACE).number("8", day).orders] == [late["guid"]]
    assert tracer(sandbox, OTHER).number("7", day).orders == ()


async def test_receipts_of_a_delivery_that_is_open_are_seen(sandbox: Sandbox) -> None:
    one, store = made(), order_store(sandbox)
    store_orders(sandbox, WEEKS[0], one)
    (due,) = (due for outlook in traced(sandbox, one["guid"]).versions[0].outlook or () for due in outlook.due)
    (version,) = traced(sandbox, one["guid"]).versions
    key = RecordKey(STREAM, "sandbox/is-toast-orders", PLACE, one["guid"], "v", one["guid"], version.version, 1)
    entry = LedgerEntry(key, "pending", 3, 503, "Amperity answered 503", 0)
    store.bucket.write(store.layout.ledger_segment(WEEKS[0], PLACE, 1), encode_ledger(to_table([entry])))
    (receipt,) = traced(sandbox, one["guid"]).versions[0].receipts
    assert (receipt.state, receipt.attempts, receipt.status) == ("pending", 3, 503)
    assert due.outcome == "would_send"


async def test_nothing_of_a_guest_is_shown_not_even_in_the_words_of_amperity(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AmperityClient, "_explanation", lambda *_: f"The e-mail {SECRETS[1]} of {SECRETS[4]} is wrong.")
    orders = namings()
    store_orders(sandbox, WEEKS[0], *orders)
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, last=None)
    await deliver(sandbox, WEEKS[0], **ROW_STREAMS)
    store_orders(sandbox, WEEKS[1], *(edited_name(one) for one in orders))
    for one in orders:
        found = tracer(sandbox, **ROW_STREAMS).order(one["guid"])
        assert found.orders[0].versions[0].rejects
        text = msgspec.json.encode(found).decode()
        assert [secret for secret in SECRETS if secret.lower() in text.lower()] == []


def edited_name(one: Json) -> Json:
    text = json.dumps(one, default=str).replace("Janelle", "Ann")
    changed: Json = json.loads(text, parse_float=str)
    return {**changed, "modifiedDate": "2025-09-24T18:45:12.345+0000"}


async def test_a_guest_is_traced_by_the_key_of_the_feed(sandbox: Sandbox) -> None:
    orders = namings()
    for week in WEEKS[:2]:
        store_orders(sandbox, week, *orders)
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, last=None, target="is-toast-customers")
    await deliver(sandbox, WEEKS[0], **ROW_STREAMS)
    refused = tracer(sandbox).guest(GUID.upper())
    assert [(row.week, row.receipt is None) for row in refused.rows] == [(WEEKS[0].key, False), (WEEKS[0].key, True)]
    assert not refused.is_done
    sandbox.faults.clear()
    for week in WEEKS[:2]:
        await deliver(sandbox, week, **ROW_STREAMS)
    done = tracer(sandbox).guest(GUID)
    assert [(row.week, row.restaurant_guid, row.receipt and row.receipt.state) for row in done.rows] == [
        (week.key, PLACE, "accepted") for week in WEEKS[:2]
    ]
    assert done.is_done
    assert [row.week for row in tracer(sandbox, week=WEEKS[1].key).guest(GUID).rows] == [WEEKS[1].key]
    assert tracer(sandbox, OTHER).guest(GUID) == GuestTrace(asked=GUID)


async def test_one_object_a_week_is_read_and_more_only_of_weeks_that_hold_the_order(sandbox: Sandbox) -> None:
    one = made()
    for number, week in enumerate(WEEKS):
        places = {f"place-{place}": encode(made()) for place in range(1, 9)}
        if number == 1:
            places[PLACE] = encode(one)
        prepare(sandbox, week, places)
        run = WeekOrders(order_store(sandbox), week)
        for place in places:
            run.found |= run._read(place)
        run.save(places)
    await deliver(sandbox, WEEKS[1])
    client, calls = s3_client(sandbox), Counter[str]()
    client.meta.events.register("before-send.s3", lambda request, **_: calls.update([request.method]))
    store = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
    found = Tracer(store, Search(store), amperity_settings(sandbox)).order(one["guid"])
    assert found.is_done
    # Lists: the manifests, and what is open of the delivery. One object a week. Of the week that has the order: raw
    # file, manifest, ledger, workflow, rejects, order index.
    assert calls == {"GET": 2 + len(WEEKS) + 6, "HEAD": 4}
    calls.clear()
    unknown = Tracer(store, Search(store), amperity_settings(sandbox)).order("nobody")
    assert unknown == Trace(asked="nobody")
    # The manifests say whether a census has missed it.
    assert calls == {"GET": 1 + 2 * len(WEEKS)}


def test_a_hash_that_two_orders_share_is_no_order(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toast_assets.index.weeks.guid_hash", lambda _: 7)
    one, another = made(), made()
    store_orders(sandbox, WEEKS[0], one)
    store_orders(sandbox, WEEKS[1], another)
    assert [each.week for each in traced(sandbox, one["guid"]).versions] == [WEEKS[0].key]
    assert tracer(sandbox).order("nobody") == Trace(asked="nobody")


def test_the_scratch_folder_is_empty_afterwards(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = made()
    store_orders(sandbox, WEEKS[0], one)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert traced(sandbox, one["guid"]).versions
    assert [*tmp_path.iterdir()] == []
