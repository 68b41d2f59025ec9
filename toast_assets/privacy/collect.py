"""Collects what is stored about one guest, for the person who answers an access request. It changes nothing.

Of an order with several guests, only what is this guest's is taken: the opposite of what ``forget`` leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.ledger import decode_ledger
from toast_assets.index.orders import decode_month
from toast_assets.orders.identity import Forgotten, doubtful, key_trait, refused, traits
from toast_assets.orders.raw_file import read_raw, row_groups
from toast_assets.orders.scanner import decode
from toast_assets.orders.scrub import Part, Scrubber
from toast_assets.orders.times import parse_time_ms
from toast_assets.orders.unreadable import read_lines
from toast_assets.privacy.forget import Certificate, UnknownGuestError, find_guest
from toast_assets.privacy.objects import Object, decode_line, is_any, json_objects, objects_of, text_of, traits_in_index
from toast_assets.privacy.requests import read_requests
from toast_assets.privacy.rewriting import named_guests, opened
from toast_assets.store.forgotten import load_forgotten
from toast_assets.store.order_store import OrderStore
from toast_assets.week import iso_ms

_ABOUT = (
    "What a bucket of toast-assets holds about one guest. orders: the newest version of each order as Toast sent it,"
    " with this guest's checks alone and without employees; left_out fields may be another guest's. mentions: other"
    " texts that hold the guest's e-mail or phone. look_at: objects that hold the guest, and that have to be looked at"
    " by hand. objects: how many orders, rows or lines are the guest's, by object."
)
_KINDS = {"g:": "guid", "e:": "email", "p:": "phone", "k:": "key_at_amperity"}


class CollectedOrder(msgspec.Struct):
    """The guest's part of an order's newest version, and the ``objects`` that hold some version of it."""

    order_guid: Any
    restaurant_guid: str
    modified_ms: int
    objects: list[str]
    left_out: list[str]
    order: msgspec.Raw


class Collected(msgspec.Struct):
    """Everything that is stored about a guest. Each row is with the ``object`` that holds it."""

    collected_at: str
    bucket: str
    about: str = _ABOUT
    known_by: dict[str, list[str]] = {}
    orders: list[CollectedOrder] = []
    mentions: list[dict[str, Any]] = []
    customers: list[dict[str, Any]] = []
    guest_index: list[dict[str, Any]] = []
    feeds: list[dict[str, Any]] = []
    receipts: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    privacy_requests: list[dict[str, Any]] = []
    certificates: list[dict[str, Any]] = []
    objects: dict[str, int] = {}
    look_at: dict[str, str] = {}

    def document(self) -> bytes:
        """The whole as JSON for people."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class _Head(msgspec.Struct):
    guid: Any = None
    modifiedDate: Any = None


@dataclass
class CollectGuest:
    """One search for one guest; ``given`` and ``redaction`` as in ``ForgetGuest``."""

    store: OrderStore
    given: Mapping[str, int]
    redaction: Redaction = field(default_factory=Redaction)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def run(self) -> Collected:
        """Read everything.

        Raises:
            NoGuestError: a value is no UUID, e-mail or phone, and no guest's GUID in this bucket.
            UnknownGuestError: nothing is stored about the guest.
            StoreError: the bucket fails, or holds an object that cannot be read.
        """
        before = load_forgotten(self.store)
        found = find_guest(named_guests(self.store), self.given)
        if wrong := [self.given[trait] for trait in found.unseen if doubtful(trait)]:
            raise refused(wrong, self.given)
        hashed = {f"k:{self.redaction.hashed(key[2:])}" for key in found.keys}
        theirs = found.traits | found.belongings | found.keys | hashed
        # As if forgotten, whenever an order was opened.
        guest = Forgotten(b"", {}).with_traits(theirs, datetime.max.replace(tzinfo=UTC), None)
        collected = Collected(iso_ms(self.now()), self.store.bucket.uri(self.store.layout.prefix))
        search = _Search(collected, Scrubber(guest), found.traits)
        for one in objects_of(self.store):
            if one.kind is None or one.kind in _READERS:
                with opened(self.store, one.key) as path:
                    search.add(one, path)
        collected.certificates = list(self._certificates({before.digest(trait) for trait in found.traits}))
        collected.orders = [search.orders[place] for place in sorted(search.orders)]
        if not (collected.objects or collected.look_at or collected.certificates):
            raise UnknownGuestError("Nothing in this bucket names the guest.", hint="Check the spelling.")
        for trait in sorted(found.traits | found.keys):
            collected.known_by.setdefault(_KINDS[trait[:2]], []).append(trait[2:])
        return collected

    def _certificates(self, digests: Set[str]) -> Iterator[dict[str, Any]]:
        """Those of earlier requests for the guest."""
        folder, ending = self.store.layout.certificate("*").split("*")
        for key in self.store.bucket.keys(folder):
            if key.endswith(ending) and key != folder + ending:
                with opened(self.store, key) as path:
                    certificate = msgspec.json.decode(path.read_bytes(), type=Certificate)
                if digests & set(certificate.request):
                    yield {"object": key, **msgspec.to_builtins(certificate)}


