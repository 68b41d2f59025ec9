"""Pull and export without a network: replies come out of memory, objects go into a folder.

What is left is this package's own work, and the HTTP client's part of it that needs no socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import httpx

from benchmarks.tables import FolderBucket
from benchmarks.weeks import ServedRestaurant
from toast_assets.week import epoch_ms

_TOKEN = b'{"token":{"accessToken":"t","expiresIn":86400}}'
_DETAILS = b'{"general":{"timeZone":"America/New_York","closeoutHour":4}}'


class MemoryTransport(httpx.AsyncBaseTransport):
    """Toast, as far as a pull needs it, in the place of the network; ``seconds`` were spent on making replies."""

    def __init__(self, week: Path, restaurants: Sequence[str]) -> None:
        self._restaurants = {guid: ServedRestaurant(week, guid) for guid in restaurants}
        self.seconds = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The reply of ``benchmarks.server`` to the same request, after whatever else is ready to run."""
        await asyncio.sleep(0)
        began = time.perf_counter()
        response = self._reply(request)
        self.seconds += time.perf_counter() - began
        return response

    def _reply(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.startswith("/authentication"):
            return httpx.Response(200, content=_TOKEN)
        if path.startswith("/restaurants"):
            return httpx.Response(200, content=_DETAILS)
        values = request.url.params
        start, end = (epoch_ms(datetime.fromisoformat(values[name])) for name in ("startDate", "endDate"))
        restaurant = self._restaurants[request.headers["Toast-Restaurant-External-ID"]]
        pieces, more = restaurant.page(start, end, int(values["page"]), int(values["pageSize"]))
        links = [("Link", '<http://localhost>; rel="next"')] if more else []
        return httpx.Response(200, content=b"".join((b"[", *pieces, b"]")), headers=links)


class EmptyFolderBucket(FolderBucket):
    """A bucket in a local folder that holds nothing at the start."""

    def check(self) -> None:
        """The folder is there."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Nothing is looked for but what an earlier run would have left."""
        del prefix
        return iter(())
