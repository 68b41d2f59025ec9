"""The kinds of objects in the bucket: which guests they name, and what they become without forgotten guests.

Everything here works on local files.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.amperity.records import RecordKey, order_version
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.ledger import decode_ledger, encode_ledger
from toast_assets.export.read import is_object
from toast_assets.index.orders import OrderEntry, StoredVersion, decode_month, encode_month
from toast_assets.orders.identity import DERIVED_KEY, key_trait, traits
from toast_assets.orders.raw import with_restaurant
from toast_assets.orders.raw_file import RawFileWriter, read_pull_evidence, read_raw, row_groups
from toast_assets.orders.scrub import Guest, Scrubber, guests_of, without
from toast_assets.orders.unreadable import read_lines, write_lines
from toast_assets.privacy.requests import read_requests
from toast_assets.store.manifest import decode_manifest, json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.files import notes_in, sha256_of
from toast_assets.tables.schema import TABLES
from toast_assets.week import from_epoch_ms, iso_ms

_CONTACTS = ("customer_guid", "email", "phone", "phone_country_code")
_ADDRESS = re.compile(r"delivery_(?!status$|employee_guid$).*|curbside_.*")
# Of each table: the id by which rows are the guest's, and their columns that are. Rows of ``customers`` go.
_COLUMNS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "orders": ("order_guid", tuple(name for name in TABLES["orders"].schema.names if _ADDRESS.fullmatch(name))),
    "checks": ("check_guid", ("customer_guid", "tab_name", "loyalty_vendor", "loyalty_identifier")),
    "discounts": ("check_guid", ("loyalty_vendor", "loyalty_reference", "reason_comment")),
    "payments": ("check_guid", ("house_account_guid",)),
    "customers": ("check_guid", ()),
}
_HEAD, _TAIL = b'{"orders":[\n', b'],"metadata":'
_SHA256 = re.compile(rb'(?<="orders_sha256":")[0-9a-f]*')


class Object(NamedTuple):
    """An object below the prefix, and what its name says: its week by partition key, or by the week's end. ``kind`` is
    None where it is none of this package's, such as a backup or a note."""

    key: str
    kind: str | None
    week: str = ""
    end: str = ""
    restaurant: str = ""
    table: str = "orders"


@dataclass(frozen=True)
class RawChange:
    """What becomes of a raw file: the hashes of its export before and after, its orders and their JSON in bytes, and
    the new versions of orders by GUID and old version. ``resumed``: a run that was cut off may have rewritten it."""

    before: str
    after: str
    orders: int
    bytes: int
    versions: Mapping[tuple[str, str], str]
    resumed: bool


Metadata = dict[str, str]


