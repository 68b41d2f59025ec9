"""Half a year of a few restaurants, as a simulation lives it, and the diary that it keeps of every order on its own.

Orders are made, edited into later weeks, voided, deleted; some arrive late, some are on no page of ``ordersBulk``, one
cannot be fetched at all. Amperity refuses some records for a while and gives no answer to others. One run is killed
before its manifest, some weeks get a second look, some are delivered late, the last ones not. All follows from a seed.

The diary knows the rules of docs/trace.md and nothing of the bucket: what it says of Amperity's side, Amperity's
stand-in wrote down when it was called.
"""

from __future__ import annotations

import copy
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Literal

from toast_assets.amperity.records import STREAM, RecordKey, order_version
from toast_assets.amperity.redaction import Redaction
from toast_assets.week import Week, WeekCalendar, iso_ms
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order, payment, selection

FIRST = date(2025, 3, 31)
CALENDAR = WeekCalendar(first=FIRST)
WEEKS = tuple(CALENDAR.week(f"{FIRST + timedelta(days=7 * number)}") for number in range(26))
PLACES = ("place-1", "place-2")
"""Of the first, ``ordersBulk`` leaves orders out, and Amperity gives no answer to some records. Of the second, Amperity
refuses some, and Toast has an order that cannot be fetched."""
DESTINATION = "sandbox/is-toast-orders"
EDITS: dict[str, list[tuple[str, str]]] = {
    "tip": [("checks[].payments[].tipAmount", "changed")],
    "add": [("checks[].selections[]", "added")],
    "remove": [("checks[].selections[]", "removed")],
    "guest": [("checks[].customer.email", "changed")],
    "void": [("voidDate", "added"), ("voided", "changed")],
    "delete": [("deleted", "changed"), ("deletedDate", "changed")],
}
"""The fields that each edit changes, beside the modified time."""
_ATTEMPTS = 7


