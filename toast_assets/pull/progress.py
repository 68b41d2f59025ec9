"""The log of a pull: how long it may take, and every few seconds how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import Logger

from toast_assets.pull.estimate import ASSUMED, Measure, PullPace, in_words, measures_for
from toast_assets.toast.windows import ProvedWindow
from toast_assets.week import Week, iso_ms

_EVERY_SECONDS = 10.0
_MOST_NAMED = 5


@dataclass
class PullProgress:
    """The progress of one run's pull of ``restaurants`` (a count); ``clock`` gives monotonic seconds."""

    week: Week
    restaurants: int
    log: Logger
    clock: Callable[[], float]
    _reached: dict[str, int] = field(default_factory=dict)
    _windows: int = 0
    _orders: int = 0
    _done: int = 0
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def window_read(self, guid: str, proved: ProvedWindow) -> None:
        """A restaurant's next window was read whole."""
        self._reached[guid] = proved.window.end
        self._windows += 1
        self._orders += len(proved.orders)
        if self.clock() - self._last < _EVERY_SECONDS:
            return
        self._last = self.clock()
        length = self.week.end_ms - self.week.start_ms
        shares = [f"{guid} {(end - self.week.start_ms) / length:.0%}" for guid, end in self._reached.items()]
        more = f" and {len(shares) - _MOST_NAMED} more" if len(shares) > _MOST_NAMED else ""
        self.log.info(
            "Week %s: %d of %d restaurants done; %d orders in %d windows read; in progress: %s.",
            *(self.week.key, self._done, self.restaurants, self._orders, self._windows),
            ", ".join(shares[:_MOST_NAMED]) + more,
        )

    def finished(self, guid: str) -> str:
        """A restaurant is done, stored or failed; "2 of 3" if it is the second of three."""
        self._reached.pop(guid, None)
        self._done += 1
        return f"{self._done} of {self.restaurants}"


def announce(week: Week, asked: Sequence[str], earlier: Mapping[str, Measure], pace: PullPace, log: Logger) -> None:
    """Log what a pull of the restaurants ``asked`` is about to do, and how long it may take."""
    log.info(
        "Week %s (%s to %s): asking Toast for %d restaurants.",
        *(week.key, iso_ms(week.start), iso_ms(week.end), len(asked)),
    )
    requests = [measure.requests for measure in measures_for(asked, earlier).values()]
    seconds = in_words(pace.seconds(requests))
    if measured := sum(guid in earlier for guid in asked):
        log.info(
            "About %.0f requests in %s, by the last pull of %d restaurants; %.1f s between two requests for one.",
            *(sum(requests), seconds, measured, pace.spacing),
        )
    elif asked:
        log.info(
            "First pull of these restaurants; about %s if each has %.0f orders (%.1f s between two requests for one"
            " restaurant, %d restaurants at once).",
            *(seconds, ASSUMED.orders, pace.spacing, pace.at_once),
        )