@dataclass
class Scrub:
    """What objects become without forgotten guests. Each method writes ``target`` and returns the object's new
    metadata; None where the object stays as it is.

    ``plain`` are the known traits of the guest who is forgotten now; ``redaction`` is what is done to records before
    they are sent; ``unfinished`` are the keys that a run which was cut off had planned to rewrite. ``changes`` are
    those of raw files by week and restaurant, ``loads`` the versions of feeds before and after, by week.
    """

    scrubber: Scrubber
    plain: Set[str]
    redaction: Redaction
    unfinished: Collection[str]
    changes: dict[str, dict[str, RawChange]] = field(default_factory=lambda: defaultdict(dict))
    loads: dict[str, tuple[str, str]] = field(default_factory=dict)

    def raw(self, one: Object, path: Path, target: Path) -> Metadata | None:
        """A restaurant's raw orders, and what the other objects have to know of them."""
        versions: dict[tuple[str, str], str] = {}
        before = hashlib.sha256()
        with RawFileWriter(target, one.restaurant) as writer:
            for order in read_raw(path):
                scrubbed = self.scrubber.raw(order)
                if scrubbed is not order:
                    versions[order.guid, order.version] = scrubbed.version
                before.update(with_restaurant(order.body, one.restaurant) + b"\n")
                writer.write((scrubbed,))
            writer.pull_evidence = read_pull_evidence(path) or b""
        resumed = one.key in self.unfinished
        # A file that another run has scrubbed meanwhile is described as well.
        if versions or resumed or one.restaurant in self.changes.get(one.week, {}):
            change = RawChange(before.hexdigest(), writer.sha256, writer.orders, writer.bytes, versions, resumed)
            self.changes[one.week][one.restaurant] = change
        return {"sha256": writer.sha256} if versions else None

    def manifest(self, one: Object, path: Path, target: Path) -> Metadata | None:
        """The hashes and sizes of scrubbed raw files. Where a pull that was cut off has stored other orders, the next
        pull corrects the manifest."""
        manifest = decode_manifest(path.read_bytes())
        records = dict(manifest.restaurants)
        for guid, change in self.changes.get(one.week, {}).items():
            pull = manifest.stored.get(guid)
            if pull and pull.orders == change.orders and (change.resumed or pull.orders_sha256 == change.before):
                pull = msgspec.structs.replace(pull, orders_sha256=change.after, bytes=change.bytes)
                records[guid] = msgspec.structs.replace(records[guid], pull=pull)
        if records == manifest.restaurants:
            return None
        target.write_bytes(json_for_people(msgspec.structs.replace(manifest, restaurants=records)))
        return {}

    def delivered(self, one: Object, path: Path, target: Path) -> Metadata | None:
        """The summary of a week's delivery, with the hashes of scrubbed raw orders, as in the manifest."""
        before = after = path.read_bytes()
        for change in self.changes.get(one.week, {}).values():
            after = after.replace(change.before.encode(), change.after.encode())
        target.write_bytes(after)
        return None if after == before else {}

    def ledger(self, one: Object, path: Path, target: Path) -> Metadata | None:
        """Rows about the guest go; those of their orders, exports and feeds get the new versions, so that nothing is
        sent or loaded again. Orders that were sent under other rules than ``redaction`` are due again in any case."""
        changes, (load_before, load_after) = self.changes.get(one.week, {}), self.loads.get(one.week, ("", ""))

        def scrubbed(row: dict[str, str]) -> dict[str, str] | None:
            method, record_id, version = row["method"], row["record_id"], row["version"]
            order, change = row["order_version"], changes.get(row["restaurant_guid"])
            if method.endswith("customers") and self._knows_key(record_id):
                return None
            if version == load_before:
                version = load_after
            elif change is not None and method == "notify" and version == change.before:
                version = change.after
            elif change is not None and method == "stream" and (record_id, order) in change.versions:
                after = change.versions[record_id, order]
                if version == order_version(order, self.redaction):
                    version = order_version(after, self.redaction)
                row = {**row, "order_version": after}
            if version == row["version"]:
                return row
            key = RecordKey(method, row["destination"], row["restaurant_guid"], record_id, version)
            return {**row, "version": version, "request_id": key.request_id}

        table = decode_ledger(path.read_bytes())
        rows = [after for row in table.to_pylist() if (after := scrubbed(row)) is not None]
        if rows == table.to_pylist():
            return None
        target.write_bytes(encode_ledger(pa.Table.from_pylist(rows, table.schema)))
        return {}

    def lines(self, one: Object, path: Path, target: Path) -> Metadata | None:
        """An export, the file of a feed, or refused records without those that say anything of the guest: the next
        delivery sends these again, and keeps what is still refused."""
        rewritten = {"export": self.scrubber.order, "feed": self._row, "rejects": self._reject}[str(one.kind)]
        return _rewrite_lines(path, target, rewritten)

    def table(self, one: Object, path: Path, target: Path) -> Metadata | None:
        """A flat table, or the current orders, which have the columns of ``orders``."""
        scrubbed = partial(self._rows, one.table)
        if all(scrubbed(rows).equals(rows) for rows in row_groups(path)):
            return None
        with pq.ParquetWriter(target, pq.read_schema(path), compression="zstd") as writer:
            for rows in row_groups(path):
                writer.write_table(scrubbed(rows))
            if notes := notes_in(path):
                writer.add_key_value_metadata(notes)
        return {"sha256": sha256_of(target)}

    def index(self, one: Object, path: Path, target: Path) -> Metadata | None:
        """The order index with the new versions of orders, and without the guest's key."""
        before = decode_month(path.read_bytes())
        if before is None:
            # The next delivery rebuilds it.
            return {}
        after = [self._entry(one.restaurant, entry) for entry in before]
        target.write_bytes(encode_month(after))
        return None if after == before else {}

    def _entry(self, restaurant: str, entry: OrderEntry) -> OrderEntry:
        def version(one: StoredVersion) -> StoredVersion:
            change = self.changes.get(one.week, {}).get(restaurant)
            after = change.versions.get((entry.order_guid, one.version)) if change else None
            return msgspec.structs.replace(one, version=after) if after else one

        fed = entry.fed
        if fed is not None and fed.customer is not None and self._knows_key(fed.customer):
            fed = msgspec.structs.replace(fed, customer=None)
        return msgspec.structs.replace(entry, stored=tuple(map(version, entry.stored)), fed=fed)

    def guests(self, _: Object, path: Path, target: Path) -> Metadata | None:
        """The guest index without the guest's rows, and without what other guests' rows say of them, such as a loyalty
        account that is shared. A row that was seen after the request is one of a guest who came back: orders opened
        before are scrubbed before they get there."""

        def scrubbed(row: dict[str, Any]) -> dict[str, Any] | None:
            if not self.plain.isdisjoint(traits_in_index(row)):
                # Whatever the clocks say: no order can be later than this run.
                return None
            seen = iso_ms(from_epoch_ms(row["seen_ms"]))
            texts = {name for name, text in row.items() if name != "customer_id" and isinstance(text, str)}
            theirs = {name for name in texts if self.scrubber.holds(row[name], seen)}
            if theirs & {"email", "phone"} or self.scrubber.forgotten.knows(key_trait(row["customer_id"]), seen):
                return None
            return row | dict.fromkeys(theirs)

        changed = False
        with pq.ParquetWriter(target, pq.read_schema(path), compression="zstd", write_page_checksum=True) as writer:
            for rows in row_groups(path):
                before = rows.to_pylist()
                after = [one for row in before if (one := scrubbed(row)) is not None]
                changed = changed or after != before
                writer.write_table(pa.Table.from_pylist(after, rows.schema))
        return {} if changed else None

    def request(self, _: Object, path: Path, __: Path) -> Metadata | None:
        """What Amperity is asked, which it cannot do without the guest: it goes by its age (``requests``)."""
        read_requests(path)
        return None

    def unreadable(self, _: Object, path: Path, target: Path) -> Metadata | None:
        """Orders that cannot be read, without the bytes of those that name the guest."""
        before = list(read_lines(path))
        names = self.names_guest
        after = [line.without_body() if names(line.body.decode(errors="replace")) else line for line in before]
        write_lines(target, after)
        return None if after == before else {}

    def inspection(self, one: Object, path: Path, _: Path) -> Metadata | None:
        """What checks read out of raw orders; it is removed."""
        return {} if one.week in self.changes or self.names_guest(text_of(path)) else None

    def fields(self, _: Object, path: Path, __: Path) -> Metadata | None:
        """Which fields raw orders have; removed where one has the guest's name."""
        return {} if self.names_guest(text_of(path)) else None

    def names_guest(self, text: str) -> bool:
        """Whether a text names the guest."""
        return self.scrubber.holds(text) or any(trait[2:].lower() in text.lower() for trait in self.plain)

    def _knows_key(self, key: object) -> bool:
        return self.scrubber.forgotten.knows(key_trait(str(key)))

    def _row(self, body: bytes) -> bytes | None:
        row = decode_line(body)
        if self._knows_key(row.customer_id):
            return None
        if self._knows_key(row.fk_customer):
            body = without(body, lambda path: path == ["fk_customer"])
        return self.scrubber.text(body)

    def _reject(self, line: bytes) -> bytes | None:
        reject = decode_line(line)
        record = bytes(reject.record)
        if self.scrubber.text(line) is not line or self.scrubber.forgotten.knows(f"o:{reject.order_guid}"):
            return None
        clean = record[:1] != b"{" or (self._row(record) is record and self.scrubber.order(record) is record)
        return line if clean else None

    def _rows(self, table: str, rows: pa.Table) -> pa.Table:
        by, columns = _COLUMNS.get(table, ("order_guid", ()))
        theirs = is_any(rows[by], lambda guid: self.scrubber.forgotten.knows(f"{by[0]}:{guid}"))
        if table == "customers":
            rows, theirs = rows.filter(pc.invert(theirs)), None
        for number, column in enumerate(rows.schema):
            goes = theirs if column.name in columns else None
            if pa.types.is_string(column.type) and not column.name.endswith("guid"):
                holding = is_any(rows[column.name], self.scrubber.holds)
                goes = holding if goes is None else pc.or_(goes, holding)
            if goes is not None and pc.any(goes).as_py():
                values = pc.if_else(goes, pa.scalar(None, column.type), rows[column.name])
                rows = rows.set_column(number, column, values)
        return rows


