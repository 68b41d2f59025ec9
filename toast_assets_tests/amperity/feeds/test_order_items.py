"""The order items: every item and modifier, with the key that never changes."""

from __future__ import annotations

from decimal import Decimal

from toast_assets.orders.names import Name
from toast_assets_tests.amperity.feeds.rows import STORE, batches, lines, names, only, ref, rows
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import check, gift_card, modifier, order, refund_details, selection


def test_every_item_and_modifier_is_a_row_with_its_place() -> None:
    item = selection(
        displayName="item", modifiers=[modifier(displayName="outer", modifiers=[modifier(displayName="inner")])]
    )
    found = [(row["product_name"], row["depth"]) for row in rows("order_items", order(check(item)))]
    assert found == [("item", 0), ("outer", 1), ("inner", 2)]
    parents = [row["parent_selection_id"] for row in rows("order_items", order(check(item)))]
    assert parents == [None, item["guid"], item["modifiers"][0]["guid"]]


def test_the_key_is_the_selections_guid() -> None:
    item = selection()
    assert only("order_items", order(check(item)))["selection_id"] == item["guid"]


def test_gift_cards_are_rows_and_are_marked() -> None:
    row = only("order_items", order(check(gift_card())))
    assert (row["is_gift_card"], row["is_deferred"], row["product_id"]) == (True, True, "TOAST_CARD_SELL")


def test_what_is_voided_at_any_level_is_marked_with_all_that_is_below_it() -> None:
    tree = selection(modifiers=[modifier(voided=True, modifiers=[modifier()]), modifier()])
    found = rows("order_items", order(check(tree, selection())))
    assert [row["is_cancelled"] for row in found] == [False, True, True, False, False]
    assert all(row["is_cancelled"] for row in rows("order_items", order(check(tree) | {"voided": True})))
    assert all(row["is_cancelled"] for row in rows("order_items", order(check(tree), deleted=True)))


def test_a_modifier_has_the_names_of_its_own_category_and_the_guids_stay_beside_the_names() -> None:
    known = names(sales_category=Name("Food"), menu_group=Name("Soups"))
    placed = {"salesCategory": ref("sales_category"), "itemGroup": ref("menu_group")}
    extra = modifier(salesCategory=ref("sales_category"), itemGroup=None)
    item, below = rows("order_items", order(check(selection(modifiers=[extra], **placed))), names=known)  # type: ignore[arg-type]
    assert (item["product_category"], item["product_subcategory"]) == ("Food", "Soups")
    assert (item["sales_category_id"], item["menu_group_id"]) == ("GUID OF A SALES_CATEGORY", "GUID OF A MENU_GROUP")
    assert (below["product_category"], below["product_subcategory"], below["menu_group_id"]) == ("Food", None, None)
    assert {row["store_name"] for row in (item, below)} == {STORE}


def test_quantities_and_prices_keep_the_digits_that_toast_sent() -> None:
    made = order(check(selection("12.10", quantity="0.3750", unitOfMeasure="LB")))
    (line,) = lines("order_items", batches(made))
    assert b'"quantity":0.3750,' in line
    assert b'"list_price":12.10,' in line


def test_a_refund_is_shown_as_a_positive_amount() -> None:
    row = only("order_items", order(check(selection(refundDetails=refund_details("3.00", "0.24")))))
    assert (row["refund_amount"], row["tax_refund_amount"]) == (3, Decimal("0.24"))


def test_the_guides_example_has_its_rows() -> None:
    assert [row["product_name"] for row in rows("order_items", guide_order())] == ["Flatbread", "Olives"]
