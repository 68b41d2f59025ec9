"""Which streams have received records before: the first records for a new one deserve a look.

Amperity answers 202 for a stream that does not exist, too, so a misspelt id looks like a delivery. One small object for
all weeks lists the streams. Where it is missing, as after an upgrade, a few ledgers of other weeks stand in for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.delivery.ledger import ARRIVED, read_ledger, stored_ledgers
from toast_assets.orders.scanner import decoder
from toast_assets.store.bucket import Replacement, StoredObject
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

HOW_TO_CHECK = (
    "Amperity answers 202 for a stream that does not exist, too: compare the number of records there, or run"
    " toast-assets doctor --canary."
)
"""How to find out whether a new stream exists."""
# Asked once: the newest weeks, and restaurants of each.
_WEEKS = 8
_LEDGERS = 3


class _Streams(msgspec.Struct, frozen=True):
    destinations: tuple[str, ...]


def note_streams(streams: Collection[str], week: Week, store: OrderStore) -> list[str]:
    """Keep in mind that ``streams`` (destinations of records) have accepted records of a week. Returns those that are
    new: nothing that is stored says that they ever had."""
    new: list[str] = []

    def change(stored: StoredObject | None, _target: Path) -> Replacement | None:
        known = _known(stored.path.read_bytes()) if stored else None
        missing = known is None
        known = frozenset(_in_ledgers(week, store)) if known is None else known
        new[:] = sorted(set(streams) - known)
        if not (new or missing):
            return None
        body = msgspec.json.encode(_Streams(tuple(sorted(known.union(streams)))))
        return Replacement(body + b"\n", {"ContentType": "application/json"})

    store.bucket.update(store.layout.streams, change)
    return new


def _known(body: bytes) -> frozenset[str] | None:
    """The streams in the object; None where it is damaged."""
    try:
        return frozenset(decoder(_Streams).decode(body).destinations)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _in_ledgers(week: Week, store: OrderStore) -> Iterator[str]:
    others = (key for key in reversed(store.pulled_weeks()) if key != week.key)
    for key in islice(others, _WEEKS):
        folder = f"{store.layout.all_deliveries}week={key}/"
        for _, _, ledger in islice(stored_ledgers(folder, store), _LEDGERS):
            if (rows := read_ledger(store.bucket, ledger)) is not None:
                arrived = rows.filter(pc.is_in(rows["state"], pa.array(ARRIVED)))
                yield from arrived["destination"].unique().to_pylist()