class Kind(NamedTuple):
    """A kind of object: its name below the prefix, what becomes of it, and that in the words of a certificate."""

    name: str
    scrub: Callable[[Scrub, Object, Path, Path], Metadata | None]
    what: str


_WEEK = "week=(?P<week>[0-9]{4}-[0-9]{2}-[0-9]{2})"
_RESTAURANT = "restaurant=(?P<restaurant>[^/]+)"
_OF_END = "(?P<end>[0-9]{8}_[0-9]{6})_(?P<restaurant>[^/]+)"
_DAY = "[0-9]{4}/[0-9]{2}/[0-9]{2}"
_ROWS = "rows without the guest"
_RECEIPTS = "receipts for the new versions"
# In the order in which objects are read: raw orders decide about the others.
KINDS = {
    "raw": Kind(rf"raw/{_WEEK}/{_RESTAURANT}\.parquet", Scrub.raw, "orders without the guest"),
    "workflow": Kind(rf"deliveries/{_WEEK}/s3_pull\.parquet", Scrub.ledger, _RECEIPTS),
    "ledger": Kind(rf"deliveries/{_WEEK}/(open/)?[^/]+\.parquet", Scrub.ledger, _RECEIPTS),
    "streams": Kind(r"deliveries/streams\.json", lambda *_: None, "names no guest"),
    "manifest": Kind(rf"manifests/{_WEEK}\.json", Scrub.manifest, "counts and hashes"),
    "delivered": Kind(rf"status/{_WEEK}\.json", Scrub.delivered, "counts and hashes"),
    "export": Kind(rf"toast-orders_{_OF_END}\.json\.gz", Scrub.lines, "orders without the guest"),
    "request": Kind(
        rf"amperity/privacy_requests/{_DAY}/privacy_requests_[^/]+\.ndjson\.gz", Scrub.request, "asks Amperity"
    ),
    "feed": Kind(rf"amperity/[^/]+/{_DAY}/([^/]+_{_OF_END}|[^/]+)\.ndjson\.gz", Scrub.lines, _ROWS),
    "table": Kind(rf"tables/(?P<table>{'|'.join(TABLES)})/{_WEEK}/[^/]+\.parquet", Scrub.table, _ROWS),
    "current": Kind(
        r"tables/current_orders/restaurant=(?P<restaurant>[^/.]+)(\.month=[^/]+)?\.parquet", Scrub.table, _ROWS
    ),
    "configuration": Kind(
        r"tables/(names/names|restaurants/restaurants|status/status)\.parquet", lambda *_: None, "names no guest"
    ),
    "guests": Kind(r"index/guests/guests\.parquet", Scrub.guests, _ROWS),
    "state": Kind(r"tables/current_orders/_?state\.json", lambda *_: None, "knows the new tables"),
    "index": Kind(
        rf"index/orders/{_RESTAURANT}/month=[^/]+\.parquet", Scrub.index, "new versions, without the guest's key"
    ),
    "months": Kind(rf"index/orders/{_RESTAURANT}/months\.json", lambda *_: None, "months of the order index"),
    "weeks": Kind(rf"index/weeks/{_WEEK}\.parquet", lambda *_: None, "hashes of orders' GUIDs"),
    "inspection": Kind(
        rf"inspections/{_WEEK}\.json", Scrub.inspection, "removed; the next check of the week makes it again"
    ),
    "fields": Kind(rf"inspections/{_WEEK}\.fields\.json", Scrub.fields, "removed, as it names the guest"),
    "unreadable": Kind(
        rf"unreadable/{_WEEK}/{_RESTAURANT}\.ndjson\.gz", Scrub.unreadable, "no bytes of orders that name the guest"
    ),
    "rejects": Kind(rf"rejects/{_WEEK}/rejects\.ndjson\.gz", Scrub.lines, "records without the guest"),
    "open_rejects": Kind(r"rejects/open\.json", lambda *_: None, "names no guest"),
}


