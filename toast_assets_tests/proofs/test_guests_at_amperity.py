"""What Amperity holds of guests after the files of weeks were loaded in any sequence: the newest known fields, and no
field that Toast sent once is empty.

By upsert on ``customer_id``: the newest ``modified_at`` wins, of equal ones the row loaded last
(docs/amperity-couriers.md). Couriers may load a file again, or the files of restaurants in any sequence.
"""

from __future__ import annotations

import gzip
import json
import logging
import random
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order, selection
from toast_assets_tests.support.faults.world import Operation, Side, World
from toast_assets_tests.support.stores.guests import weeks
from toast_assets_tests.support.stores.stored_weeks import store_week

LOG = logging.getLogger("toast_assets.test")
WEEKS = weeks(4)
PLACES = ("place-1", "place-2")
Orders = Mapping[str, Sequence[Json]]
"""By restaurant."""


class Amperity:
    """The table of the feed ``customers``, and the bucket it is loaded from."""

    def __init__(self) -> None:
        self.world = World(WEEKS[0])
        self.store = self.world.store()
        self.held: dict[str, Json] = {}

    def deliver(self, week: Week, orders: Orders) -> None:
        """A week is stored, its files are written and loaded."""
        store_week(self.store, week, {place: encode(*made) for place, made in orders.items()})
        write_feeds(week, self.store, "brand", Redaction(), LOG)
        self.load(week, *orders)

    def load(self, week: Week, *places: str) -> None:
        """The files of restaurants as they are now."""
        for place in places:
            found = self.store.bucket.read(self.store.layout.feed(week, place, "customers"))
            assert found is not None
            for row in map(json.loads, gzip.decompress(found[0]).splitlines()):
                held = self.held.get(row["customer_id"])
                if held is None or row["modified_at"] >= held["modified_at"]:
                    self.held[row["customer_id"]] = row


GUEST = customer("ada@example.com")
GUID_ALONE = {"guid": GUEST["guid"], "entityType": "Customer"}
ADDRESS = {"address1": "12 Elm Street", "address2": "Floor 3", "city": "Boston", "state": "MA", "zipCode": "02118"}
OTHER_ADDRESS = {"address1": "9 Ash Road", "city": "Salem"}


def visit(week: Week, guest: Json, delivery: Json | None = None, *, day: int = 1, loyalty: Json | None = None) -> Json:
    moment = f"{week.start:%Y-%m}-{week.start.day + day:02d}T19:00:00.000+0000"
    bill = check(selection(), guest=guest, appliedLoyaltyInfo=loyalty)
    return order(bill, deliveryInfo=delivery) | {"modifiedDate": moment}


LATER = {
    "takeout after a delivery": (GUEST, None),
    "the GUID alone": (GUID_ALONE, None),
    "the GUID alone, with another address": (GUID_ALONE, OTHER_ADDRESS),
    "the first name alone": (GUID_ALONE | {"firstName": "Ada"}, None),
}


@pytest.mark.parametrize("sequence", list(permutations(range(2))), ids=["in sequence", "the later week first"])
@pytest.mark.parametrize("name", LATER)
def test_a_field_that_toast_sent_once_is_not_emptied_by_a_later_week(name: str, sequence: tuple[int, ...]) -> None:
    guest, address = LATER[name]
    account = {"loyaltyIdentifier": "6175550123"}
    orders = [visit(WEEKS[0], GUEST, ADDRESS, loyalty=account), visit(WEEKS[1], guest, address)]
    amperity = Amperity()
    for number in [*sequence, *sequence]:
        amperity.deliver(WEEKS[number], {PLACES[0]: [orders[number]]})
    for number in sequence:
        amperity.load(WEEKS[number], PLACES[0])
    (row,) = amperity.held.values()
    newest = OTHER_ADDRESS if address else ADDRESS
    assert (row["email"], row["phone"], row["surname"]) == ("ada@example.com", "6175550123", GUEST["lastName"])
    assert (row["address"], row["address2"]) == (newest["address1"], newest.get("address2"))
    assert row["given_name"] == guest.get("firstName", GUEST["firstName"])
    assert row["loyalty_id"] == "6175550123"


@pytest.mark.parametrize("places", list(permutations(PLACES)))
def test_a_field_is_not_emptied_by_another_restaurant_in_the_same_week(places: tuple[str, ...]) -> None:
    amperity = Amperity()
    amperity.deliver(
        WEEKS[0],
        {places[0]: [visit(WEEKS[0], GUEST, ADDRESS, day=1)], places[1]: [visit(WEEKS[0], GUEST, day=2)]},
    )
    for place in (*places, *places[::-1]):
        amperity.held.clear()
        amperity.load(WEEKS[0], place)
        (row,) = amperity.held.values()
        assert (row["address"], row["email"]) == ("12 Elm Street", "ada@example.com")


