"""The report believes nobody: it compares the orders themselves, and says where they differ."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from toast_assets.cli.demo import RestaurantWeek, check, reconcile, show
from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox
from toast_assets.week import WeekCalendar
from toast_assets_tests.cli.conftest import entered_sandbox

WEEK = WeekCalendar().week("2025-09-15")
ORDERS = ("a", "b")


@pytest.mark.parametrize(
    ("in_bucket", "records", "agrees"),
    [
        (ORDERS, ("b", "a"), True),
        (ORDERS, ("a", "b", "a"), False),
        (ORDERS, ("a",), False),
        (("a",), ("a", "b"), False),
        (("a", "c"), ("a", "b"), False),
        (("a", "b", "b"), ("a", "b"), False),
    ],
)
def test_the_same_orders_have_to_be_everywhere_and_once(
    in_bucket: tuple[str, ...], records: tuple[str, ...], *, agrees: bool
) -> None:
    assert RestaurantWeek("Pier 9", ORDERS, in_bucket, records).agrees is agrees


def test_counts_that_do_not_agree_are_named() -> None:
    good = RestaurantWeek("Old Mill", ORDERS, ORDERS, ("a", "b"))
    bad = RestaurantWeek("Pier 9", ORDERS, ("a",), ())
    check([good], WEEK)
    with pytest.raises(ToastAssetsError, match="Pier 9: 2 at Toast, 1 in S3, 0 at Amperity") as raised:
        check([good, bad], WEEK)
    assert "Old Mill" not in raised.value.message


def test_a_difference_can_be_seen(sandbox: Sandbox) -> None:
    console = Console(file=StringIO(), width=100)
    show([RestaurantWeek("Pier 9", ORDERS, ORDERS, ("a",))], sandbox, console)
    assert "they differ" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_was_never_pulled_is_missed(tmp_path: Path) -> None:
    with entered_sandbox(tmp_path, restaurants=1, orders=4) as sandbox:
        assert [each.counts for each in reconcile(sandbox, WEEK)] == [(4, 0, 0)]