def text_of(moment: datetime) -> str:
    """A moment as Toast writes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


@dataclass
class SimulatedOrder:
    """An order at Toast as it is now, with all edits since the version that the diary last compared."""

    place: str
    body: Json
    modified: datetime
    lost: bool = False
    unknown: bool = False

    @property
    def guid(self) -> str:
        return str(self.body["guid"])

    @property
    def json(self) -> bytes:
        return encode(self.body)[0]

    @property
    def is_gone(self) -> bool:
        return bool(self.body["voided"] or self.body["deleted"])


@dataclass
class Held:
    """A version that a week holds, and its receipt in that week: state, attempts, status, reason."""

    order: Json
    body: bytes
    modified: datetime
    pulled: datetime
    edits: int
    """How many edits of the order it has."""
    receipts: dict[str, tuple[str, int, int | None, str | None]] = field(default_factory=dict)
    """By version."""

    @property
    def business_date(self) -> str:
        number = str(self.order["businessDate"])
        return f"{number[:4]}-{number[4:6]}-{number[6:]}"

    @property
    def version(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


@dataclass
class Diary:
    """What the simulation knows: what each week holds, and what was made and sent of it."""

    held: dict[tuple[str, str], dict[str, Held]] = field(default_factory=lambda: defaultdict(dict))
    """By week and place, then by order."""
    pulls: dict[tuple[str, str], tuple[datetime, int]] = field(default_factory=dict)
    """When the newest pull that brought something began, and how many orders Toast returned for the week."""
    edits: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    found: set[tuple[str, str]] = field(default_factory=set)
    """Week and order."""
    looks: dict[tuple[str, str], int] = field(default_factory=dict)
    exported: dict[tuple[str, str], datetime] = field(default_factory=dict)
    fed_files: dict[tuple[str, str], datetime] = field(default_factory=dict)
    fed: dict[str, tuple[datetime, str, dict[tuple[str, str], bool]]] = field(default_factory=dict)
    """The newest version in the feeds, its week, and all rows ever, by feed and key: whether it has them."""
    arrived: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    rejects: dict[tuple[str, str], int] = field(default_factory=dict)
    """Status by week and order."""
    calls: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    """The request ids of Amperity's calls, by order and modified time."""

    def pulled(self, week: Week, place: str, orders: list[SimulatedOrder], at: datetime) -> None:
        """Toast has these orders of the place now."""
        held = self.held[week.key, place]
        mine = [one for one in orders if week.start <= one.modified < week.end and not one.unknown]
        returned = [one for one in mine if not one.lost]
        brought = [one for one in mine if one.guid not in held or held[one.guid].modified < one.modified]
        for one in brought:
            kept = held[one.guid].receipts if one.guid in held else {}
            body = copy.deepcopy(one.body)
            held[one.guid] = Held(body, one.json, one.modified, at, len(self.edits[one.guid]), kept)
            if one.lost:
                self.found.add((week.key, one.guid))
        if brought or (week.key, place) not in self.pulls:
            self.pulls[week.key, place] = at, len(returned)
        for one in orders:
            if one.unknown and week.start <= one.modified < week.end:
                self.looks[week.key, one.guid] = min(2, self.looks.get((week.key, one.guid), 0) + 1)

    def files_made(self, week: Week, at: datetime) -> None:
        """Export and feed files of a week were written."""
        for place in PLACES:
            self.exported[week.key, place] = self.fed_files[week.key, place] = at
            for guid, one in self.held[week.key, place].items():
                self._feed(guid, week, one)

    def _feed(self, guid: str, week: Week, one: Held) -> None:
        rows = set(_rows(one.order))
        modified, of_week, known = self.fed.get(guid, (one.modified, week.key, {}))
        if (modified, of_week) > (one.modified, week.key):
            self.fed[guid] = modified, of_week, dict.fromkeys(rows, False) | known
        else:
            self.fed[guid] = one.modified, week.key, dict.fromkeys(known, False) | dict.fromkeys(rows, True)

    def delivered(self, week: Week, refused: set[str], silent: set[str]) -> None:
        """A week was delivered while Amperity refused some orders, and gave no answer to others."""
        for place in PLACES:
            for guid, one in self.held[week.key, place].items():
                state, attempts, status, reason = one.receipts.get(one.version, ("", 0, None, None))
                if state in ("accepted", "superseded"):
                    continue
                arrived = self.arrived.get(guid)
                if arrived and arrived[0] > one.modified:
                    reason = f"a newer version has arrived with week {arrived[1]}"
                    state, status = "superseded", None
                elif guid in refused:
                    state, attempts, status = "rejected", attempts + 1, 400
                    reason = "Amperity answered 400 to this record"
                elif guid in silent:
                    state, attempts, status = "pending", attempts + _ATTEMPTS, 503
                    reason = "Amperity answered 503 to /stream/v0/data/is-toast-orders."
                else:
                    state, attempts, status, reason = "accepted", attempts + 1, 202, None
                    self.arrived[guid] = max(arrived or (one.modified, week.key), (one.modified, week.key))
                one.receipts[one.version] = state, attempts, status, reason
                self.rejects.pop((week.key, guid), None)
                if state == "rejected":
                    self.rejects[week.key, guid] = 400

    # What trace has to say.

    def expected(self, place: str, guid: str, name: str) -> Json:
        """The answer on one order."""
        weeks = [week for week in WEEKS if guid in self.held[week.key, place]]
        versions = [self._version(week, place, guid) for week in weeks]
        versions.sort(key=lambda one: (one["modified_at"], one["week"]))
        for before, after in pairwise(versions):
            first, last = (self.held[one["week"], place][guid].edits for one in (before, after))
            after["changed"] = self._changed(guid, first, last)
        _, _, rows = self.fed.get(guid, (None, None, {}))
        arrived = self.arrived.get(guid)
        return {
            "order_guid": guid,
            "restaurant_guid": place,
            "restaurant_name": name,
            "versions": versions,
            "feed_rows": [
                {"feed": feed, "key": f"{guid}|{key}", "current": current}
                for (feed, key), current in sorted(rows.items())
            ],
            "arrived": [
                {"destination": DESTINATION, "week": week, "modified_at": iso_ms(modified)}
                for modified, week in ([arrived] if arrived else [])
            ],
            "unknown": [
                {"week": week.key, "looks": self.looks[week.key, guid]}
                for week in WEEKS
                if (week.key, guid) in self.looks
            ],
        }

    def _changed(self, guid: str, first: int, last: int) -> list[Json]:
        found = {path for edit in self.edits[guid][first:last] for path in EDITS[edit]} | {("modifiedDate", "changed")}
        return [{"path": path, "what": what} for path, what in sorted(found)]

    def _version(self, week: Week, place: str, guid: str) -> Json:
        one, prefix = self.held[week.key, place][guid], "toast-orders/"
        at, returned = self.pulls[week.key, place]
        window = {"start": iso_ms(week.start), "end": iso_ms(week.end)}
        in_words = f"[{window['start']}, {window['end']})"
        is_found = (week.key, guid) in self.found
        found_at_once = sum((week.key, other) in self.found for other in self.held[week.key, place])
        read = {"orders": found_at_once, "requests": found_at_once, "evidence": "census"}
        if not is_found:
            read = {"orders": returned, "requests": 1, "evidence": "one_reply"}
        end = f"{week.end:%Y%m%d_%H%M%S}"
        export = self._state(self.exported.get((week.key, place)), at)
        request_id = _request_id(place, guid, one.version)
        calls = self.calls[guid, text_of(one.modified)]
        attempts = one.receipts[one.version][1] if one.version in one.receipts else 0
        assert calls == [request_id] * attempts
        return {
            "week": week.key,
            "version": one.version,
            "modified_at": iso_ms(one.modified),
            "from_index": False,
            "business_date": one.business_date,
            "deleted": one.order["deleted"],
            "voided": one.order["voided"],
            "pulled_at": iso_ms(one.pulled),
            "window": {**window, **read, "earlier_pull": one.pulled < at},
            "census": {
                "verdict": "found" if is_found else "held",
                "window": in_words if is_found else None,
                "looks": None,
            },
            "export": {"key": f"{prefix}toast-orders_{end}_{place}.json.gz", "state": export, "feed": None},
            "feed_files": [
                {
                    "key": f"{prefix}amperity/{feed}/{week.end:%Y/%m/%d}/{feed}_{end}_{place}.ndjson.gz",
                    "state": self._state(self.fed_files.get((week.key, place)), at),
                    "feed": feed,
                }
                for feed in ("order_items", "transactions", "customers")
            ],
            "receipts": [self._receipt(place, guid, *receipt) for receipt in [*one.receipts.items()][-1:]],
            "rejects": [
                {"method": STREAM, "record_id": guid, "status": 400, "reason": "Amperity answered 400 to this record"}
            ]
            if (week.key, guid) in self.rejects
            else [],
            "outlook": [self._outlook(week, guid, one, request_id)] if export == "current" else None,
            "blocked": None
            if export == "current"
            else f"the export is {export}: materialize toast_orders_s3_export for this week",
            "changed": None,
        }

    @staticmethod
    def _receipt(place: str, guid: str, version: str, receipt: tuple[str, int, int | None, str | None]) -> Json:
        """The ledger keeps that of the newest version that was delivered."""
        state, attempts, status, reason = receipt
        return {
            "method": STREAM,
            "destination": DESTINATION,
            "record_id": guid,
            "state": state,
            "request_id": _request_id(place, guid, version),
            "attempts": attempts,
            "status": status,
            "reason": reason,
            "version": order_version(version, Redaction({})),
            "order_version": version,
        }

    def _outlook(self, week: Week, guid: str, one: Held, request_id: str) -> Json:
        state = one.receipts.get(one.version, ("",))[0]
        arrived = self.arrived.get(guid)
        due: list[Json] = []
        if state not in ("accepted", "superseded"):
            outcome, reason = "would_send", None
            if arrived and arrived[0] > one.modified:
                outcome, reason = "superseded", f"a newer version has arrived with week {arrived[1]}"
            due = [{"record_id": guid, "outcome": outcome, "request_id": request_id, "reason": reason}]
        return {"method": STREAM, "records": 1, "unchanged": 1 - len(due), "due": due}

    @staticmethod
    def _state(made: datetime | None, changed: datetime) -> str:
        return "missing" if made is None else "current" if made >= changed else "outdated"