@dataclass
class _Search:
    """What is found on the way. The methods take in what an object's file at ``path`` says of the guest, and yield how
    much that is. ``orders`` are by restaurant and GUID."""

    collected: Collected
    scrubber: Scrubber
    plain: Set[str]
    orders: dict[tuple[str, str], CollectedOrder] = field(default_factory=dict)

    def add(self, one: Object, path: Path) -> None:
        """Take in an object."""
        if found := sum(_READERS[one.kind](self, one, path)):
            self.collected.objects[one.key] = found

    def raw(self, one: Object, path: Path) -> Iterator[int]:
        for order in read_raw(path):
            yield self._order(one, order.body)

    def export(self, one: Object, path: Path) -> Iterator[int]:
        for body, _ in json_objects(path):
            yield self._order(one, body) if body else 0

    def feed(self, one: Object, path: Path) -> Iterator[int]:
        for body, _ in json_objects(path):
            yield self._row(one, body)

    def rejects(self, one: Object, path: Path) -> Iterator[int]:
        for line, _ in json_objects(path):
            record = bytes(decode_line(line).record)
            if record[:1] != b"{":
                continue
            if (part := self.scrubber.part(record)) is None and not self._is_row_of_guest(record):
                yield self._mentions(one, record, None)
                continue
            reject = {"object": one.key} | msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            self.collected.rejects.append(reject | {"record": msgspec.Raw(part.body if part else record)})
            yield 1

    def table(self, one: Object, path: Path) -> Iterator[int]:
        for rows in row_groups(path):
            by = "check_guid" if "check_guid" in rows.schema.names else "order_guid"
            theirs = rows.filter(is_any(rows[by], lambda guid: self._knows(f"{by[0]}:{guid}")))  # noqa: B023 - called here
            if one.kind == "table" and one.table == "customers":
                self.collected.customers += [{"object": one.key, **row} for row in theirs.to_pylist()]
            yield theirs.num_rows

    def guests(self, one: Object, path: Path) -> Iterator[int]:
        for rows in row_groups(path):
            for row in rows.to_pylist():
                is_theirs = self._knows(key_trait(row["customer_id"]), *traits_in_index(row))
                if is_theirs:
                    self.collected.guest_index.append({"object": one.key, **row})
                yield is_theirs

    def ledger(self, one: Object, path: Path) -> Iterator[int]:
        for row in decode_ledger(path.read_bytes()).to_pylist():
            named = f"o:{row['order_guid']}", f"o:{row['record_id']}", key_trait(row["record_id"])
            if is_theirs := self._knows(*named):
                self.collected.receipts.append({"object": one.key, **row})
            yield is_theirs

    def index(self, _: Object, path: Path) -> Iterator[int]:
        for entry in decode_month(path.read_bytes()) or ():
            yield self._knows(f"o:{entry.order_guid}")

    def requests(self, one: Object, path: Path) -> Iterator[int]:
        for row in read_requests(path):
            if is_theirs := self._knows(key_trait(row.customer_id or ""), *traits(None, row.email, row.phone)):
                self.collected.privacy_requests.append({"object": one.key, **msgspec.to_builtins(row)})
            yield is_theirs

    def unreadable(self, one: Object, path: Path) -> Iterator[int]:
        for line in read_lines(path):
            is_theirs = self._holds(line.body.decode(errors="replace"))
            if is_theirs:
                self.collected.look_at[one.key] = "orders that cannot be read, their bytes in base64"
            yield is_theirs

    def foreign(self, one: Object, path: Path) -> Iterator[int]:
        is_theirs = self._holds(text_of(path))
        if is_theirs:
            self.collected.look_at[one.key] = "what checks keep of a week" if one.kind else "no object of this package"
        yield is_theirs

    def _order(self, one: Object, body: bytes) -> int:
        part = self.scrubber.part(body)
        mentions = self._mentions(one, body, part)
        if part is None:
            return mentions
        head = decode(body, _Head)
        place = one.restaurant, str(head.guid)
        modified_ms = 0
        with suppress(ValueError):
            modified_ms = parse_time_ms(str(head.modifiedDate))
        known = self.orders.get(place)
        if known is None or modified_ms > known.modified_ms:
            objects = known.objects if known else []
            known = CollectedOrder(
                head.guid, one.restaurant, modified_ms, objects, part.left_out, msgspec.Raw(part.body)
            )
            self.orders[place] = known
        known.objects.append(one.key)
        return 1

    def _row(self, one: Object, body: bytes) -> int:
        if not self._is_row_of_guest(body):
            return self._mentions(one, body, None)
        self.collected.feeds.append({"object": one.key} | msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
        return 1

    def _is_row_of_guest(self, body: bytes) -> bool:
        row = decode_line(body)
        return self._knows(*(key_trait(str(key)) for key in (row.customer_id, row.fk_customer) if key is not None))

    def _mentions(self, one: Object, body: bytes, part: Part | None) -> int:
        """Texts and numbers outside of the guest's ``part`` of an order, or anywhere, that hold an e-mail or phone."""
        if self.scrubber.text(body) is body:
            return 0
        whole = decode(body, dict[str, Any])
        if part:
            others = [None if mine else one for one, mine in zip(whole.get("checks") or (), part.theirs, strict=True)]
            whole = {name: whole[name] for name in ("guid", *part.left_out) if name in whole} | {"checks": others}
        found = [(path, value) for path, value in _values(whole) if self.scrubber.holds(str(value))]
        named = {"object": one.key, "of": whole.get("guid") or whole.get("order_id")}
        self.collected.mentions += [{**named, "field": path, "value": value} for path, value in found]
        return bool(found)

    def _knows(self, *found: str) -> bool:
        return any(map(self.scrubber.forgotten.knows, found))

    def _holds(self, text: str) -> bool:
        return self.scrubber.holds(text) or any(trait[2:] in text.lower() for trait in self.plain)


def _values(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The texts, numbers and names of fields in decoded JSON, each with the names of the fields that lead to it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inside:
        yield path, name
        yield from _values(one, f"{path}.{name}" if path else str(name))
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path, value


_READERS: Mapping[str | None, Callable[[_Search, Object, Path], Iterator[int]]] = {
    "raw": _Search.raw,
    "export": _Search.export,
    "table": _Search.table,
    "current": _Search.table,
    "guests": _Search.guests,
    "feed": _Search.feed,
    "ledger": _Search.ledger,
    "rejects": _Search.rejects,
    "index": _Search.index,
    "request": _Search.requests,
    "unreadable": _Search.unreadable,
    "inspection": _Search.foreign,
    "fields": _Search.foreign,
    None: _Search.foreign,
}
