"""What a command says of how long figures move: lines of at most 100 columns, and JSON."""

from __future__ import annotations

import json
from decimal import Decimal

from click.testing import CliRunner

from toast_assets.cli.app import main
from toast_assets.cli.settling import in_text
from toast_assets.sandbox import Sandbox
from toast_assets.status.settling import DAYS, Followed, Late, RestaurantSettling, SecondLooks, Settling
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import encode, order
from toast_assets_tests.support.faults.world import LOG
from toast_assets_tests.support.stores.stored_weeks import store_week

LATE = tuple(Late(days, 4 - number, Decimal("120.50"), Decimal(7)) for number, days in enumerate(DAYS))
MOST = Followed(11, 4, Decimal("120.50"), tuple(Late(days, 4, Decimal("120.50"), Decimal(0)) for days in DAYS))


def restaurant(
    guid: str,
    followed: Followed,
    name: str | None = "Harbor & Thistle, Pier 9 at the very end of the quay",
    looks: SecondLooks | None = None,
) -> RestaurantSettling:
    few, unknown = "too few weeks (2 of 4)", "too few weeks (0 of 4)"
    problems = {"followed_problem": None if followed.orders else few, "looks_problem": None if looks else unknown}
    looks = looks or SecondLooks()
    return RestaurantSettling(
        restaurant_guid=guid, name=name, currency="USD", followed=followed, looks=looks, **problems
    )


FOUND = Settling(
    weeks=("2025-09-15", "2025-12-08"),
    left_out=("2025-10-06",),
    totals={"USD": Followed(11, 4_000, Decimal("123456.50"), LATE)},
    restaurants=(
        restaurant("11111111-2222", MOST, looks=SecondLooks(5, 9_000, 1_234, Decimal("12345.60"))),
        restaurant("33333333-4444", Followed(11, 400, Decimal("5000.00"), LATE), looks=SecondLooks(5, 9_000)),
        restaurant("55555555-6666-4777-8888-999999999999", Followed(2), name=None),
    ),
)


def test_every_line_fits_into_100_columns_and_restaurants_of_one_name_differ() -> None:
    lines = in_text(FOUND)
    assert max(map(len, lines)) <= 100
    assert lines[:4] == [
        "restaurant                  after 1 d    after 2 d    after 3 d    after 7 d  backdated",
        "Harbor & Thistl 11111111  100% / 100%  100% / 100%  100% / 100%  100% / 100%  1,234 (12,345.60 USD)",
        "Harbor & Thistl 33333333  1.0% / 2.4%  0.8% / 2.4%  0.5% / 2.4%  0.2% / 2.4%  0 of 9,000",
        "55555555-6666-4777-8888-  too few weeks (2 of 4)                              too few weeks (0 of 4)",
    ]
    assert "USD           3  2 (0.1%)  120.50 (0.1%)          7.00" in lines
    assert any("Without a readable manifest or table of orders: 2025-10-06." in line for line in lines)


def test_without_weeks_it_says_so() -> None:
    assert in_text(Settling()) == ["No week has a table of orders yet."]


def test_the_option_of_status_reads_the_bucket_and_shows_it_as_text_or_json(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    store_week(store, week, {"restaurant-a": encode(order())})
    build_tables(week, store, LOG)
    runner = CliRunner(env=dict(sandbox.environment()))
    shown = runner.invoke(main, ["status", "--settling"])
    assert (shown.exit_code, "Place restaurant-a        too few weeks (0 of 4)" in shown.output) == (0, True)
    found = json.loads(runner.invoke(main, ["status", "--settling", "--json"]).stdout)["restaurants"]
    assert [(one["restaurant_guid"], one["followed_problem"]) for one in found] == [
        ("restaurant-a", "too few weeks (0 of 4)")
    ]


def test_settling_is_over_all_restaurants_and_takes_no_choice() -> None:
    refused = CliRunner().invoke(main, ["status", "--settling", "--week", "2025-09-15"])
    assert refused.exit_code == 2
    assert "--settling covers all restaurants" in refused.output
