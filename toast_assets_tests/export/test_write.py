"""The export: what readers outside rely on, the same bytes for the same orders, and nothing that does not belong."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections import Counter
from datetime import UTC, datetime
from threading import Barrier

import msgspec
import pytest

from toast_assets.errors import ExportError
from toast_assets.export.write import export_week
from toast_assets.orders.times import parse_time_ms
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.faults import s3_faults
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.services.toast_orders import put, replace_all
from toast_assets_tests.support.stores.pulls import (
    LOG,
    check_export,
    export,
    manifest_of,
    pull,
    read_export,
    stored_rows,
    true_versions,
)

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def test_the_envelope_is_the_guides_with_all_metadata(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    guid = sandbox.restaurant_guids[0]
    began = datetime.now(UTC)
    await pull(sandbox, week)
    export(sandbox, week)
    found = read_export(store, week, guid)
    truth = true_versions(sandbox, week, guid)
    assert list(msgspec.json.decode(found.raw)) == ["orders", "metadata"]
    assert list(found.metadata) == [
        *("fetch_date", "start_date", "end_date", "total_orders", "restaurant_guid", "partition", "orders_sha256")
    ]
    assert TIME.fullmatch(found.metadata["fetch_date"])
    assert datetime.fromisoformat(found.metadata["fetch_date"]).timestamp() >= int(began.timestamp())
    expected = {
        "start_date": "2025-09-15T04:00:00.000Z",
        "end_date": "2025-09-22T04:00:00.000Z",
        "total_orders": len(truth),
        "restaurant_guid": guid,
        "partition": "2025-09-15",
    }
    assert found.metadata.items() >= expected.items()


async def test_the_hash_can_be_checked_from_the_file_alone(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    await pull(sandbox, week)
    export(sandbox, week)
    for guid in sandbox.restaurant_guids:
        found = read_export(store, week, guid)
        envelope = msgspec.json.decode(found.raw, type=dict[str, msgspec.Raw])
        orders = msgspec.json.decode(envelope["orders"], type=list[msgspec.Raw])
        lines = b"".join(bytes(order) + b"\n" for order in orders)
        assert hashlib.sha256(lines).hexdigest() == found.metadata["orders_sha256"]


async def test_orders_come_by_time_and_guid_as_toast_sent_them_plus_their_restaurant(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    export(sandbox, week)
    found = read_export(store, week, guid)
    keys = [(parse_time_ms(order["modifiedDate"]), order["guid"]) for order in found.orders]
    assert keys == sorted(keys)
    assert all(order["restaurantGuid"] == guid for order in found.orders)
    for body in (body for _, body in true_versions(sandbox, week, guid).values()):
        assert body.rstrip()[:-1] in found.raw, "every digit as it was"


async def test_the_object_is_one_gzip_member_and_describes_itself(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    report = export(sandbox, week)
    key = store.layout.export(week, guid)
    assert key == f"toast-orders/toast-orders_20250922_040000_{guid}.json.gz"
    reply = store.bucket.client.get_object(Bucket=store.bucket.name, Key=key)
    body = reply["Body"].read()
    member = zlib.decompressobj(wbits=31)
    assert member.decompress(body) == gzip.decompress(body)
    assert (member.eof, member.unused_data) == (True, b"")
    assert (reply["ContentType"], reply["ContentEncoding"]) == ("application/json", "gzip")
    metadata = read_export(store, week, guid).metadata
    assert reply["Metadata"]["source"] == "toast-orders"
    assert reply["Metadata"]["timestamp"] == metadata["fetch_date"]
    assert reply["Metadata"]["total_orders"] == str(metadata["total_orders"])
    assert [each.bytes for each in report.exports if each.key == key] == [len(body)]


async def test_a_restaurant_without_orders_has_an_export_without_orders(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    replace_all(sandbox.toast.orders[guid], [])
    await pull(sandbox, week)
    export(sandbox, week)
    found = read_export(store, week, guid)
    assert (found.orders, found.metadata["total_orders"]) == ([], 0)
    assert found.metadata["orders_sha256"] == hashlib.sha256(b"").hexdigest()


def test_a_week_that_was_never_pulled_is_named(sandbox: Sandbox, week: Week) -> None:
    with pytest.raises(ExportError, match="2025-09-15 was not pulled yet"):
        export(sandbox, week)


@pytest.mark.parametrize("harm", ["missing", "broken", "flipped", "another"])
async def test_a_restaurant_whose_raw_orders_cannot_be_exported_is_named_and_the_others_are_exported(
    sandbox: Sandbox, store: OrderStore, week: Week, harm: str
) -> None:
    await pull(sandbox, week)
    bad, *others = sandbox.restaurant_guids
    harmed(store, store.layout.raw(week, bad), harm, store.layout.raw(week, others[0]))
    report = export(sandbox, week)
    ((guid, problem),) = report.problems.items()
    assert guid == bad
    assert store.bucket.uri(store.layout.raw(week, bad)) in problem
    assert "materialize raw_toast_orders for this week again" in problem
    exported = {name for name in store.bucket.keys("") if "/toast-orders_" in name}
    assert exported == {store.layout.export(week, guid) for guid in others}


def harmed(store: OrderStore, key: str, harm: str, other: str) -> None:
    """The object under ``key`` goes, is damaged, or becomes a copy of the ``other`` one."""
    found, another = store.bucket.read(key), store.bucket.read(other)
    assert found is not None
    assert another is not None
    flipped = bytearray(found[0])
    flipped[len(flipped) // 2] ^= 0x41
    if harm == "missing":
        store.bucket.delete(key)
    else:
        store.bucket.write(key, {"broken": b"PAR1", "flipped": bytes(flipped), "another": another[0]}[harm])


async def test_where_no_restaurant_can_be_exported_the_export_fails_and_names_them(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    for guid in sandbox.restaurant_guids:
        store.bucket.delete(store.layout.raw(week, guid))
    with pytest.raises(ExportError) as raised:
        export(sandbox, week)
    assert all(store.layout.raw(week, guid) in str(raised.value) for guid in sandbox.restaurant_guids)


async def test_an_export_of_the_stored_orders_is_left_as_it_is_and_a_damaged_one_is_made_again(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    first = export(sandbox, week)
    writes: list[int] = []
    client = s3_client(sandbox)
    s3_faults.before(client, "PutObject", writes.append)
    watched = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
    assert export_week(week, watched, LOG).exports == first.exports
    assert not writes
    guid = sandbox.restaurant_guids[0]
    key = store.layout.export(week, guid)
    (intact, _), info = store.bucket.read(key) or (b"", None), store.bucket.info(key)
    assert info is not None
    store.bucket.write(key, intact[:-9] + b"not as it", Metadata=dict(info.metadata))
    export_week(week, watched, LOG)
    assert len(writes) == 1
    check_export(store, week, guid)


async def test_an_export_costs_two_calls_to_s3_and_an_unchanged_one_costs_one(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    client = s3_client(sandbox)
    calls: Counter[str] = Counter()
    client.meta.events.register("before-call.s3", lambda model, **_: calls.update([model.name]))
    watched = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
    restaurants = len(sandbox.restaurant_guids)
    # One more GET for the manifest, and one listing of all exports.
    for expected in ({"GetObject": restaurants, "PutObject": restaurants}, {"HeadObject": restaurants}):
        calls.clear()
        export_week(week, watched, LOG)
        assert calls == Counter({"GetObject": 1, "ListObjectsV2": 1}) + Counter(expected)


async def test_restaurants_wait_for_s3_together(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    await pull(sandbox, week)
    client = s3_client(sandbox)
    together = Barrier(len(sandbox.restaurant_guids))
    # The first one is for the manifest.
    s3_faults.before(client, "GetObject", lambda number: together.wait(60) if number > 1 else None)
    assert not export_week(week, OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix), LOG).problems
    assert together.parties > 2


async def test_an_export_that_another_run_writes_meanwhile_is_looked_at_and_left(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    client = s3_client(sandbox)
    writes: list[int] = []

    def other_run_first(number: int) -> None:
        writes.append(number)
        if number == 1:
            export(sandbox, week)

    s3_faults.before(client, "PutObject", other_run_first)
    watched = OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)
    assert not export_week(week, watched, LOG).problems
    assert len(writes) <= len(sandbox.restaurant_guids)
    for guid in sandbox.restaurant_guids:
        check_export(store, week, guid)


async def test_total_and_hash_are_those_of_the_manifest(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    await pull(sandbox, week)
    export(sandbox, week)
    for guid, record in manifest_of(store, week).stored.items():
        metadata = read_export(store, week, guid).metadata
        assert (metadata["total_orders"], metadata["orders_sha256"]) == (record.orders, record.orders_sha256)
        assert metadata["fetch_date"] == record.finished_at


async def test_an_order_that_says_which_restaurant_it_is_of_is_exported_as_it_is(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    await pull(sandbox, week)
    named = stored_rows(store, week, guid)[1]
    put(sandbox.toast.orders[guid], named.body[:-1] + b',"restaurantGuid":"%s"}' % guid.encode())
    await pull(sandbox, week)
    export(sandbox, week)
    check_export(store, week, guid)
    found = read_export(store, week, guid)
    assert found.raw.count(b'"restaurantGuid":') == len(found.orders)