def test_an_older_file_that_is_loaded_again_takes_nothing_back() -> None:
    amperity = Amperity()
    amperity.deliver(WEEKS[1], {PLACES[0]: [visit(WEEKS[1], GUEST | {"email": None})]})
    amperity.deliver(WEEKS[0], {PLACES[0]: [visit(WEEKS[0], GUEST, ADDRESS)]})
    amperity.load(WEEKS[1], PLACES[0])
    (row,) = amperity.held.values()
    assert (row["email"], row["address"]) == ("ada@example.com", "12 Elm Street")


def some_week(chance: random.Random, week: Week, guids: Sequence[str]) -> Orders:
    """Orders that say more or less of a few guests, at few moments."""

    def one() -> Json:
        known = {"firstName": chance.choice("ABC"), "lastName": chance.choice("XYZ")}
        known |= {"email": f"{chance.choice('abc')}@example.com", "phone": f"617555012{chance.randrange(4)}"}
        guest = {"guid": chance.choice(guids)} | {key: known[key] for key in known if chance.random() < 0.4}
        parts = {"address1": chance.choice("12"), "address2": chance.choice("34"), "city": chance.choice("56")}
        address = {key: parts[key] for key in parts if chance.random() < 0.3} or None
        loyalty = {"vendor": "TOAST", "loyaltyIdentifier": chance.choice("789")} if chance.random() < 0.3 else None
        return visit(week, guest, address, day=chance.randrange(1, 5), loyalty=loyalty)

    return {place: [one() for _ in range(chance.randrange(4))] for place in PLACES}


FIELDS = {
    ("given_name",): ("firstName",),
    ("surname",): ("lastName",),
    ("email",): ("email",),
    ("phone",): ("phone",),
    ("loyalty_id",): ("loyaltyIdentifier",),
    ("address", "address2", "city"): ("address1", "address2", "city"),
}


def truth(orders: Sequence[Json]) -> dict[str, dict[str, Any]]:
    """The newest known fields of each guest; of one moment the greater."""
    found: dict[str, dict[str, Any]] = {}
    newest: dict[tuple[str, Sequence[str]], tuple[str, ...]] = {}
    for one in orders:
        guest = one["checks"][0]["customer"]
        row = found.setdefault(guest["guid"], dict.fromkeys(name for names in FIELDS for name in names))
        for names, keys in FIELDS.items():
            said = guest | (one["deliveryInfo"] or {}) | (one["checks"][0]["appliedLoyaltyInfo"] or {})
            values = tuple(said.get(key) or "" for key in keys)
            this = (one["modifiedDate"], *values)
            if any(values) and this > newest.get((guest["guid"], names), ()):
                newest[guest["guid"], names] = this
                row |= dict(zip(names, (value or None for value in values), strict=True))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_weeks_in_any_sequence_with_repeats_and_a_lost_index_leave_the_newest_known_fields(seed: int) -> None:
    chance = random.Random(seed)
    guids = ["guest-1", "guest-2", "guest-3"]
    orders = {week: some_week(chance, week, guids) for week in WEEKS}
    amperity, delivered = Amperity(), list[Week]()
    lost_before = chance.randrange(8)
    for number, week in enumerate([*chance.sample(WEEKS, 4), *chance.choices(WEEKS, k=3)]):
        if number == lost_before:
            amperity.store.bucket.delete(amperity.store.layout.guest_index())
        delivered.append(week)
        amperity.deliver(week, orders[week])
        for again in chance.choices(delivered, k=2):
            amperity.load(again, *chance.sample(PLACES, 2))
        known = truth([one for week in set(delivered) for place in PLACES for one in orders[week][place]])
        held = {key: {name: row[name] for names in FIELDS for name in names} for key, row in amperity.held.items()}
        assert held == known


def test_a_second_run_writes_nothing() -> None:
    amperity, puts = Amperity(), list[str]()
    for week in WEEKS[:2]:
        amperity.deliver(week, {PLACES[0]: [visit(week, GUEST, ADDRESS)]})

    def noted(operation: Operation, key: str, side: Side) -> None:
        if operation == "put" and side == "before":
            puts.append(key)

    write_feeds(WEEKS[1], amperity.world.store(noted), "brand", Redaction(), LOG)
    assert puts == []