def objects_of(store: OrderStore) -> list[Object]:
    """All objects but those of the folder ``privacy``, by kind."""
    found = []
    for key in store.bucket.keys(store.layout.prefix):
        name = key.removeprefix(store.layout.prefix)
        matches = ((kind, re.fullmatch(of.name, name)) for kind, of in KINDS.items())
        kind, parts = next(((kind, match.groupdict("")) for kind, match in matches if match), (None, {}))
        if not key.startswith(store.layout.privacy):
            found.append(Object(key, kind, **parts))
    return sorted(found, key=lambda one: list(KINDS).index(one.kind) if one.kind else len(KINDS))


def guests_in(one: Object, path: Path) -> Iterator[Guest]:
    """The guests that an object names by GUID, e-mail or phone."""
    if one.kind == "raw":
        for order in read_raw(path):
            yield from guests_of(order.body)
    elif one.kind in ("export", "rejects"):
        for body, _ in json_objects(path):
            yield from guests_of(body if one.kind == "export" else bytes(decode_line(body).record))
    elif one.kind == "table" and one.table == "customers":
        for rows in row_groups(path, ["order_guid", "check_guid", *_CONTACTS]):
            for row in rows.to_pylist():
                if found := traits(*map(row.get, _CONTACTS)):
                    yield Guest(row["order_guid"], row["check_guid"], found)
    elif one.kind == "guests":
        for rows in row_groups(path, ["customer_id", "email", "phone"]):
            for row in rows.to_pylist():
                yield Guest("", "", traits_in_index(row))


