"""Removes what has been kept long enough, week by week; never what Amperity does not have yet.

Age counts from a week's end. Raw orders and exports (with the flat feeds) are removed once the week was pulled whole
and delivered; receipts and rejects after them. Tables, current orders, indexes, manifests and inspections stay. Another
run may pull the week meanwhile, so each object is removed only in the version that was compared. Old requests to
Amperity (``requests``) are removed as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.check import CheckedWeek
from toast_assets.checks.delivery import delivered_equals_exported
from toast_assets.errors import ExportError, StoreError
from toast_assets.index.orders import change_state, read_state
from toast_assets.orders.raw_file import content_of
from toast_assets.privacy.requests import old_requests
from toast_assets.scratch import scratch_folder
from toast_assets.settings import RetentionSettings
from toast_assets.store.bucket import StoredObject
from toast_assets.store.layout import restaurant_in
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import StoredWeek, manifest_mismatch, reading_raw, week_of
from toast_assets.week import Week

_LOG = logging.getLogger(__name__)
_CHANGED = "it changed meanwhile; the next run looks at it again"


@dataclass(frozen=True)
class Retained:
    """What one run removed, or in a dry run would remove: keys with their bytes, and their weeks; and which weeks were
    kept, and why."""

    removed: dict[str, int]
    kept: dict[str, str]
    weeks: list[str]


@dataclass
class Retention:
    """One run over all weeks. ``now`` is aware."""

    store: OrderStore
    settings: RetentionSettings
    amperity: AmperitySettings
    now: datetime
    dry_run: bool = False

    def run(self) -> Retained:
        """Remove what is due. A week that cannot be judged is kept and named. Raises StoreError where the bucket is
        missing or refuses access."""
        found = Retained({}, {}, [])
        for key in self.store.pulled_weeks():
            before = len(found.removed)
            try:
                if reason := self._retain(week_of(key, self.store), found.removed):
                    found.kept[key] = reason
            except (ExportError, StoreError) as error:
                if isinstance(error, StoreError):
                    self.store.bucket.check()
                found.kept[key] = error.message
            if len(found.removed) > before:
                found.weeks.append(key)
        for key, info in self._stored(old_requests(self.store, self.now)).items():
            if self.dry_run or self.store.bucket.delete(key, info.version):
                found.removed[key] = info.size
        return found

    def _retain(self, week: Week, removed: dict[str, int]) -> str | None:
        """Remove what is due of one week and add it to ``removed``; why something of it has to stay."""
        store, layout = self.store, self.store.layout
        raw_due, export_due, ledger_due = (
            days is not None and self.now - week.end > timedelta(days=days)
            for days in (self.settings.raw_days, self.settings.export_days, self.settings.ledger_days)
        )
        if not (raw_due or export_due):
            return None
        # The objects before the manifest, and this before the ledger: what is newer was written after the comparison.
        restaurants = store.raw_restaurants(week)
        raw: dict[str, tuple[StoredObject, str]] = {}
        for guid in sorted(restaurants) if raw_due else ():
            with scratch_folder() as scratch, reading_raw(week, guid, store):
                if stored := store.bucket.fetch(layout.raw(week, guid), scratch / "raw.parquet"):
                    raw[guid] = stored, content_of(stored.path).sha256
        exports = self._stored(
            key
            for guid in StoredWeek(week, store).restaurants()
            for key in (layout.export(week, guid), *(layout.feed(week, guid, feed) for feed in FEEDS))
        )
        due: dict[str, StoredObject] = {}
        if raw_due:
            # Before the raw orders, whose presence says that something of the week is left.
            folder = layout.unreadable_folder(week)
            due |= self._stored(key for key in store.bucket.keys(folder) if restaurant_in(key, folder, ".ndjson.gz"))
        due |= exports if export_due else {}
        raw_keys = {layout.raw(week, guid): guid for guid in raw}
        due |= {key: raw[guid][0] for key, guid in raw_keys.items()}
        if ledger_due:
            ledgers = (key for key in store.bucket.keys(layout.deliveries(week)) if key.endswith(".parquet"))
            due |= self._stored([*ledgers, layout.rejects(week)])
        if not due:
            return None
        manifest, version = store.load_manifest(week)
        if manifest is None:
            return _CHANGED
        for guid, (_, sha256) in raw.items():
            if guid not in manifest.stored or manifest.stored[guid].orders_sha256 != sha256:
                raise manifest_mismatch(week, guid, store)
        reason = self._not_delivered(week, manifest, stored=bool(restaurants or exports))
        for key, info in due.items() if reason is None else ():
            if not self.dry_run:
                now = store.bucket.info(layout.manifest(week))
                if now is None or now.version != version or not store.bucket.delete(key, info.version):
                    return _CHANGED
            _LOG.info("%s has been kept long enough.", key)
            removed[key] = info.size
        self._expire(week, [guid for key, guid in raw_keys.items() if key in removed])
        return reason

    def _expire(self, week: Week, guids: Iterable[str]) -> None:
        """Say in the order index of restaurants that the week's raw orders are gone."""
        for guid in guids:
            if not self.dry_run and read_state(self.store, guid) is not None:
                change_state(self.store, guid, expired=[week.key])

    def _stored(self, keys: Iterable[str]) -> dict[str, StoredObject]:
        infos = ((key, self.store.bucket.info(key)) for key in keys)
        return {key: info for key, info in infos if info is not None}

    def _not_delivered(self, week: Week, manifest: Manifest, *, stored: bool) -> str | None:
        """Why what is ``stored`` of the week has to stay; None where Amperity has all of it, or nothing is left."""
        if manifest.outcome != "complete":
            return "it was not pulled whole"
        if not stored:
            return None
        if not (set(self.amperity.methods) & {"stream", "notify"}) and self.amperity.workflow_config_id is None:
            return "there are no receipts of what the couriers load (AMPERITY_WORKFLOW_CONFIG_ID)"
        result = delivered_equals_exported(CheckedWeek(week, manifest, self.store, lambda: self.amperity))
        return None if result.passed else result.description
