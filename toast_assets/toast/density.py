"""Guesses how wide a window may be, so that most windows fit one reply at the first try.

Only the number of requests depends on these guesses, never what is found: ``windows.py`` proves each window.
Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toast_assets.toast.page import PAGE_SIZE, Window

_BIN_MS = 600_000
_BINS_PER_DAY = 144
# Orders in a window: nearly three times the scatter of such a count below a full page.
_TARGET = 74.0
# What an overfull window counts as; its true number is unknown.
_OVERFULL = 1.25 * PAGE_SIZE
# The last days of this week that the histogram averages; a week before counts as that many days, too.
_DAYS = 4
# Orders in a bin where none are known: with a guess of zero, one window would take all the rest of the week.
_LEAST = 0.02
# The activity ratio, found to guessed: its weight in orders at the start, and what a window leaves of it.
_PRIOR, _MEMORY = 80.0, 0.5
# A window that is empty although as many orders were expected: the restaurant is closed. Where it is not, an empty one
# is odd if the expectation was higher still.
_EXPECTED, _EXPECTED_FOR_SURE = 10.0, 30.0
# The part of an overfull window that is asked for next, until this many orders were found in it: most of a week may lie
# within a few milliseconds (an import). What follows such a crowd is this much wider at most.
_CUT, _WORTHWHILE, _WIDER = 0.55, 25, 32


class Density:
    """Orders per ten minutes of one restaurant's ``week``.

    ``earlier`` are the windows of a previous pull with their counts, moved into this week.
    """

    def __init__(self, week: Window, earlier: Sequence[tuple[Window, int]] = ()) -> None:
        self._week = week
        self._seen = [0] * -(-(week.end - week.start) // _BIN_MS)
        self._earlier = [0.0] * len(self._seen) if earlier else []
        for window, count in earlier:
            for number, length in self._pieces(max(window.start, week.start), min(window.end, week.end)):
                self._earlier[number] += count * length / (window.end - window.start)
        self._rate = self._found = self._guessed = 0.0
        self._is_closed = False
        self._widest = week.end - week.start
        # The end of the last overfull window, and the orders to find before the rest of it is guessed like any other.
        self._overfull_until, self._missing = week.start, 0

    def next_window(self, start: int) -> Window:
        """The window from ``start`` on that should fill a good part of a reply; all the rest while nothing is known."""
        end, missing = start, _TARGET / self._ratio
        for length, orders in self._guess(start, self._week.end):
            if orders >= missing:
                end += int(length * missing / orders)
                break
            end, missing = end + length, missing - orders
        end = min(end, start + self._widest)
        if self._missing > 0 and start < self._overfull_until:
            # What was read of it held next to nothing, so the rest is overfull as well: that needs no request.
            end = min(end, start + int(_CUT * (self._overfull_until - start)))
        return Window(start, max(end, start + 1))

    def expects_orders(self, window: Window) -> bool:
        """Whether it would be odd to find nothing at all in ``window``."""
        expected = self._ratio * self._sum(window)
        return window == self._week or (not self._is_closed and expected > _EXPECTED_FOR_SURE)

    def cut(self, window: Window) -> None:
        """``window`` has more orders than fit one reply, so the next one from its start is smaller."""
        self._overfull_until, self._missing = window.end, _WORTHWHILE
        self._is_closed = False
        if guessed := self._sum(window):
            self._guessed += guessed
            self._found += _OVERFULL

    def learn(self, window: Window, times: Sequence[int]) -> None:
        """``window`` was read whole; ``times`` are its orders' modified times."""
        guessed, found, width = self._sum(window), len(times), window.end - window.start
        self._guessed = _MEMORY * self._guessed + guessed
        self._found = _MEMORY * self._found + found
        self._is_closed = not found and guessed >= _EXPECTED
        for time in times:
            self._seen[(time - self._week.start) // _BIN_MS] += 1
        # A quiet window says little about what comes after it, so the rate falls by steps only.
        self._rate = max((found + 1) / width, self._rate / 4)
        self._widest = _WIDER * width
        self._missing -= found

    @property
    def _ratio(self) -> float:
        return (self._found + _PRIOR) / (self._guessed + _PRIOR)

    def _sum(self, window: Window) -> float:
        return sum(orders for _, orders in self._guess(window.start, window.end))

    def _guess(self, start: int, end: int) -> Iterator[tuple[int, float]]:
        """Length and orders, by the histogram alone, of each piece of a window that lies in one bin."""
        read_until = (start - self._week.start) // _BIN_MS
        for number, length in self._pieces(start, end):
            yield length, self._orders_per_bin(number, read_until) * length / _BIN_MS

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Number of the bin and length of each piece of a window that lies in one bin."""
        while start < end:
            number, inside = divmod(start - self._week.start, _BIN_MS)
            length = min(end - start, _BIN_MS - inside)
            yield number, length
            start += length

    def _orders_per_bin(self, number: int, read_until: int) -> float:
        """The mean of the same ten minutes on the last days, closed ones left out, and a week earlier."""
        past = range(number % _BINS_PER_DAY, min(number, read_until), _BINS_PER_DAY)
        days = [float(self._seen[same]) for same in past if self._is_open(same // _BINS_PER_DAY)][-_DAYS:]
        if self._earlier:
            days += [self._earlier[number]] * _DAYS
        return max(_LEAST, sum(days) / len(days)) if days else self._rate * _BIN_MS

    def _is_open(self, day: int) -> bool:
        return any(self._seen[day * _BINS_PER_DAY : (day + 1) * _BINS_PER_DAY])
