"""What the status page shows, as the template wants it: figures, rows, bars of the last minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice, takewhile
from typing import TYPE_CHECKING

from toast_assets.sandbox.config import Restaurant
from toast_assets.sandbox.toast_books import ToastCall
from toast_assets.week import from_epoch_ms

if TYPE_CHECKING:
    from toast_assets.sandbox.server import Sandbox

_SECONDS = 60
_MOST_ROWS = 40
_LATEST = 12


@dataclass(frozen=True)
class Activity:
    """Calls per second over the last minute, oldest first, and the busiest second's."""

    per_second: tuple[int, ...]

    @property
    def peak(self) -> int:
        """The busiest second's calls."""
        return max(self.per_second)

    @property
    def bars(self) -> list[tuple[int, float]]:
        """Position and height (0 to 1) of each second that had calls; the smallest can still be seen."""
        return [(at, max(0.06, count / self.peak)) for at, count in enumerate(self.per_second) if count]


@dataclass(frozen=True)
class RequestRow:
    """Requests of one kind with one outcome."""

    kind: str
    outcome: Outcome
    count: int


@dataclass(frozen=True)
class Outcome:
    """A status, and whether it is good, a refusal for now, or bad."""

    status: int

    @property
    def text(self) -> str:
        """The status, or that there was none."""
        return str(self.status) if self.status else "no answer"

    @property
    def tone(self) -> str:
        """The template's class for it."""
        if self.status == 429:
            return "warn"
        return "good" if 200 <= self.status < 300 else "bad"


@dataclass(frozen=True)
class RestaurantRow:
    """One restaurant: what was asked for it, how many orders were served, what Amperity accepted of them."""

    restaurant: Restaurant
    requests: int
    throttled: int
    served: int
    accepted: int

    @property
    def state(self) -> str:
        """Why it has no orders, or nothing."""
        each = self.restaurant
        states = (("deleted", each.deleted), ("archived", each.archived), ("forbidden", each.forbidden))
        return next((name for name, applies in states if applies), "")


@dataclass(frozen=True)
class FolderRow:
    """The objects of one folder of the bucket, and of all folders in it."""

    folder: str
    objects: int
    size: int


@dataclass(frozen=True)
class CallRow:
    """One of the latest calls to Toast."""

    time: str
    kind: str
    restaurant: str
    window: str
    page: int | None
    orders: int | None
    outcome: Outcome


class StatusView:
    """One look at a sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.toast = sandbox.toast_books
        self.amperity = sandbox.amperity_books
        self.objects = sandbox.objects()
        self.faults = list(sandbox.faults.described())
        self._now = sandbox.config.now()

    @cached_property
    def orders_served(self) -> tuple[int, int]:
        """Orders that were on a page, each counted once, and as often as it was."""
        return sum(map(len, self.toast.guids_served.values())), sum(self.toast.orders_served.values())

    @cached_property
    def toast_requests(self) -> list[RequestRow]:
        """Requests to Toast by kind and status."""
        return _request_rows(self.toast.requests)

    @cached_property
    def amperity_requests(self) -> list[RequestRow]:
        """Requests to Amperity by kind and status."""
        return _request_rows(self.amperity.requests)

    @cached_property
    def restaurants(self) -> list[RestaurantRow]:
        """The restaurants, those with most orders served first; of many the head."""
        requests, throttled, accepted = Counter[str](), Counter[str](), Counter[str | None]()
        for (_, guid, status), count in self.toast.requests.copy().items():
            requests[guid or ""] += count
            throttled[guid or ""] += count if status == 429 else 0
        for (_, restaurant), count in self.amperity.accepted_of.copy().items():
            accepted[restaurant] += count
        rows = [
            RestaurantRow(each, requests[guid], throttled[guid], len(self.toast.guids_served[guid]), accepted[guid])
            for guid, each in self.toast.restaurants.items()
        ]
        return sorted(rows, key=lambda row: -row.served)[:_MOST_ROWS]

    @cached_property
    def streams(self) -> list[tuple[str, int, int]]:
        """Each stream that got records: its id, records accepted, records lost because it does not exist."""
        accepted, lost = Counter[str](), Counter(record.stream_id for record in list(self.amperity.dropped))
        for (stream_id, _), count in self.amperity.accepted_of.copy().items():
            accepted[stream_id] += count
        return [(stream_id, accepted[stream_id], lost[stream_id]) for stream_id in sorted(accepted | lost)]

    @cached_property
    def folders(self) -> list[FolderRow]:
        """The bucket's objects by their folder below the prefix; those of the prefix itself are the exports."""
        counts, sizes = Counter[str](), Counter[str]()
        prefix = self.sandbox.config.prefix
        for key, size in self.objects:
            top, slash, _ = key.removeprefix(prefix).partition("/")
            folder = f"{prefix}{top}/" if slash else prefix
            counts[folder] += 1
            sizes[folder] += size
        return [FolderRow(folder, counts[folder], sizes[folder]) for folder in sorted(counts)]

    @cached_property
    def latest(self) -> list[CallRow]:
        """The latest calls to Toast, newest first."""
        names = {guid: each.name for guid, each in self.toast.restaurants.items()}
        return [_call_row(call, names) for call in islice(reversed(self.toast.log), _LATEST)]

    @cached_property
    def toast_activity(self) -> Activity:
        """Toast's last minute."""
        return self._activity(call.at for call in reversed(self.toast.log))

    @cached_property
    def amperity_activity(self) -> Activity:
        """Amperity's last minute."""
        return self._activity(call.at for call in reversed(self.amperity.log))

    def _activity(self, newest_first: Iterable[float]) -> Activity:
        this_second = int(self._now)
        recent = takewhile(lambda at: int(at) > this_second - _SECONDS, newest_first)
        counts = Counter(this_second - int(at) for at in recent)
        return Activity(tuple(counts[age] for age in range(_SECONDS - 1, -1, -1)))


def _request_rows(counter: Counter[tuple[str, str | None, int]]) -> list[RequestRow]:
    counts = Counter[tuple[str, int]]()
    for (kind, _, status), count in counter.copy().items():
        counts[kind, status] += count
    return [RequestRow(kind, Outcome(status), count) for (kind, status), count in sorted(counts.items())]


def _call_row(call: ToastCall, names: Mapping[str, str]) -> CallRow:
    window = ""
    if call.window is not None:
        begin, end = (from_epoch_ms(moment) for moment in call.window)
        window = f"{begin:%a %d %b %H:%M} – {end:%a %d %b %H:%M}"
    is_page = call.path == "orders" and call.status == 200
    return CallRow(
        time=f"{datetime.fromtimestamp(call.at, UTC):%H:%M:%S}",
        kind=call.path,
        restaurant=names.get(call.restaurant or "", call.restaurant or ""),
        window=window,
        page=call.page if is_page else None,
        orders=call.orders if is_page else None,
        outcome=Outcome(call.status),
    )
