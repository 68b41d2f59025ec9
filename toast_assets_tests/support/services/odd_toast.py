"""A Toast in memory whose orders are any bytes: for replies that no well-made server gives."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from toast_assets.orders.times import format_time, parse_time_ms
from toast_assets.pull.week import PullReport, WeekPull
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import RESTAURANT_HEADER, ToastClient
from toast_assets.week import Week
from toast_assets_tests.support.services.clients import QUICK, SkippedTime, toast_settings
from toast_assets_tests.support.services.scripted import login_reply


def plain_order(guid: str, modified_ms: int, **texts: str) -> bytes:
    """An order that has what every order has, and some texts."""
    more = "".join(f',"{name}":"{text}"' for name, text in texts.items())
    return f'{{"guid":"{guid}","modifiedDate":"{format_time(modified_ms)}"{more}}}'.encode()


@dataclass
class OddToast(httpx.AsyncBaseTransport):
    """``orders`` by restaurant: the bytes of each with the time (milliseconds since 1970, UTC) that Toast filters by.
    ``headers`` are in every reply, ``listed`` are the restaurants of the partners' list."""

    orders: dict[str, list[tuple[int, bytes]]]
    headers: Mapping[str, str] = field(default_factory=dict)
    listed: tuple[str, ...] = ()

    def add(self, guid: str, *orders: bytes, at: int) -> None:
        """Add orders that Toast takes for modified at ``at``."""
        self.orders.setdefault(guid, []).extend((at, order) for order in orders)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        path, guid = request.url.path, request.headers.get(RESTAURANT_HEADER, "")
        if path.endswith("/login"):
            reply = login_reply()
        elif path.endswith("/ordersBulk"):
            reply = self._page(request.url.params, guid)
        elif path.startswith("/partners/"):
            reply = httpx.Response(200, json=[{"restaurantGuid": each} for each in self.listed])
        else:
            reply = httpx.Response(200, json={"general": {"name": "Pier 9", "timeZone": "UTC"}})
        reply.headers.update(self.headers)
        return reply

    def _page(self, parameters: httpx.QueryParams, guid: str) -> httpx.Response:
        start, end = parse_time_ms(parameters["startDate"]), parse_time_ms(parameters["endDate"])
        # Toast's header ignores case.
        found = [order for each in self.orders if each.lower() == guid.lower() for order in self.orders[each]]
        bodies = [body for at, body in sorted(found, key=lambda order: order[0]) if start <= at < end]
        page = int(parameters["page"])
        links = {"Link": '<https://toast/?page=2>; rel="next"'} if len(bodies) > page * 100 else {}
        return httpx.Response(200, headers=links, content=b"[%s]" % b",".join(bodies[(page - 1) * 100 : page * 100]))


async def pull_from(
    toast: OddToast,
    sandbox: Sandbox,
    store: OrderStore,
    week: Week,
    *,
    refresh: bool | None = None,
    guids: str = "",
    **changes: str,
) -> PullReport:
    """One run's pull of ``guids`` (default: all that ``toast`` has) into a sandbox's bucket; ``changes`` are
    environment variables."""
    time = SkippedTime()
    settings = toast_settings(sandbox, TOAST_RESTAURANT_GUID=guids or ",".join(toast.orders), **changes)
    async with ToastClient(
        settings, retry=QUICK, sleep=time.sleep, clock=time.clock, now=time.now, transport=toast
    ) as client:
        return await WeekPull(week, client, store, refresh=refresh, log=logging.getLogger(__name__)).run()
