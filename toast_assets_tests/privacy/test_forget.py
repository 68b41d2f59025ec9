"""A guest is forgotten: in no object any more, everything else as it was, and no pull brings them back."""

from __future__ import annotations

import errno
import gzip
import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toast_assets.amperity.records import RecordKey
from toast_assets.amperity.redaction import Redaction
from toast_assets.checks.facts import week_facts
from toast_assets.delivery.feed_files import stored_feeds, write_feeds
from toast_assets.delivery.ledger import LedgerEntry, fold_into, read_ledger, to_table
from toast_assets.delivery.workflow import load_key
from toast_assets.errors import NoGuestError, StoreError
from toast_assets.export.write import export_week
from toast_assets.orders.identity import email_key, given_traits
from toast_assets.orders.unreadable import UnreadableLine
from toast_assets.privacy.forget import ForgetGuest, Forgetting, UnknownGuestError
from toast_assets.sandbox import Sandbox
from toast_assets.store.calendar import keep_boundaries
from toast_assets.store.deliveries import load_delivered
from toast_assets.store.forgotten import load_forgotten
from toast_assets.store.order_store import OrderStore
from toast_assets.store.owner import claim
from toast_assets.tables.build import build_tables
from toast_assets.tables.files import Backdated, Unreadable, backdated_in, unreadable_in
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.checks.evaluating import evaluate
from toast_assets_tests.support.data import invented
from toast_assets_tests.support.faults.world import KilledError, Operation, Side, Stop, World, stopped
from toast_assets_tests.support.services.odd_toast import OddToast, pull_from
from toast_assets_tests.support.stores.deliveries import amperity_settings, deliver
from toast_assets_tests.support.stores.guests import (
    EMAIL,
    GUID,
    PHONE,
    PLACES,
    SECRETS,
    content,
    decompressed,
    derive,
    fill,
    guest,
    holding,
    namings,
    requests,
    weeks,
)
from toast_assets_tests.support.stores.pulls import manifest_of, pull, stored_rows
from toast_assets_tests.support.stores.stored_weeks import store_week

LOG = logging.getLogger(__name__)


def forget(store: OrderStore, *given: str, **settings: Any) -> Forgetting:
    return ForgetGuest(store, given_traits(given), **settings).run()


def check_week(sandbox: Sandbox, store: OrderStore, week: Week, delivery: dict[str, str]) -> None:
    """All asset checks that hold stored things against each other pass."""
    manifest = manifest_of(store, week)
    settings = amperity_settings(sandbox, **delivery)
    names = ("export_equals_raw", "totals_reconcile", "delivered_equals_exported")
    results = [evaluate(name, week, manifest, store, settings) for name in names]
    assert [result.description for result in results if not result.passed] == []


def rows_of(body: bytes) -> list[tuple[str, str]]:
    """What Amperity is asked to match, and how."""
    rows = [msgspec.json.decode(line) for line in gzip.decompress(body).splitlines()]
    return sorted((row["email"] or row["phone"] or row["customer_id"], row["request_strategy"]) for row in rows)


def without_inspections(objects: dict[str, bytes]) -> dict[str, bytes]:
    """All but what only describes other objects: the state of the current orders names their ETags."""
    return {key: body for key, body in objects.items() if "/inspections/" not in key and "/_state.json" not in key}


