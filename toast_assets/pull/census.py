"""The census: which orders and payments Toast lists for each business day of a week, against what all weeks hold.

``ordersBulk`` alone cannot testify for itself. So Toast is asked a second way after a restaurant's week was read
(Toast: Orders API, orders by businessDate and payments by paidBusinessDate). An order that is listed although no week
holds it is fetched by its GUID, and stored with the week that is being pulled.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from logging import Logger
from threading import Lock
from typing import Any, TypeVar

import msgspec

from toast_assets.concurrency import in_thread
from toast_assets.errors import StoreError, ToastError, ToastLoginError
from toast_assets.index.orders import creation_month, indexed_orders
from toast_assets.markdown import first_of, plain
from toast_assets.orders.raw import RawOrder, UnreadableOrder
from toast_assets.orders.raw_file import UnreadableFileError, read_raw
from toast_assets.orders.scanner import decode
from toast_assets.orders.times import day_begins
from toast_assets.scratch import scratch_folder
from toast_assets.store.manifest import LOOKS, CensusDay, CensusRecord, RestaurantRecord, Verdicts
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import ToastClient
from toast_assets.week import Week, WeekCalendar

# When the list of a business day's payments is complete (Toast: Orders API, payments).
_PAYMENTS_SETTLE = timedelta(hours=6)
# Of a week: eight business days overlap it.
USUAL_REQUESTS = 16
# Orders in memory at once while what is missing is fetched.
_AT_ONCE = 20

_Reply = TypeVar("_Reply")
_Missing = dict[str, tuple[str, date]]
"""What is listed and not found yet: by GUID in lower case, as GUIDs compare, its spelling and first business day."""


class _Verdict(StrEnum):
    HELD = "held"
    PENDING = "pending"
    FOUND = "found"
    UNKNOWN = "unknown"


@dataclass
class PulledWeeks:
    """The closed weeks that were pulled of each restaurant, by their manifests, each read when it is first needed.
    ``week`` is being pulled. Threads may share it."""

    store: OrderStore
    calendar: WeekCalendar
    week: Week
    now: datetime
    log: Logger
    _lock: Lock = field(default_factory=Lock)
    _keys: frozenset[str] | None = None
    _restaurants: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def last(self) -> Week:
        """The last closed week."""
        return max(self.week, self.calendar.last_closed(self.now) or self.week)

    def since(self, guid: str, moment: datetime) -> tuple[list[Week], bool]:
        """The pulled weeks of a restaurant from the one that holds ``moment`` on, oldest first, and whether these are
        all closed weeks from then on."""
        week: Week | None = self.last
        closed: list[Week] = []
        while week is not None and week.end > moment:
            closed.append(week)
            day = date.fromisoformat(week.key) - timedelta(days=7)
            week = self.calendar.week(f"{day}") if day >= self.calendar.first else None
        pulled = [week for week in reversed(closed) if week == self.week or guid in self._pulled(week)]
        return pulled, len(pulled) == len(closed) > 0 and closed[-1].start <= moment

    def _pulled(self, week: Week) -> frozenset[str]:
        with self._lock:
            if self._keys is None:
                self._keys = frozenset(self.store.pulled_weeks())
            if week.key not in self._keys:
                return frozenset()
            if week.key not in self._restaurants:
                self._restaurants[week.key] = frozenset()
                try:
                    manifest, _ = self.store.load_manifest(week)
                    self._restaurants[week.key] = frozenset(manifest.stored if manifest else ())
                except StoreError as error:
                    self.store.bucket.check()
                    self.log.warning("The census counts week %s as not pulled: %s", week.key, error)
            return self._restaurants[week.key]


@dataclass(frozen=True)
class CensusResult:
    """What a census came to, with the orders that it ``found``, and those among them that are ``unreadable``."""

    record: CensusRecord
    found: Sequence[RawOrder] = ()
    unreadable: Sequence[UnreadableOrder] = ()


@dataclass(kw_only=True)
class Census:
    """One restaurant's census of ``week``. ``held`` iterates over the orders that were just read, ``is_stored`` says
    whether others of this week are stored as well, ``record`` is what is known of the restaurant."""

    week: Week
    guid: str
    toast: ToastClient
    store: OrderStore
    pulled: PulledWeeks
    now: datetime
    log: Logger
    record: RestaurantRecord
    held: Callable[[], Iterable[RawOrder]]
    is_stored: bool
    _orders: _Missing = field(init=False, default_factory=dict)
    _payments: _Missing = field(init=False, default_factory=dict)
    _verdicts: dict[str, _Verdict] = field(init=False, default_factory=dict)
    _paid: dict[str, _Verdict] = field(init=False, default_factory=dict)
    _months: dict[str, Mapping[str, int]] = field(init=False, default_factory=dict)
    _found: dict[str, RawOrder] = field(init=False, default_factory=dict)
    _unreadable: list[UnreadableOrder] = field(init=False, default_factory=list)

    async def take(self) -> CensusResult:
        """Ask, compare, fetch. What Toast refuses is a result; the first refusal ends it.

        Raises:
            ToastLoginError: no restaurant can be asked any more.
            StoreError: the bucket fails.
        """
        days = self._days()
        # A list that is refused costs one request.
        orders, failure = await self._lists(self.toast.order_guids, days[:1])
        payments: dict[date, list[str]] = {}
        payments_failure = failure
        if failure is None:
            over = [day for day in days if self.now >= self._begin(day + timedelta(days=1)) + _PAYMENTS_SETTLE]
            (more, failure), (payments, payments_failure) = await asyncio.gather(
                self._lists(self.toast.order_guids, days[1:]), self._lists(self.toast.payment_guids, over[:1])
            )
            orders |= more
            if payments_failure is None:
                more, payments_failure = await self._lists(self.toast.payment_guids, over[1:])
                payments |= more
        self._orders, self._payments = _by_guid(orders), _by_guid(payments)
        stored = await in_thread(self._strike_held, days)
        if stored and not any(orders.values()) and failure is None:
            failure = f"Toast lists no order of these business days, although {stored} are stored"
        await self._judge()
        if self._found:
            self.log.warning(
                "%s: ordersBulk did not return %d orders that business days list; they were fetched by GUID: %s",
                *(self.guid, len(self._found), ", ".join(first_of([*map(plain, self._found)]))),
            )
        earlier = self.record.census.unknown if self.record.census else {}
        unknown = [guid for guid, verdict in (self._verdicts | self._paid).items() if verdict is _Verdict.UNKNOWN]
        record = CensusRecord(
            days=tuple(
                CensusDay(
                    business_date=f"{day}",
                    orders=_counts(orders[day], self._verdicts),
                    payments=_counts(payments[day], self._paid) if day in payments else None,
                )
                for day in sorted(orders)
            ),
            failure=failure,
            payments_failure=payments_failure,
            unknown={guid: min(LOOKS, earlier.get(guid, 0) + 1) for guid in sorted(unknown)},
        )
        return CensusResult(record, [*self._found.values()], self._unreadable)

    def _days(self) -> list[date]:
        """The business days that overlap the week."""
        start, end = self.week.start, self.week.end
        # No clock is further from UTC than a day.
        near = (start.date() + timedelta(days=number) for number in range(-2, (end - start).days + 3))
        return [day for day in near if self._begin(day) < end and self._begin(day + timedelta(days=1)) > start]

    def _begin(self, day: date) -> datetime:
        return day_begins(day, self.record.time_zone, self.record.closeout_hour)

    async def _lists(
        self, ask: Callable[[str, date], Awaitable[list[str]]], days: Sequence[date]
    ) -> tuple[dict[date, list[str]], str | None]:
        """The listed GUIDs by day, and why some days have none."""
        listed, refused = await _answers(ask(self.guid, day) for day in days)
        return {days[number]: guids for number, guids in listed.items()}, refused[0].reason if refused else None

    def _strike_held(self, days: Sequence[date]) -> int:
        """Strike what is stored out of what is missing; how many orders of these days are in the week itself."""
        of_days = 0
        for order in self.held():
            of_days += order.business_date in days
            self._strike(order)
        if self._orders:
            for month in sorted({f"{day:%Y-%m}" for day in days}):
                for guid in self._orders.keys() & self._indexed(month):
                    del self._orders[guid]
        if self._orders or self._payments:
            first = min(day for _, day in (*self._orders.values(), *self._payments.values()))
            for week in self.pulled.since(self.guid, self._begin(first))[0]:
                if (self._orders or self._payments) and (self.is_stored or week != self.week):
                    self._strike_week(week)
        return of_days

    def _strike_week(self, week: Week) -> None:
        with scratch_folder() as folder:
            path = folder / "raw.parquet"
            try:
                if self.store.bucket.fetch(self.store.layout.raw(week, self.guid), path):
                    for order in read_raw(path):
                        self._strike(order)
            except UnreadableFileError as error:
                self.log.warning("The census of %s leaves out week %s: %s", self.guid, week.key, error)

    def _strike(self, order: RawOrder) -> None:
        self._orders.pop(order.guid.lower(), None)
        if self._payments:
            for payment in _payments_of(order):
                self._payments.pop(payment, None)

    def _indexed(self, month: str) -> Mapping[str, int]:
        """When the newest stored version of each indexed order of a month was modified, also of expired weeks."""
        if month not in self._months:
            found = indexed_orders(self.store, self.guid, month)
            self._months[month] = {guid.lower(): modified_ms for guid, modified_ms in found.items()}
        return self._months[month]

    async def _judge(self) -> None:
        """Say of everything that is missing what became of it."""
        days = {day for _, day in (*self._orders.values(), *self._payments.values())}
        whole = {day: (await in_thread(self.pulled.since, self.guid, self._begin(day)))[1] for day in sorted(days)}
        await self._fetch(guid for guid, day in self._orders.values() if whole[day])
        for guid, (_, day) in self._orders.items():
            self._verdicts.setdefault(guid, _Verdict.UNKNOWN if whole[day] else _Verdict.PENDING)
        left = [guid for key, (guid, day) in self._payments.items() if whole[day] and key not in self._paid]
        owners = await self._ask(self.toast.order_of_payment, left)
        await self._fetch({owner for owner in owners.values() if owner.lower() not in self._verdicts})
        for guid, (_, day) in self._payments.items():
            self._paid.setdefault(guid, _Verdict.UNKNOWN if whole[day] else _Verdict.PENDING)

    async def _fetch(self, guids: Iterable[str]) -> None:
        """Fetch orders, and say what became of them and of their payments; of those that cannot be fetched nothing."""
        wanted = [*guids]
        for start in range(0, len(wanted), _AT_ONCE):
            for guid, order in (await self._ask(self.toast.order, wanted[start : start + _AT_ONCE])).items():
                verdict = await in_thread(self._verdict, guid, order)
                self._verdicts[guid.lower()] = verdict
                if isinstance(order, RawOrder) and verdict is not _Verdict.UNKNOWN:
                    self._paid |= dict.fromkeys(_payments_of(order), verdict)

    async def _ask(self, ask: Callable[[str, str], Awaitable[_Reply]], guids: Sequence[str]) -> dict[str, _Reply]:
        """The replies by GUID, without those that Toast refuses."""
        answered, refused = await _answers(ask(self.guid, guid) for guid in guids)
        if refused:
            text = "The census of %s cannot fetch %d orders or payments that are missing; the first: %s"
            self.log.warning(text, self.guid, len(refused), refused[0])
        return {guids[number]: reply for number, reply in answered.items()}

    def _verdict(self, guid: str, order: RawOrder | UnreadableOrder) -> _Verdict:
        if order.guid is None or order.guid.lower() != guid.lower():
            return _Verdict.UNKNOWN
        if isinstance(order, UnreadableOrder):
            # It is kept aside, as every order that cannot be read.
            self._unreadable.append(order)
            return _Verdict.HELD
        if order.modified_ms <= self._indexed(creation_month(order.body)).get(guid.lower(), -1):
            return _Verdict.HELD
        if order.modified_ms >= self.pulled.last.end_ms:
            return _Verdict.PENDING
        self._found[order.guid] = order
        return _Verdict.FOUND


async def _answers(calls: Iterable[Awaitable[_Reply]]) -> tuple[dict[int, _Reply], list[ToastError]]:
    """The replies by the number of their call, and the errors of Toast; any other error is raised."""
    answered: dict[int, _Reply] = {}
    refused: list[ToastError] = []
    for number, reply in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
        if not isinstance(reply, BaseException):
            answered[number] = reply
        elif isinstance(reply, ToastError) and not isinstance(reply, ToastLoginError):
            refused.append(reply)
        else:
            raise reply
    return answered, refused


class _Payment(msgspec.Struct):
    guid: Any = None


class _Check(msgspec.Struct):
    payments: list[_Payment] | None = None


class _Order(msgspec.Struct):
    checks: list[_Check] | None = None


def _payments_of(order: RawOrder) -> Iterator[str]:
    """The GUIDs of an order's payments, in lower case."""
    try:
        checks = decode(order.body, _Order).checks or ()
    except msgspec.DecodeError:
        return
    for check in checks:
        for payment in check.payments or ():
            if isinstance(payment.guid, str):
                yield payment.guid.lower()


def _by_guid(listed: Mapping[date, Sequence[str]]) -> _Missing:
    return {guid.lower(): (guid, day) for day in sorted(listed, reverse=True) for guid in listed[day]}


def _counts(guids: Sequence[str], verdicts: Mapping[str, _Verdict]) -> Verdicts:
    counts = Counter(verdicts.get(guid.lower(), _Verdict.HELD) for guid in guids)
    return Verdicts(listed=len(guids), **{verdict.value: counts[verdict] for verdict in _Verdict})
