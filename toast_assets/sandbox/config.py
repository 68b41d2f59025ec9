"""What a sandbox is set up with: restaurants, limits, dialects, credentials. Everything has a default."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from toast_assets.sandbox.assumptions import Assumption
from toast_assets.sandbox.order_builder import as_guid


@dataclass(frozen=True)
class Restaurant:
    """One location. ``closeout_hour`` is local; ``state`` says why it has no orders, or why these credentials may not
    read them, and is empty if they may; a ``phantom`` trades, and its orders are an empty list for ever [3p].
    ``currency`` is an ISO code."""

    guid: str
    name: str
    timezone: str = "America/New_York"
    closeout_hour: int = 4
    orders_per_week: int = 300
    state: Literal["", "deleted", "archived", "forbidden", "phantom"] = ""
    currency: str = "USD"


def invent_restaurants(count: int, orders_per_week: int = 300, seed: int = 1) -> tuple[Restaurant, ...]:
    """``count`` live restaurants with invented GUIDs, for trying a large brand; equal for equal arguments."""
    rng = Random(f"restaurants:{seed}")
    zones = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")
    restaurants = []
    for number in range(count):
        guid, name = as_guid(f"{rng.getrandbits(120):030x}"), f"Harbor & Thistle, No. {number + 1}"
        restaurants.append(Restaurant(guid, name, zones[number % len(zones)], orders_per_week=orders_per_week))
    return tuple(restaurants)


@dataclass(frozen=True)
class SandboxConfig:
    """Settings of one sandbox. Rates are requests; ``now`` gives Unix seconds.

    ``port`` is Toast's, Amperity and S3 have the next two; 0 takes any that are free. ``now`` is the clock of token
    expiry, rate limits, what "modified now" means and which orders exist already. With ``late_changes`` a week's orders
    change in the week after, as soon as somebody asks for that one. ``configuration_page_size`` is at most 300.
    ``without`` is the assumption that does not hold at the start.
    """

    seed: int = 1
    restaurants: tuple[Restaurant, ...] = (
        Restaurant("0b1f6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "Harbor & Thistle, Pier 9", orders_per_week=320),
        Restaurant("1c2e7b63-8d4e-4f90-8b21-5e3d7c8f9012", "Harbor & Thistle, Old Mill", orders_per_week=240),
        Restaurant("2d3f8c74-9e5f-4a01-9c32-6f4e8d90a123", "Café Ciénaga", "America/Los_Angeles", 3, 36),
        Restaurant("3e409d85-af60-4b12-8d43-705f9ea1b234", "Harbor & Thistle, Test Kitchen", state="deleted"),
        Restaurant("4f51ae96-b071-4c23-9e54-8160afb2c345", "Harbor & Thistle, Winter Garden", state="archived"),
    )
    now: Callable[[], float] = time.time
    late_changes: bool = True
    without: Assumption | None = None
    latency_seconds: float = 0.0
    rate_limits: bool = True
    port: int = 0

    toast_client_id: str = "sandbox-client"
    toast_client_secret: str = "sandbox-secret"  # noqa: S105 - opens nothing but this sandbox
    scopes: str = "orders:read restaurants:read config:read guest.pi:read delivery_info.address:read"
    partner: bool = True
    requests_per_quarter_hour: int = 10_000
    configuration_page_size: int = 300

    tenant: str = "sandbox"
    amperity_api_key: str = "sandbox-api-key"
    amperity_client_id: str = "sandbox-amperity-client"
    amperity_client_secret: str = "sandbox-amperity-secret"  # noqa: S105 - opens nothing but this sandbox
    streams: tuple[str, ...] = (
        *("is-toast-orders", "is-toast-order-items"),
        *("is-toast-transactions", "is-toast-customers"),
    )
    records_per_second: int = 1000
    polls_until_done: int = 2

    bucket: str | None = None  # None picks a name that no other sandbox of this process uses.
    prefix: str = "toast-orders/"