def _request_id(place: str, guid: str, version: str) -> str:
    return RecordKey(STREAM, DESTINATION, place, guid, order_version(version, Redaction({}))).request_id


def _rows(made: Json) -> Iterator[tuple[str, str]]:
    """The rows that an order has in the feeds, by feed and key."""
    for item in made["checks"][0]["selections"]:
        yield "order_items", item["guid"]
        yield "transactions", f"{item['item']['multiLocationId']}|purchase"
        if made["voided"] or made["deleted"]:
            # It was paid before.
            yield "transactions", f"{item['item']['multiLocationId']}|cancellation"


@dataclass
class Simulation:
    """Toast's orders, week by week; ``diary.edits`` says what was edited."""

    chance: Random
    diary: Diary = field(default_factory=Diary)
    orders: dict[str, dict[str, SimulatedOrder]] = field(default_factory=lambda: {place: {} for place in PLACES})

    def live(self, week: Week, number: int) -> None:
        """One week passes."""
        for place in PLACES:
            old = [one for one in self.orders[place].values() if not one.lost and not one.unknown]
            self.made(place, week)
            for _ in range(self.chance.choice([0, 0, 1])):
                self.made(place, week)
            for one in self.chance.sample(old, min(len(old), self.chance.choice([0, 1, 1, 2]))):
                self.edit(one, self._moment(week))
        if number % 4 == 1:
            self.made(PLACES[0], week).lost = True
        if number == 9:
            one = self.made(PLACES[1], week)
            one.lost = one.unknown = True

    def arrive_late(self, week: Week) -> None:
        """Orders, and edits of orders, of a week that is long over appear."""
        for place in PLACES:
            here = [
                one for one in self.orders[place].values() if week.start <= one.modified < week.end - timedelta(hours=1)
            ]
            self.made(place, week)
            for one in here:
                if not one.lost and self.chance.random() < 0.5:
                    self.edit(one, week.end - timedelta(seconds=self.chance.randint(2, 3000)))

    def made(self, place: str, week: Week) -> SimulatedOrder:
        """A new order of the week."""
        at = self._moment(week)
        opened = text_of(at - timedelta(minutes=40))
        items = [self._item() for _ in range(self.chance.randint(1, 3))]
        bill = check(
            *items,
            payments=[payment("20.00", guid=self._guid(), paidDate=opened, paidBusinessDate=int(f"{at:%Y%m%d}"))],
            guest=customer(f"guest{self.chance.randint(1, 9)}@example.com", guid=self._guid()),
            guid=self._guid(),
        )
        body = order(bill, guid=self._guid(), businessDate=int(f"{at:%Y%m%d}"), modifiedDate=text_of(at))
        body |= {"openedDate": opened, "createdDate": opened, "displayNumber": f"{self.chance.randint(1, 400)}"}
        one = SimulatedOrder(place, body, at)
        self.orders[place][one.guid] = one
        return one

    def edit(self, one: SimulatedOrder, at: datetime) -> None:
        """One edit at random."""
        bill = one.body["checks"][0]
        wanted = [
            *("tip", "tip", "add", "guest"),
            *(["remove"] if len(bill["selections"]) > 1 else []),
            *([] if one.is_gone else ["void", "delete"]),
        ]
        # A guest's e-mail that changes back, or an item that is added and removed, would be no difference.
        done = self.diary.edits[one.guid]
        edit = self.chance.choice(wanted)
        if edit == "tip":
            bill["payments"][0]["tipAmount"] += Decimal("1.25")
        elif edit == "add":
            bill["selections"].append(self._item())
        elif edit == "remove":
            bill["selections"].pop(0)
        elif edit == "guest":
            bill["customer"]["email"] = f"guest{len(done)}@example.org"
        elif edit == "void":
            one.body |= {"voided": True, "voidDate": text_of(at)}
        else:
            one.body |= {"deleted": True, "deletedDate": text_of(at)}
        one.modified = at
        one.body["modifiedDate"] = text_of(at)
        done.append(edit)

    def _moment(self, week: Week) -> datetime:
        """Some moment in the middle of the week, on a business day of this week alone."""
        return week.start + timedelta(
            days=self.chance.randint(1, 4), hours=12, milliseconds=self.chance.randint(0, 10**7)
        )

    def _item(self) -> Json:
        product = f"40000000000{self.chance.randint(1, 3)}"
        item = selection("10.00", guid=self._guid())
        item["item"]["multiLocationId"] = product
        return item

    def _guid(self) -> str:
        bits = f"{self.chance.getrandbits(128):032x}"
        return "-".join((bits[:8], bits[8:12], bits[12:16], bits[16:20], bits[20:]))


Deed = Literal["live", "pull", "killed pull", "files", "deliver", "arrive late"]


def deeds() -> Iterator[tuple[Deed, int, int]]:
    """What is done, with the number of its week, and that of the newest week by then."""
    for now in range(len(WEEKS)):
        yield "live", now, now
        if now == 6:
            yield "killed pull", now, now
        yield "pull", now, now
        if now == len(WEEKS) - 1:
            break
        yield "files", now, now
        if now % 5 != 3 and now < len(WEEKS) - 2:
            yield "deliver", now, now
        if now % 5 == 0 and now >= 5:
            # Newer versions of its orders have arrived by now.
            yield "deliver", now - 2, now
        if now % 6 == 4:
            yield "arrive late", now - 2, now
            yield "pull", now - 2, now
            yield "files", now - 2, now
            yield "deliver", now - 2, now
        if now == 11:
            yield "pull", 9, now
    yield "arrive late", 20, now
    yield "pull", 20, now
