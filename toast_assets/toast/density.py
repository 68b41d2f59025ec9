"""Guesses how many orders a stretch of the week holds, so that most windows fit one reply at the first try.

Only the number of requests depends on these guesses, never what is found: a window counts by its reply alone.
Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence

from toast_assets.toast.page import PAGE_SIZE, Window

# Fine enough to see a rush at closing time, coarse enough to be filled by a few days.
BIN_MS = 600_000
_BINS_PER_DAY = 144
# A guess is off by chance alone (the square root of the count) and by the day's mood; this leaves room for both.
_TARGET = 78
# A day is busier or quieter than the one before, within reason.
_FLOOR = 0.02
_CALMEST, _BUSIEST = 0.5, 2.0


class Density:
    """Orders per hour of one restaurant's week: exact for what was read, guessed for what lies ahead.

    ``earlier`` are the windows of a previous pull with their counts, moved into this week: restaurants repeat
    themselves from week to week. Without it, the days already read are the guide.
    """

    def __init__(self, week: Window, earlier: Sequence[tuple[Window, int]] = ()) -> None:
        self._week = week
        bins = -(-(week.end - week.start) // BIN_MS)
        self._seen = [0] * bins
        self._earlier = _per_bin(week, bins, earlier) if earlier else None
        self._pace: float | None = None
        self._guessed = self._found = 0.0
        self._pages_are_sorted: bool | None = None
        self._overfull: list[int] = []

    def next_window(self, start: int) -> Window:
        """The window from ``start`` on that should fill a good part of a reply; all the rest while nothing is known."""
        if self._pace is None and self._earlier is None:
            return Window(start, self._week.end)
        orders = 0.0
        ends: list[tuple[float, int]] = []
        for rate, end in self._rates(start, self._week.end):
            before = ends[-1][1] if ends else start
            orders += rate * (end - before) * self._mood()
            ends.append((orders, end))
            if orders > 3 * _TARGET:
                break
        # Near the week's end in even parts, so that no small rest is left.
        goal = _TARGET if orders > 3 * _TARGET else orders / max(1, round(orders / _TARGET + 0.3))
        before, had = start, 0.0
        for orders, end in ends:
            if orders >= goal:
                return Window(start, max(start + 1, before + int((goal - had) / (orders - had) * (end - before))))
            before, had = end, orders
        return Window(start, self._week.end)

    def smaller_window(self, window: Window, times: Sequence[int], tries: int) -> Window:
        """A part of ``window``, from its start, that may fit one reply after ``tries`` overfull ones.

        ``times`` are the modified times on the overfull page, ascending: they show where the orders are, though
        the page is either the first hundred or any hundred of them, for Toast's sort order is undocumented.
        """
        self._overfull = list(times)
        crowd, size = Counter(times).most_common(1)[0]
        if size * 2 > len(times):
            # A crowd in one millisecond gets a window of its own, after what is before it.
            return Window(window.start, max(crowd, window.start + 1))
        span = window.end - window.start
        share = _TARGET / PAGE_SIZE
        longest = span - 1
        if not (self._pages_are_sorted or (self._pages_are_sorted is None and times[-1] - window.start < span / 2)):
            # Any hundred of an unknown number: take a smaller part of them each time, and of the time as well.
            shrink = 1.5 if self._knows_a_day(window.start) else 4.0
            share /= shrink ** min(tries, 6)
            longest = int(span / shrink)
        end = min(times[int(share * len(times))], window.start + longest)
        return Window(window.start, max(end, window.start + 1))

    def learn(self, window: Window, times: Sequence[int]) -> None:
        """``window`` was read whole; ``times`` are its orders' modified times, ascending."""
        at = window.start
        guessed = 0.0
        for rate, end in self._rates(window.start, window.end):
            guessed += rate * (end - at)
            at = end
        self._guessed = 0.7 * self._guessed + guessed
        self._found = 0.7 * self._found + len(times)
        if self._overfull:
            page = self._overfull
            on_page = bisect_left(page, window.end) - bisect_left(page, window.start)
            if times:
                self._pages_are_sorted = on_page == len(times)
            self._overfull = []
        for time in times:
            self._seen[self._bin(time)] += 1
        # A quiet window says little about the bins after it: the guess grows by steps only.
        pace = (len(times) + 1) / (window.end - window.start)
        self._pace = pace if self._pace is None else max(pace, self._pace / 4)

    def _rates(self, start: int, end: int) -> Iterator[tuple[float, int]]:
        """Guessed orders per millisecond, bin by bin, with each piece's end."""
        at = start
        while at < end:
            number = self._bin(at)
            at = min(end, self._week.start + (number + 1) * BIN_MS)
            yield self._rate(number, start), at

    def _rate(self, number: int, read_until: int) -> float:
        known = self._bin(read_until)
        past = self._seen[number % _BINS_PER_DAY : min(number, known) : _BINS_PER_DAY]
        if past:
            return (sum(past[-4:]) / len(past[-4:]) + _FLOOR) / BIN_MS
        if self._earlier is not None:
            return (self._earlier[number] + _FLOOR) / BIN_MS
        return self._pace or _FLOOR / BIN_MS

    def _mood(self) -> float:
        # A few imagined orders on both sides keep the ratio calm while little was read.
        return min(_BUSIEST, max(_CALMEST, (self._found + 40) / (self._guessed + 40)))

    def _knows_a_day(self, start: int) -> bool:
        return self._earlier is not None or start - self._week.start >= _BINS_PER_DAY * BIN_MS

    def _bin(self, time: int) -> int:
        return (time - self._week.start) // BIN_MS


def _per_bin(week: Window, bins: int, windows: Sequence[tuple[Window, int]]) -> list[float]:
    """Orders per hour of ``week``, each window's count spread evenly over its length."""
    counts = [0.0] * bins
    for window, count in windows:
        at = max(window.start, week.start)
        while at < min(window.end, week.end):
            number = (at - week.start) // BIN_MS
            until = min(window.end, week.end, week.start + (number + 1) * BIN_MS)
            counts[number] += count * (until - at) / (window.end - window.start)
            at = until
    return counts
