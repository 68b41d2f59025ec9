"""The algorithm of Amperity's guide, written anew and made to work: everything in memory, indented JSON, gzip.

What the guide prints does not run (its login, date format and paging are not Toast's), so those are Toast's here. How
it treats the orders is the guide's: decode all of them, ``json.dumps(indent=2)``, ``gzip.compress``, one object.
Where it knows a single restaurant it is called once for each, which is kinder to its memory than a list of them all.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import boto3
import requests

from benchmarks.weeks import WEEK
from toast_assets.orders.times import format_time

T = TypeVar("T")


class GuidePull:
    """One run for one restaurant after the other; ``network_seconds`` passed waiting for replies and uploads."""

    def __init__(self, url: str, bucket: str) -> None:
        self.network_seconds = 0.0
        self._url = url
        self._bucket = bucket
        self._session = requests.Session()
        self._s3 = boto3.client("s3")

    def run(self, restaurant_guid: str) -> int:
        """Fetch, encode, compress, store; the number of orders."""
        orders = self._fetch(restaurant_guid)
        metadata = {
            "fetch_date": WEEK.end.isoformat(),
            "start_date": WEEK.start.isoformat(),
            "end_date": WEEK.end.isoformat(),
            "total_orders": len(orders),
        }
        text = json.dumps({"orders": orders, "metadata": metadata}, indent=2)
        body = gzip.compress(text.encode("utf-8"))
        key = f"toast-orders/toast-orders_{WEEK.end:%Y%m%d_%H%M%S}_{restaurant_guid}.json.gz"
        self._timed(
            lambda: self._s3.put_object(
                Bucket=self._bucket, Key=key, Body=body, ContentType="application/json", ContentEncoding="gzip"
            )
        )
        return len(orders)

    def _fetch(self, restaurant_guid: str) -> list[dict[str, Any]]:
        orders: list[dict[str, Any]] = []
        headers = {"Authorization": "Bearer t", "Toast-Restaurant-External-ID": restaurant_guid}
        page = 1
        while True:
            parameters = {
                "startDate": format_time(WEEK.start_ms),
                "endDate": format_time(WEEK.end_ms),
                "pageSize": "100",
                "page": str(page),
            }
            request = partial(self._session.get, f"{self._url}/orders/v2/ordersBulk", headers=headers, timeout=60)
            response = self._timed(partial(request, params=parameters))
            response.raise_for_status()
            found = response.json()
            orders.extend(found)
            if "next" not in response.links:
                return orders
            page += 1

    def _timed(self, call: Callable[[], T]) -> T:
        began = time.perf_counter()
        try:
            return call()
        finally:
            self.network_seconds += time.perf_counter() - began
