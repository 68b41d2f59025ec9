"""Pictures: small PNGs inside Markdown, the same for the same numbers."""

from __future__ import annotations

import base64
from decimal import Decimal

import dagster as dg
import pytest

from toast_assets.defs.pictures import (
    channel_table,
    heat_map,
    sales_by_channel,
    sales_by_hour,
    still_to_come,
    volume,
)
from toast_assets.tables.build import SalesPart

SALES = {
    SalesPart("USD", "TAKE_OUT", 12): Decimal("100.00"),
    SalesPart("USD", "DINE_IN", 12): Decimal("500.00"),
    SalesPart("USD", "DINE_IN", None): Decimal("100.50"),
    SalesPart("USD", "DELIVERY", 19): Decimal("30.25"),
    SalesPart("USD", "Kiosk", 19): Decimal("20.00"),
    SalesPart("USD", None, 3): Decimal("5.00"),
}
MANY = {SalesPart("USD", f"Channel {number:02d}", 12): Decimal(f"{number}.00") for number in range(20)}


def pictures(shown: dg.MarkdownMetadataValue) -> list[str]:
    """The titles of all pictures, each a small PNG."""
    titles = []
    for part in (shown.md_str or "").split("\n\n"):
        title, _, data = part.partition("](data:image/png;base64,")
        assert base64.b64decode(data.removesuffix(")")).startswith(b"\x89PNG")
        assert len(part) < 60_000
        titles.append(title.removeprefix("!["))
    return titles


def table_rows(sales: dict[SalesPart, Decimal]) -> list[list[str]]:
    lines = (channel_table(sales).md_str or "").splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


BUSY = {(day, hour): day * hour for day in range(7) for hour in range(24)}


def test_pictures_are_small_pngs_that_say_which_time_they_show() -> None:
    weeks = [(f"2025-0{number}-01", number * 12_345) for number in range(1, 10)]
    for picture in (heat_map(BUSY), heat_map({}), volume(weeks), volume([("2025-09-15", 0)])):
        text = picture.md_str or ""
        head, _, data = text.partition("base64,")
        assert head.startswith("![Orders by")
        assert base64.b64decode(data.removesuffix(")")).startswith(b"\x89PNG")
        assert len(text) < 60_000
    assert "restaurant-local time" in str(heat_map(BUSY).md_str)


def test_what_is_still_to_come_is_one_picture_however_many_restaurants_and_currencies_there_are() -> None:
    curves = [(f"$Place {number}", (0.3, 0.2, 0.1, 0.0)) for number in range(20)]
    (title,) = pictures(still_to_come((1, 2, 3, 7), curves[:6], curves))
    assert title == "Net sales of orders that were modified later"
    assert pictures(still_to_come((1, 2, 3, 7), [("all, USD", (0.0, 0.0, 0.0, 0.0))], [])) == [title]


def test_equal_numbers_give_equal_pictures() -> None:
    assert heat_map(BUSY) == heat_map(dict(BUSY))
    assert sales_by_hour(SALES) == sales_by_hour(dict(reversed(SALES.items())))


def test_sales_are_shown_by_channel_and_by_hour_with_their_currency() -> None:
    assert pictures(sales_by_channel(SALES)) == ["Net sales by channel, USD"]
    assert pictures(sales_by_hour(SALES)) == ["Net sales by hour, restaurant-local time, USD"]


def test_channels_have_names_for_people_and_their_share_of_all_sales() -> None:
    assert table_rows(SALES) == [
        ["Dine in", "600.50 USD", "79.5%"],
        ["Takeout", "100.00 USD", "13.2%"],
        ["Delivery", "30.25 USD", "4.0%"],
        ["Kiosk", "20.00 USD", "2.6%"],
        ["Unknown", "5.00 USD", "0.7%"],
    ]


def test_amounts_in_different_currencies_are_never_added_up() -> None:
    canadian = {part._replace(currency="CAD"): one for part, one in SALES.items()}
    unknown = {SalesPart(None, "DINE_IN", 12): Decimal("1.00")}
    sales = SALES | canadian | unknown
    titles = [f"Net sales by channel, {currency}" for currency in ("CAD", "USD", "unknown currency")]
    assert pictures(sales_by_channel(sales)) == titles
    assert [row[1] for row in table_rows(sales) if row[0] == "Dine in"] == [
        *("600.50 CAD", "600.50 USD", "1.00 unknown currency"),
    ]


def test_of_many_channels_those_that_sold_least_are_one() -> None:
    assert [row[0] for row in table_rows(MANY)] == [*(f"Channel {number}" for number in range(19, 12, -1)), "Other"]
    assert table_rows(MANY)[-1][1] == "78.00 USD"
    of_that_name = MANY | {SalesPart("USD", "Other", 12): Decimal("1000.00")}
    assert [row[0] for row in table_rows(of_that_name)].count("Other") == 1
    assert table_rows(of_that_name)[-1][1] == "1,078.00 USD"
    eight = dict(list(MANY.items())[:8])
    assert "Other" not in [row[0] for row in table_rows(eight)]


@pytest.mark.parametrize("channel", ["$5 $deal", "$\\frac{$", "_hidden", " ", "a\nb", "x" * 500, "| [x](y)", "%s {0}"])
def test_a_channels_name_may_be_any_text(channel: str) -> None:
    sales = SALES | {SalesPart("USD", channel, 12): Decimal("50.00")}
    assert pictures(sales_by_channel(sales)) == ["Net sales by channel, USD"]
    assert pictures(sales_by_hour(sales)) == ["Net sales by hour, restaurant-local time, USD"]


def test_channels_of_one_label_are_one() -> None:
    sales = {SalesPart("USD", channel, 12): Decimal("1.00") for channel in ("TAKE_OUT", "Takeout", None, "", " ")}
    assert [row[:2] for row in table_rows(sales)] == [["Unknown", "3.00 USD"], ["Takeout", "2.00 USD"]]


def test_a_week_without_sales_says_so() -> None:
    assert sales_by_channel({}).md_str == sales_by_hour({}).md_str == "No sales."
    nothing = {SalesPart("USD", "DINE_IN", None): Decimal("0"), SalesPart("USD", "TAKE_OUT", 5): Decimal("-2.00")}
    assert pictures(sales_by_channel(nothing)) == ["Net sales by channel, USD"]
    assert pictures(sales_by_hour(nothing)) == ["Net sales by hour, restaurant-local time, USD"]
    zero = {SalesPart("USD", "DINE_IN", 5): Decimal("0")}
    assert table_rows(zero) == [["Dine in", "0.00 USD", "–"]]
