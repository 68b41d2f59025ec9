"""Requests and time that a pull or a backfill takes, by the manifests of earlier pulls: requests x spacing.

Toast's limits of 20 requests a second and 10,000 in 15 minutes count each restaurant (Toast: rate limiting), and pulls
one after the other stay below them. Slow replies and retries are not foreseen. Runs of a backfill take turns
in the pool ``toast``: one pull after the other, while the delivery of the week before goes on beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from heapq import heapreplace
from statistics import fmean
from typing import NamedTuple

from toast_assets.amperity.settings import DeliverySpeed
from toast_assets.errors import StoreError, WeekError
from toast_assets.pull.census import USUAL_REQUESTS
from toast_assets.store.calendar import check_boundaries
from toast_assets.store.manifest import Manifest, PullRecord, to_ask
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.configuration import ENTITIES
from toast_assets.toast.limits import MOST_PER_RESTAURANT, historical_spacing, pace_spacing
from toast_assets.toast.settings import ToastLimits
from toast_assets.week import KEY_FORMAT, Week, WeekCalendar

# Dagster's process, export, tables and checks of a run. They go on beside the next week's pull.
RUN_SECONDS = 10.0


class Measure(NamedTuple):
    """Orders of one restaurant's week, and the requests for them: without retries, names and the census."""

    requests: float
    orders: float

    @classmethod
    def of(cls, pull: PullRecord) -> Measure:
        """What a pull took."""
        return cls(sum(window.requests for window in pull.windows), pull.orders)


# Before any pull: what a restaurant of a thousand orders a week takes.
ASSUMED = Measure(15, 1000)


def measures_for(guids: Sequence[str], earlier: Mapping[str, Measure]) -> dict[str, Measure]:
    """A measure for each of ``guids``: a restaurant without an ``earlier`` pull counts as the mean of the others, or as
    ``ASSUMED``."""
    known = [earlier[guid] for guid in guids if guid in earlier] or [ASSUMED]
    unknown = Measure(fmean(one.requests for one in known), fmean(one.orders for one in known))
    return {guid: earlier.get(guid, unknown) for guid in guids}


def pull_seconds(requests: Sequence[float], limits: ToastLimits, spacing: float, others: float = 0.0) -> float:
    """The time of a run that makes these ``requests``, one number per restaurant, in this order, with ``spacing``
    seconds between two for one restaurant. The ``others`` are made beside them, and count only for the limit over all.

    A restaurant begins as soon as one of those before it is done; its first request does not wait, its census comes
    last.
    """
    ends = [0.0] * limits.concurrent_restaurants
    census = USUAL_REQUESTS * pace_spacing(MOST_PER_RESTAURANT) if limits.census == "on" else 0.0
    for each in requests:
        heapreplace(ends, ends[0] + max(0.0, each - 1) * spacing + census)
    total = limits.total_requests_per_second
    return max(*ends, (sum(requests) + others - 1) * pace_spacing(total) if total else 0.0)


class State(StrEnum):
    """What is stored of a week."""

    NOTHING = "not pulled yet"
    INCOMPLETE = "incomplete"
    WHOLE = "stored whole"


@dataclass(frozen=True)
class WeekEstimate:
    """One run: ``requests`` are all to Toast, ``pull_seconds`` those for ``orders``, of which ``undelivered`` were not
    stored before. ``basis`` counts restaurants by what their numbers are taken from: ``own_pull``, ``other_week`` (one
    of the ``nearest``), ``other_restaurants`` or ``assumption``."""

    week: Week
    state: State
    restaurants: int
    requests: float
    orders: float
    spacing: float
    pull_seconds: float
    undelivered: float
    delivery_seconds: float
    basis: Mapping[str, int]
    nearest: tuple[str, ...]


