"""Stories: one order (or two, between which a check moves) in up to five versions over four weeks, and in which
sequence these weeks are pulled and delivered. Everything follows from a seed.

A week that is pulled twice may hold a newer version the second time: Toast returns an order in the window of its last
modification alone, so an edited order leaves its earlier window, while what was stored stays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Literal

from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    customer,
    discount,
    encode,
    gift_card,
    modifier,
    order,
    payment,
    refund_details,
    selection,
)

WEEKS = tuple(map(WeekCalendar().week, ("2025-09-15", "2025-09-22", "2025-09-29", "2025-10-06")))
RESTAURANTS = ("place-1", "place-2")
_MOST_VERSIONS, _MOST_PULLS, _MOST_TRIES = 5, 3, 12
_CENT = Decimal("0.01")


@dataclass(frozen=True)
class Version:
    """One version of an order: in which week Toast has it, by which of its pulls it is first returned (from 1), and
    what was edited."""

    week: int
    pull: int
    edits: str
    order: Json


@dataclass(frozen=True)
class Story:
    """Versions by modified time, of one order or of two."""

    restaurant: str
    versions: tuple[Version, ...]

    @property
    def newest(self) -> dict[str, Json]:
        """The newest version of each order, by GUID."""
        return {version.order["guid"]: version.order for version in self.versions}


@dataclass(frozen=True)
class Step:
    """What happens to a week next; ``pull`` counts the week's pulls so far."""

    what: Literal["pull", "deliver"]
    week: int
    pull: int


@dataclass(frozen=True)
class World:
    """Stories of a few restaurants, and one sequence of steps for all."""

    stories: tuple[Story, ...]
    steps: tuple[Step, ...]

    def stored(self, step: Step) -> dict[str, list[bytes]]:
        """The orders that the step's week holds after its pulls so far, by restaurant: of each the newest version."""
        found: dict[str, dict[str, Json]] = {restaurant: {} for restaurant in RESTAURANTS}
        for story in self.stories:
            for version in story.versions:
                if version.week == step.week and version.pull <= step.pull:
                    found[story.restaurant][version.order["guid"]] = version.order
        return {restaurant: encode(*orders.values()) for restaurant, orders in found.items()}


def make_world(seed: int, stories: int) -> World:
    """The world of a seed."""
    chance = Random(seed)
    pulls = [chance.randint(1, _MOST_PULLS) for _ in WEEKS]
    return World(tuple(_story(chance, pulls) for _ in range(stories)), tuple(_steps(chance, pulls)))


def explain(story: Story, steps: tuple[Step, ...]) -> Iterator[str]:
    """A story as text: its versions, and the steps that concern its weeks."""
    for version in story.versions:
        made = version.order
        pulled = f"pull {version.pull} of {WEEKS[version.week].key}"
        yield f"{made['guid']}{_flags(made)} {made['modifiedDate']}, {pulled}: {version.edits}"
        for bill in made["checks"]:
            paid = [
                f"{one['paymentStatus']} {one['amount']} at {one['paidDate']}, {_refund_text(one['refund'])}"
                for one in bill["payments"]
            ]
            off = sum(one["nonTaxDiscountAmount"] for one in bill["appliedDiscounts"])
            yield f"    check {bill['guid']}{_flags(bill)} -{off} {paid}"
            for item in bill["selections"]:
                back = item["refundDetails"] and item["refundDetails"]["refundAmount"]
                yield (
                    f"        {item['guid']} {item['displayName']} {item['preDiscountPrice']} -> {item['price']}"
                    f"{_flags(item)}{' deferred' if item['deferred'] else ''}, refunded {back}"
                )
    weeks = {version.week for version in story.versions}
    yield "; ".join(f"{step.what} {WEEKS[step.week].key} ({step.pull})" for step in steps if step.week in weeks)


def _refund_text(refund: Json | None) -> str:
    return f"refund {refund['refundAmount']} at {refund['refundDate']}" if refund else "no refund"


def _flags(thing: Json) -> str:
    return "".join(f" {flag}" for flag in ("voided", "deleted") if thing.get(flag))


