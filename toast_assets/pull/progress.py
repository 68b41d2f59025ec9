"""What a person reads in the log while a pull runs: how long it may take, and every few seconds how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from logging import Logger

from toast_assets.pull.estimate import ASSUMED, Measure, PullPace, estimate_pull, in_words
from toast_assets.toast.windows import ProvedWindow
from toast_assets.week import Week, iso_ms

# Often enough to see that it is alive, seldom enough for a pull of hours.
_EVERY_SECONDS = 10.0
_MOST_NAMED = 5


@dataclass
class PullWatch:
    """The log of one run's pull of ``week``, for ``restaurants`` of them; ``clock`` gives monotonic seconds."""

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
        if self.clock() - self._last >= _EVERY_SECONDS:
            self._last = self.clock()
            self._tell()

    def finished(self, guid: str) -> str:
        """A restaurant is done, stored or failed; "2 of 3" if it is the second of three."""
        self._reached.pop(guid, None)
        self._done += 1
        return f"{self._done} of {self.restaurants}"

    def _tell(self) -> None:
        length = self.week.end_ms - self.week.start_ms
        shares = {guid: (reached - self.week.start_ms) / length for guid, reached in self._reached.items()}
        named = ", ".join(f"{guid} {share:.0%}" for guid, share in list(shares.items())[:_MOST_NAMED])
        more = f" and {len(shares) - _MOST_NAMED} more" if len(shares) > _MOST_NAMED else ""
        self.log.info(
            "Week %s: %d of %d restaurants done; %d windows with %d orders read; under way: %s.",
            *(self.week.key, self._done, self.restaurants, self._windows, self._orders, named + more or "none"),
        )


def announce(week: Week, asked: Sequence[str], earlier: Mapping[str, Measure], pace: PullPace, log: Logger) -> None:
    """Say what a pull of the restaurants ``asked`` is about to do and how long it may take."""
    log.info(
        "Week %s (%s to %s): asking Toast for %d restaurants.",
        *(week.key, iso_ms(week.start), iso_ms(week.end), len(asked)),
    )
    estimate = estimate_pull(asked, earlier, pace)
    if estimate.measured:
        log.info(
            "About %.0f requests by the last pull of %d of them: %s at %.1f s between two for one restaurant.",
            *(estimate.requests, estimate.measured, in_words(estimate.seconds), pace.spacing),
        )
    elif asked:
        log.info(
            "None of them was pulled before, so nobody knows how long it takes: with %.0f orders each about %s, at"
            " %.1f s between two requests for one restaurant and %d restaurants at a time.",
            *(ASSUMED.orders, in_words(estimate.seconds), pace.spacing, pace.at_once),
        )
