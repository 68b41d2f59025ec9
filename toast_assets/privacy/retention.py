"""Removes what has been kept long enough, week by week; never what Amperity does not have yet.

Age counts from a week's end. Raw orders and exports (with the flat feeds) of a week go only where it was pulled whole
and everything of it was delivered; receipts and rejects go after them. Tables, current orders, manifests and
inspections stay: the first two are the brand's own books, the others hold no guest.

A run may pull the week meanwhile. So every object goes only as the version that was judged, and raw orders only if they
are those that the manifest describes, which the ledger was compared with.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.check import CheckedWeek
from toast_assets.checks.delivery import delivered_equals_exported
from toast_assets.errors import ExportError, StoreError
from toast_assets.orders.raw_file import check_raw, content_of
from toast_assets.scratch import scratch_folder
from toast_assets.settings import RetentionSettings
from toast_assets.store.bucket import ObjectInfo, Version
from toast_assets.store.layout import restaurant_in
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import manifest_mismatch, reading_raw, stored_restaurants, week_of
from toast_assets.week import Week

_CHANGED = "it changed while it was looked at; the next run looks at it again"


@dataclass(frozen=True)
class Retained:
    """What one run did, or in a dry run would do: keys that went, weeks that were kept with the reason, and of what
    went the weeks and the bytes."""

    removed: tuple[str, ...]
    kept: dict[str, str]
    weeks: tuple[str, ...] = ()
    bytes: int = 0


@dataclass
class Retention:
    """One run over all weeks. ``now`` is aware."""

    store: OrderStore
    settings: RetentionSettings
    amperity: AmperitySettings
    now: datetime
    dry_run: bool = False
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))

    def run(self) -> Retained:
        """Remove what is due. A week that cannot be judged is kept and named.

        Raises:
            StoreError: the bucket is missing or refuses access.
        """
        removed: dict[str, int] = {}
        kept: dict[str, str] = {}
        weeks: list[str] = []
        for key in self.store.pulled_weeks():
            before = len(removed)
            try:
                if reason := self._retain(week_of(key, self.store), removed):
                    kept[key] = reason
            except (ExportError, StoreError) as error:
                if isinstance(error, StoreError):
                    self.store.bucket.check()
                kept[key] = error.message
            if len(removed) > before:
                weeks.append(key)
        return Retained(tuple(removed), kept, tuple(weeks), sum(removed.values()))

    def _retain(self, week: Week, removed: dict[str, int]) -> str | None:
        """Remove what is due of one week and add it to ``removed``; why something of it has to stay."""
        old = {days for days in (self.settings.raw_days, self.settings.export_days) if self._old(week, days)}
        if not old:
            return None
        # The objects before the manifest, and this before the ledger: what is newer was written after the judgement.
        restaurants = self.store.raw_restaurants(week)
        raw = self._raw(week, restaurants) if self.settings.raw_days in old else {}
        exports = self._exports(week)
        due = dict(exports) if self.settings.export_days in old else {}
        due |= {self.store.layout.raw(week, guid): info for guid, (info, _) in raw.items()}
        if self._old(week, self.settings.ledger_days) and len(due) == len(restaurants) + len(exports):
            due |= self._ledgers(week)
        if self.settings.raw_days in old:
            # Before the raw orders, whose presence says that something of the week is left.
            due = self._unreadable(week) | due
        if not due:
            return None
        manifest, version = self.store.load_manifest(week)
        if manifest is None:
            return _CHANGED
        for guid, (_, sha256) in raw.items():
            if guid not in manifest.stored or manifest.stored[guid].orders_sha256 != sha256:
                raise manifest_mismatch(week, guid, self.store)
        reason = self._not_delivered(week, manifest, stored=bool(restaurants or exports))
        for key, info in due.items() if reason is None else ():
            if not self.dry_run and not self._removed(week, key, info, version):
                return _CHANGED
            self.log.info("%s has been kept long enough.", key)
            removed[key] = info.size
        return reason

    def _removed(self, week: Week, key: str, info: ObjectInfo, manifest: Version) -> bool:
        """Remove an object if neither it nor the manifest has changed; whether it is gone."""
        now = self.store.bucket.info(self.store.layout.manifest(week))
        return now is not None and now.version == manifest and self.store.bucket.delete(key, info.version)

    def _old(self, week: Week, days: int | None) -> bool:
        return days is not None and self.now - week.end > timedelta(days=days)

    def _raw(self, week: Week, restaurants: Iterable[str]) -> dict[str, tuple[ObjectInfo, str]]:
        """The raw files by restaurant, each with the hash of its orders.

        Raises:
            ExportError: one cannot be read.
        """
        found = {}
        for guid in sorted(restaurants):
            with scratch_folder() as folder, reading_raw(week, guid, self.store):
                stored = self.store.bucket.fetch(self.store.layout.raw(week, guid), folder / "raw.parquet")
                if stored is not None:
                    check_raw(stored.path)
                    info = ObjectInfo(stored.path.stat().st_size, stored.metadata, stored.version)
                    found[guid] = info, content_of(stored.path).sha256
        return found

    def _exports(self, week: Week) -> dict[str, ObjectInfo]:
        """Exports and flat feeds."""
        layout = self.store.layout
        restaurants = stored_restaurants(week, self.store)
        keys = [layout.export(week, guid) for guid in restaurants]
        return self._infos([*keys, *(layout.feed(week, guid, feed) for guid in restaurants for feed in FEEDS)])

    def _unreadable(self, week: Week) -> dict[str, ObjectInfo]:
        """Orders that cannot be read."""
        folder = self.store.layout.unreadable_folder(week)
        return self._infos(key for key in self.store.bucket.keys(folder) if restaurant_in(key, folder, ".ndjson.gz"))

    def _ledgers(self, week: Week) -> dict[str, ObjectInfo]:
        """Receipts and rejects."""
        ledgers = (
            key for key in self.store.bucket.keys(self.store.layout.deliveries(week)) if key.endswith(".parquet")
        )
        return self._infos([*ledgers, self.store.layout.rejects(week)])

    def _infos(self, keys: Iterable[str]) -> dict[str, ObjectInfo]:
        infos = ((key, self.store.bucket.info(key)) for key in keys)
        return {key: info for key, info in infos if info is not None}

    def _not_delivered(self, week: Week, manifest: Manifest, *, stored: bool) -> str | None:
        """Why what is ``stored`` of the week has to stay; None where Amperity has all of it."""
        if manifest.outcome != "complete":
            return "it was not pulled whole"
        if not stored:
            # It went because everything had been delivered.
            return None
        if not (set(self.amperity.methods) & {"stream", "notify"}) and self.amperity.workflow_config_id is None:
            return "nobody tells whether the couriers have loaded it (AMPERITY_WORKFLOW_CONFIG_ID)"
        result = delivered_equals_exported(CheckedWeek(week, manifest, self.store, lambda: self.amperity))
        return None if result.passed else result.description