def _steps(chance: Random, pulls: list[int]) -> Iterator[Step]:
    """Pulls of all weeks in any sequence, deliveries and repeated ones between them; at last each week is delivered
    that was not since its last pull."""
    sequence = [week for week, count in enumerate(pulls) for _ in range(count)]
    chance.shuffle(sequence)
    done = [0] * len(pulls)
    due: set[int] = set()
    for week in sequence:
        done[week] += 1
        due.add(week)
        yield Step("pull", week, done[week])
        while (stored := [one for one, count in enumerate(done) if count]) and chance.random() < 0.5:
            delivered = chance.choice([week, chance.choice(stored)])
            due.discard(delivered)
            yield Step("deliver", delivered, done[delivered])
    for week in chance.sample(sorted(due), len(due)):
        yield Step("deliver", week, done[week])
    if chance.random() < 0.5:
        again = chance.randrange(len(pulls))
        yield Step("deliver", again, done[again])


def _story(chance: Random, pulls: list[int]) -> Story:
    times = sorted(_moment(chance, chance.choice(WEEKS)) for _ in range(chance.randint(1, _MOST_VERSIONS)))
    draft = Draft(chance, times[0])
    draft.orders = [_order(draft) for _ in range(chance.choice([1, 1, 1, 2]))]
    edits = {made["guid"]: ["made"] for made in draft.orders}
    versions = []
    last_pull = [1] * len(WEEKS)
    for number, now in enumerate(times):
        draft.now = now
        if number:
            edits = draft.edit()
        week = next(place for place, one in enumerate(WEEKS) if one.start <= now < one.end)
        last_pull[week] = chance.randint(last_pull[week], pulls[week])
        for made in draft.orders:
            if made["guid"] in edits:
                # Of two orders that are edited together one is stored a moment later.
                made["modifiedDate"] = draft.text.replace(".000", chance.choice([".000", ".400"]))
                text = ", ".join(edits[made["guid"]])
                versions.append(Version(week, last_pull[week], text, copy.deepcopy(made)))
    return Story(chance.choice(RESTAURANTS), tuple(versions))


def _moment(chance: Random, week: Week) -> datetime:
    """Some second of the week, but for its first two hours."""
    return week.start + timedelta(seconds=chance.randrange(2 * 3600, 7 * 24 * 3600))


