"""What current orders are known to hold: the state that is stored beside their files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from toast_assets.store.bucket import Replacement, StoredObject, Version
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.current_files import CURRENT
from toast_assets.tables.files import Unreadable


class MergedWeek(msgspec.Struct, frozen=True, omit_defaults=True):
    """A week's table: S3's ETag, and its orders that cannot be read."""

    etag: Version
    unreadable: Unreadable = {}


class CurrentFiles(msgspec.Struct, frozen=True, omit_defaults=True):
    """A restaurant's files: their rows, a hash of their months and S3's ETags, and the months that have orders without
    a time of creation. An empty hash has them read by the next refresh."""

    rows: int = 0
    etags: str = ""
    undated: tuple[str, ...] = ()


class CurrentState(msgspec.Struct, frozen=True):
    """Which weeks the files hold, by partition key and by which schema, and the files by restaurant."""

    schema: str
    weeks: dict[str, MergedWeek] = {}
    restaurants: dict[str, CurrentFiles] = {}

    @property
    def orders(self) -> int:
        return sum(files.rows for files in self.restaurants.values())

    @property
    def data_version(self) -> str:
        """A hash of what was merged."""
        weeks = sorted((key, week.etag) for key, week in self.weeks.items())
        return hashlib.sha256(msgspec.json.encode([self.schema, weeks])).hexdigest()


def decoded(body: bytes) -> CurrentState:
    """The state; an empty one where it cannot be read, or is of another schema: then all weeks are merged again."""
    empty = CurrentState(hashlib.sha256(CURRENT.schema.serialize()).hexdigest())
    try:
        state = msgspec.json.decode(body, type=CurrentState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return empty
    return state if state.schema == empty.schema else empty


def save_state(store: OrderStore, before: CurrentState, merged: CurrentState) -> CurrentState:
    """Record what was merged, and what another run has recorded since ``before`` was read; of its restaurants the next
    refresh reads the files."""
    saved = before

    def change(stored: StoredObject | None, _: Path) -> Replacement | None:
        nonlocal saved
        body = stored.path.read_bytes() if stored else b""
        theirs = decoded(body)
        weeks = merged.weeks | {key: week for key, week in theirs.weeks.items() if week != before.weeks.get(key)}
        if theirs.weeks != before.weeks:
            # Either run may have missed rows of the other's that it had to flag: such weeks are merged once more.
            weeks = {key: week for key, week in weeks.items() if not week.unreadable or week == before.weeks.get(key)}
        files = dict(merged.restaurants)
        for guid, their in theirs.restaurants.items():
            if their != before.restaurants.get(guid):
                files[guid] = CurrentFiles(max(their.rows, files.get(guid, their).rows))
        saved = CurrentState(theirs.schema, dict(sorted(weeks.items())), dict(sorted(files.items())))
        encoded = msgspec.json.format(msgspec.json.encode(saved), indent=1) + b"\n"
        return None if encoded == body else Replacement(encoded, {"ContentType": "application/json"})

    store.bucket.update(store.layout.current_orders_state(), change)
    return saved
