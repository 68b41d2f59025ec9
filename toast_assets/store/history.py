"""What earlier weeks' manifests say: the measure for this one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.week import KEY_FORMAT, Week, WeekCalendar


def earlier_manifests(
    week: Week, calendar: WeekCalendar, store: OrderStore, weeks: int
) -> Iterator[tuple[Week, Manifest]]:
    """The manifests of up to ``weeks`` weeks before ``week``, the nearest first; weeks never pulled are left out.

    Raises:
        StoreError: the bucket is missing or refuses access, or a manifest cannot be read.
    """
    day = date.fromisoformat(week.key)
    for number in range(1, weeks + 1):
        before = day - timedelta(days=7 * number)
        if before < calendar.first:
            return
        earlier = calendar.week(f"{before:{KEY_FORMAT}}")
        manifest, _ = store.load_manifest(earlier)
        if manifest is not None:
            yield earlier, manifest
