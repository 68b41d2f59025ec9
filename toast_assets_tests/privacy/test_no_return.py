"""A guest who was forgotten comes back by no way: not by Toast's edits of old orders, and by nothing that is stored."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.orders.identity import given_traits
from toast_assets.orders.times import format_time
from toast_assets.privacy.forget import ForgetGuest
from toast_assets.week import Week, epoch_ms
from toast_assets_tests.support.data import invented
from toast_assets_tests.support.faults.world import LOG, World
from toast_assets_tests.support.stores.deliveries import ROW_STREAMS
from toast_assets_tests.support.stores.guests import (
    EMAIL,
    GUID,
    PHONE,
    SECRETS,
    content,
    decompressed,
    guest,
    namings,
    requests,
    weeks,
)

PLACE = "r-1"
HASHES = tuple(sha256(contact.encode()).hexdigest() for contact in (EMAIL, PHONE))
HELD = tuple(text.lower().encode() for text in (*SECRETS, *HASHES))


def at(moment: datetime) -> str:
    return format_time(epoch_ms(moment))


def put(world: World, order: invented.Json, modified: datetime, **changes: Any) -> invented.Json:
    """The order at Toast, in its newest version."""
    order = order | {"modifiedDate": at(modified)} | changes
    world.orders[PLACE][order["guid"]] = epoch_ms(modified), invented.encode(order)[0]
    return order


def run(world: World, week: Week, **changes: str) -> None:
    """All that the pipeline makes of a week."""
    world.pull(week)
    world.export(week)
    world.tables(week)
    world.current_orders()
    write_feeds(week, world.store(), "brand", Redaction(), LOG)
    world.deliver(week, **ROW_STREAMS | changes)


def held(world: World) -> set[str]:
    """The objects that hold something of the guest, but for what Amperity is asked."""
    kept = content(world.store()).keys() - requests(world.store()).keys()
    found = {key: decompressed(key, world.objects[key].body).lower() for key in kept}
    return {key for key, body in found.items() if any(one in body for one in HELD)}


def sent(world: World, since: int = 0) -> list[str]:
    """The streams of the records that hold something of the guest, of those that were sent ``since``."""
    return [one.stream_id for one in world.received[since:] if any(text in one.body.lower() for text in HELD)]


@pytest.fixture
def served() -> tuple[World, list[Week], list[invented.Json]]:
    """Two weeks that went through the pipeline, a third one to come, and the guest's orders of the first."""
    first, second, third = weeks(3)
    world = World(first, (PLACE,))
    opened = {"openedDate": at(first.start), "createdDate": at(first.start)}
    orders = [put(world, order, first.start + timedelta(days=1), **opened) for order in namings()]
    for order in namings()[:3]:
        put(world, order, second.start + timedelta(days=1), **opened)
    for week in (first, second):
        stranger = invented.order(invented.check(guest=invented.customer("stranger@example.com", phone="6175560000")))
        put(world, stranger, week.start + timedelta(days=1), **opened)
        world.now = week.end + timedelta(hours=1)
        run(world, week)
    assert held(world)
    assert {*sent(world)} >= {"is-orders", *ROW_STREAMS.values()}
    return world, [first, second, third], orders


def forget(world: World) -> None:
    ForgetGuest(world.store(), given_traits([EMAIL]), now=lambda: world.now).run()
    assert held(world) == set()


@pytest.mark.parametrize("lost", [None, "/index/guests/", "/index/"])
def test_neither_late_edits_of_old_orders_nor_weeks_made_again_bring_a_forgotten_guest_back(
    served: tuple[World, list[Week], list[invented.Json]], lost: str | None
) -> None:
    world, (first, second, third), orders = served
    forget(world)
    before, late = len(world.received), third.start + timedelta(days=2)
    tipped = [invented.payment("11.00", tip="2.00") | {"refundStatus": "NONE"}]
    for number, order in enumerate(orders):
        # The guest is on a new check of it, too; Toast has moved some of its times.
        more = [*order["checks"], invented.check(guest=guest(), payments=tipped)]
        times = {"openedDate": at(late)} if number % 2 else {}
        put(world, order, late, checks=more, **times)
    # Never pulled, opened before, closed late.
    unseen = invented.order(invented.check(guest=guest(), tabName="Janelle's tab"))
    put(world, unseen, late, openedDate=at(second.start), createdDate=at(second.start))
    for key in list(world.objects) if lost else []:
        if str(lost) in key:
            del world.objects[key]
    world.now = third.end + timedelta(hours=1)
    for week in (first, second, third, first):
        run(world, week)
        # Another tenant has nothing yet: all that is stored is sent.
        run(world, week, AMPERITY_TENANT_ID="another")
    assert held(world) == set()
    assert sent(world, before) == []
    records = [one.record for one in world.received[before:]]
    assert {order["guid"] for order in (*orders, unseen)} <= {record.get("guid") for record in records}
    assert any(record.get("email") == "stranger@example.com" for record in records)


def test_a_guest_who_orders_again_is_a_new_guest_with_that_order_alone(
    served: tuple[World, list[Week], list[invented.Json]],
) -> None:
    world, (first, _, third), orders = served
    forget(world)
    late = third.start + timedelta(days=2)
    for order in orders:
        put(world, order, late)
    new = put(
        world,
        invented.order(invented.check(guest=guest(firstName="Jay"))),
        late,
        openedDate=at(late),
        createdDate=at(late),
    )
    world.now = third.end + timedelta(hours=1)
    before = len(world.received)
    for week in (third, first):
        run(world, week)
    records = [one.record for one in world.received[before:] if GUID.encode() in one.body]
    assert {record.get("guid") or record.get("order_id") for record in records} == {new["guid"], None}
    (row,) = [record for record in records if "given_name" in record]
    assert (row["given_name"], row["email"], row["loyalty_id"], row["address"]) == ("Jay", EMAIL, None, None)


def test_a_clock_at_toast_that_is_ahead_leaves_nothing_of_the_guest(
    served: tuple[World, list[Week], list[invented.Json]],
) -> None:
    world, (first, second, _), _ = served
    # The orders look as if they were made after the request.
    world.now = first.start
    forget(world)
    before = len(world.received)
    for week in (first, second):
        write_feeds(week, world.store(), "brand", Redaction(), LOG)
        world.deliver(week, **ROW_STREAMS, AMPERITY_TENANT_ID="another")
    assert held(world) == set()
    assert sent(world, before) == []
