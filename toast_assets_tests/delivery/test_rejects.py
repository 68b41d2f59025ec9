"""The week's rejects: no record spoils the file for the others."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from toast_assets.amperity.records import RecordKey
from toast_assets.delivery.rejects import Rejects
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.stores.stored_weeks import store_week


def key(guid: str) -> RecordKey:
    return RecordKey("stream", "socktown/is-1", "here", guid, "1", order_guid=guid)


@pytest.mark.parametrize(
    "odd",
    [
        b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"x":\n' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        rb'{"x":"Soup \ud83d"}',
    ],
    ids=["deep", "deep in several lines", "half an emoji"],
)
def test_a_record_that_no_decoder_reads_is_named_without_it(
    store: OrderStore, week: Week, odd: bytes, tmp_path: Path
) -> None:
    stored = store_week(store, week, {"here": []}).stored["here"]
    for number in range(2):
        rejects = Rejects(store, week, ("stream",), None, tmp_path / str(number))
        rejects.add(key("odd"), 400, "Amperity answered 400 to this record", odd)
        rejects.add(key("usual"), 400, "Amperity answered 400 to this record", b'{"amount":1e999}')
        rejects.answered["here"] = stored.orders_sha256
        rejects.save()
    found = store.bucket.read(store.layout.rejects(week))
    assert found is not None
    first, second = gzip.decompress(found[0]).splitlines()
    assert (json.loads(first)["order_guid"], json.loads(first)["record"]) == ("odd", None)
    assert "no decoder reads it" in json.loads(first)["reason"]
    assert b'"record":{"amount":1e999}' in second
