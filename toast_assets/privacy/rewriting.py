"""Rewrites one object of the bucket without forgotten guests: by its kind, in local files, atomically.

Each function takes the object as a local file and gives the new one, or None where nothing changes. The bytes are what
the pipeline itself would write of the scrubbed orders.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import pyarrow as pa
from isal import igzip

from toast_assets.amperity.records import RecordKey, order_version
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.ledger import decode_ledger, encode_ledger
from toast_assets.export.read import is_object
from toast_assets.orders.identity import key_trait
from toast_assets.orders.raw import with_restaurant
from toast_assets.orders.raw_file import RawFileWriter, read_pull_evidence, read_raw
from toast_assets.orders.scrub import Scrubber, edited, nulled
from toast_assets.store.manifest import Manifest, PullRecord

_COMPRESSION = 2
_HEAD, _TAIL = b'{"orders":[', b'],"metadata":'
_decode_any = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True)
class RawChange:
    """What becomes of a raw file: hashes of its export before and after, the new size of its JSON in bytes, and the
    new versions of its orders by their GUIDs and old versions."""

    before: str
    after: str
    bytes: int
    versions: Mapping[tuple[str, str], str] = field(default_factory=dict)


def scrub_raw(path: Path, target: Path, guid: str, scrubber: Scrubber) -> RawChange | None:
    """A restaurant's raw orders."""
    versions: dict[tuple[str, str], str] = {}
    before = hashlib.sha256()
    with RawFileWriter(target, guid) as writer:
        for order in read_raw(path):
            scrubbed = scrubber.raw(order)
            if scrubbed is not order:
                versions[order.guid, order.version] = scrubbed.version
            before.update(with_restaurant(order.body, guid) + b"\n")
            writer.write((scrubbed,))
        writer.pull_evidence = read_pull_evidence(path) or b""
    return RawChange(before.hexdigest(), writer.sha256, writer.bytes, versions) if versions else None


def scrub_export(path: Path, target: Path, scrubber: Scrubber) -> str | None:
    """An export; the new hash of its orders."""
    changed, digest = False, hashlib.sha256()
    with gzip.open(path) as source, _gzipped(target) as member:
        member.write(_HEAD)
        separator = b"\n"
        for body, tail in export_orders(source):
            if body is None:
                metadata = edited(tail, {"orders_sha256": lambda _: msgspec.json.encode(digest.hexdigest())})
                member.write(b"\n" + _TAIL + metadata + b"}\n")
                continue
            scrubbed = scrubber.order(body)
            changed = changed or scrubbed is not body
            digest.update(scrubbed + b"\n")
            member.write(separator + scrubbed)
            separator = b",\n"
    return digest.hexdigest() if changed else None


def export_orders(lines: BinaryIO | gzip.GzipFile) -> Iterator[tuple[bytes | None, bytes]]:
    """The orders, then None with the metadata."""
    pending = b""
    next(iter(lines), b"")
    for line in lines:
        if not pending and line.startswith(_TAIL):
            yield None, line.removeprefix(_TAIL).rstrip().removesuffix(b"}")
            return
        pending += line
        order = pending.removesuffix(b"\n").removesuffix(b",")
        if is_object(order):
            yield order, b""
            pending = b""
    raise EOFError("the export ends without its metadata")


def scrub_lines(path: Path, target: Path, scrubber: Scrubber) -> tuple[str, int] | None:
    """A feed or the rejects: NDJSON, gzip. The new hash of the lines, and how many are left."""
    changed, digest, count = False, hashlib.sha256(), 0
    with gzip.open(path) as source, _gzipped(target) as member:
        for line in source:
            body = line.rstrip(b"\n")
            kept = scrub_line(body, scrubber)
            changed = changed or kept is not body
            if kept is None:
                continue
            member.write(kept + b"\n")
            digest.update(kept + b"\n")
            count += 1
    return (digest.hexdigest(), count) if changed else None


