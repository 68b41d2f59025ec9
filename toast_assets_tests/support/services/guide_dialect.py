"""A sandbox's Toast in the dialect that the example in Amperity's guide expects."""

from __future__ import annotations

import json

import httpx

from toast_assets.toast.client import ORDERS_PATH
from toast_assets.toast.login import LOGIN_PATH


class GuideDialect(httpx.AsyncBaseTransport):
    """The token is at the top of the login; a page is an object that names the next one by a token."""

    def __init__(self) -> None:
        self._wire = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The sandbox's answer, translated."""
        url = request.url
        if token := url.params.get("pageToken"):
            request.url = url.copy_remove_param("pageToken").copy_set_param("page", token.removeprefix("page-"))
        reply = await self._wire.handle_async_request(request)
        body = await reply.aread()
        if reply.status_code == 200 and url.path == LOGIN_PATH:
            token = json.loads(body)["token"]["accessToken"]
            body = json.dumps({"sessionToken": token, "status": "SUCCESS"}).encode()
        elif reply.status_code == 200 and url.path == ORDERS_PATH:
            following = httpx.URL(reply.links["next"]["url"]).params["page"] if "next" in reply.links else None
            body = b'{"orders":%s,"nextPageToken":%s}' % (body, json.dumps(following and f"page-{following}").encode())
        headers = {name: value for name, value in reply.headers.items() if name not in ("link", "content-length")}
        return httpx.Response(reply.status_code, headers=headers, content=body)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._wire.aclose()
