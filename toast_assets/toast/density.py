"""Guesses how many orders a stretch of the week holds, so that most windows fit one reply at the first try.

Only the number of requests depends on these guesses, never what is found: a window counts by its reply alone.
Times are milliseconds since 1970, UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from toast_assets.toast.halving import Halving, first_half
from toast_assets.toast.page import Window
from toast_assets.toast.samples import Sample, Samples, Sorting

# Fine enough to see a rush at closing time, coarse enough to be filled by a few days.
BIN_MS = 600_000
_BINS_PER_DAY = 144
# A guess is off by chance alone (the square root of the count) and by the day's mood; this leaves room for both, the
# lower one while no day is known.
_TARGET = 78.0
_CAUTIOUS = 62.0
# A day is busier or quieter than the one before, within reason; a closed one is noticed window by window.
_CALMEST, _BUSIEST = 0.4, 2.5
_CLOSED = 0.25
_FLOOR = 0.02
# How much each source is worth, as the share of a window's orders that would have to be seen to know as much.
_WORTH_OF_DAY = 0.08
_WORTH_OF_EARLIER = 0.3
_WORTH_OF_PROFILE = 0.03
_WORTH_OF_PACE = 0.01
# What an overfull week, and an overfull part of one, may hold where nothing else is known.
_UNKNOWN_WEEK = 1500.0
_UNKNOWN_PART = 300.0
_OVERFULL = 125.0
# Where so many are expected and the last window was not empty, none at all are hardly ever true.
_PLENTY = 30.0
# More than this share of a page in one millisecond is a crowd; while halving, only where hardly anything else shows.
_CROWD, _ONLY_A_CROWD = 0.5, 0.9
# Half the width of the hump that one order leaves in the profile of a day: an hour and a half.
_HUMP = 9


class Density:
    """Orders per ten minutes of one restaurant's week: exact for what was read, guessed for what lies ahead.

    ``earlier`` are the windows of a previous pull with their counts, moved into this week: restaurants repeat
    themselves from week to week. Besides, the days already read are the guide, and what overfull pages showed.
    """

    def __init__(self, week: Window, earlier: Sequence[tuple[Window, int]] = ()) -> None:
        self._week = week
        self._bins = -(-(week.end - week.start) // BIN_MS)
        self._seen = [0] * self._bins
        self._earlier = _per_bin(week, self._bins, earlier) if earlier else None
        self._pace: float | None = None
        self._guessed = self._found = 0.0
        self._empty_in_a_row = 0
        self._samples = Samples()
        self._first: Sample | None = None
        self._halving = Halving()
        self._profile: list[float] = []

    def next_window(self, start: int) -> Window:
        """The window from ``start`` on that should fill a good part of a reply; all the rest while nothing is known."""
        if self._knows_nothing:
            return Window(start, self._week.end)
        return self._halving.next_window(start) or self._filled(Window(start, self._week.end), even=True)

    def expects_orders(self, window: Window) -> bool:
        """Whether it would be odd to find nothing at all in ``window``."""
        if self._knows_nothing:
            return window == self._week
        expected, at = 0.0, window.start
        for rate, until in self._rates(window):
            expected += rate * (until - at)
            at = until
        return expected > _PLENTY and not self._empty_in_a_row

    def smaller_window(self, window: Window, times: Sequence[int], tries: int) -> Window:
        """A part of ``window``, from its start, that may fit one reply after ``tries`` overfull ones.

        ``times`` are the modified times on the overfull page, ascending: they show where the orders are, though
        the page may be any part of them, for Toast's sort order is undocumented. Of orders that cannot be read no time
        is known; a page of nothing else has none.
        """
        halved = self._halving.takes_over(window)
        if not times:
            return first_half(window)
        crowd, size = Counter(times).most_common(1)[0]
        if size > len(times) * (_ONLY_A_CROWD if halved else _CROWD):
            # A crowd in one millisecond gets a window of its own, after what is before it.
            return Window(window.start, min(max(crowd, window.start + 1), window.end - 1))
        if halved:
            return first_half(window)
        sample = self._sampled(window, times, tries)
        sorting = self._samples.sorting_of(sample)
        longest = window.end - window.start - 1 if tries < 4 else (window.end - window.start) // 2
        rank = 0.85 / 1.6 ** (tries - 1)
        if sorting is Sorting.EARLIEST and tries < 4:
            rank = 0.95
        elif sorting is Sorting.LATEST:
            rank = 0.6
            # The page says that there is more before it begins, and nothing about how much.
            if self._knows_nothing or tries > 1:
                part = 0.25 if self._knows_nothing or tries > 2 else 0.6
                longest = min(longest, int((times[0] - window.start) * part))
        end = min(self._filled(window, even=False).end, times[int(rank * len(times))], window.start + longest)
        return Window(window.start, max(end, window.start + 1))

    def learn(self, window: Window, times: Sequence[int]) -> None:
        """``window`` was read whole; ``times`` are its orders' modified times, ascending."""
        guessed, at = 0.0, window.start
        for rate, _, until in self._guesses(window):
            guessed += rate * (until - at)
            at = until
        self._guessed = 0.7 * self._guessed + guessed
        self._found = 0.7 * self._found + len(times)
        self._empty_in_a_row = 0 if times or guessed < 10 else self._empty_in_a_row + 1
        self._samples.learn(window, times)
        self._halving.learn(window, len(times))
        for time in times:
            self._seen[self._bin(time)] += 1
        # A quiet window says little about the bins after it: the guess grows by steps only.
        pace = (len(times) + 1) / (window.end - window.start)
        self._pace = pace if self._pace is None else max(pace, self._pace / 4)

    @property
    def _knows_nothing(self) -> bool:
        return self._pace is None and self._earlier is None

    def _knows_a_day(self, start: int) -> bool:
        return self._earlier is not None or start - self._week.start >= _BINS_PER_DAY * BIN_MS

    def _filled(self, room: Window, *, even: bool) -> Window:
        """The window from the start of ``room`` on that should hold the wanted number of orders."""
        goal = _TARGET if self._knows_a_day(room.start) else _CAUTIOUS
        orders = 0.0
        at = room.start
        ends: list[tuple[float, int]] = []
        for rate, until in self._rates(room):
            orders += rate * (until - at)
            at = until
            ends.append((orders, until))
            if orders > 2 * goal:
                break
        else:
            # Near the week's end in even parts, so that no small rest is left.
            goal = orders / max(1, round(orders / goal + 0.3)) if even else goal
        before, had = room.start, 0.0
        for orders, until in ends:
            if orders >= goal and orders > had:
                end = before + int((goal - had) / (orders - had) * (until - before))
                return Window(room.start, min(room.end, max(room.start + 1, end)))
            before, had = until, orders
        return room

    def _sampled(self, window: Window, times: Sequence[int], tries: int) -> Sample:
        total = _OVERFULL * 1.5 ** (tries - 1)
        if self._knows_nothing:
            total = _UNKNOWN_WEEK if tries == 1 else _UNKNOWN_PART
        sample = Sample(window, times, min(0.95, len(times) / total))
        self._samples.add(sample)
        if self._knows_nothing and tries == 1:
            self._first = sample
            self._profile = self._day_profile(times)
        return sample

    def _rates(self, window: Window) -> Iterator[tuple[float, int]]:
        """Orders per millisecond, by guess and by samples, piece by piece with each piece's end."""
        mood = min(_BUSIEST, max(_CALMEST, (self._found + 40) / (self._guessed + 40))) * _CLOSED**self._empty_in_a_row
        layers = self._samples.layers()
        at = window.start
        for guess, worth, bin_end in self._guesses(window):
            while at < bin_end:
                rate, until = guess * mood, bin_end
                for part, sample, whole in layers:
                    if at < part.start:
                        until = min(until, part.start)
                    elif at < part.end:
                        until = min(until, part.end)
                        hits = sample.hits(at, until) / (until - at)
                        rate = hits if whole else (worth * rate + hits) / (worth + sample.share)
                        break
                at = until
                yield rate, until

    def _guesses(self, window: Window) -> Iterator[tuple[float, float, int]]:
        """Guessed orders per millisecond without samples, what the guess is worth, and its bin's end."""
        read_until = self._bin(window.start)
        by_profile = self._orders_by_profile()
        at = window.start
        while at < window.end:
            number = self._bin(at)
            at = min(window.end, self._week.start + (number + 1) * BIN_MS)
            orders, worth = self._guess(number, read_until, by_profile)
            yield orders / BIN_MS, worth, at

    def _orders_by_profile(self) -> float | None:
        """The whole week's orders by its first overfull page, if that shows any orders of the week."""
        if self._first is None or self._samples.sorting_of(self._first) is not Sorting.ANY:
            return None
        return len(self._first.times) / self._first.share

    def _guess(self, number: int, read_until: int, by_profile: float | None) -> tuple[float, float]:
        """Orders in the bin ``number``, and what this guess is worth."""
        past = self._seen[number % _BINS_PER_DAY : min(number, read_until) : _BINS_PER_DAY][-4:]
        orders, worth = sum(past) * _WORTH_OF_DAY, len(past) * _WORTH_OF_DAY
        if self._earlier is not None:
            orders += self._earlier[number] * _WORTH_OF_EARLIER
            worth += _WORTH_OF_EARLIER
        if by_profile is not None:
            orders += self._profile[number % _BINS_PER_DAY] * by_profile * _WORTH_OF_PROFILE
            worth += _WORTH_OF_PROFILE
        elif not worth:
            orders, worth = (self._pace or 0.0) * BIN_MS * _WORTH_OF_PACE, _WORTH_OF_PACE
        # Nothing is impossible: a guess of nothing at all would make one window of all the rest.
        guess = orders / worth
        return guess + _FLOOR * _FLOOR / (guess + _FLOOR), worth

    def _day_profile(self, times: Sequence[int]) -> list[float]:
        """Each bin's share of a week's orders, by the times of day of some of them."""
        profile = [0.0] * _BINS_PER_DAY
        one = _BINS_PER_DAY / self._bins / len(times) / (_HUMP + 1) ** 2
        for time in times:
            for away in range(-_HUMP, _HUMP + 1):
                profile[(self._bin(time) + away) % _BINS_PER_DAY] += one * (_HUMP + 1 - abs(away))
        return profile

    def _bin(self, time: int) -> int:
        return (time - self._week.start) // BIN_MS


def _per_bin(week: Window, bins: int, windows: Sequence[tuple[Window, int]]) -> list[float]:
    """Orders in each bin of ``week``, each window's count spread evenly over its length."""
    counts = [0.0] * bins
    for window, count in windows:
        at = max(window.start, week.start)
        while at < min(window.end, week.end):
            number = (at - week.start) // BIN_MS
            until = min(window.end, week.end, week.start + (number + 1) * BIN_MS)
            counts[number] += count * (until - at) / (window.end - window.start)
            at = until
    return counts