def traits_in_index(row: Mapping[str, Any]) -> list[str]:
    """The traits of the guest in a row of the guest index."""
    guid = None if DERIVED_KEY.fullmatch(row["customer_id"]) else row["customer_id"]
    return traits(guid, row["email"], row["phone"])


def brand_in(feed: Path) -> str:
    """The purchase brand in the rows of a feed; ``""`` where they have none."""
    return next((decode_line(body).purchase_brand for body, _ in json_objects(feed)), None) or ""


def text_of(path: Path) -> str:
    """What an object of any form says; one that is not what it seems is taken as it is."""
    body = path.read_bytes()
    with suppress(pa.ArrowException, OSError, EOFError, zlib.error):
        if body[:4] == b"PAR1":
            table = pq.read_table(path)
            flat = (column for column in table.columns if not pa.types.is_nested(column.type))
            return "\n".join(str(value) for column in flat for value in column.to_pylist())
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
    return body.decode(errors="replace")


class _Line(msgspec.Struct):
    customer_id: Any = None
    fk_customer: Any = None
    purchase_brand: Any = None
    order_guid: Any = None
    record: msgspec.Raw = msgspec.Raw(b"null")


decode_line = msgspec.json.Decoder(_Line).decode


def json_objects(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """The objects of an NDJSON file or an export (gzip), each with what follows it on its line. The lines around an
    export's orders have no object."""
    pending, inside = b"", path.stat().st_size == 0
    with gzip.open(path) as lines:
        for line in lines:
            if not pending and (line == _HEAD or line.startswith(_TAIL)):
                inside = line == _HEAD
                yield b"", line
                continue
            pending += line
            body = pending.rstrip(b",\n")
            if is_object(body):
                yield body, pending[len(body) :]
                pending = b""
    if pending or inside:
        raise EOFError("it ends too early")


def _rewrite_lines(path: Path, target: Path, rewritten: Callable[[bytes], bytes | None]) -> Metadata | None:
    """An export or NDJSON (gzip) with each object as ``rewritten``, None to leave it out."""
    if all(rewritten(body) is body for body, _ in json_objects(path) if body):
        return None
    digest, rows = hashlib.sha256(), 0
    with target.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as member:
        for body, rest in json_objects(path):
            if not body:
                member.write(_SHA256.sub(digest.hexdigest().encode(), rest))
            elif (kept := rewritten(body)) is not None:
                member.write(kept + rest)
                digest.update(kept + b"\n")
                rows += 1
    return {"sha256": digest.hexdigest(), "rows": str(rows)}


def is_any(column: pa.ChunkedArray, wanted: Callable[[str], bool]) -> pa.ChunkedArray:
    """Of each text in a column whether it is ``wanted``."""
    values: Iterable[str | None] = column.unique().to_pylist()
    return pc.is_in(column, pa.array([one for one in values if one is not None and wanted(one)], pa.string()))
