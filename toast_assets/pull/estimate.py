"""Requests and time that a pull or a backfill takes, by the manifests of earlier pulls: requests x spacing.

Toast's limits of 20 requests a second and 10,000 in 15 minutes count each restaurant (Toast: rate limiting), and the
limit of ``ordersBulk`` keeps one below them. Slow replies and retries are not foreseen. Runs of a backfill take turns
in the pool ``toast``: one pull after the other, while the delivery of the week before goes on beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from heapq import heapreplace
from statistics import fmean

from toast_assets.amperity.settings import DeliverySpeed
from toast_assets.errors import StoreError, WeekError
from toast_assets.store.calendar import check_boundaries
from toast_assets.store.manifest import PullRecord, to_ask
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.limits import historical_spacing, pace_spacing
from toast_assets.toast.settings import ToastLimits
from toast_assets.week import KEY_FORMAT, Week, WeekCalendar

# Dagster's process, export, tables and checks of a run. They go on beside the next week's pull.
RUN_SECONDS = 10.0


@dataclass(frozen=True)
class Measure:
    """Orders of one restaurant's week, and the requests for them: without retries, and without that for its name."""

    requests: float
    orders: float

    @classmethod
    def of(cls, pull: PullRecord) -> Measure:
        """What a pull took."""
        return cls(sum(window.requests for window in pull.slices), pull.orders)


# Before any pull: what a restaurant of a thousand orders a week takes.
ASSUMED = Measure(15, 1000)


def measures_for(guids: Sequence[str], earlier: Mapping[str, Measure]) -> dict[str, Measure]:
    """A measure for each of ``guids``: a restaurant without an ``earlier`` pull counts as the mean of the others, or as
    ``ASSUMED``."""
    known = [earlier[guid] for guid in guids if guid in earlier] or [ASSUMED]
    unknown = Measure(fmean(one.requests for one in known), fmean(one.orders for one in known))
    return {guid: earlier.get(guid, unknown) for guid in guids}


@dataclass(frozen=True)
class PullPace:
    """How fast a run may ask: seconds between two requests for one restaurant, restaurants at once, and seconds between
    any two requests (0: no limit)."""

    spacing: float
    at_once: int
    total_spacing: float = 0.0

    @classmethod
    def of(cls, settings: ToastLimits, spacing: float) -> PullPace:
        """The pace of the settings, with at least ``spacing`` seconds for one restaurant."""
        spacing, total = max(spacing, pace_spacing(settings.requests_per_second)), settings.total_requests_per_second
        return cls(spacing, settings.concurrent_restaurants, pace_spacing(total) if total else 0.0)

    def seconds(self, requests: Sequence[float]) -> float:
        """The time of a run that makes these ``requests``, one number per restaurant, in this order.

        A restaurant begins as soon as one of those before it is done; its first request does not wait.
        """
        ends = [0.0] * self.at_once
        for each in requests:
            heapreplace(ends, ends[0] + max(0.0, each - 1) * self.spacing)
        return max(*ends, 0.0, (sum(requests) - 1) * self.total_spacing)


class State(StrEnum):
    """What is stored of a week."""

    NOTHING = "not pulled yet"
    INCOMPLETE = "incomplete"
    WHOLE = "stored whole"


class Basis(StrEnum):
    """What a restaurant's estimate is based on, best first."""

    OWN_PULL = "own_pull"
    OTHER_WEEK = "other_week"
    OTHER_RESTAURANTS = "other_restaurants"
    ASSUMPTION = "assumption"


@dataclass(frozen=True)
class WeekEstimate:
    """One run: ``requests`` are all to Toast, ``pull_seconds`` those for ``orders``, of which ``undelivered`` were not
    stored before. ``basis`` counts restaurants, ``nearest`` are the other weeks it uses."""

    week: Week
    state: State
    restaurants: int
    requests: float
    orders: float
    spacing: float
    pull_seconds: float
    undelivered: float
    delivery_seconds: float
    basis: Mapping[Basis, int]
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class BackfillEstimate:
    """All runs of a backfill, oldest week first: requests to Toast, orders, also those that are pulled again, and the
    pulls one after the other."""

    weeks: tuple[WeekEstimate, ...]
    requests: float
    orders: float
    pull_seconds: float

    @property
    def seconds(self) -> float:
        """From the first run to the end of the last one; each delivery waits for its pull and for the one before."""
        pulled = delivered = 0.0
        for week in self.weeks:
            pulled += max(week.pull_seconds, RUN_SECONDS)
            delivered = max(pulled, delivered) + week.delivery_seconds
        return delivered + RUN_SECONDS


def weeks_between(calendar: WeekCalendar, first_key: str, last_key: str, now: datetime) -> list[Week]:
    """The weeks from ``first_key`` to ``last_key``, both included.

    Raises:
        WeekError: one of them is no closed week; or they are the wrong way round.
    """
    first, last = calendar.closed_week(first_key, now), calendar.closed_week(last_key, now)
    if last < first:
        raise WeekError(
            f"The range begins with week {first.key}, which is after week {last.key}, with which it ends.",
            hint=f"The other way round: --from {last.key} --to {first.key}.",
        )
    begin = date.fromisoformat(first.key)
    days = range(0, (date.fromisoformat(last.key) - begin).days + 1, 7)
    return [calendar.week(f"{begin + timedelta(days=day):{KEY_FORMAT}}") for day in days]


