"""The order index through deliveries: what another week brought, two runs at once, and an index that is lost."""

from __future__ import annotations

import gzip
import json
import logging
from decimal import Decimal
from typing import Any

import pytest

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.index.orders import OrderIndex, decode_month, read_state
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data.invented import Json, check, customer, encode, order, selection
from toast_assets_tests.support.stores.guests import content
from toast_assets_tests.support.stores.stored_weeks import store_week

LOG = logging.getLogger("toast_assets.test")
PLACE = "place-1"
FIRST, SECOND, THIRD = (WeekCalendar().week(key) for key in ("2025-09-15", "2025-09-22", "2025-09-29"))
SOUP, CAKE, TEA = (
    selection(price, displayName=name, item={"guid": name, "multiLocationId": name})
    for name, price in (("soup", "9.00"), ("cake", "5.00"), ("tea", "3.00"))
)


def version(base: Json, week: Week, *items: Json, email: str = "ann@example.com") -> Json:
    """The order as that week has it."""
    guest = customer(email, guid=email)
    return base | {
        "modifiedDate": f"{week.start:%Y-%m-%d}T19:00:00.000+0000",
        "checks": [check(*items, guest=guest)],
    }


@pytest.fixture
def versions() -> dict[Week, Json]:
    """One order: soup and cake, then soup and tea of another guest, then soup alone."""
    base = order()
    return {
        FIRST: version(base, FIRST, SOUP, CAKE),
        SECOND: version(base, SECOND, SOUP, TEA, email="bo@example.com"),
        THIRD: version(base, THIRD, SOUP, email="cy@example.com"),
    }


def feed(store: OrderStore, week: Week, *orders: Json) -> dict[str, dict[str, Any]]:
    """Store a week and write its feeds; the rows of ``transactions`` by product."""
    if orders:
        store_week(store, week, {PLACE: encode(*orders)})
    files = write_feeds(week, store, "Harbor", Redaction(), LOG).files
    (key,) = (file.key for file in files if file.feed == "transactions")
    found = store.bucket.read(key)
    assert found is not None
    rows = [json.loads(line, parse_float=Decimal) for line in gzip.decompress(found[0]).splitlines()]
    return {row["product_id"]: row for row in rows}


def revenue(rows: dict[str, dict[str, Any]]) -> dict[str, int]:
    return {product: int(row["item_revenue"]) for product, row in rows.items()}


def test_a_week_takes_back_what_earlier_weeks_brought(store: OrderStore, versions: dict[Week, Json]) -> None:
    assert revenue(feed(store, FIRST, versions[FIRST])) == {"soup": 9, "cake": 5}
    rows = feed(store, SECOND, versions[SECOND])
    assert revenue(rows) == {"soup": 9, "tea": 3, "cake": 0}
    assert {row["fk_customer"] for row in rows.values()} == {"bo@example.com"}
    assert {row["modified_at"] for row in rows.values()} == {"2025-09-22 19:00:00.000"}


def test_a_week_that_comes_late_brings_zeros_of_its_own_at_the_newest_version(
    store: OrderStore, versions: dict[Week, Json]
) -> None:
    feed(store, THIRD, versions[THIRD])
    rows = feed(store, FIRST, versions[FIRST])
    assert revenue(rows) == {"cake": 0}
    assert (rows["cake"]["fk_customer"], rows["cake"]["modified_at"]) == ("cy@example.com", "2025-09-29 19:00:00.000")
    assert rows["cake"]["modified_at_local"] == "2025-09-29 14:00:00.000"


def test_the_same_state_gives_the_same_bytes_and_is_not_written_again(
    store: OrderStore, versions: dict[Week, Json]
) -> None:
    for week in (SECOND, THIRD, FIRST, SECOND, THIRD, FIRST):
        feed(store, week, versions[week])
    before = {key: store.bucket.info(key) for key in content(store)}
    for week in (FIRST, THIRD, SECOND):
        feed(store, week)
    assert {key: store.bucket.info(key) for key in content(store)} == before


def test_an_order_that_becomes_a_test_order_is_taken_back(store: OrderStore, versions: dict[Week, Json]) -> None:
    feed(store, FIRST, versions[FIRST])
    assert revenue(feed(store, SECOND, versions[SECOND] | {"createdInTestMode": True})) == {"soup": 0, "cake": 0}