@pytest.mark.parametrize(
    ("given", "count"),
    [
        (f"  {EMAIL.upper()} ", 9),
        (GUID, 5),
        ("+1 (617) 555-0188", 5),
        pytest.param(EMAIL, 52, marks=pytest.mark.full),
    ],
)
def test_the_guest_is_in_none_of_many_weeks_and_everything_else_is_byte_identical(
    store: OrderStore, given: str, count: int
) -> None:
    year = weeks(count)
    named = {0: namings(), count // 3: namings()[:1], count - 2: namings()[1:3]}
    for number, week in enumerate(year):
        fill(store, week, named.get(number, []), derived=number in named)
    objects = content(store)
    held = set(holding(store))
    assert len(held) > 15
    result = forget(store, given)
    after = content(store)
    assert holding(store) == {}
    rewritten = result.certificate.objects.keys()
    untouched = objects.keys() - rewritten
    assert {key: objects[key] for key in untouched} == {key: after[key] for key in untouched}
    certificate = after.pop(str(result.key))
    assert after.keys() - objects.keys() == {store.layout.forgotten, *requests(store)}
    assert held <= rewritten
    # What is rewritten without having held the guest speaks of objects that did.
    assert {key.split("/")[1] for key in rewritten - held} <= {"manifests", "amperity", "tables"}
    assert result.certificate.orders == 8 + 1 + 2 - 2
    assert not [secret for secret in SECRETS if secret.encode() in certificate]
    assert msgspec.json.decode(certificate)["objects"].keys() == rewritten


async def test_checks_pass_nothing_is_sent_again_and_tables_stay_as_they_are(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    fill(store, week, namings(), derived=True)
    both: dict[str, Any] = {
        "AMPERITY_DELIVERY": "stream,notify",
        "AMPERITY_API_URL": f"{sandbox.amperity_url}/api/v1/streaming",
    }
    await deliver(sandbox, week, **both)
    check_week(sandbox, store, week, both)
    assert forget(store, EMAIL).certificate.objects[store.layout.delivered(week.key)] == "counts and hashes"
    check_week(sandbox, store, week, both)
    known, stored = load_delivered(store, week.key), manifest_of(store, week).stored
    assert known is not None
    assert {guid: one.orders_sha256 for guid, one in known.restaurants.items()} == {
        guid: pull.orders_sha256 for guid, pull in stored.items()
    }
    report = await deliver(sandbox, week, **both)
    assert (report.accepted, report.methods["stream"].unchanged, report.methods["notify"].unchanged) == (0, 14, 2)
    objects = without_inspections(content(store))
    derive(store, week)
    assert without_inspections(content(store)) == objects


async def test_rejects_and_guests_rows_in_the_ledger_go_too(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=True)
    sandbox.faults.arm("status", "stream", status=400, last=None)
    await deliver(sandbox, week, AMPERITY_CUSTOMERS_STREAM_ID="is-toast-customers", AMPERITY_MAX_REJECT_SHARE="1")
    assert {"/deliveries/" in key or "/rejects/" in key for key in holding(store)} == {True, False}
    forget(store, PHONE)
    assert holding(store) == {}
    assert store.bucket.info(store.layout.rejects(week)) is not None


def test_a_file_of_rejects_that_are_all_of_the_guest_is_removed(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    record = msgspec.Raw(invented.encode(namings()[0])[0])
    line = {"order_guid": "o", "restaurant_guid": "place-1", "method": "stream", "reason": "bad", "record": record}
    key = store.layout.rejects(week)
    store.bucket.write(key, gzip.compress(msgspec.json.encode(line) + b"\n"))
    assert key in forget(store, PHONE).certificate.objects
    assert store.bucket.info(key) is None


def test_feeds_that_a_workflow_has_loaded_are_not_loaded_again(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=True)

    def key() -> RecordKey:
        return load_key(week, "acme", "cg-1", stored_feeds(week, store, Redaction())[0])

    loaded = key()
    ledger = store.layout.workflow_ledger(week)
    fold_into(store.bucket, ledger, [to_table([LedgerEntry(loaded, "loaded", 1, None, "workflow run 7", 0)])])
    assert ledger in forget(store, EMAIL).certificate.objects
    table = read_ledger(store.bucket, ledger)
    assert table is not None
    assert table["request_id"].to_pylist() == [key().request_id] != [loaded.request_id]


def test_feeds_of_other_privacy_rules_are_scrubbed_and_not_made_again(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=True)
    rules = Redaction({"phone": "drop"})
    write_feeds(week, store, "brand", rules, LOG)
    feed, other = (store.layout.feed(week, place, "customers") for place in ("place-1", "place-2"))
    before = content(store)[other]
    forget(store, GUID)
    assert holding(store) == {}
    assert content(store)[other] == before
    info = store.bucket.info(feed)
    assert info is not None
    assert info.metadata["privacy"] == rules.digest
    lines = gzip.decompress(content(store)[feed])
    assert (info.metadata["rows"], info.metadata["sha256"]) == (str(len(lines.splitlines())), sha256(lines).hexdigest())
    assert b"6175560000" not in lines


def test_tables_that_are_made_again_keep_the_salted_keys_of_other_guests(store: OrderStore, week: Week) -> None:
    other = invented.customer("other@example.org")
    orders = [invented.order(invented.check(guest=one)) for one in (guest(), other)]
    store_week(store, week, {"place-1": invented.encode(*orders)})
    build_tables(week, store, LOG, salt=b"salt")
    forget(store, EMAIL, redaction=Redaction({}, b"salt"))
    assert list(store.load_table("customers", week.key)["email_key"]) == [email_key("other@example.org", b"salt")]


def test_what_is_stored_of_a_guest_who_came_back_stays(store: OrderStore, week: Week) -> None:
    returned = invented.order(invented.check(guest=guest())) | {"openedDate": "2025-09-21T18:00:00.000+0000"}
    fill(store, week, namings(), derived=True)
    forget(store, EMAIL, now=lambda: week.start)
    fill(store, week, [returned], derived=True)
    kept = content(store)
    result = forget(store, "stranger0@example.com")
    assert result.certificate.orders == 2
    after = content(store)
    changed = {key for key in kept if kept[key] != after.get(key)}
    assert changed == {*result.certificate.objects, store.layout.forgotten}
    email = store.load_table("customers", week.key)["email"]
    assert EMAIL in {address.strip().lower() for address in email.dropna()}
    index = store.layout.guest_index()
    assert EMAIL.encode() in decompressed(index, after[index])


def test_a_guest_who_is_left_in_the_guest_index_alone_is_found_and_goes(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=True)
    index = store.layout.guest_index()
    for key in content(store):
        if key != index:
            store.bucket.delete(key)
    assert holding(store).keys() == {index}
    result = forget(store, EMAIL)
    assert (result.traits["guid"], result.certificate.orders) == (1, 0)
    assert result.certificate.objects == {index: "rows without the guest"}
    assert holding(store) == {}
    assert b"stranger0@example.com" in decompressed(index, content(store)[index])


def test_the_guest_index_forgets_the_loyalty_account_and_it_does_not_come_back(store: OrderStore, week: Week) -> None:
    fill(store, week, namings()[:1], derived=True)
    index = store.layout.guest_index()
    assert b"loyal-jane" in decompressed(index, content(store)[index])
    forget(store, PHONE)
    assert b"loyal-jane" not in decompressed(index, content(store)[index])
    derive(store, week)
    assert holding(store) == {}


def test_another_guest_loses_the_loyalty_account_that_is_the_forgotten_phone_and_nothing_else(
    store: OrderStore,
) -> None:
    earlier, week = weeks(2)
    other, account = {"guid": "another"}, {"loyaltyIdentifier": "+1 617.555.0188"}
    fill(store, earlier, [invented.order(invented.check(guest=other | {"firstName": "Quentin"}))], derived=True)
    visit = invented.order(invented.check(guest=other, appliedLoyaltyInfo=account))
    fill(store, week, [*namings()[:1], visit], derived=True)
    index = store.layout.guest_index()
    assert b"+1 617.555.0188" in decompressed(index, content(store)[index])
    forget(store, PHONE)
    assert holding(store) == {}
    kept = content(store)
    for key in (index, store.layout.feed(week, "place-1", "customers")):
        assert {name in decompressed(key, kept[key]) for name in (b"another", b"Quentin", b"stranger0@")} == {True}


def test_an_index_that_is_lost_when_a_guest_is_forgotten_does_not_bring_them_back(store: OrderStore) -> None:
    earlier, week = weeks(2)
    fill(store, earlier, namings(), derived=True)
    fill(store, week, namings()[:1], derived=True)
    store.bucket.delete(store.layout.guest_index())
    forget(store, GUID)
    assert holding(store) == {}
    store.bucket.delete(store.layout.guest_index())
    write_feeds(earlier, store, "brand", Redaction(), LOG)
    assert holding(store) == {}


async def test_a_later_pull_does_not_bring_the_guest_back(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    await pull(sandbox, week)
    guid = sandbox.restaurant_guids[0]
    orders = [msgspec.json.decode(row.body) for row in stored_rows(store, week, guid)]
    guests = [check["customer"] for order in orders for check in order["checks"] if check.get("customer")]
    email = next(guest["email"] for guest in guests if guest.get("email"))
    assert any(email.encode() in row.body for row in stored_rows(store, week, guid))
    forget(store, email)
    objects = content(store)
    report = await pull(sandbox, week, refresh=True)
    assert [(one.new, one.changed) for one in report.restaurants] == [(0, 0)] * 3
    assert content(store) == objects
    assert not any(email.encode() in row.body for row in stored_rows(store, week, guid))


def test_a_run_that_is_killed_at_any_write_is_finished_by_the_next(week: Week) -> None:
    world = World(week)
    fill(world.store(), week, namings(), derived=True)
    objects = dict(world.objects)
    keys: list[str] = []
    # Twice on one day: another day is another request.
    now = {"now": lambda: world.now}

    def noted(operation: Operation, key: str, side: Side) -> None:
        if operation in ("put", "delete") and side == "before":
            keys.append(key)
            if len(keys) == number:
                raise KilledError(key)

    forget(world.store(), GUID, **now)
    (whole,) = map(rows_of, requests(world.store()).values())
    for number in range(1, 100):
        world.objects.clear()
        world.objects.update(objects)
        keys.clear()
        try:
            forget(world.store(noted), GUID, **now)
        except KilledError:
            pass
        else:
            break
        store = world.store()
        assert number < 4 or load_forgotten(store).open
        result = forget(store, GUID, **now)
        assert holding(store) == {}, keys[-1]
        assert [*map(rows_of, requests(store).values())] == [whole], keys[-1]
        assert load_forgotten(store).open is None
        assert [key for key in content(store) if "/certificates/" in key] == [result.key]
        assert evaluate("export_equals_raw", week, manifest_of(store, week), store).passed, keys[-1]
        assert stored_feeds(week, store, Redaction())[1] is None, keys[-1]
        after = without_inspections(content(store))
        derive(store, week)
        assert without_inspections(content(store)) == after, keys[-1]
    assert len(keys) > 15


@pytest.mark.parametrize(
    "part", ["/deliveries/", "/raw/", "/manifests/", "/toast-orders_", "/customers/", "/index/", "_state.json"]
)
def test_two_guests_that_are_forgotten_at_once_are_both_gone_and_all_agrees(week: Week, part: str) -> None:
    world, stop = World(week), Stop("put", part)
    fill(world.store(), week, namings(), derived=True)
    world.deliver()
    store, other = world.store(), "stranger0@example.com"
    with stopped(lambda: forget(world.store(stop), GUID), stop) as outcome:
        forget(store, other)
    assert outcome.error is None
    assert holding(store) == {}
    kept = {key: body for key, body in content(store).items() if key not in requests(store)}
    assert other.encode() not in b"".join(decompressed(key, body) for key, body in kept.items())
    assert len(requests(store)) == 2
    assert evaluate("export_equals_raw", week, manifest_of(store, week), store).passed
    assert stored_feeds(week, store, Redaction())[1] is None
    sent = len(world.received)
    world.deliver()
    assert len(world.received) == sent


def test_a_dry_run_names_the_objects_and_changes_nothing(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=True)
    objects = content(store)
    planned = forget(store, GUID, dry_run=True)
    assert content(store) == objects
    assert planned.key is None
    named, done = planned.certificate.objects.keys(), forget(store, GUID).certificate.objects.keys()
    assert named <= done
    assert {key.split("/")[1] for key in done - named} <= {"tables"}


async def test_a_list_of_forgotten_guests_that_is_gone_stops_the_pull_and_the_next_forget(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    store.bucket.write(f"{store.layout.privacy}certificates/", b"")
    fill(store, week, namings(), derived=False)
    forget(store, EMAIL)
    found = store.bucket.read(store.layout.forgotten)
    assert found is not None
    store.bucket.delete(store.layout.forgotten)
    before = content(store)
    with pytest.raises(StoreError, match=r"list of forgotten guests .* is gone, .* Restore an earlier version"):
        await pull(sandbox, week)
    with pytest.raises(StoreError, match=r"is gone"):
        forget(store, "another@example.org")
    assert content(store) == before
    for damaged in (b"\xff", b"[]", b"[" * 5000 + b"]" * 5000, found[0].replace(b'salt": "', b'salt": "x')):
        store.bucket.write(store.layout.forgotten, damaged)
        with pytest.raises(StoreError, match=r"forgotten.json cannot be read .* would come back"):
            load_forgotten(store)


def test_a_phone_that_a_whole_town_shares_leads_to_nobody_else(store: OrderStore, week: Week) -> None:
    shared = [invented.order(invented.check(guest=invented.customer(f"n{n}@example.com"))) for n in range(6)]
    fill(store, week, shared, derived=False)
    result = forget(store, "n0@example.com", dry_run=True)
    assert (result.certificate.orders, result.shared) == (1, 1)


def test_a_stranger_object_that_holds_the_guest_is_named_and_left_alone(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    store.bucket.write(store.layout.prefix + "notes/list.csv", f"1,{EMAIL}".encode())
    # Named like objects of this package, and none of them.
    for name in ("rejects/week=odd/rejects.ndjson.gz", "tables/orders/week=zz/orders.parquet", "manifests/week=a.json"):
        store.bucket.write(store.layout.prefix + name, b"whatever")
    result = forget(store, GUID)
    assert result.certificate.not_rewritten == (store.layout.prefix + "notes/list.csv",)


def test_the_notes_of_brand_and_calendar_are_left_alone_and_no_strangers(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    claim(store, "brand_a")
    keep_boundaries(store, WeekCalendar())
    notes = {key: store.bucket.read(key) for key in (store.layout.owner, store.layout.calendar)}
    result = forget(store, GUID)
    assert result.certificate.not_rewritten == ()
    assert not notes.keys() & result.certificate.objects.keys()
    assert {key: store.bucket.read(key) for key in notes} == notes


@pytest.mark.parametrize("odd", [b"[" * 5_000 + b"]" * 5_000, rb'"Soup \ud83d"'], ids=["deep", "half an emoji"])
def test_a_guest_goes_from_orders_that_decoders_do_not_read(store: OrderStore, week: Week, odd: bytes) -> None:
    orders = [body.replace(b"{", b'{"odd":' + odd + b",", 1) for body in invented.encode(*namings())]
    store_week(store, week, {"place-1": orders})
    export_week(week, store, LOG)
    assert forget(store, GUID).certificate.orders > 0
    assert holding(store) == {}
    assert evaluate("export_equals_raw", week, manifest_of(store, week), store).passed


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("manifests/week=2025-09-15.json", damage) for damage in (b"", b"\xff", b"[]", b"{}")),
        ("toast-orders_20250922_040000_place-2.json.gz", b""),
        ("amperity/customers/2025/09/22/customers_x.ndjson.gz", gzip.compress(b"{}", mtime=0)[:-9] + b"x" * 9),
        ("tables/current_orders/restaurant=zz.parquet", b"PAR1"),
        ("tables/current_orders/restaurant=zz.month=2025-09.parquet", b"PAR1"),
    ],
)
def test_an_object_that_cannot_be_read_is_named_before_anything_is_rewritten(
    store: OrderStore, week: Week, name: str, damage: bytes
) -> None:
    fill(store, week, namings(), derived=False)
    store.bucket.write(store.layout.prefix + name, damage)
    before_it = content(store)
    with pytest.raises(StoreError, match="cannot be read"):
        forget(store, GUID)
    assert content(store) == before_it


def test_a_full_disk_is_no_damaged_object(store: OrderStore, week: Week, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, week, namings(), derived=False)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("toast_assets.privacy.objects._rewrite_lines", full)
    with pytest.raises(OSError, match="No space left"):
        forget(store, GUID)


def test_a_guest_of_whom_nothing_is_stored_changes_nothing_unless_that_is_allowed(
    store: OrderStore, week: Week
) -> None:
    fill(store, week, [], derived=False)
    objects = content(store)
    for dry_run in (True, False):
        with pytest.raises(UnknownGuestError, match="nothing was changed"):
            forget(store, "nobody@example.org", dry_run=dry_run)
    assert content(store) == objects
    result = forget(store, "nobody@example.org", allow_unknown=True)
    assert (result.certificate.orders, dict(result.certificate.objects)) == (0, {})
    assert load_forgotten(store).knows("e:nobody@example.org")
    assert result.key in content(store)


def test_a_guest_who_is_named_in_a_text_alone_is_somebody(store: OrderStore, week: Week) -> None:
    note = invented.order(invented.check(tabName="Janelle"), source="call jane.roe@example.org")
    fill(store, week, [note], derived=False)
    result = forget(store, EMAIL)
    assert (result.certificate.orders, len(result.certificate.objects)) == (0, 3)
    kept = {key: body for key, body in content(store).items() if key not in requests(store)}
    assert EMAIL.encode() not in b"".join(decompressed(key, body) for key, body in kept.items())


def test_a_guid_that_is_no_uuid_has_to_be_a_guests_and_is_compared_without_case(store: OrderStore, week: Week) -> None:
    fill(store, week, [invented.order(invented.check(guest=guest(guid="JANE-1")))], derived=True)
    objects = content(store)
    with pytest.raises(NoGuestError, match=r"No guest's .* in line 2 "):
        forget(store, EMAIL, "not-an-email")
    assert content(store) == objects
    assert forget(store, "jane-1").certificate.orders == 1
    assert holding(store) == {}


async def test_what_left_under_other_privacy_rules_is_not_sent_again_after_it_was_scrubbed(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    fill(store, week, namings(), derived=True)
    rules: dict[str, Any] = {"AMPERITY_REDACT": "lastName=drop", "AMPERITY_REDACT_SALT": "pepper"}
    await deliver(sandbox, week, **rules)
    forget(store, EMAIL, redaction=amperity_settings(sandbox, **rules).redaction)
    check_week(sandbox, store, week, rules)
    assert (await deliver(sandbox, week, **rules)).accepted == 0


def test_an_inspection_that_holds_the_guest_is_removed(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    key = store.layout.inspection(week)
    store.bucket.write(key, f'{{"source":"{EMAIL}"}}'.encode())
    assert key in forget(store, GUID).certificate.objects
    assert store.bucket.info(key) is None


def test_the_fields_of_a_week_stay_unless_they_hold_the_guest(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    week_facts(week, manifest, store)
    key = store.layout.inspected_fields(week)
    assert key not in forget(store, GUID).certificate.objects
    store.bucket.write(key, f'{{"source":"{EMAIL}"}}'.encode())
    assert key in forget(store, GUID).certificate.objects
    assert store.bucket.info(key) is None


@pytest.mark.parametrize("gone", [("raw",), ("raw", "toast-orders_")])
def test_what_outlives_the_raw_orders_is_searched_by_itself(
    store: OrderStore, week: Week, gone: tuple[str, ...]
) -> None:
    fill(store, week, namings(), derived=True)
    for key in content(store):
        if key.removeprefix(store.layout.prefix).startswith(gone):
            store.bucket.delete(key)
    forget(store, GUID)
    assert holding(store) == {}


def test_a_table_that_outlives_the_raw_orders_still_says_which_cannot_be_read_and_which_came_late(
    store: OrderStore, week: Week, tmp_path: Path
) -> None:
    def notes() -> tuple[Unreadable, Mapping[str, Backdated]]:
        store.bucket.fetch(store.layout.table("orders", week.key), tmp_path / "orders")
        return unreadable_in(tmp_path / "orders"), backdated_in(tmp_path / "orders")

    orders = [*namings(), invented.order(businessDate=99)]
    fill(store, week, orders, derived=True)
    late = {orders[-1]["guid"]: week.end + timedelta(days=3)}
    store_week(store, week, {PLACES[0]: invented.encode(*orders)}, late=late, second_look_at="2025-09-25T04:00:00.000Z")
    build_tables(week, store, LOG)
    before = notes()
    assert before[1] == {PLACES[0]: Backdated(1, Decimal(0))}
    for key in store.bucket.keys(store.layout.raw_folder(week)):
        store.bucket.delete(key)
    assert store.layout.table("orders", week.key) in forget(store, GUID).certificate.objects
    assert notes() == before
    assert before[0]


def test_a_damaged_object_stops_the_run_and_is_named(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=True)
    key = store.layout.table("checks", week.key)
    store.bucket.write(key, b"no parquet")
    with pytest.raises(StoreError, match=r"tables/checks/.* cannot be read .*repeat the command"):
        forget(store, GUID)


async def test_the_bytes_of_orders_that_cannot_be_read_go_if_they_name_the_guest_and_come_back_with_no_pull(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    theirs = b'{"guid":"odd","email":"' + EMAIL.encode() + b'","x":NaN}'
    toast = OddToast({"here": [(week.start_ms, theirs), (week.start_ms, b"null")]})
    await pull_from(toast, store, week)
    fill(store, week, namings()[:1], derived=False)
    key = store.layout.unreadable(week, "here")
    assert key in forget(store, EMAIL).certificate.objects
    forgotten = content(store)[key]
    assert EMAIL not in str(list(_bodies(forgotten)))
    assert sorted(_bodies(forgotten)) == [b"", b"null"]
    await pull_from(toast, store, week, refresh=True)
    assert content(store)[key] == forgotten
    store.bucket.delete(key)
    await pull_from(toast, store, week, refresh=True)
    assert sorted(_bodies(content(store)[key])) == [b"", b"null"]


def _bodies(lines: bytes) -> Iterator[bytes]:
    for line in gzip.decompress(lines).splitlines():
        yield msgspec.json.decode(line, type=UnreadableLine).body


def test_a_forgotten_guests_raw_file_says_its_new_hash(store: OrderStore, week: Week) -> None:
    fill(store, week, namings()[:1], derived=False)
    forget(store, EMAIL)
    for guid, record in manifest_of(store, week).stored.items():
        assert store.sha256(store.layout.raw(week, guid)) in (None, record.orders_sha256)
