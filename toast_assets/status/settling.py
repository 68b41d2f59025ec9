"""How long figures move: the share of orders and money that was still modified days after the business day, and what
only a second look brought.

Read are the ``orders`` tables and manifests of the newest weeks, so the cost does not grow with the history. A business
day ends at the closeout hour (04:00 where it is unknown) on the restaurant's clock. An order is late by N days if its
newest version was modified more than N days after that. What counts of a restaurant are its weeks without a gap up to
the newest one, and of these the business days that were followed for ``FOLLOWED``: later ones had no time to be late.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from logging import Logger
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.markdown import plain
from toast_assets.orders.raw_file import row_groups
from toast_assets.orders.times import day_begins, zone
from toast_assets.scratch import scratch_folder
from toast_assets.store.manifest import Manifest, RestaurantRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import earlier_manifests
from toast_assets.tables.current_files import newest
from toast_assets.tables.files import Backdated, backdated_in, restaurants_in, sha256_of, unreadable_in
from toast_assets.tables.schema import TABLES
from toast_assets.week import KEY_FORMAT, Week, WeekCalendar, epoch_ms

DAYS = (1, 2, 3, 7)
WEEKS = 13
FEWEST_WEEKS = 4
FOLLOWED = timedelta(days=13)
SHARES = tuple(f"after {days} d" for days in DAYS)
TOTALS = ("days after", "orders", "net sales", "known change")
LEGEND = (
    "after N d: orders whose newest version was modified more than N days after the end of their business day, as a"
    " share of all orders, and of net sales. known change: by how much net sales after refunds moved since then, of"
    " orders that have an earlier version in an earlier week. backdated: orders that only a second look brought,"
    " although they were modified in their week, with their net sales."
)
_ONE_DAY = timedelta(days=1)
_DAY_MS = 86_400_000
_COLUMNS = ("restaurant_guid", "order_guid", "business_date", "modified_at", "net_sales", "net_sales_after_refunds")
_SCHEMA = pa.schema([TABLES["orders"].schema.field(name) for name in _COLUMNS])


class Late(msgspec.Struct, frozen=True):
    """The orders that were late by ``days``, and their net sales. ``change`` is by how much net sales after refunds
    moved since the version known until then, up or down, over those orders that have such a version in an earlier
    week."""

    days: int
    orders: int
    net_sales: Decimal
    change: Decimal


class Followed(msgspec.Struct, frozen=True):
    """The orders of the business days that count, in how many weeks these are, and which orders were late by each of
    ``DAYS``."""

    weeks: int = 0
    orders: int = 0
    net_sales: Decimal = Decimal(0)
    late: tuple[Late, ...] = ()

    @property
    def shares(self) -> list[float]:
        """The share of orders that were late by each of ``DAYS``."""
        return [late.orders / self.orders if self.orders else 0.0 for late in self.late]

    @property
    def money_shares(self) -> list[float]:
        """The share of net sales that were late by each of ``DAYS``."""
        return [float(late.net_sales / self.net_sales) if self.net_sales else 0.0 for late in self.late]


class SecondLooks(msgspec.Struct, frozen=True):
    """What second looks at ``weeks`` brought to their ``orders``: those that are ``backdated``, because they were
    modified in their week and appeared later, and the ``net_sales`` of these."""

    weeks: int = 0
    orders: int = 0
    backdated: int = 0
    net_sales: Decimal = Decimal(0)


class RestaurantSettling(msgspec.Struct, frozen=True, kw_only=True):
    """One restaurant. ``followed_problem`` and ``looks_problem`` say why the numbers say nothing, or are None."""

    restaurant_guid: str
    name: str | None
    currency: str | None
    followed: Followed
    followed_problem: str | None
    looks: SecondLooks
    looks_problem: str | None

    @property
    def cells(self) -> tuple[str, ...]:
        """For people: the shares by ``DAYS``, or a problem in the first cell, and what second looks brought."""
        shares = zip(self.followed.shares, self.followed.money_shares, strict=True)
        late = [f"{_percent(orders)} / {_percent(money)}" for orders, money in shares]
        if self.followed_problem is not None:
            late = [self.followed_problem, *[""] * (len(DAYS) - 1)]
        looks = self.looks
        backdated = f"{looks.backdated:,} ({looks.net_sales:,.2f} {self.currency or ''}".rstrip() + ")"
        return (*late, self.looks_problem or (backdated if looks.backdated else f"0 of {looks.orders:,}"))


class Settling(msgspec.Struct, frozen=True, kw_only=True):
    """All restaurants, those with the largest share of late money first. ``totals`` are over those without a problem,
    by currency. ``left_out`` are weeks without a readable manifest or table of orders."""

    weeks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    totals: dict[str, Followed] = {}
    restaurants: tuple[RestaurantSettling, ...] = ()

    @property
    def short_names(self) -> list[str]:
        """A name of at most 24 characters for each of the restaurants, which can share one at Toast."""
        counts = Counter(one.name for one in self.restaurants)
        return [
            plain(one.name or one.restaurant_guid)[:24]
            if one.name is None or counts[one.name] == 1
            else f"{plain(one.name)[:15]} {one.restaurant_guid[:8]}"
            for one in self.restaurants
        ]

    @property
    def total_rows(self) -> list[tuple[str, ...]]:
        """For people: a currency and ``TOTALS`` in each row."""
        return [
            (
                currency,
                str(late.days),
                f"{late.orders:,} ({_percent(orders)})",
                f"{late.net_sales:,.2f} ({_percent(money)})",
                f"{late.change:,.2f}",
            )
            for currency, total in self.totals.items()
            for late, orders, money in zip(total.late, total.shares, total.money_shares, strict=True)
        ]

    @property
    def backdated(self) -> int:
        """Orders that second looks brought, of the restaurants with enough of these."""
        return sum(one.looks.backdated for one in self.restaurants if one.looks_problem is None)


def settling(store: OrderStore, calendar: WeekCalendar, log: Logger) -> Settling:
    """How the newest ``WEEKS`` weeks settled.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    stored = [key for key in store.pulled_weeks() if calendar.is_week(key)]
    if not stored:
        return Settling()
    after = date.fromisoformat(stored[-1]) + timedelta(days=7)
    first = f"{after - timedelta(days=7 * WEEKS):{KEY_FORMAT}}"
    with scratch_folder() as folder:
        found = earlier_manifests(calendar.week(f"{after:{KEY_FORMAT}}"), calendar, store, WEEKS)
        weeks = [one for week, manifest in found if (one := _fetched(week, manifest, store, folder)) is not None][::-1]
        restaurants = [_of_restaurant(guid, history, weeks) for guid, history in _histories(weeks)]
    read = tuple(one.week.key for one in weeks)
    left_out = tuple(key for key in stored if key >= first and key not in read)
    if left_out:
        log.warning("How figures settle: weeks without a readable manifest or table of orders: %s", ", ".join(left_out))
    by_currency: dict[str, list[Followed]] = defaultdict(list)
    for restaurant in restaurants:
        if restaurant.followed_problem is None:
            by_currency[restaurant.currency or "unknown currency"].append(restaurant.followed)
    totals = {currency: _sum(some) for currency, some in sorted(by_currency.items())}
    return Settling(weeks=read, left_out=left_out, totals=totals, restaurants=tuple(sorted(restaurants, key=_rank)))