def test_a_version_that_was_overwritten_in_its_own_week_is_taken_back(
    store: OrderStore, versions: dict[Week, Json]
) -> None:
    feed(store, FIRST, versions[FIRST])
    later = versions[FIRST] | {"checks": [check(SOUP)]}
    assert revenue(feed(store, FIRST, later)) == {"soup": 9, "cake": 0}


@pytest.mark.parametrize("other", [SECOND, THIRD])
def test_two_weeks_at_once_both_know_of_each_other(
    store: OrderStore, versions: dict[Week, Json], monkeypatch: pytest.MonkeyPatch, other: Week
) -> None:
    save = OrderIndex.save
    begun: list[str] = []

    def save_after_the_other(index: OrderIndex) -> None:
        if not begun:
            begun.append("the other run")
            feed(store, FIRST, versions[FIRST])
        save(index)

    monkeypatch.setattr(OrderIndex, "save", save_after_the_other)
    store_week(store, FIRST, {PLACE: encode(versions[FIRST])})
    assert revenue(feed(store, other, versions[other]))["cake"] == 0


@pytest.mark.parametrize("lost", ["months.json", "month=2025-09.parquet", ""])
def test_a_lost_index_is_rebuilt_from_the_weeks_that_were_delivered(
    store: OrderStore, versions: dict[Week, Json], lost: str
) -> None:
    feed(store, FIRST, versions[FIRST])
    feed(store, SECOND, versions[SECOND])
    folder = store.layout.order_index_folder(PLACE)
    for key in list(store.bucket.keys(folder + lost)):
        store.bucket.delete(key)
    assert revenue(feed(store, THIRD, versions[THIRD])) == {"soup": 9, "cake": 0, "tea": 0}
    after = store.bucket.read(store.layout.order_index(PLACE, "2025-09"))
    assert after is not None
    (entry,) = decode_month(after[0]) or []
    assert [one.week for one in entry.stored] == [FIRST.key, SECOND.key, THIRD.key]


def test_weeks_that_cannot_be_read_are_named_when_the_index_is_rebuilt(
    store: OrderStore, versions: dict[Week, Json], caplog: pytest.LogCaptureFixture
) -> None:
    feed(store, FIRST, versions[FIRST])
    feed(store, SECOND, versions[SECOND])
    store.bucket.delete(store.layout.raw(FIRST, PLACE))
    store.bucket.write(store.layout.raw(SECOND, PLACE), b"damaged")
    for key in list(store.bucket.keys(store.layout.order_index_folder(PLACE))):
        store.bucket.delete(key)
    assert revenue(feed(store, THIRD, versions[THIRD])) == {"soup": 9}
    assert "not stored any more: 2025-09-15" in caplog.text
    assert "is rebuilt without week 2025-09-22" in caplog.text
    state = read_state(store, PLACE)
    assert state is not None
    assert (state.expired, state.months) == ((FIRST.key,), ("2025-09",))


@pytest.mark.parametrize("damaged", ["manifest", "ledger"])
def test_a_damaged_object_of_another_week_stops_no_delivery_that_rebuilds_the_index(
    store: OrderStore, versions: dict[Week, Json], caplog: pytest.LogCaptureFixture, damaged: str
) -> None:
    feed(store, FIRST, versions[FIRST])
    feed(store, SECOND, versions[SECOND])
    layout = store.layout
    store.bucket.write(layout.manifest(FIRST) if damaged == "manifest" else layout.ledger(FIRST, PLACE), b"damaged")
    for key in list(store.bucket.keys(layout.order_index_folder(PLACE))):
        store.bucket.delete(key)
    assert revenue(feed(store, THIRD, versions[THIRD]))["tea"] == 0
    assert "rebuilt without week 2025-09-15" in caplog.text


def test_weeks_that_were_stored_and_never_delivered_are_not_read(
    store: OrderStore, versions: dict[Week, Json], caplog: pytest.LogCaptureFixture
) -> None:
    store_week(store, FIRST, {PLACE: []})
    store.bucket.write(store.layout.raw(FIRST, PLACE), b"damaged")
    assert revenue(feed(store, SECOND, versions[SECOND])) == {"soup": 9, "tea": 3}
    assert caplog.text == ""
