"""Removes what has been kept long enough, week by week; never what Amperity does not have yet.

Age counts from a week's end. Raw orders and exports (with the flat feeds) of a week go only where it was pulled whole
and everything of it was delivered; receipts and rejects go after them. Tables, current orders, manifests and
inspections stay: the first two are the brand's own books, the others hold no guest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.errors import ExportError
from toast_assets.pipeline.delivery_checks import delivered_equals_exported
from toast_assets.pipeline.inspection import inspection_of
from toast_assets.settings import AmperitySettings, RetentionSettings
from toast_assets.store.manifest import Manifest, decode_manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week


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
        """Remove what is due.

        Raises:
            StoreError: the bucket is missing or refuses access, or an object cannot be read.
        """
        removed: list[str] = []
        kept: dict[str, str] = {}
        weeks: list[str] = []
        size = 0
        for week, manifest in self._weeks():
            due = self._due(week, manifest)
            if not due:
                continue
            if reason := self._not_delivered(week, manifest):
                kept[week.key] = reason
                continue
            weeks.append(week.key)
            for key in due:
                info = self.store.bucket.info(key)
                size += info.size if info else 0
                if not self.dry_run:
                    self.store.bucket.delete(key)
                self.log.info("%s has been kept long enough.", key)
            removed += due
        return Retained(tuple(removed), kept, tuple(weeks), size)

    def _weeks(self) -> Iterator[tuple[Week, Manifest]]:
        for key in self.store.bucket.keys(self.store.layout.manifests):
            found = self.store.bucket.read(key)
            if found is not None:
                manifest = decode_manifest(found[0])
                start, end = map(datetime.fromisoformat, (manifest.start_date, manifest.end_date))
                yield Week(manifest.partition, start.astimezone(UTC), end.astimezone(UTC)), manifest

    def _due(self, week: Week, manifest: Manifest) -> list[str]:
        raw, exports = self._orders_of(week, manifest)
        ledgers = self._ledgers_of(week)
        due = [
            *(raw if self._old(week, self.settings.raw_days) else ()),
            *(exports if self._old(week, self.settings.export_days) else ()),
        ]
        if self._old(week, self.settings.ledger_days) and len(due) == len(raw) + len(exports):
            due += ledgers
        return due

    def _old(self, week: Week, days: int | None) -> bool:
        return days is not None and self.now - week.end > timedelta(days=days)

    def _orders_of(self, week: Week, manifest: Manifest) -> tuple[list[str], list[str]]:
        layout, bucket = self.store.layout, self.store.bucket
        raw = list(bucket.keys(layout.raw_folder(week)))
        named = [layout.export(week, guid) for guid in manifest.restaurants]
        named += [layout.feed(week, guid, feed) for guid in manifest.restaurants for feed in FEEDS]
        return raw, [key for key in named if bucket.info(key) is not None]

    def _ledgers_of(self, week: Week) -> list[str]:
        rejects = self.store.layout.rejects(week)
        ledgers = list(self.store.bucket.keys(self.store.layout.deliveries(week)))
        return [*ledgers, *([rejects] if self.store.bucket.info(rejects) else [])]

    def _not_delivered(self, week: Week, manifest: Manifest) -> str | None:
        """Why what is stored of the week has to stay; None where Amperity has all of it."""
        if manifest.outcome != "complete":
            return "it was not pulled whole"
        raw, exports = self._orders_of(week, manifest)
        if not raw and not exports:
            # They went because everything had been delivered.
            return None
        if not (set(self.amperity.methods) & {"stream", "notify"}) and self.amperity.workflow_config_id is None:
            return "nobody tells whether the couriers have loaded it (AMPERITY_WORKFLOW_CONFIG_ID)"
        try:
            verdict = delivered_equals_exported(
                week, manifest, lambda: inspection_of(week, manifest, self.store), self.store, self.amperity
            )
        except ExportError as error:
            return error.message
        return None if verdict.passed else verdict.description
