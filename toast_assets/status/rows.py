"""A restaurant's week as a row of the table ``status``: what the week's manifest and the summary of its delivery say,
and what follows from them and the clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from toast_assets.settings import SensorSettings
from toast_assets.store.deliveries import DeliveredWeek, RestaurantDelivery
from toast_assets.store.manifest import LOOKS, Verdicts
from toast_assets.week import Week

Row = dict[str, Any]
"""By column; a column that is not there is null."""

COMPLETE, INCOMPLETE, FAILED, NOT_PULLED = "complete", "incomplete", "failed", "not pulled"
EXPIRED, UNREADABLE = "expired", "unreadable"
DELIVERED, REFUSED, PARTLY, OUTDATED, NOT_DELIVERED = "delivered", "refused", "partly", "out of date", "not delivered"
# The sensor's attempts at a look end some 31 hours after its first one, and runs take time.
_ATTEMPTS_END = timedelta(days=2)
_VERDICTS = ("held", "found", "pending", "unknown")
_TOTALS = ("records", "arrived", "rejected", "pending", "superseded")


class _Pull(msgspec.Struct, frozen=True):
    orders: int
    orders_sha256: str
    finished_at: str
    unreadable: int = 0


class _Day(msgspec.Struct, frozen=True):
    orders: Verdicts


class _Census(msgspec.Struct, frozen=True):
    days: tuple[_Day, ...] = ()
    failure: str | None = None
    unknown: dict[str, int] = {}


class _Restaurant(msgspec.Struct, frozen=True):
    outcome: str = ""
    name: str | None = None
    census: _Census | None = None
    pull: _Pull | None = None
    failure: str | None = None


class Pulled(msgspec.Struct, frozen=True):
    """What the table takes of a ``Manifest``, by the same names: most of a large one, a megabyte, is evidence that need
    not be decoded."""

    partition: str
    pending: tuple[str, ...] = ()
    restaurants: dict[str, _Restaurant] = {}


def rows_of(week: Week, manifest: Pulled, delivered: DeliveredWeek | None, *, raw: bool, problem: str) -> Iterator[Row]:
    """The rows of the restaurants that a week's manifest names. ``raw``: there are raw orders of the week; ``problem``
    says why the summary of the delivery cannot be read."""
    deliveries = delivered.restaurants if delivered else {}
    for guid in sorted({*manifest.restaurants, *manifest.pending}):
        record = manifest.restaurants.get(guid, _Restaurant())
        state, reason = _pulled(record, is_pending=guid in manifest.pending)
        # A restaurant that failed, and is not wanted any more, counts as complete without orders.
        if state == COMPLETE and record.pull is None:
            continue
        row: Row = {"week": date.fromisoformat(week.key), "restaurant_guid": guid, "restaurant_name": record.name}
        row |= {"state": state, "reason": reason, **_census(record.census)}
        if pull := record.pull:
            row |= {"orders": pull.orders, "unreadable": pull.unreadable, "pulled_at": _moment(pull.finished_at)}
            delivery = _delivery(pull, deliveries.get(guid), problem)
            row |= delivery | {"reason": reason or delivery["reason"]}
            if state == COMPLETE and not raw:
                # Only what was delivered is removed.
                row |= {"state": EXPIRED, "reason": None}
        yield row


def _pulled(record: _Restaurant, *, is_pending: bool) -> tuple[str, str | None]:
    """The state of a restaurant's week, and why it is not complete."""
    unfinished = FAILED if record.pull is None else INCOMPLETE
    if is_pending:
        return unfinished, "A run is asking Toast for it, or ended before it had."
    if record.outcome == "failed":
        return unfinished, record.failure or "The pull failed."
    # After the last look they are no news, as in the check no_order_missing.
    news = record.census is not None and any(looks < LOOKS for looks in record.census.unknown.values())
    return (INCOMPLETE, "Toast lists orders that could not be fetched.") if news else (COMPLETE, None)


def _delivery(pull: _Pull, found: RestaurantDelivery | None, problem: str) -> Row:
    if found is None:
        return {"delivery": NOT_DELIVERED, "reason": problem or "It was not delivered yet."}
    methods = found.methods.values()
    records, arrived, *rest = (sum(getattr(one, name) for one in methods) for name in _TOTALS)
    rejected, pending, superseded = rest
    row: Row = {"records": records, "delivered": arrived, "superseded": superseded}
    row |= {"rejected": rejected, "pending": pending, "delivered_at": _moment(found.updated_at)}
    if found.orders_sha256 != pull.orders_sha256:
        return row | {"delivery": OUTDATED, "reason": "It was not delivered yet since the last pull."}
    if found.problem or pending:
        return row | {"delivery": PARTLY, "reason": found.problem or "Records had no answer yet."}
    if rejected:
        return row | {"delivery": REFUSED, "reason": "Amperity refused records."}
    return row | {"delivery": DELIVERED, "reason": None}


def _census(taken: _Census | None) -> Row:
    if taken is None:
        return {"census": "not taken"}
    row: Row = {"census": "not available" if taken.failure else "taken"}
    return row | {f"census_{name}": sum(getattr(day.orders, name) for day in taken.days) for name in _VERDICTS}


def outlook(
    row: tuple[str, str | None, datetime | None], week: Week, now: datetime, sensor: SensorSettings, *, is_new: bool
) -> tuple[str | None, datetime | None, str]:
    """The columns ``second_look``, ``second_look_at`` and ``next`` of a row, by its ``state``, ``delivery`` and
    ``pulled_at``, at ``now`` (aware). ``is_new``: the week comes after all that are stored."""
    state, delivery, pulled_at = row
    due = week.end + sensor.second_look_after
    look: tuple[str | None, datetime | None] = (None, None)
    if state == EXPIRED:
        look = "not needed", None
    elif pulled_at is not None:
        look = ("done", pulled_at) if pulled_at >= due else ("due" if now < due else "overdue", due)
    works = sensor.mode != "off"
    still_asks = works and now < due + _ATTEMPTS_END
    if state == UNREADABLE:
        step = "nothing by itself: restore or remove the manifest"
    elif state == NOT_PULLED and is_new and works:
        step = "the sensor asks for it"
    elif state in (FAILED, INCOMPLETE) and still_asks:
        step = "the sensor asks again"
    elif state in (NOT_PULLED, FAILED, INCOMPLETE):
        step = "nothing by itself: materialize the week"
    elif state == COMPLETE and delivery in (NOT_DELIVERED, OUTDATED, PARTLY):
        step = "the week's next run delivers it" if still_asks else "nothing by itself: materialize amperity_delivery"
    elif state == COMPLETE and delivery == REFUSED:
        step = "refused records are sent again with the next delivery"
    elif look[0] == "due" and works:
        step = f"second look at {due:%Y-%m-%d %H:%M} UTC"
    elif look[0] == "overdue" and still_asks:
        step = "the sensor takes the second look"
    else:
        step = "nothing"
    return *look, step


def standing(state: str, delivery: str | None) -> str:
    """A row's state in one word, with that of its delivery where the week is complete."""
    if state != COMPLETE or delivery in (DELIVERED, None):
        return state
    return REFUSED if delivery == REFUSED else NOT_DELIVERED


STANDINGS = (COMPLETE, EXPIRED, NOT_DELIVERED, REFUSED, INCOMPLETE, FAILED, UNREADABLE, NOT_PULLED)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
