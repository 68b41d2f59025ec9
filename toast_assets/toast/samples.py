"""What overfull pages tell about the orders that did not fit on them.

An overfull page shows a hundred orders of an unknown number. Which hundred depends on Toast's sort order, which is
undocumented: the first by time, the last, or any. What fits later shows which of these it was not.
Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from toast_assets.toast.page import Window

# A hundred orders picked by chance leave hardly ever more than this share of a window empty at one side.
_ROOM = 0.15
# How many orders the first guess of a sample's share is worth when it is compared with what was found.
_PRIOR_ORDERS = 15.0


class Sorting(Enum):
    """Which orders of a window stand on its first page."""

    EARLIEST = "earliest"
    LATEST = "latest"
    ANY = "any"


@dataclass
class Sample:
    """An overfull page of ``window``: the modified ``times`` on it, ascending, and which share of all these may be."""

    window: Window
    times: Sequence[int]
    share: float
    _found: float = field(init=False)
    _hits: float = field(init=False)

    def __post_init__(self) -> None:
        self._found, self._hits = _PRIOR_ORDERS, _PRIOR_ORDERS * self.share

    def hits(self, start: int, end: int) -> int:
        """How many of the sample's orders lie in [start, end)."""
        return bisect_left(self.times, end) - bisect_left(self.times, start)

    def learn(self, window: Window, times: Sequence[int]) -> None:
        """``window`` was read whole; ``times`` are its orders' modified times, ascending."""
        start, end = max(window.start, self.window.start), min(window.end, self.window.end)
        if start < end:
            self._found += bisect_left(times, end) - bisect_left(times, start)
            self._hits += self.hits(start, end)
            self.share = min(1.0, self._hits / self._found)


class Samples:
    """The overfull pages of a week that reach beyond what was read, and which sort orders they leave possible."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self._possible = {Sorting.EARLIEST, Sorting.LATEST}

    def add(self, sample: Sample) -> None:
        """Another overfull page; where several cover a time, the newest counts."""
        self.contradict(sample.window, sample.times)
        self._samples.append(sample)

    def learn(self, window: Window, times: Sequence[int]) -> None:
        """``window`` was read whole; ``times`` are its orders' modified times, ascending."""
        self.contradict(window, times)
        for sample in self._samples:
            sample.learn(window, times)
        self._samples = [sample for sample in self._samples if sample.window.end > window.end]

    def contradict(self, window: Window, times: Sequence[int]) -> None:
        """Drop the sort orders by which some of ``times``, found in ``window``, had to stand on an earlier page."""
        for sample in self._samples:
            for sorting in list(self._possible):
                whole = _shown_whole(sample, sorting)
                start, end = max(window.start, whole.start), min(window.end, whole.end)
                if start < end and bisect_left(times, end) - bisect_left(times, start) > sample.hits(start, end):
                    self._possible.discard(sorting)

    def sorting_of(self, sample: Sample) -> Sorting:
        """Which orders of its window a page seems to show, by what is possible and by where it leaves room."""
        window, times = sample.window, sample.times
        room = {
            Sorting.EARLIEST: (window.end - times[-1]) / (window.end - window.start),
            Sorting.LATEST: (times[0] - window.start) / (window.end - window.start),
        }
        likely = max(room, key=lambda sorting: room[sorting] if sorting in self._possible else 0.0)
        return likely if likely in self._possible and room[likely] > _ROOM else Sorting.ANY

    def layers(self) -> list[tuple[Window, Sample, bool]]:
        """Where samples say something, the newest first; the flag tells those that show all there is."""
        layers = []
        for sample in reversed(self._samples):
            sorting = self.sorting_of(sample)
            whole = sorting is not Sorting.ANY
            layers.append((_shown_whole(sample, sorting) if whole else sample.window, sample, whole))
        return layers


def _shown_whole(sample: Sample, sorting: Sorting) -> Window:
    """The part of its window of which the page shows every order, if it is sorted like this."""
    if sorting is Sorting.EARLIEST:
        # The last time on the page may have more orders than fitted.
        return Window(sample.window.start, sample.times[-1])
    return Window(sample.times[0] + 1, sample.window.end)
