"""What a backfill over a range of weeks takes, week by week, by the manifests that are stored.

Runs of a backfill take their turns in the pool ``toast``: one pull after the other, while the delivery of the week
before goes on beside it. Whom each run asks follows the pipeline's own rule (``to_ask``): a week that is stored whole
is pulled again, of any other only what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from toast_assets.amperity.settings import DeliverySpeed
from toast_assets.errors import StoreError, WeekError
from toast_assets.pull.estimate import Measure, PullEstimate, PullPace, complemented, estimate_pull
from toast_assets.store.calendar import check_boundaries
from toast_assets.store.manifest import Manifest, to_ask
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.limits import historical_spacing
from toast_assets.toast.settings import ToastLimits
from toast_assets.week import KEY_FORMAT, Week, WeekCalendar

# What a run takes besides pulling and delivering: Dagster's process, export, tables, checks. It goes on beside the next
# week's pull, so it shows only where that is shorter, and at the very end.
RUN_SECONDS = 10.0


class State(StrEnum):
    """What is stored of a week."""

    NOTHING = "not pulled yet"
    INCOMPLETE = "incomplete"
    WHOLE = "stored whole"


class Basis(StrEnum):
    """By what a restaurant's pull is estimated; the best that there is."""

    OWN_PULL = "own_pull"
    OTHER_WEEK = "other_week"
    OTHER_RESTAURANTS = "other_restaurants"
    ASSUMPTION = "assumption"


@dataclass(frozen=True)
class StoredWeek:
    """What of a week's manifest an estimate needs, so that a year of them fits into memory.

    ``missing`` are the wanted restaurants that no run finished; of these a run that died had ``resumable`` stored
    already. ``measures`` are those of the stored pulls, ``described`` those whose name and time zone are known.
    """

    state: State
    missing: tuple[str, ...]
    resumable: frozenset[str]
    measures: Mapping[str, Measure]
    described: frozenset[str]

    @classmethod
    def of(cls, manifest: Manifest | None, wanted: tuple[str, ...], raw: frozenset[str]) -> StoredWeek:
        """By the manifest, and by the restaurants that have a ``raw`` file."""
        missing = manifest.missing(wanted) if manifest else wanted
        stored = manifest.stored if manifest else {}
        return cls(
            (State.INCOMPLETE if missing else State.WHOLE) if manifest else State.NOTHING,
            missing,
            raw.intersection(missing).difference(stored),
            {guid: Measure.of(pull) for guid, pull in stored.items()},
            frozenset(guid for guid, record in manifest.restaurants.items() if record.time_zone)
            if manifest
            else frozenset(),
        )


@dataclass(frozen=True)
class WeekEstimate:
    """One run. ``pull`` is what it asks Toast for orders, ``requests`` all that it asks; ``undelivered`` orders were
    not stored before, and take ``delivery_seconds``. ``nearest`` names the other weeks that ``basis`` counts."""

    week: Week
    state: State
    pull: PullEstimate
    spacing: float
    requests: float
    undelivered: float
    delivery_seconds: float
    basis: Mapping[Basis, int]
    nearest: tuple[str, ...]


@dataclass(frozen=True)
class BackfillEstimate:
    """All runs of a backfill, oldest week first."""

    weeks: tuple[WeekEstimate, ...]

    @property
    def requests(self) -> float:
        """Requests to Toast."""
        return sum(week.requests for week in self.weeks)

    @property
    def orders(self) -> float:
        """Orders that are pulled, those that are pulled again included."""
        return sum(week.pull.orders for week in self.weeks)

    @property
    def pull_seconds(self) -> float:
        """All pulls, one after the other."""
        return sum(week.pull.seconds for week in self.weeks)

    @property
    def seconds(self) -> float:
        """From the first run to the end of the last one; each delivery waits for its pull and for the one before."""
        pulled = delivered = 0.0
        for week in self.weeks:
            pulled += max(week.pull.seconds, RUN_SECONDS)
            delivered = max(pulled, delivered) + week.delivery_seconds
        return delivered + RUN_SECONDS


