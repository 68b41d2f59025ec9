"""Guesses how wide a window may be, so that most windows fit one reply at the first try.

Only the number of requests depends on these guesses, never what is found: ``windows.py`` proves each window.
Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from toast_assets.toast.page import PAGE_SIZE, Window

_BIN_MS = 600_000
_BINS_PER_DAY = 144
# Orders in a window: twice the scatter of such a count below a full page.
_TARGET = 78.0
# What an overfull window counts as; its true number is unknown.
_OVERFULL = 1.25 * PAGE_SIZE
# The last days of this week that the histogram averages; a week before counts as that many days, too.
_DAYS = 4
# Orders in a bin where none are known: with a guess of zero, one window would take all the rest of the week.
_LEAST = 0.02
# The activity ratio, found to guessed: its bounds, its weight in orders at the start, what a window leaves of it.
_LOWEST_RATIO, _HIGHEST_RATIO, _PRIOR, _MEMORY = 0.4, 4.0, 80.0, 0.5
# Each window that is empty against expectation (in orders) makes the next one wider: the restaurant is closed.
_CLOSED, _EXPECTED, _EXPECTED_FOR_SURE = 0.25, 10.0, 30.0
# A window with 25 orders is worth its request; after eight requests in a row without one, halving takes over. Most of
# a week may lie within a few milliseconds (an import), which halving finds within thirty cuts.
_WORTHWHILE, _PATIENCE = 25, 8
# A millisecond with more than this share of a page gets a window of its own.
_BURST = 0.5


class Density:
    """Orders per ten minutes of one restaurant's ``week``.

    ``earlier`` are the windows of a previous pull with their counts, moved into this week.
    """

    def __init__(self, week: Window, earlier: Sequence[tuple[Window, int]] = ()) -> None:
        self._week = week
        bins = -(-(week.end - week.start) // _BIN_MS)
        self._seen = [0] * bins
        self._per_day = [0] * -(-bins // _BINS_PER_DAY)
        self._earlier = [0.0] * bins
        self._knows_earlier = bool(earlier)
        for window, count in earlier:
            inside = Window(max(window.start, week.start), min(window.end, week.end))
            for number, at, end in self._pieces(inside):
                self._earlier[number] += count * (end - at) / (window.end - window.start)
        self._rate: float | None = None
        self._found = self._guessed = 0.0
        self._empty_in_a_row = self._misses = 0
        # What is left to read of the last overfull window, and the orders found in it so far.
        self._overfull: Window | None = None
        self._found_of_overfull = 0

    def next_window(self, start: int) -> Window:
        """The window from ``start`` on that should fill a good part of a reply; all the rest while nothing is known."""
        if self._knows_nothing:
            return Window(start, self._week.end)
        filled = self._filled(start)
        if self._overfull is None:
            return filled
        # What was read of it held next to nothing, so the rest is overfull as well: that needs no request.
        half = _first_half(self._overfull)
        return half if self._misses > _PATIENCE else min(filled, half)

    def expects_orders(self, window: Window) -> bool:
        """Whether it would be odd to find nothing at all in ``window``."""
        if self._knows_nothing:
            return window == self._week
        return not self._empty_in_a_row and self._expected(window) > _EXPECTED_FOR_SURE

    def smaller_window(self, window: Window, times: Sequence[int], tries: int) -> Window:
        """A part of ``window``, from its start, that may fit one reply after ``tries`` overfull ones.

        ``times`` are the modified times on the overfull page, ascending, without those of orders that cannot be read.
        The page may be any part of the window, for Toast's sort order is undocumented.
        """
        self._misses += 1
        self._overfull, self._found_of_overfull = window, 0
        self._empty_in_a_row = 0
        if not self._knows_nothing:
            self._guessed += self._expected(window, ratio=1.0)
            self._found += _OVERFULL
        half = _first_half(window)
        if not times:
            return half
        burst, size = Counter(times).most_common(1)[0]
        if size > len(times) * _BURST:
            return Window(window.start, min(max(burst, window.start + 1), window.end - 1))
        if self._misses > _PATIENCE:
            return half
        knows_a_day = self._knows_earlier or self._bin(window.start) >= _BINS_PER_DAY
        longest = window.end - 1 if tries == 1 and knows_a_day else half.end
        by_page = times[int(0.85 / 1.6 ** (tries - 1) * len(times))]
        end = min(longest, by_page, self._filled(window.start).end)
        return Window(window.start, max(end, window.start + 1))

    def learn(self, window: Window, times: Sequence[int]) -> None:
        """``window`` was read whole; ``times`` are its orders' modified times, ascending."""
        guessed, found = self._expected(window, ratio=1.0), len(times)
        self._guessed = _MEMORY * self._guessed + guessed
        self._found = _MEMORY * self._found + found
        self._empty_in_a_row = 0 if found or guessed < _EXPECTED else self._empty_in_a_row + 1
        for number, count in Counter(map(self._bin, times)).items():
            self._seen[number] += count
            self._per_day[number // _BINS_PER_DAY] += count
        # A quiet window says little about what comes after it, so the rate falls by steps only.
        rate = (found + 1) / (window.end - window.start)
        self._rate = rate if self._rate is None else max(rate, self._rate / 4)
        self._misses = 0 if found >= _WORTHWHILE else self._misses + 1
        if self._overfull:
            self._found_of_overfull += found
            is_over = self._found_of_overfull >= _WORTHWHILE or window.end >= self._overfull.end
            self._overfull = None if is_over else Window(window.end, self._overfull.end)

    @property
    def _knows_nothing(self) -> bool:
        return self._rate is None and not self._knows_earlier

    def _filled(self, start: int) -> Window:
        missing = _TARGET
        for at, end, rate in self._rates(Window(start, self._week.end)):
            if rate * (end - at) >= missing:
                return Window(start, max(start + 1, at + int(missing / rate)))
            missing -= rate * (end - at)
        return Window(start, self._week.end)

    def _expected(self, window: Window, ratio: float | None = None) -> float:
        return sum(rate * (end - start) for start, end, rate in self._rates(window, ratio))

    def _rates(self, window: Window, ratio: float | None = None) -> Iterator[tuple[int, int, float]]:
        """Start, end and orders per millisecond of each piece of ``window``; with a ``ratio`` of 1 by the histogram."""
        if ratio is None:
            ratio = (self._found + _PRIOR) / (self._guessed + _PRIOR)
            ratio = min(_HIGHEST_RATIO, max(_LOWEST_RATIO, ratio)) * _CLOSED**self._empty_in_a_row
        read_until = self._bin(window.start)
        for number, at, end in self._pieces(window):
            yield at, end, ratio * self._orders_per_bin(number, read_until) / _BIN_MS

    def _pieces(self, window: Window) -> Iterator[tuple[int, int, int]]:
        """Number of the bin, start and end of each piece of ``window`` that lies in one bin."""
        at = window.start
        while at < window.end:
            number = self._bin(at)
            end = min(window.end, self._week.start + (number + 1) * _BIN_MS)
            yield number, at, end
            at = end

    def _orders_per_bin(self, number: int, read_until: int) -> float:
        """The mean of the same ten minutes on the last days, closed ones left out, and a week earlier."""
        past = self._seen[number % _BINS_PER_DAY : min(number, read_until) : _BINS_PER_DAY]
        days = [count for count, day in zip(past, self._per_day, strict=False) if day][-_DAYS:]
        orders, weight = float(sum(days)), len(days)
        if self._knows_earlier:
            orders, weight = orders + self._earlier[number] * _DAYS, weight + _DAYS
        if not weight:
            return (self._rate or 0.0) * _BIN_MS
        return max(_LEAST, orders / weight)

    def _bin(self, time: int) -> int:
        return (time - self._week.start) // _BIN_MS


def _first_half(window: Window) -> Window:
    return Window(window.start, window.start + max(1, (window.end - window.start) // 2))
