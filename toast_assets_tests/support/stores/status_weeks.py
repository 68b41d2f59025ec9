"""Manifests and deliveries as runs would leave them, for a brand of many restaurants and weeks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta

from toast_assets.store.deliveries import DeliveredWeek, MethodSummary, RestaurantDelivery
from toast_assets.store.manifest import (
    CensusDay,
    CensusRecord,
    Manifest,
    PullRecord,
    RestaurantRecord,
    SliceRecord,
    Verdicts,
    json_for_people,
)
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, iso_ms

SHA = "5f" * 32
ORDERS = 1000
_SLICES, _DAYS = 3, 8


def pulled(week: Week, name: str, *, days_later: float = 3.1, sha: str = SHA) -> RestaurantRecord:
    """A restaurant's week that was pulled ``days_later`` than its end, with windows and a census."""
    end = iso_ms(week.end + timedelta(days=days_later))
    step = (week.end - week.start) / _SLICES
    slices = tuple(
        SliceRecord(iso_ms(week.start + step * number), iso_ms(week.start + step * (number + 1)), 333, 5, "one_page")
        for number in range(_SLICES)
    )
    verdicts = Verdicts(listed=125, held=125, pending=0, found=0, unknown=0)
    days = tuple(
        CensusDay(
            business_date=f"{date.fromisoformat(week.key) + timedelta(days=n)}", orders=verdicts, payments=verdicts
        )
        for n in range(_DAYS)
    )
    pull = PullRecord(
        orders=ORDERS, bytes=4_000_000, orders_sha256=sha, new=ORDERS, changed=0, requests=15, retries=0, throttled=0,
        started_at=end, finished_at=end, slices=slices,
    )  # fmt: skip
    return RestaurantRecord(
        outcome="complete",
        name=name,
        time_zone="America/Chicago",
        currency="USD",
        census=CensusRecord(days=days),
        pull=pull,
    )


def store_pull(
    store: OrderStore,
    week: Week,
    records: Mapping[str, RestaurantRecord],
    pending: Iterable[str] = (),
    *,
    raw: bool = True,
) -> None:
    """The manifest of a week, and a raw file of it."""
    waiting = tuple(pending)
    failed = any(record.outcome == "failed" for record in records.values())
    manifest = Manifest(
        partition=week.key,
        start_date=iso_ms(week.start),
        end_date=iso_ms(week.end),
        outcome="incomplete" if waiting or failed else "complete",
        pending=waiting,
        restaurants=dict(records),
    )
    store.bucket.write(store.layout.manifest(week), json_for_people(manifest))
    if raw:
        store.bucket.write(store.layout.raw(week, "any"), b"")


def delivered(week: Week, *, sha: str = SHA, problem: str | None = None, **counts: int) -> RestaurantDelivery:
    """A restaurant's delivery of whole orders."""
    numbers = {"records": ORDERS, "arrived": ORDERS} | counts
    at = iso_ms(week.end + timedelta(days=3.2))
    return RestaurantDelivery(
        orders_sha256=sha, updated_at=at, methods={"stream": MethodSummary(**numbers)}, problem=problem
    )


def store_delivery(store: OrderStore, week: Week, restaurants: Mapping[str, RestaurantDelivery]) -> None:
    """The summary of a week's delivery."""
    summary = DeliveredWeek(partition=week.key, restaurants=dict(restaurants))
    store.bucket.write(store.layout.delivered(week.key), json_for_people(summary))


def store_weeks(
    store: OrderStore,
    weeks: Iterable[Week],
    restaurants: Mapping[str, str],
    changed: Callable[[Week], Mapping[str, RestaurantRecord]] = lambda _: {},
) -> None:
    """Whole and delivered weeks of restaurants (names by GUID), but for the records that are ``changed``."""
    for week in weeks:
        store_pull(store, week, {guid: pulled(week, name) for guid, name in restaurants.items()} | dict(changed(week)))
        store_delivery(store, week, {guid: delivered(week) for guid in restaurants})