def estimate_backfill(
    store: OrderStore,
    calendar: WeekCalendar,
    weeks: Sequence[Week],
    limits: ToastLimits,
    delivery: DeliverySpeed,
    now: datetime,
    *,
    refresh: bool | None = None,
) -> BackfillEstimate:
    """What runs of the ``weeks``, oldest first, take at ``now`` (aware); ``refresh`` as in a run's configuration.

    Raises:
        StoreError: the bucket or a manifest cannot be read; or restaurants are discovered and no week is stored.
        CalendarError: the settings of the calendar do not fit the stored weeks.
    """
    check_boundaries(store, calendar)
    pulled = store.pulled_weeks()
    # Weeks before a later TOAST_START_DATE serve as a measure all the same.
    ever = replace(calendar, first=date.min)
    wanted = limits.restaurant_guids if not limits.discovers else _restaurants_of_newest(store, ever, pulled)
    before = [key for key in pulled if key < weeks[0].key][-1:]
    after = [key for key in pulled if key > weeks[-1].key][:1]
    keys = [*before, *(week.key for week in weeks), *after]
    stored = {key: _stored(store, ever.week(key), wanted) for key in keys}

    def estimate(week: Week) -> WeekEstimate:
        own = stored[week.key]
        asked = to_ask(wanted, own.missing, refresh)
        to_pull = [guid for guid in asked if refresh or guid not in own.resumable]
        # The nearest week with a pull of a restaurant, the earlier one of two.
        near = sorted(stored, key=lambda key: (abs(date.fromisoformat(key) - date.fromisoformat(week.key)), key))
        nearest = {guid: next((key for key in near if guid in stored[key].measures), None) for guid in to_pull}
        sources = {guid: key for guid, key in nearest.items() if key is not None}
        measures = measures_for(to_pull, {guid: stored[key].measures[guid] for guid, key in sources.items()})
        requests = [measure.requests for measure in measures.values()]
        described = 1 + len(wanted) if limits.discovers else sum(guid not in own.described for guid in asked)
        # What is stored already counts as delivered: of that only differences go.
        undelivered = sum(measures[guid].orders for guid in to_pull if guid not in own.measures)
        pace = PullPace.of(limits, historical_spacing(limits, week.end, now))
        otherwise = Basis.OTHER_RESTAURANTS if sources else Basis.ASSUMPTION
        known = {guid: Basis.OWN_PULL if key == week.key else Basis.OTHER_WEEK for guid, key in sources.items()}
        return WeekEstimate(
            week=week,
            state=own.state,
            restaurants=len(to_pull),
            requests=sum(requests) + described,
            orders=sum(measure.orders for measure in measures.values()),
            spacing=pace.spacing,
            pull_seconds=pace.seconds(requests),
            undelivered=undelivered,
            delivery_seconds=undelivered / delivery.requests_per_second if "stream" in delivery.methods else 0.0,
            basis=Counter(known.get(guid, otherwise) for guid in to_pull),
            nearest=tuple(sorted(set(sources.values()) - {week.key})),
        )

    found = tuple(map(estimate, weeks))
    requests, orders = sum(week.requests for week in found), sum(week.orders for week in found)
    return BackfillEstimate(found, requests, orders, sum(week.pull_seconds for week in found))


@dataclass(frozen=True)
class _StoredWeek:
    """What an estimate needs of a week's manifest, so that a year of them fits into memory. No run finished the
    ``missing`` restaurants; a run that died stored the ``resumable`` ones; of ``described`` ones the name is known."""

    state: State
    missing: tuple[str, ...]
    resumable: frozenset[str]
    measures: Mapping[str, Measure]
    described: frozenset[str]


def _stored(store: OrderStore, week: Week, wanted: tuple[str, ...]) -> _StoredWeek:
    manifest, _ = store.load_manifest(week)
    if manifest is None:
        return _StoredWeek(State.NOTHING, wanted, store.raw_restaurants(week).intersection(wanted), {}, frozenset())
    missing = manifest.missing(wanted)
    raw = store.raw_restaurants(week) if missing else frozenset()
    return _StoredWeek(
        State.INCOMPLETE if missing else State.WHOLE,
        missing,
        raw.intersection(missing).difference(manifest.stored),
        {guid: Measure.of(pull) for guid, pull in manifest.stored.items()},
        frozenset(guid for guid, record in manifest.restaurants.items() if record.time_zone),
    )


def _restaurants_of_newest(store: OrderStore, calendar: WeekCalendar, pulled: Sequence[str]) -> tuple[str, ...]:
    manifest = store.load_manifest(calendar.week(pulled[-1]))[0] if pulled else None
    if manifest is None:
        raise StoreError(
            f"No week is stored in {store.bucket.uri(store.layout.prefix)} yet, and with TOAST_RESTAURANT_GUID=* only"
            " stored weeks tell which restaurants there are.",
            hint="Materialize one week first, or name the restaurants in TOAST_RESTAURANT_GUID for this command.",
        )
    return tuple(sorted({*manifest.restaurants, *manifest.pending}))


def in_words(seconds: float) -> str:
    """A length of time: "40 s", "12 min", "3.5 h", "2.1 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
