"""What Amperity holds after several versions of an order came in one file of each feed after the other.

By upsert on the documented keys, the newest ``modified_at`` wins (docs/amperity-couriers.md): the rows of an order add
up to what its newest version comes to, no row of an earlier version stays, and an order has one customer. ``NOT_YET``
names the stories of which that is not true yet; such a test fails once its story is right, so that the list stays true.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from toast_assets.amperity.feeds.build import feed_batches
from toast_assets.index.orders import OrderEntry
from toast_assets.orders.read import RawOrders
from toast_assets_tests.amperity.feeds.rows import BRAND, ZONE, lines
from toast_assets_tests.support.data.invented import (
    RESTAURANT,
    Json,
    check,
    customer,
    encode,
    order,
    payment,
    refund_details,
    selection,
)

KEYS = {"transactions": "transaction_item_id", "order_items": "order_item_id"}
OPENED, TIPPED, REFUNDED, VOIDED = (f"2025-09-{day}T19:00:00.000+0000" for day in (17, 18, 23, 26))


class Amperity:
    """The tables of the feeds, by upsert."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Json]] = {feed: {} for feed in KEYS}
        self.index: dict[str, OrderEntry] = {}

    def load(self, orders: Sequence[Json], week: str) -> None:
        """A week's file of each feed, made with what the index says of the weeks before."""
        raw = RawOrders(RESTAURANT, [encode(one)[0] for one in orders], ZONE, "USD")
        made = [*feed_batches([raw], BRAND, week, self.index)]
        for batch in made:
            self.index |= {guid: OrderEntry(guid, fed=fed) for guid, fed in batch.fed.items()}
        for feed, key in KEYS.items():
            for row in map(msgspec.json.Decoder(float_hook=Decimal).decode, lines(feed, made)):
                held = self.tables[feed].get(row[key])
                if held is None or row["modified_at"] >= held["modified_at"]:
                    self.tables[feed][row[key]] = row

    @property
    def revenue(self) -> Decimal:
        return sum((row["item_revenue"] for row in self.tables["transactions"].values()), Decimal(0))

    @property
    def customers(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for row in self.tables["transactions"].values():
            found[row["order_id"]].add(row["fk_customer"])
        return found


def item(name: str, price: str) -> Json:
    return selection(price, displayName=name, item=ref(name), tax=Decimal(0))


def ref(name: str) -> Json:
    return {"guid": f"item-{name}", "entityType": "MenuItem", "multiLocationId": f"P-{name}"}


def at(made: Json, moment: str, **changes: Any) -> Json:
    """The order as it was from ``moment`` on, to be changed further."""
    return copy.deepcopy(made) | {"modifiedDate": moment} | changes


def bill(made: Json) -> Json:
    found: Json = made["checks"][0]
    return found


GUEST = customer("ada@example.com")
opened = order(check(item("Burger", "12.00"), item("Fries", "4.00"), item("Soda", "3.00"), guest=GUEST))
opened = at(opened, OPENED)
tipped = at(opened, TIPPED)
bill(tipped)["payments"] = [payment("19.00", "4.00")]
refunded = at(tipped, REFUNDED)
bill(refunded)["selections"][1]["refundDetails"] = refund_details("4.00")
bill(refunded)["payments"] = [payment("19.00", "4.00", refund="4.00")]
voided = at(refunded, VOIDED, voided=True)
bill(voided)["voided"] = True
bill(voided)["payments"] = [payment("19.00", "4.00", voided=True)]
for line in bill(voided)["selections"]:
    line["voided"] = True
refunded_then_voided = at(refunded, VOIDED)
bill(refunded_then_voided)["selections"][1]["voided"] = True
some_back = at(tipped, REFUNDED)
bill(some_back)["payments"] = [payment("19.00", "4.00", refund="5.00")]
itemized = at(some_back, VOIDED)
bill(itemized)["selections"][1]["refundDetails"] = refund_details("4.00", "0.32")
bill(itemized)["selections"][2]["refundDetails"] = refund_details("0.68")
without_soda = at(opened, REFUNDED)
del bill(without_soda)["selections"][2]
other = at(order(check(item("Cake", "7.00"), guest=customer("bo@example.com"))), OPENED)
merged = at(other, REFUNDED)
bill(merged)["selections"] += copy.deepcopy(bill(opened)["selections"])
emptied = at(opened, REFUNDED, deleted=True, checks=[])
deleted = at(opened, REFUNDED, deleted=True)
bill(deleted)["deleted"] = True
deleted_later = at(deleted, "2025-09-23T19:00:00.400+0000")
beer = at(opened, REFUNDED)
bill(beer)["selections"][2] |= {"displayName": "Beer", "item": ref("Beer")}
bill(beer)["selections"][2] |= {"preDiscountPrice": Decimal("6.00"), "price": Decimal("6.00")}
other_guest = at(without_soda, REFUNDED)
bill(other_guest)["customer"] = customer("cy@example.com")
nameless = at(opened, OPENED)
for line in bill(nameless)["selections"]:
    line["item"]["multiLocationId"] = None
deferred = at(opened, REFUNDED)
bill(deferred)["selections"][2]["deferred"] = True
split = at(opened, REFUNDED)
split["checks"].append(check(bill(split)["selections"].pop(), guest=GUEST))
trays = at(order(check(item("Tray A", "120.00"), item("Tray B", "80.00"), item("Drinks", "40.00"))), OPENED)
fewer_trays = at(trays, REFUNDED)
bill(fewer_trays)["selections"] = [*bill(fewer_trays)["selections"][:1], item("Tray C", "90.00")]

STORIES: dict[str, tuple[list[list[Json]], str]] = {
    "opened, tipped": ([[opened], [tipped]], "19.00"),
    "opened, tipped, fries refunded": ([[opened], [tipped], [refunded]], "15.00"),
    "fries refunded, then the order voided": ([[opened], [tipped], [refunded], [voided]], "0"),
    "fries refunded, then the fries voided": ([[opened], [refunded], [refunded_then_voided]], "15.00"),
    "a refund known by its payment first, later by its items": ([[tipped], [some_back], [itemized]], "14.32"),
    "an amount refunded, then the order voided": ([[tipped], [some_back], [voided]], "0"),
    "an item taken off an open check": ([[opened], [without_soda]], "16.00"),
    "a check moved to another order, its own deleted and empty": ([[opened, other], [emptied, merged]], "26.00"),
    "a check moved to another order, its own deleted with its items": ([[opened, other], [deleted, merged]], "26.00"),
    "the same, deleted a moment later": ([[opened, other], [merged, deleted_later]], "26.00"),
    "an item that becomes another one": ([[opened], [beer]], "22.00"),
    "another guest, and an item taken off": ([[opened], [other_guest]], "16.00"),
    "a product's id that is known later": ([[nameless], [opened]], "19.00"),
    "an item marked as deferred later": ([[opened], [deferred]], "16.00"),
    "an item moved to a second check": ([[opened], [split]], "19.00"),
    "a catering order edited a week later": ([[trays], [fewer_trays]], "210.00"),
}


@pytest.mark.parametrize("sequence", ["oldest first", "newest first", "repeated"])
@pytest.mark.parametrize("name", STORIES)
def test_amperity_holds_the_newest_version_and_nothing_of_the_earlier_ones(name: str, sequence: str) -> None:
    versions, right = STORIES[name]
    weeks = [*enumerate(versions)]
    again = {"oldest first": weeks, "newest first": weeks[::-1], "repeated": [*weeks, *weeks[::-1], weeks[0]]}
    amperity = Amperity()
    for week, orders in again[sequence]:
        amperity.load(orders, f"week {week}")
    assert amperity.revenue == Decimal(right)
    assert {guid for guid, customers in amperity.customers.items() if len(customers) > 1} == set()