@dataclass(frozen=True)
class _StoredWeek:
    """A week's manifest, and the file at ``path`` with those columns of its orders that matter here. By restaurant:
    the number of ``unreadable`` orders, which have no row, and what second looks brought."""

    week: Week
    manifest: Manifest
    path: Path
    unreadable: Mapping[str, int]
    backdated: Mapping[str, Backdated]


class _RestaurantWeek(NamedTuple):
    week: _StoredWeek
    record: RestaurantRecord
    orders: pa.Table


def _fetched(week: Week, manifest: Manifest, store: OrderStore, folder: Path) -> _StoredWeek | None:
    """None where there is no table of orders, or it is damaged or of an earlier release."""
    whole, path = folder / "whole.parquet", folder / f"{week.key}.parquet"
    stored = store.bucket.fetch(store.layout.table("orders", week.key), whole)
    if stored is None or sha256_of(whole) != stored.metadata.get("sha256"):
        return None
    if not {*_COLUMNS} <= {*pq.read_schema(whole).names}:
        return None
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for group in row_groups(whole, _COLUMNS):
            writer.write_table(group.select(_COLUMNS))
    unreadable = {guid: len(orders) for guid, orders in unreadable_in(whole).items()}
    return _StoredWeek(week, manifest, path, unreadable, backdated_in(whole))


def _histories(weeks: Sequence[_StoredWeek]) -> Iterator[tuple[str, list[_RestaurantWeek]]]:
    """Each restaurant with those of the weeks, oldest first, whose table has all of its stored orders."""

    def parts(number: int, week: _StoredWeek) -> Iterator[tuple[str, int, pa.Table]]:
        nothing = ((guid, number, _SCHEMA.empty_table()) for guid in sorted(week.manifest.stored))
        rows = ((guid, number, rows) for guid, rows in restaurants_in(week.path))
        return heapq.merge(nothing, rows, key=itemgetter(0))

    merged = heapq.merge(*(parts(*one) for one in enumerate(weeks)), key=itemgetter(0, 1))
    for guid, of_restaurant in groupby(merged, key=itemgetter(0)):
        history = []
        for number, some in groupby(of_restaurant, key=itemgetter(1)):
            week, orders = weeks[number], pa.concat_tables([rows for *_, rows in some])
            record = week.manifest.restaurants.get(guid)
            stored = record.pull.orders if record and record.pull else None
            if record is not None and len(orders) + week.unreadable.get(guid, 0) == stored:
                history.append(_RestaurantWeek(week, record, orders))
        yield guid, history