def weeks_between(calendar: WeekCalendar, first_key: str, last_key: str, now: datetime) -> list[Week]:
    """The weeks from the one named ``first_key`` to the one named ``last_key``, both included.

    Raises:
        WeekError: one of them is no week, or has not closed yet; or they are the wrong way round.
    """
    first, last = calendar.closed_week(first_key, now), calendar.closed_week(last_key, now)
    if last < first:
        raise WeekError(
            f"The range begins with week {first.key}, which is after week {last.key}, with which it ends.",
            hint=f"The other way round: --from {last.key} --to {first.key}.",
        )
    day, weeks = date.fromisoformat(first.key), []
    while (key := f"{day:{KEY_FORMAT}}") <= last.key:
        weeks.append(calendar.week(key))
        day += timedelta(days=7)
    return weeks


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
    """What runs of the ``weeks``, oldest first, take at ``now`` (aware); ``refresh`` as in the configuration of a run.
    Reads manifests and asks nobody but the bucket.

    Raises:
        StoreError: the bucket or a manifest cannot be read; or the restaurants are to be discovered, and no week is
            stored that knows them.
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
    stored = {key: _load(store, ever.week(key), wanted) for key in keys}
    return BackfillEstimate(
        tuple(estimate_week(week, wanted, stored, limits, delivery, now, refresh) for week in weeks)
    )


def estimate_week(
    week: Week,
    wanted: tuple[str, ...],
    stored: Mapping[str, StoredWeek],
    limits: ToastLimits,
    delivery: DeliverySpeed,
    now: datetime,
    refresh: bool | None,
) -> WeekEstimate:
    """One week's run, by what is ``stored`` of it and of the weeks around it, which may be nothing."""
    own = stored[week.key]
    asked = to_ask(wanted, own.missing, refresh)
    to_pull = [guid for guid in asked if refresh or guid not in own.resumable]
    sources = _sources(week, to_pull, stored)
    known = {guid: stored[key].measures[guid] for guid, key in sources.items()}
    pace = PullPace.of(limits, historical_spacing(limits, week.end, now))
    pull = estimate_pull(to_pull, known, pace)
    measures = complemented(to_pull, known)
    # What is stored already counts as delivered: of that only differences go.
    undelivered = sum(measures[guid].orders for guid in to_pull if guid not in own.measures)
    described = 1 + len(wanted) if limits.discovers else sum(guid not in own.described for guid in asked)
    return WeekEstimate(
        week,
        own.state,
        pull,
        pace.spacing,
        pull.requests + described,
        undelivered,
        undelivered / delivery.requests_per_second if "stream" in delivery.methods else 0.0,
        _basis(week, to_pull, sources),
        tuple(sorted(set(sources.values()) - {week.key})),
    )


def _sources(week: Week, guids: Sequence[str], stored: Mapping[str, StoredWeek]) -> dict[str, str]:
    """By restaurant, the nearest week of which a pull of it is stored, the earlier one of two."""
    this = date.fromisoformat(week.key)
    keys = sorted(stored, key=lambda key: (abs(date.fromisoformat(key) - this), key))
    found = ((guid, next((key for key in keys if guid in stored[key].measures), None)) for guid in guids)
    return {guid: key for guid, key in found if key is not None}


def _basis(week: Week, guids: Sequence[str], sources: Mapping[str, str]) -> Mapping[Basis, int]:
    otherwise = Basis.OTHER_RESTAURANTS if sources else Basis.ASSUMPTION
    own = {True: Basis.OWN_PULL, False: Basis.OTHER_WEEK}
    return Counter(own[sources[guid] == week.key] if guid in sources else otherwise for guid in guids)


def _restaurants_of_newest(store: OrderStore, calendar: WeekCalendar, pulled: Sequence[str]) -> tuple[str, ...]:
    manifest = store.load_manifest(calendar.week(pulled[-1]))[0] if pulled else None
    if manifest is None:
        raise StoreError(
            f"No week is stored in {store.bucket.uri(store.layout.prefix)} yet, and with TOAST_RESTAURANT_GUID=* only"
            " stored weeks tell which restaurants there are.",
            hint="Materialize one week first, or name the restaurants in TOAST_RESTAURANT_GUID for this command.",
        )
    return tuple(sorted({*manifest.restaurants, *manifest.pending}))


def _load(store: OrderStore, week: Week, wanted: tuple[str, ...]) -> StoredWeek:
    manifest, _ = store.load_manifest(week)
    unfinished = manifest is None or manifest.missing(wanted)
    return StoredWeek.of(manifest, wanted, store.raw_restaurants(week) if unfinished else frozenset())
