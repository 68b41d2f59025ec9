"""Rewrites the objects of the bucket that hold a forgotten guest, and lets the pipeline make again what derives from
raw orders.

First everything is read. Then, week by week, come the ledgers, as long as the raw orders say which versions become
which; the raw orders; the manifest; and what is made of them. What outlives its raw orders is scrubbed by itself. Each
object is replaced whole, on the condition that nobody has written it meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from toast_assets.amperity.feeds.schema import CONTENT_TYPE
from toast_assets.delivery.feed_files import stored_feeds, write_feeds
from toast_assets.errors import ExportError, StoreConflictError
from toast_assets.export.write import export_week
from toast_assets.orders.scrub import Guest
from toast_assets.privacy.objects import KINDS, Object, Scrub, brand_in, guests_in, objects_of, text_of
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import Removal, Replacement, StoredObject
from toast_assets.store.order_store import PARQUET, OrderStore
from toast_assets.store.raw_weeks import StoredWeek, week_of
from toast_assets.store.s3_errors import readable
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_orders import refresh_current_orders
from toast_assets.week import Week

_HINT = "Restore an earlier version of it, or remove it, and repeat the command."
_LOG = logging.getLogger(__name__)
_DERIVED = ("export", "feed", "table")
_PROPERTIES = {
    ".parquet": {"ContentType": PARQUET},
    ".ndjson.gz": {"ContentType": CONTENT_TYPE},
    ".json.gz": {"ContentType": "application/json", "ContentEncoding": "gzip"},
    ".json": {"ContentType": "application/json"},
}


def named_guests(store: OrderStore) -> Iterator[Guest]:
    """All guests that orders, exports, tables, rejects and the guest index name. Raises StoreError where an object
    cannot be read."""
    for one in objects_of(store):
        if one.kind in ("raw", "export", "rejects", "guests") or (one.kind, one.table) == ("table", "customers"):
            with opened(store, one.key) as path:
                yield from guests_in(one, path)


@contextmanager
def opened(store: OrderStore, key: str) -> Iterator[Path]:
    """The object as a local file, for as long as it is read; a StoreError where it cannot be."""
    with _downloaded(store, key) as stored, readable(store.bucket.uri(key), _HINT):
        yield stored.path


@contextmanager
def _downloaded(store: OrderStore, key: str) -> Iterator[StoredObject]:
    with scratch_folder() as folder:
        stored = store.bucket.fetch(key, folder / "object")
        if stored is None:
            raise StoreConflictError(f"{store.bucket.uri(key)} was removed in the meantime.")
        yield stored


@dataclass
class Rewriting:
    """One run over the bucket. ``planned`` and ``rewritten`` say by key what is done; ``foreign`` objects hold the
    guest and are none of this package's."""

    store: OrderStore
    scrub: Scrub
    planned: dict[str, str] = field(default_factory=dict)
    rewritten: dict[str, str] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    objects: Sequence[Object] = ()
    _weeks: dict[str, Week] = field(default_factory=dict)

    def plan(self) -> None:
        """Read all ``objects``, so that one that cannot be read stops the run before anything is rewritten. Raises
        StoreError where an object cannot be read."""
        self.objects = objects_of(self.store)
        for one in self.objects:
            if one.kind == "manifest":
                with suppress(ExportError):
                    week = week_of(one.week, self.store)
                    self._weeks |= {week.key: week, f"{week.end:%Y%m%d_%H%M%S}": week}
            # A feed file says of which orders it is made.
            outdated = one.kind == "feed" and one.restaurant in self.scrub.changes.get(self._week_key(one), ())
            with _downloaded(self.store, one.key) as stored:
                if one.kind is None:
                    self.foreign += [one.key] if self.scrub.names_guest(text_of(stored.path)) else []
                elif self._scrubbed(one, stored, stored.path.with_name("scrubbed")) is not None or outdated:
                    self.planned[one.key] = KINDS[one.kind].what

    def run(self) -> None:
        """Rewrite what is planned.

        Raises:
            StoreConflictError: other runs kept writing an object.
            StoreError: the bucket is missing or refuses access.
        """
        planned = [one for one in self.objects if one.key in self.planned]
        weeks = {*self.scrub.changes, *(self._week_key(one) for one in planned if one.kind in _DERIVED)}
        touched = [
            *planned,
            *(one for one in self.objects if one.kind in _DERIVED and self._week_key(one) in weeks),
            *(one for one in self.objects if one.kind in ("workflow", "current", "state") and weeks),
        ]
        before = dict(self.store.bucket.listed(self.store.layout.prefix))
        # Feeds that are made again take a newer version's customer, and what is known of guests, from the indexes.
        self._replace(one for one in planned if one.kind in ("index", "guests"))
        made_again = {key for week_key in sorted(weeks) for key in self._rewrite_week(week_key)}
        # The rules for single objects know no dates: they would take a guest who came back out of what was made again.
        left = [one for one in planned if one.key not in made_again and one.kind not in ("raw", "manifest", "guests")]
        self._replace(one for one in left if one.kind != "current")
        # Feeds that were made again without an index have made one, of weeks that were not rewritten yet, too.
        self._replace([Object(self.store.layout.guest_index(), "guests")])
        if weeks and self.store.layout.current_orders_state() in before:
            refresh_current_orders(self.store, _LOG, salt=self.scrub.redaction.salt)
        self._replace(one for one in left if one.kind == "current")
        after = dict(self.store.bucket.listed(self.store.layout.prefix))
        for one in dict.fromkeys(touched):
            if one.kind and after.get(one.key) != before.get(one.key):
                self.rewritten[one.key] = KINDS[one.kind].what
                _LOG.info("%s: %s.", one.key, self.rewritten[one.key])

    def _rewrite_week(self, week_key: str) -> Sequence[str]:
        """Rewrite a week's ledgers, raw orders and manifest; the keys of what was rebuilt of them."""
        mine = [one for one in self.objects if self._week_key(one) == week_key]
        week = self._weeks.get(week_key)
        before = self._feeds_version(week)
        for kind in ("ledger", "raw", "manifest"):
            self._replace(one for one in mine if one.kind == kind and one.key in self.planned)
        made_again = list(self._made_again(week, mine)) if week is not None else []
        after = self._feeds_version(week)
        if before and after:
            self.scrub.loads[week_key] = before, after
            self._replace(one for one in mine if one.kind == "workflow")
        return made_again

    def _made_again(self, week: Week, mine: Sequence[Object]) -> Iterator[str]:
        """Rebuild a week's stored exports, feeds and tables, if all its raw orders are stored; the keys of these."""
        store = self.store
        exports, feeds, tables = ([one.key for one in mine if one.kind == kind] for kind in _DERIVED)
        with suppress(ExportError):
            if not store.raw_restaurants(week) >= StoredWeek(week, store).restaurants().keys():
                return
            if exports:
                yield from (export.key for export in export_week(week, store, _LOG).exports)
            if feeds and (brand := self._brand(feeds)) is not None:
                yield from (file.key for file in write_feeds(week, store, brand, self.scrub.redaction, _LOG).files)
            if tables and not build_tables(week, store, _LOG, salt=self.scrub.redaction.salt).problems:
                yield from tables

    def _brand(self, feeds: Sequence[str]) -> str | None:
        """The brand in feed files; None where some were made under other privacy rules: made again under those of this
        run, they would hold what Amperity must not get."""
        brand = ""
        for key in feeds:
            with _downloaded(self.store, key) as stored:
                if stored.metadata.get("privacy") != self.scrub.redaction.digest:
                    return None
                brand = brand or brand_in(stored.path)
        return brand

    def _feeds_version(self, week: Week | None) -> str | None:
        """What a workflow loads of a week; None where files are missing, outdated or under other rules: then it loads
        the week once more, which changes no row."""
        with suppress(ExportError):
            version, problem = stored_feeds(week, self.store, self.scrub.redaction) if week is not None else ("", None)
            return version if problem is None else None
        return None

    def _week_key(self, one: Object) -> str:
        return one.week or (self._weeks[one.end].key if one.end in self._weeks else "")

    def _replace(self, objects: Iterable[Object]) -> None:
        for one in objects:
            self.store.bucket.update(one.key, partial(self._scrubbed, one))

    def _scrubbed(self, one: Object, stored: StoredObject | None, target: Path) -> Replacement | Removal | None:
        """What becomes of an object; None where it stays as it is, or is gone."""
        if stored is None or one.kind is None:
            return None
        with readable(self.store.bucket.uri(one.key), _HINT):
            metadata = KINDS[one.kind].scrub(self.scrub, one, stored.path, target)
        if metadata is None:
            return None
        gone = {"index": not target.exists(), "rejects": metadata.get("rows") == "0"}
        if one.kind in ("inspection", "fields") or gone.get(one.kind):
            return Removal()
        kept = {**stored.metadata, **{name: value for name, value in metadata.items() if name in stored.metadata}}
        properties = next(of for ending, of in _PROPERTIES.items() if one.key.endswith(ending))
        return Replacement(target, {**properties, **({"Metadata": kept} if kept else {})})