def backfill_seconds(weeks: Iterable[WeekEstimate]) -> float:
    """From the first run to the end of the last one; each delivery waits for its pull and for the one before."""
    pulled = delivered = 0.0
    for week in weeks:
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
) -> list[WeekEstimate]:
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
    measured = {key: _measures(store, ever.week(key)) for key in (*before, *(week.key for week in weeks), *after)}

    def estimate(week: Week) -> WeekEstimate:
        stored, _ = store.load_manifest(week)
        manifest = stored or Manifest(partition=week.key, start_date="", end_date="", outcome="incomplete")
        missing = manifest.missing(wanted)
        asked = to_ask(wanted, missing, refresh)
        # A run that died stored these, and the next one takes them from the raw files.
        resumable = store.raw_restaurants(week).intersection(missing).difference(manifest.stored)
        to_pull = [guid for guid in asked if refresh or guid not in resumable]
        # The nearest week with a pull of a restaurant, the earlier one of two.
        near = sorted(measured, key=lambda key: (abs(date.fromisoformat(key) - date.fromisoformat(week.key)), key))
        nearest = {guid: next((key for key in near if guid in measured[key]), None) for guid in to_pull}
        sources = {guid: key for guid, key in nearest.items() if key is not None}
        measures = measures_for(to_pull, {guid: measured[key][guid] for guid, key in sources.items()})
        requests = [measure.requests for measure in measures.values()]
        named = {guid for guid, record in manifest.restaurants.items() if record.time_zone}
        described = 1 + len(wanted) if limits.discovers else len({*asked} - named)
        if limits.names == "on":
            read = {guid for guid, record in manifest.restaurants.items() if record.names_read_at}
            described += len({*asked} - read) * len(ENTITIES)
        if limits.census == "on":
            described += len(asked) * USUAL_REQUESTS
        # What is stored already counts as delivered: of that only differences go.
        undelivered = sum(measures[guid].orders for guid in to_pull if guid not in manifest.stored)
        spacing = max(historical_spacing(limits, week.end, now), pace_spacing(limits.requests_per_second))
        otherwise = "other_restaurants" if sources else "assumption"
        known = {guid: "own_pull" if key == week.key else "other_week" for guid, key in sources.items()}
        return WeekEstimate(
            week=week,
            state=State.NOTHING if stored is None else State.INCOMPLETE if missing else State.WHOLE,
            restaurants=len(to_pull),
            requests=sum(requests) + described,
            orders=sum(measure.orders for measure in measures.values()),
            spacing=spacing,
            pull_seconds=pull_seconds(requests, limits, spacing, described if to_pull else 0.0),
            undelivered=undelivered,
            delivery_seconds=undelivered / delivery.requests_per_second if "stream" in delivery.methods else 0.0,
            basis=Counter(known.get(guid, otherwise) for guid in to_pull),
            nearest=tuple(sorted(set(sources.values()) - {week.key})),
        )

    return [estimate(week) for week in weeks]


def _measures(store: OrderStore, week: Week) -> Mapping[str, Measure]:
    # Not the manifest: a year of them would not fit into memory.
    manifest, _ = store.load_manifest(week)
    return {guid: Measure.of(pull) for guid, pull in manifest.stored.items()} if manifest else {}


def _restaurants_of_newest(store: OrderStore, calendar: WeekCalendar, pulled: Sequence[str]) -> tuple[str, ...]:
    manifest = store.load_manifest(calendar.week(pulled[-1]))[0] if pulled else None
    if manifest is None:
        raise StoreError(
            f"No week is stored in {store.bucket.uri(store.layout.prefix)} yet, and with TOAST_RESTAURANT_GUID=* only"
            " stored weeks tell which restaurants there are.",
            hint="Materialize one week first, or name the restaurants in TOAST_RESTAURANT_GUID for this command.",
            code="WEEK-NOT-PULLED",
        )
    return tuple(sorted({*manifest.restaurants, *manifest.pending}))


def in_words(seconds: float) -> str:
    """A length of time: "40 s", "12 min", "3.5 h", "2.1 days"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"