def scrub_line(body: bytes, scrubber: Scrubber) -> bytes | None:
    """One line: a row of a feed, or a reject with its record; None where it is about the guest alone."""
    fields = _decode_any(body)
    if "record" in fields:
        record = bytes(fields["record"])
        left = scrub_line(record, scrubber) if record[:1] == b"{" else record
        if left is None:
            return None
        order = msgspec.json.decode(fields["order_guid"]) if "order_guid" in fields else None
        edits = {"record": lambda _: left} if left is not record else {}
        if scrubber.forgotten.knows(f"o:{order}"):
            # Behind the colon stands Amperity's own explanation, which can quote the record.
            edits["reason"] = lambda raw: msgspec.json.encode(msgspec.json.decode(raw).partition(": ")[0])
        return scrubber.text(edited(body, edits))
    if "checks" in fields:
        return scrubber.order(body)
    if "customer_id" in fields and _is_theirs(fields["customer_id"], scrubber):
        return None
    if "fk_customer" in fields and _is_theirs(fields["fk_customer"], scrubber):
        body = edited(body, {"fk_customer": nulled})
    return scrubber.text(body)


def _is_theirs(key: msgspec.Raw, scrubber: Scrubber) -> bool:
    return scrubber.forgotten.knows(key_trait(str(msgspec.json.decode(key))))


def scrub_ledger(
    body: bytes, scrubber: Scrubber, changes: Mapping[str, RawChange], redaction: Redaction
) -> bytes | None:
    """A ledger: rows about the guest go; those of their orders stand for the scrubbed versions, so that nothing is
    sent again. ``changes`` are the week's, by restaurant. Orders that were sent under other rules than those of
    ``redaction`` are due again anyhow, and stay so."""
    rows = decode_ledger(body).to_pylist()
    kept = []
    for row in rows:
        if row["method"].endswith("customers") and scrubber.forgotten.knows(key_trait(row["record_id"])):
            continue
        change = changes.get(row["restaurant_guid"])
        kept.append(row if change is None else _of_scrubbed(row, change, redaction))
    if kept == rows:
        return None
    return encode_ledger(pa.Table.from_pylist(kept, decode_ledger(body).schema))


def _of_scrubbed(row: dict[str, str], change: RawChange, redaction: Redaction) -> dict[str, str]:
    """The row, for the scrubbed version of what it is about."""
    if row["method"] == "notify":
        return reversioned(row, change.after) if row["version"] == change.before else row
    before = row["order_version"]
    after = change.versions.get((row["record_id"], before)) if row["method"] == "stream" else None
    if after is None:
        return row
    scrubbed = row | {"order_version": after}
    same_rules = row["version"] == order_version(before, redaction)
    return reversioned(scrubbed, order_version(after, redaction)) if same_rules else scrubbed


def reversioned(row: Mapping[str, str], version: str) -> dict[str, str]:
    """The row of a ledger with another version, and the request id that belongs to it."""
    key = RecordKey(row["method"], row["destination"], row["restaurant_guid"], row["record_id"], version)
    return {**row, "version": version, "request_id": key.request_id}


def scrub_manifest(manifest: Manifest, changes: Mapping[str, RawChange]) -> Manifest:
    """A week's manifest with the counts and hashes of the scrubbed raw files, by restaurant."""
    records = dict(manifest.restaurants)
    for guid, change in changes.items():
        record = records.get(guid)
        if record is None or record.pull is None or record.pull.orders_sha256 != change.before:
            continue
        pull: PullRecord = msgspec.structs.replace(record.pull, orders_sha256=change.after, bytes=change.bytes)
        records[guid] = msgspec.structs.replace(record, pull=pull)
    return msgspec.structs.replace(manifest, restaurants=records)


@contextmanager
def _gzipped(path: Path) -> Iterator[BinaryIO]:
    """One member without name and time, as the pipeline writes it."""
    with path.open("wb") as plain, cast(BinaryIO, igzip.IGzipFile("", "wb", _COMPRESSION, plain, mtime=0)) as member:  # type: ignore[no-untyped-call]
        yield member
