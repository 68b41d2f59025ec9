"""Goes over every object below the prefix and rewrites those that hold a forgotten guest.

A restaurant's raw file comes last: as long as it holds the guest, a run that was cut off finds all there is to do, and
every other rewriting of that week is a function of it. Each object is replaced atomically, on the condition that nobody
has written it meanwhile; one without the guest is not touched.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.amperity.feeds.couriers import CONTENT_TYPE
from toast_assets.amperity.feeds.files import feeds_version
from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.ledger import decode_ledger, encode_ledger
from toast_assets.errors import ExportError, StoreConflictError
from toast_assets.orders.raw_file import read_raw
from toast_assets.orders.scrub import Guest, Scrubber, guests_of
from toast_assets.orders.unreadable import read_lines, write_lines
from toast_assets.privacy.rewriting import (
    RawChange,
    export_orders,
    reversioned,
    scrub_export,
    scrub_ledger,
    scrub_lines,
    scrub_manifest,
    scrub_raw,
)
from toast_assets.privacy.tables import guests_of_table, scrub_table
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.manifest import decode_manifest, encode_manifest
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.raw_weeks import week_of
from toast_assets.store.s3_errors import readable
from toast_assets.tables.schema import TABLES
from toast_assets.week import Week

_JSON = "application/json"
# Objects with other names, such as backups and copies, are none of this package's.
_WEEK = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_RAW = re.compile(rf"raw/week=({_WEEK})/restaurant=([^/]+)\.parquet")
_LEDGER = re.compile(rf"deliveries/week=({_WEEK})/(?:open/)?[^/]+\.parquet")
_WORKFLOW = re.compile(rf"deliveries/week=({_WEEK})/s3_pull\.parquet")
_MANIFEST = re.compile(rf"manifests/week=({_WEEK})\.json")
_EXPORT = re.compile(r"toast-orders_[0-9]{8}_[0-9]{6}_[^/]+\.json\.gz")
_FEED = re.compile(r"amperity/([^/]+)/[0-9]{4}/[0-9]{2}/[0-9]{2}/[^/]+\.ndjson\.gz")
_TABLE = re.compile(rf"tables/([^/]+)/week={_WEEK}/[^/]+\.parquet")
_CURRENT = re.compile(r"tables/current_orders/restaurant=[^/]+\.parquet")
_STATE = re.compile(r"tables/current_orders/state\.json")
_INSPECTION = re.compile(rf"inspections/week={_WEEK}\.json")
_REJECTS = re.compile(rf"rejects/week=({_WEEK})/rejects\.ndjson\.gz")
_UNREADABLE = re.compile(rf"unreadable/week={_WEEK}/restaurant=[^/]+\.ndjson\.gz")
_HINT = "Restore an earlier version of it, or remove it, and repeat the command."

Rewritten = Callable[[str, str], None]


def named_guests(store: OrderStore) -> Iterator[list[Guest]]:
    """Everybody whom an order, an export, a table or a reject names, an order or a file at a time."""
    for name, key in _named(store):
        if _RAW.fullmatch(name):
            read: Callable[[Path], Iterable[Iterable[Guest]]] = _of_raw
        elif _EXPORT.fullmatch(name):
            read = _of_export
        elif (table := _TABLE.fullmatch(name)) and table[1] == "customers":
            read = guests_of_table
        elif _REJECTS.fullmatch(name):
            read = _of_rejects
        else:
            continue
        with _downloaded(store, key) as path:
            guests = map(list, read(path))
            found: list[Guest] | None = []
            while found is not None:
                with readable(store.bucket.uri(key), _HINT):
                    found = next(guests, None)
                if found is not None:
                    yield found


@dataclass
class Sweep:
    """One sweep over the bucket. ``plain`` are the guest's GUIDs, e-mails and phones as far as they are known in
    clear, to be looked for in objects that are none of this package's. ``redaction`` is what is done to records before
    they are sent. In a dry run nothing is written."""

    store: OrderStore
    scrubber: Scrubber
    plain: frozenset[str]
    redaction: Redaction
    dry_run: bool
    rewritten: Rewritten
    searched: int = 0
    strange: list[str] = field(default_factory=list)
    _changes: dict[str, dict[str, RawChange]] = field(default_factory=dict)
    _hashes: dict[str, str] = field(default_factory=dict)
    _tables: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Rewrite what has to be.

        Raises:
            StoreError: an object cannot be read, or other runs kept writing it.
        """
        own = self.store.layout.privacy
        objects = [(name, key) for name, key in _named(self.store) if not key.startswith(own)]
        self.searched = len(objects)
        raws = [(key, found) for name, key in objects if (found := _RAW.fullmatch(name))]
        for key, found in raws:
            self._look_at_raw(key, *found.groups())
        loads = self._loads()
        for pattern in (_LEDGER, _MANIFEST, None):
            for name, key in objects:
                kind = next((one for one in (_LEDGER, _MANIFEST) if one.fullmatch(name)), None)
                if kind is pattern and not _RAW.fullmatch(name):
                    self._rewrite_other(name, key)
        for name, key in objects:
            if _STATE.fullmatch(name):
                self._replace(key, "knows the new tables", self._state, _JSON)
        self._settle_loads(loads)
        for key, found in raws:
            if found[2] in self._changes.get(found[1], {}):
                self._replace(key, "orders without the guest", self._raw(found[2]), PARQUET)

    def _look_at_raw(self, key: str, week_key: str, guid: str) -> None:
        with _downloaded(self.store, key) as path, readable(self.store.bucket.uri(key), _HINT):
            change = scrub_raw(path, path.with_name("scrubbed"), guid, self.scrubber)
        if change is not None:
            self._changes.setdefault(week_key, {})[guid] = change
            self._hashes[change.before] = change.after

    def _raw(self, guid: str) -> Callable[[Path, Path], dict[str, str] | None]:
        def rewrite(path: Path, target: Path) -> dict[str, str] | None:
            change = scrub_raw(path, target, guid, self.scrubber)
            return {"sha256": change.after} if change else None

        return rewrite

    def _rewrite_other(self, name: str, key: str) -> None:
        if _WORKFLOW.fullmatch(name) or _STATE.fullmatch(name):
            return
        if found := _LEDGER.fullmatch(name):
            changes = self._changes.get(found[1], {})
            self._replace(key, "receipts for the new versions", lambda a, b: self._ledger(a, b, changes), PARQUET)
        elif found := _MANIFEST.fullmatch(name):
            changes = self._changes.get(found[1], {})
            self._replace(key, "counts and hashes", lambda a, b: self._manifest(a, b, changes), _JSON)
        elif _EXPORT.fullmatch(name):
            self._replace(key, "orders without the guest", self._export, _JSON, ContentEncoding="gzip")
        elif _FEED.fullmatch(name):
            properties = self._info(key)
            self._replace(key, "rows without the guest", lambda a, b: self._feed(a, b, properties), CONTENT_TYPE)
        elif found := _TABLE.fullmatch(name):
            table = found[1]
            if table in TABLES:
                self._replace(key, "rows without the guest", lambda a, b: self._table(table, a, b), PARQUET)
        elif _CURRENT.fullmatch(name):
            self._replace(key, "rows without the guest", self._current, PARQUET)
        elif _UNREADABLE.fullmatch(name):
            self._replace(key, "no bytes of orders that name the guest", self._unreadable, "application/x-ndjson")
        elif _REJECTS.fullmatch(name):
            self._replace(key, "records without the guest", self._rejects, "application/x-ndjson")
        elif _INSPECTION.fullmatch(name):
            self._remove_inspection(key)
        elif self._holds(key):
            self.strange.append(key)

    # What each kind of object becomes: the new metadata, or None where it stays.

    def _ledger(self, path: Path, target: Path, changes: dict[str, RawChange]) -> dict[str, str] | None:
        body = scrub_ledger(path.read_bytes(), self.scrubber, changes, self.redaction)
        return None if body is None else _written(target, body, {})

    def _manifest(self, path: Path, target: Path, changes: dict[str, RawChange]) -> dict[str, str] | None:
        before = decode_manifest(path.read_bytes())
        after = scrub_manifest(before, changes)
        return None if after == before else _written(target, encode_manifest(after), {})

    def _export(self, path: Path, target: Path) -> dict[str, str] | None:
        sha256 = scrub_export(path, target, self.scrubber)
        return None if sha256 is None else {"sha256": sha256}

    def _feed(self, path: Path, target: Path, metadata: dict[str, str]) -> dict[str, str] | None:
        scrubbed = scrub_lines(path, target, self.scrubber)
        orders = self._hashes.get(metadata.get("orders", ""))
        if scrubbed is None and orders is None:
            return None
        if scrubbed is None:
            # The same rows, of orders that changed: the couriers must not take the file for an outdated one.
            return _written(target, path.read_bytes(), {"orders": orders or ""})
        changed = {"sha256": scrubbed[0], "rows": str(scrubbed[1])}
        return changed | ({"orders": orders} if orders else {})

    def _table(self, table: str, path: Path, target: Path) -> dict[str, str] | None:
        if not scrub_table(table, path, target, self.scrubber):
            return None
        before, after = _sha256(path), _sha256(target)
        self._tables[before] = after
        return {"sha256": after}

    def _current(self, path: Path, target: Path) -> dict[str, str] | None:
        return {} if scrub_table("orders", path, target, self.scrubber) else None

    def _rejects(self, path: Path, target: Path) -> dict[str, str] | None:
        return None if scrub_lines(path, target, self.scrubber) is None else {}

    def _unreadable(self, path: Path, target: Path) -> dict[str, str] | None:
        before = list(read_lines(path))
        after = [
            line.without_body() if self._names_them(line.body.decode(errors="replace")) else line for line in before
        ]
        if after == before:
            return None
        write_lines(target, after)
        return {}

    def _state(self, path: Path, target: Path) -> dict[str, str] | None:
        text = path.read_text()
        for before, after in self._tables.items():
            text = text.replace(f'"{before}"', f'"{after}"')
        return None if text == path.read_text() else _written(target, text.encode(), {})

    # Workflows of s3_pull: what was loaded is not to be loaded again.

    def _loads(self) -> dict[str, tuple[Week, str]]:
        """By the key of the ledger: the weeks that change and whose feeds a workflow has loaded, and which feeds."""
        found = {}
        for week_key in self._changes:
            try:
                week = week_of(week_key, self.store)
                key = self.store.layout.workflow_ledger(week)
                if self.store.bucket.info(key) is None:
                    continue
                found[key] = week, feeds_version(week, self.store, self.redaction)
            except ExportError:
                # There is no manifest, files are half-way, or were made under other rules: they will be made and
                # loaded once more, which does no harm.
                continue
        return found

    def _settle_loads(self, loads: dict[str, tuple[Week, str]]) -> None:
        for key, (week, before) in loads.items():
            after = before if self.dry_run else feeds_version(week, self.store, self.redaction)

            def settle(path: Path, target: Path, before: str = before, after: str = after) -> dict[str, str] | None:
                table = decode_ledger(path.read_bytes())
                rows = [reversioned(row, after) if row["version"] == before else row for row in table.to_pylist()]
                if before == after or rows == table.to_pylist():
                    return None
                return _written(target, encode_ledger(pa.Table.from_pylist(rows, table.schema)), {})

            self._replace(key, "receipts for the new versions", settle, PARQUET)

    def _remove_inspection(self, key: str) -> None:
        """The next check makes it again, of the scrubbed orders."""
        if self._holds(key):
            if not self.dry_run:
                self.store.bucket.delete(key)
            self.rewritten(key, "removed; the next check of the week makes it again")

    def _holds(self, key: str) -> bool:
        with _downloaded(self.store, key) as path:
            return self._names_them(_text_of(path, key))

    def _names_them(self, text: str) -> bool:
        return self.scrubber.holds(text) or any(trait[2:].lower() in text.lower() for trait in self.plain)

    def _info(self, key: str) -> dict[str, str]:
        info = self.store.bucket.info(key)
        return dict(info.metadata) if info else {}

    def _replace(
        self,
        key: str,
        what: str,
        rewrite: Callable[[Path, Path], dict[str, str] | None],
        content_type: str,
        **properties: Any,
    ) -> None:
        changes = False

        def change(stored: StoredObject | None, target: Path) -> Replacement | None:
            nonlocal changes
            metadata = self._rewrite(key, rewrite, stored.path, target) if stored else None
            changes = metadata is not None
            if stored is None or metadata is None or self.dry_run:
                return None
            kept = {"Metadata": both} if (both := {**stored.metadata, **metadata}) else {}
            return Replacement(target, {"ContentType": content_type, **properties, **kept})

        self.store.bucket.update(key, change)
        if changes:
            self.rewritten(key, what)

    def _rewrite(
        self, key: str, rewrite: Callable[[Path, Path], dict[str, str] | None], path: Path, target: Path
    ) -> dict[str, str] | None:
        with readable(self.store.bucket.uri(key), _HINT):
            return rewrite(path, target)


