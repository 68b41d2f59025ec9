"""``toast-assets estimate``: what a backfill takes, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import click

from toast_assets.amperity.settings import DeliverySpeed
from toast_assets.cli.stores import command_store
from toast_assets.pull.estimate import (
    ASSUMED,
    State,
    WeekEstimate,
    backfill_seconds,
    estimate_backfill,
    in_words,
    weeks_between,
)
from toast_assets.settings import CalendarSettings
from toast_assets.toast.settings import ToastLimits

_COLUMNS = ("weeks", "state", "restaurants", "requests", "orders", "time", "spacing (s)", "by")
_ALIGNMENTS = ("<", "<", ">", ">", ">", "<", ">", "<")


def estimate(first: str, last: str, *, refresh: bool | None, as_json: bool) -> None:
    """Estimate a backfill from the week named ``first`` to the one named ``last``, and print it."""
    store = command_store(ToastLimits, DeliverySpeed, CalendarSettings, writes=False)
    calendar, now = CalendarSettings.from_environment().calendar(), datetime.now(UTC)
    weeks = weeks_between(calendar, first, last, now)
    limits, delivery = ToastLimits.from_environment(), DeliverySpeed.from_environment()
    found = estimate_backfill(store, calendar, weeks, limits, delivery, now, refresh=refresh)
    click.echo(json.dumps(_as_json(found), indent=1, ensure_ascii=False) if as_json else "\n".join(_text(found)))


def _text(weeks: Sequence[WeekEstimate]) -> list[str]:
    requests, orders, pull_seconds = _totals(weeks)
    alike = groupby(weeks, key=lambda week: (week.state, week.spacing, week.restaurants, _by(week)))
    rows = [_COLUMNS, *(_row(list(group)) for _, group in alike)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    forms = [f"{align}{width}" for align, width in zip(_ALIGNMENTS, widths, strict=True)]
    lines = [
        *("  ".join(map(format, row, forms)).rstrip() for row in rows),
        "",
        f"In all about {requests:,.0f} requests for {orders:,.0f} orders.",
        f"About {in_words(backfill_seconds(weeks))}: the pulls, one after the other, take {in_words(pull_seconds)};"
        " deliveries and tables run at the same time.",
    ]
    if any("assumption" in week.basis for week in weeks):
        lines.append(
            f"No measurement yet: {ASSUMED.orders:,.0f} orders and {ASSUMED.requests:.0f} requests per restaurant and"
            " week are assumed. Materialize one week for a better estimate."
        )
    if any(week.state is State.WHOLE and week.restaurants for week in weeks):
        lines.append("Weeks that are stored whole are pulled again; leave them out of the backfill to save time.")
    return lines


def _row(weeks: Sequence[WeekEstimate]) -> tuple[str, ...]:
    first, last = weeks[0], weeks[-1]
    requests, orders, pull_seconds = _totals(weeks)
    return (
        first.week.key if first is last else f"{first.week.key} to {last.week.key}",
        first.state.value,
        str(first.restaurants),
        f"{requests:,.0f}",
        f"{orders:,.0f}",
        in_words(pull_seconds),
        f"{first.spacing:.1f}",
        _by(first),
    )


def _totals(weeks: Sequence[WeekEstimate]) -> tuple[float, float, float]:
    """Requests, orders, and seconds of all pulls."""
    return (
        sum(week.requests for week in weeks),
        sum(week.orders for week in weeks),
        sum(week.pull_seconds for week in weeks),
    )


def _by(week: WeekEstimate) -> str:
    names = {
        "own_pull": "its last pull",
        "other_week": " and ".join(week.nearest),
        "other_restaurants": "the other restaurants",
        "assumption": "an assumption",
    }
    return ", ".join(words for basis, words in names.items() if week.basis.get(basis)) or "nothing to ask"


def _as_json(weeks: Sequence[WeekEstimate]) -> dict[str, Any]:
    requests, orders, pull_seconds = _totals(weeks)
    return {
        "requests": round(requests),
        "orders": round(orders),
        "pull_seconds": round(pull_seconds, 1),
        "seconds": round(backfill_seconds(weeks), 1),
        "weeks": [
            {
                "partition": week.week.key,
                "state": week.state.name.lower(),
                "restaurants": week.restaurants,
                "requests": round(week.requests),
                "orders": round(week.orders),
                "undelivered_orders": round(week.undelivered),
                "spacing_seconds": round(week.spacing, 3),
                "pull_seconds": round(week.pull_seconds, 1),
                "delivery_seconds": round(week.delivery_seconds, 1),
                "restaurants_by": dict(sorted(week.basis.items())),
                "measured_in": list(week.nearest),
            }
            for week in weeks
        ],
    }
