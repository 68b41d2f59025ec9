"""What the bucket keeps of orders that cannot be read: counts, reasons and windows, and nothing of what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from toast_assets.orders.unreadable import DamagedLinesError, read_lines
from toast_assets.scratch import scratch_folder
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week


@dataclass(frozen=True)
class UnreadableOrders:
    """Those of one restaurant: how many for each reason, the first window of each, and the object's address."""

    guid: str
    uri: str
    reasons: Counter[str] = field(default_factory=Counter)
    windows: dict[str, str] = field(default_factory=dict)


def unreadable_orders(week: Week, store: OrderStore) -> Iterator[UnreadableOrders]:
    """The restaurants of which there are such orders. An object that is damaged is named as such: what only warns must
    not fail a run.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    folder = store.layout.unreadable_folder(week)
    for key in store.bucket.keys(folder):
        name = key.removeprefix(folder)
        found = UnreadableOrders(name.removeprefix("restaurant=").removesuffix(".ndjson.gz"), store.bucket.uri(key))
        if key != store.layout.unreadable(week, found.guid):
            continue
        with scratch_folder() as scratch:
            if store.bucket.download(key, scratch / "lines") is None:
                continue
            try:
                for line in read_lines(scratch / "lines"):
                    found.reasons[line.reason] += 1
                    found.windows.setdefault(line.reason, f"{line.window_start} to {line.window_end}")
            except DamagedLinesError as error:
                reason = f"the object itself cannot be read: {error}; restore an earlier version of it, or remove it"
                found.reasons[reason] += 1
                found.windows[reason] = "unknown"
        yield found
