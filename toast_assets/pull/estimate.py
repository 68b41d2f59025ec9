"""How many requests a pull takes and how long, before it begins: by what earlier pulls of the restaurants took.

Two things decide: the pace that is kept for each restaurant, and how many restaurants are asked side by side. Toast's
other limits do not bind: 20 requests a second and 10,000 in 15 minutes over all its APIs are counted for each
restaurant (Toast: rate limiting), and the pace of ``ordersBulk`` keeps one below 4,500 in 15 minutes. A limit of the
account, which Toast may set, is ``TOAST_TOTAL_REQUESTS_PER_SECOND``. Answers that take longer than the pace, and
retries, are not foreseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace
from statistics import fmean

from toast_assets.store.manifest import PullRecord
from toast_assets.toast.limits import pace_spacing
from toast_assets.toast.settings import ToastLimits


@dataclass(frozen=True)
class Measure:
    """What one restaurant's week took, or may take: requests for its orders, and the orders."""

    requests: float
    orders: float

    @classmethod
    def of(cls, pull: PullRecord) -> Measure:
        """By the windows of a pull: without retries, and without the request for the restaurant's name."""
        return cls(sum(window.requests for window in pull.slices), pull.orders)


# Where no pull was ever made: what a restaurant of a thousand orders a week takes.
ASSUMED = Measure(15, 1000)


@dataclass(frozen=True)
class PullPace:
    """How fast a run may ask: ``spacing`` seconds between two requests for one restaurant, ``total_spacing`` between
    any two (0: no limit), ``at_once`` restaurants side by side."""

    spacing: float
    at_once: int
    total_spacing: float = 0.0

    @classmethod
    def of(cls, settings: ToastLimits, spacing: float) -> PullPace:
        """The pace by the settings, where ``spacing`` seconds are asked for besides."""
        total = settings.total_requests_per_second
        return cls(
            max(spacing, pace_spacing(settings.requests_per_second)),
            settings.concurrent_restaurants,
            pace_spacing(total) if total else 0.0,
        )

    def seconds(self, requests: Sequence[float]) -> float:
        """How long a run takes that makes so many ``requests`` for each of its restaurants, in its order.

        A restaurant begins as soon as one of those before it is done; its first request waits for nothing.
        """
        ends = [0.0] * self.at_once
        for each in requests:
            heapreplace(ends, ends[0] + max(0.0, each - 1) * self.spacing)
        return max(*ends, 0.0, (sum(requests) - 1) * self.total_spacing)


@dataclass(frozen=True)
class PullEstimate:
    """One run's pull: of so many ``restaurants``, ``measured`` of which were pulled before; 0 says that all of it is
    assumed."""

    restaurants: int
    measured: int
    requests: float
    orders: float
    seconds: float


def estimate_pull(asked: Sequence[str], earlier: Mapping[str, Measure], pace: PullPace) -> PullEstimate:
    """What a pull of the restaurants ``asked`` may take, by what an ``earlier`` pull of each of them took."""
    measures = complemented(asked, earlier)
    requests = [measure.requests for measure in measures.values()]
    orders = sum(measure.orders for measure in measures.values())
    measured = sum(guid in earlier for guid in asked)
    return PullEstimate(len(asked), measured, sum(requests), orders, pace.seconds(requests))


def complemented(asked: Sequence[str], earlier: Mapping[str, Measure]) -> dict[str, Measure]:
    """A measure for each of the restaurants ``asked``: those without an ``earlier`` pull count as the mean of the
    others, or as ``ASSUMED`` where there is none."""
    known = [earlier[guid] for guid in asked if guid in earlier] or [ASSUMED]
    unknown = Measure(fmean(one.requests for one in known), fmean(one.orders for one in known))
    return {guid: earlier.get(guid, unknown) for guid in asked}


def in_words(seconds: float) -> str:
    """A length of time as a person says it: "40 s", "12 min", "3.5 h", "2.1 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