def _named(store: OrderStore) -> Iterator[tuple[str, str]]:
    """Every object below the prefix, by its name below it and its key."""
    prefix = store.layout.prefix
    return ((key.removeprefix(prefix), key) for key in store.bucket.keys(prefix))


@contextmanager
def _downloaded(store: OrderStore, key: str) -> Iterator[Path]:
    """The object in a local file, for as long as the block lasts."""
    with scratch_folder() as folder:
        path = folder / "object"
        if store.bucket.download(key, path) is None:
            raise StoreConflictError(f"{store.bucket.uri(key)} was removed in the meantime.")
        yield path


def _of_raw(path: Path) -> Iterator[Iterable[Guest]]:
    return (guests_of(order.body) for order in read_raw(path))


def _of_export(path: Path) -> Iterator[Iterable[Guest]]:
    with gzip.open(path) as lines:
        yield from (guests_of(body) for body, _ in export_orders(lines) if body is not None)


def _of_rejects(path: Path) -> Iterator[Iterable[Guest]]:
    with gzip.open(path) as lines:
        for line in lines:
            yield guests_of(bytes(msgspec.json.decode(line, type=dict[str, msgspec.Raw])["record"]))


def _text_of(path: Path, key: str) -> str:
    """What an object says that may be of any form; one that is not what its name says is taken as it is."""
    body = path.read_bytes()
    with suppress(pa.ArrowException, OSError, EOFError, zlib.error):
        if key.endswith(".parquet"):
            table = pq.read_table(path)
            texts = (name for name in table.schema.names if not pa.types.is_nested(table.schema.field(name).type))
            return "\n".join(str(value) for name in texts for value in table[name].to_pylist())
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
    return body.decode(errors="replace")


def _written(target: Path, body: bytes, metadata: dict[str, str]) -> dict[str, str]:
    target.write_bytes(body)
    return metadata


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
