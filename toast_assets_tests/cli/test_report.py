"""The report believes nobody: it compares the orders themselves, and says where they differ."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from toast_assets.cli.environment import sandbox_config
from toast_assets.cli.report import Report, RestaurantWeek, SentRecords, take_stock
from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox
from toast_assets.week import WeekCalendar

WEEK = WeekCalendar().week("2025-09-15")
ORDERS = frozenset({"a", "b"})


def report(*restaurants: RestaurantWeek) -> Report:
    return Report(WEEK, "bucket", restaurants, [], SentRecords(0, 0, 0))


@pytest.mark.parametrize(
    ("in_bucket", "records", "agrees"),
    [
        (ORDERS, ("b", "a"), True),
        (ORDERS, ("a", "b", "a"), False),
        (ORDERS, ("a",), False),
        (frozenset({"a"}), ("a", "b"), False),
        (frozenset({"a", "c"}), ("a", "b"), False),
    ],
)
def test_the_same_orders_have_to_be_everywhere_and_once(
    in_bucket: frozenset[str], records: tuple[str, ...], *, agrees: bool
) -> None:
    assert RestaurantWeek("Pier 9", ORDERS, in_bucket, records).agrees is agrees


def test_counts_that_do_not_agree_are_named() -> None:
    good = RestaurantWeek("Old Mill", ORDERS, ORDERS, ("a", "b"))
    bad = RestaurantWeek("Pier 9", ORDERS, frozenset({"a"}), ())
    report(good).check()
    with pytest.raises(ToastAssetsError, match="Pier 9: 2 at Toast, 1 in S3, 0 at Amperity") as raised:
        report(good, bad).check()
    assert "Old Mill" not in raised.value.message


def test_a_difference_can_be_seen() -> None:
    console = Console(file=StringIO(), width=100)
    report(RestaurantWeek("Pier 9", ORDERS, ORDERS, ("a",))).show(console)
    assert "they differ" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_was_never_pulled_is_missed() -> None:
    with Sandbox(sandbox_config(restaurants=1, orders=4)) as sandbox:
        stock = take_stock(sandbox, WEEK)
    assert [each.counts for each in stock.restaurants] == [(4, 0, 0)]
    assert list(stock.objects) == []