@dataclass
class Draft:
    """The orders of a story as they are ``now``. ``unitemized``: refunds that only payments know so far, each with its
    item."""

    chance: Random
    now: datetime
    orders: list[Json] = field(default_factory=list)
    unitemized: list[tuple[Json, Decimal, Decimal]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """Now, as Toast writes times."""
        return f"{self.now:%Y-%m-%dT%H:%M:%S.000+0000}"

    def edit(self) -> dict[str, list[str]]:
        """Edit at random; the edits, by the GUID of each order that was edited."""
        done: dict[str, list[str]] = {}
        wanted = self.chance.choice([1, 1, 2, 3])
        for _ in range(_MOST_TRIES):
            made = self.chance.choice(self.orders)
            change = self.chance.choice(EDITS)
            if sum(map(len, done.values())) < wanted and change(self, made):
                for guid in (one["guid"] for one in (self.orders if change is check_moved else [made])):
                    done.setdefault(guid, []).append(change.__name__)
        if not done:
            made = self.chance.choice(self.orders)
            made["numberOfGuests"] += 1
            done[made["guid"]] = ["another number of guests"]
        return done

    def guid(self) -> str:
        digits = f"{self.chance.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def cents(self, least: int, most: int) -> str:
        return str(Decimal(self.chance.randint(least, most)) / 100)

    def check(self, made: Json) -> Json | None:
        """Some check that counts."""
        found = [one for one in made["checks"] if not (_is_gone(made) or _is_gone(one))]
        return self.chance.choice(found) if found else None

    def item(self, bill: Json | None) -> Json | None:
        """Some item that counts."""
        found = [one for one in (bill or {}).get("selections", []) if not _is_gone(one)]
        return self.chance.choice(found) if found else None


def _order(draft: Draft) -> Json:
    chance = draft.chance
    opened = f"{draft.now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S.000+0000}"
    bills = [_check(draft) for _ in range(chance.choice([1, 1, 1, 2]))]
    made = order(*bills, guid=draft.guid(), openedDate=opened, createdDate=opened, paidDate=None, closedDate=None)
    made |= {"createdInTestMode": chance.random() < 0.01, "excessFood": chance.random() < 0.01}
    for bill in bills:
        if chance.random() < 0.5:
            _pay(draft, bill)
    return made


def _check(draft: Draft) -> Json:
    items = [_item(draft) for _ in range(draft.chance.randint(1, 4))]
    return check(*items, guest=_guest(draft), guid=draft.guid()) | {"payments": []}


def _item(draft: Draft) -> Json:
    chance = draft.chance
    if chance.random() < 0.04:
        return gift_card(draft.cents(1000, 5000), guid=draft.guid())
    extras = [modifier(draft.cents(0, 300), guid=draft.guid()) for _ in range(chance.choice([0, 0, 1, 2]))]
    price = sum((one["preDiscountPrice"] for one in extras), Decimal(draft.cents(0, 3000)))
    made = selection(str(price), modifiers=extras, guid=draft.guid(), quantity=chance.choice(["1", "1", "2", "0.5"]))
    _name(draft, made)
    if chance.random() < 0.1:
        made["item"]["multiLocationId"] = None
    return made


def _name(draft: Draft, item: Json) -> None:
    """Make it some product; few, so that an order has some of them twice."""
    product = draft.chance.randint(1, 6)
    item["displayName"] = f"Dish {product}"
    item["item"] = {"guid": f"item-{product}", "entityType": "MenuItem", "multiLocationId": f"40{product}"}


def _guest(draft: Draft) -> Json | None:
    number = draft.chance.randint(1, 30)
    guest = customer(f"guest{number}@example.com", guid=None if number % 5 == 0 else f"guest-{number}")
    return draft.chance.choice([guest, guest, None])


def _is_gone(thing: Json) -> bool:
    return bool(thing.get("voided") or thing.get("deleted"))


def _own(thing: Json) -> Decimal:
    return sum((one["nonTaxDiscountAmount"] for one in thing["appliedDiscounts"]), Decimal(0))


def _reprice(item: Json) -> None:
    """Toast's price and tax after the item's own discounts."""
    item["price"] = item["preDiscountPrice"] - _own(item)
    item["tax"] = item["price"] * Decimal("0.08")


def _pay(draft: Draft, bill: Json, **more: Any) -> None:
    due = sum((one["price"] + one["tax"] for one in bill["selections"] if not _is_gone(one)), Decimal(0)) - _own(bill)
    amount = str(max(due.quantize(_CENT), Decimal(1)))
    bill["payments"].append(payment(amount, guid=draft.guid(), paidDate=draft.text, **more))


def _taken(bill: Json | None) -> list[Json]:
    return [one for one in (bill or {}).get("payments", []) if one["paymentStatus"] == "CAPTURED"]


def _give_back(draft: Draft, bill: Json, amount: Decimal) -> None:
    paid = _taken(bill)[0]
    before = paid["refund"]["refundAmount"] if paid["refund"] else Decimal(0)
    given = payment(refund=str(before + amount))["refund"] | {"refundDate": draft.text}
    paid |= {"refund": given, "refundStatus": "PARTIAL"}


def _void(draft: Draft, thing: Json) -> None:
    if not _is_gone(thing):
        thing |= {"voided": True, "voidDate": draft.text}


# The edits. Each says whether there was anything to edit.


def paid(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    if bill is None or _taken(bill):
        return False
    _pay(draft, bill)
    return True


def payment_denied(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    if bill is not None:
        _pay(draft, bill, paymentStatus="DENIED")
    return bill is not None


def tipped(draft: Draft, made: Json) -> bool:
    found = _taken(draft.check(made))
    for one in found:
        one["tipAmount"] += Decimal(draft.cents(1, 500))
    return bool(found)


def item_refunded(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    item = draft.item(bill)
    if bill is None or item is None or not _taken(bill) or item["refundDetails"] or item["price"] <= 0:
        return False
    share = draft.chance.choice([Decimal(1), Decimal("0.5")])
    amount, tax = (item["price"] * share).quantize(_CENT), (item["tax"] * share).quantize(_CENT)
    item["refundDetails"] = refund_details(str(amount), str(tax))
    _give_back(draft, bill, amount + tax)
    return True


def amount_refunded(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    if bill is None or not _taken(bill):
        return False
    _give_back(draft, bill, Decimal(draft.cents(10, 300)))
    return True


def refund_known_by_its_payment(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    item = draft.item(bill)
    if bill is None or item is None or not _taken(bill) or item["refundDetails"] or item["price"] <= 0:
        return False
    amount, tax = item["price"].quantize(_CENT), item["tax"].quantize(_CENT)
    _give_back(draft, bill, amount + tax)
    draft.unitemized.append((item, amount, tax))
    return True


def refund_known_by_its_item(draft: Draft, made: Json) -> bool:
    items = [id(item) for bill in made["checks"] for item in bill["selections"]]
    for place, (item, amount, tax) in enumerate(draft.unitemized):
        if id(item) in items and not item["refundDetails"]:
            item["refundDetails"] = refund_details(str(amount), str(tax))
            del draft.unitemized[place]
            return True
    return False


def item_voided(draft: Draft, made: Json) -> bool:
    item = draft.item(draft.check(made))
    if item is not None:
        _void(draft, item)
    return item is not None


def check_voided(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    if bill is None or draft.chance.random() < 0.5:
        return False
    for thing in (*bill["selections"], bill):
        _void(draft, thing)
    _void_payments(draft, bill)
    return True


def order_voided(draft: Draft, made: Json) -> bool:
    if _is_gone(made) or draft.chance.random() < 0.5:
        return False
    for bill in made["checks"]:
        for thing in (*bill["selections"], bill):
            _void(draft, thing)
        _void_payments(draft, bill)
    _void(draft, made)
    return True


def _void_payments(draft: Draft, bill: Json) -> None:
    if draft.chance.random() < 0.5:
        for one in _taken(bill):
            one |= {"paymentStatus": "VOIDED", "voidInfo": {"voidDate": draft.text, "voidBusinessDate": 20250919}}


def order_deleted(draft: Draft, made: Json) -> bool:
    if _is_gone(made) or draft.chance.random() < 0.7:
        return False
    made |= {"deleted": True, "deletedDate": draft.text}
    return True


def item_removed(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    item = draft.item(bill)
    if bill is None or item is None:
        return False
    bill["selections"] = [one for one in bill["selections"] if one is not item]
    return True


def item_added(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    if bill is not None:
        bill["selections"].append(_item(draft))
    return bill is not None


def modifier_removed(draft: Draft, made: Json) -> bool:
    item = draft.item(draft.check(made))
    if item is None or not item["modifiers"] or item["appliedDiscounts"]:
        return False
    item["preDiscountPrice"] -= item["modifiers"].pop()["preDiscountPrice"]
    _reprice(item)
    return True


def product_changed(draft: Draft, made: Json) -> bool:
    item = draft.item(draft.check(made))
    if item is None or item["deferred"] or item["modifiers"]:
        return False
    _name(draft, item)
    item |= {"preDiscountPrice": Decimal(draft.cents(500, 3000)), "appliedDiscounts": []}
    _reprice(item)
    return True


def product_id_known(draft: Draft, made: Json) -> bool:
    items = [item for bill in made["checks"] for item in bill["selections"] if item["item"]]
    unknown = [item for item in items if item["item"]["multiLocationId"] is None]
    for item in unknown:
        item["item"]["multiLocationId"] = item["item"]["guid"].replace("item-", "40")
    return bool(unknown)


def item_deferred(draft: Draft, made: Json) -> bool:
    item = draft.item(draft.check(made))
    if item is None or item["deferred"]:
        return False
    item["deferred"] = True
    return True


def quantity_changed(draft: Draft, made: Json) -> bool:
    item = draft.item(draft.check(made))
    if item is None or item["deferred"]:
        return False
    item["quantity"] += 1
    item["preDiscountPrice"] *= 2
    _reprice(item)
    return True


def item_moved_to_second_check(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    item = draft.item(bill)
    if bill is None or item is None or len(made["checks"]) > 2:
        return False
    bill["selections"] = [one for one in bill["selections"] if one is not item]
    made["checks"].append(check(item, guest=_guest(draft), guid=draft.guid()) | {"payments": []})
    return True


def check_moved(draft: Draft, made: Json) -> bool:
    """To the other order. The source is deleted: empty, or with what it had."""
    other = next((one for one in draft.orders if one is not made), None)
    if other is None or _is_gone(made) or _is_gone(other) or not made["checks"]:
        return False
    moved = copy.deepcopy(made["checks"])
    if draft.chance.random() < 0.5 and other["checks"]:
        # Combined: the items go to a check that is there.
        other["checks"][0]["selections"] += [item for bill in moved for item in bill["selections"]]
    else:
        other["checks"] += moved
    made |= {"deleted": True, "deletedDate": draft.text}
    if draft.chance.random() < 0.5:
        made["checks"] = []
    else:
        for bill in made["checks"]:
            bill |= {"deleted": True, "payments": []}
    return True


def guest_changed(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    if bill is not None:
        bill["customer"] = _guest(draft)
    return bill is not None


def became_waste(draft: Draft, made: Json) -> bool:
    if draft.chance.random() < 0.9:
        return False
    made["excessFood"] = True
    return True


def item_discounted(draft: Draft, made: Json) -> bool:
    item = draft.item(draft.check(made))
    if item is None or item["deferred"] or item["price"] <= 0 or item["refundDetails"]:
        return False
    amount = (item["preDiscountPrice"] * draft.chance.randint(1, 100) / 100).quantize(_CENT)
    item["appliedDiscounts"] = [discount(str(amount), guid=draft.guid())]
    _reprice(item)
    return True


def discount_removed(draft: Draft, made: Json) -> bool:
    bill = draft.check(made)
    if bill is None or not any(one["appliedDiscounts"] for one in (bill, *bill["selections"])):
        return False
    for thing in (bill, *bill["selections"]):
        thing["appliedDiscounts"] = []
    for item in bill["selections"]:
        _reprice(item)
    return True


def check_discounted(draft: Draft, made: Json) -> bool:
    """Of all items; their prices do not show it."""
    bill = draft.check(made)
    if bill is not None:
        bill["appliedDiscounts"] = [discount(draft.cents(10, 300), guid=draft.guid())]
    return bill is not None


def one_for_free(draft: Draft, made: Json) -> bool:
    """A discount on the check whose price says which item it concerns."""
    bill = draft.check(made)
    item = draft.item(bill)
    if bill is None or item is None or item["deferred"] or item["price"] <= 0 or bill["appliedDiscounts"]:
        return False
    bill["appliedDiscounts"] = [discount(str(item["price"]), guid=draft.guid(), discountType="BOGO")]
    item["price"] = Decimal(0)
    return True


Edit = Callable[[Draft, Json], bool]
EDITS: tuple[Edit, ...] = (
    *(paid, paid, payment_denied, tipped, item_refunded, item_refunded, item_refunded, amount_refunded),
    *(*[refund_known_by_its_payment] * 3, *[refund_known_by_its_item] * 6),
    *(item_voided, item_voided, check_voided, order_voided, order_deleted, item_removed, item_added, modifier_removed),
    *(product_changed, product_id_known, item_deferred, quantity_changed, item_moved_to_second_check),
    *(check_moved, check_moved, check_moved, guest_changed, guest_changed, became_waste),
    *(item_discounted, discount_removed, check_discounted, one_for_free),
)