def _of_restaurant(guid: str, history: Sequence[_RestaurantWeek], weeks: Iterable[_StoredWeek]) -> RestaurantSettling:
    known = [record for week in weeks if (record := week.manifest.restaurants.get(guid)) is not None][::-1]
    looks = SecondLooks()
    for week, record, _ in history:
        if record.second_look_at and record.pull:
            orders, net_sales = week.backdated.get(guid, (0, Decimal(0)))
            orders, net_sales = looks.backdated + orders, looks.net_sales + net_sales
            looks = SecondLooks(looks.weeks + 1, looks.orders + record.pull.orders, orders, net_sales)
    clock = next((record for record in known if zone(record.time_zone)), None)
    followed = _followed(history, clock) if clock and history else Followed()
    return RestaurantSettling(
        restaurant_guid=guid,
        name=next((record.name for record in known if record.name), None),
        currency=next((record.currency for record in known if record.currency), None),
        followed=followed,
        followed_problem=_too_few(followed.weeks) if clock else "time zone unknown",
        looks=looks,
        looks_problem=_too_few(looks.weeks),
    )


def _too_few(weeks: int) -> str | None:
    return f"too few weeks ({weeks} of {FEWEST_WEEKS})" if weeks < FEWEST_WEEKS else None


def _followed(history: Sequence[_RestaurantWeek], clock: RestaurantRecord) -> Followed:
    """The orders of the newest weeks that follow each other; ``clock`` has the restaurant's time zone."""
    weeks = [history[-1]]
    for earlier in history[-2::-1]:
        if earlier.week.week.end != weeks[-1].week.week.start:
            break
        weeks.append(earlier)
    start, end = weeks[-1].week.week.start, weeks[0].week.week.end
    versions = pa.concat_tables([one.orders for one in weeks])
    # A date far from these weeks may be one that has no next day.
    near = start.date() - _ONE_DAY, end.date()
    days = [day for day in versions["business_date"].unique().to_pylist() if day and near[0] <= day <= near[1]]
    ends = {day: _begins(day + _ONE_DAY, clock) for day in days if _begins(day, clock) >= start}
    ends = {day: over for day, over in ends.items() if over + FOLLOWED <= end}
    versions = versions.append_column("lag", _lags(versions, ends))
    orders = newest(versions).filter(pc.is_valid(pc.field("lag")))
    late = []
    for days_late in DAYS:
        due = days_late * _DAY_MS
        some, known = orders.filter(pc.field("lag") > due), newest(versions.filter(pc.field("lag") <= due))
        both = some.join(known, "order_guid", join_type="inner", right_suffix="_known")
        change = pc.subtract(both["net_sales_after_refunds"], both["net_sales_after_refunds_known"])
        late.append(Late(days_late, len(some), _total(some["net_sales"]), _total(pc.abs(change))))
    began = [_begins(day, clock) for day in orders["business_date"].unique().to_pylist()]
    counted = [one for one in weeks if any(one.week.week.start <= begin < one.week.week.end for begin in began)]
    return Followed(len(counted), len(orders), _total(orders["net_sales"]), tuple(late))


def _begins(day: date, clock: RestaurantRecord) -> datetime:
    return day_begins(day, clock.time_zone, clock.closeout_hour)


def _lags(versions: pa.Table, ends: Mapping[date, datetime]) -> pa.ChunkedArray:
    """The milliseconds from the end of each version's business day to its modified time; null where the day has none of
    the ``ends``."""
    places = pc.index_in(versions["business_date"], pa.array([*ends], pa.date32()))
    over = pa.array([*map(epoch_ms, ends.values())], pa.int64())
    return pc.subtract(versions["modified_at"].cast(pa.int64()), over.take(places))


def _total(amounts: pa.ChunkedArray) -> Decimal:
    return pc.sum(amounts).as_py() or Decimal(0)


def _sum(some: Sequence[Followed]) -> Followed:
    def total(late: Sequence[Late], days: int) -> Late:
        amounts = _decimal(one.net_sales for one in late), _decimal(one.change for one in late)
        return Late(days, sum(one.orders for one in late), *amounts)

    late = tuple(total([one.late[number] for one in some], days) for number, days in enumerate(DAYS))
    weeks, orders = max(one.weeks for one in some), sum(one.orders for one in some)
    return Followed(weeks, orders, _decimal(one.net_sales for one in some), late)


def _decimal(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def _rank(one: RestaurantSettling) -> tuple[bool, float, str]:
    share = one.followed.money_shares[0] if one.followed_problem is None else 0.0
    return one.followed_problem is not None, -share, one.restaurant_guid


def _percent(share: float) -> str:
    return f"{share:.1%}" if abs(share) < 0.0995 else f"{share:.0%}"
