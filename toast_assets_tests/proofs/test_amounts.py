"""Orders whose amounts were worked out by hand, by Toast's documents: what tables and feeds say of each.

Sources: Toast's "Net sales calculation" and "Building a sales report".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from toast_assets.orders.read import RawOrders
from toast_assets.tables.flatten import flatten
from toast_assets_tests.amperity.feeds.rows import ZONE, rows
from toast_assets_tests.support.data.invented import (
    RESTAURANT,
    Json,
    check,
    customer,
    discount,
    encode,
    gift_card,
    order,
    payment,
    ref,
    refund_details,
    selection,
    service_charge,
)

BOUGHT, RETURNED, CANCELLED = "purchase", "return", "cancellation"
Row = tuple[int, str, str, str]
"""Of a row of the feed ``transactions``: quantity, list price, discount, revenue."""


@dataclass(frozen=True)
class Case:
    """An order; the ``columns`` of its row in the table ``orders``; rows of ``transactions`` by product and kind; how
    many rows there are (``count``), and what their revenue adds up to."""

    order: Json
    columns: Mapping[str, object]
    rows: Mapping[tuple[str, str], Row] = field(default_factory=dict)
    count: int | None = None
    revenue: str | None = None


def item(name: str, gross: str, *, price: str | None = None, tax: str = "0", **more: Any) -> Json:
    """An item of ``gross`` price for which Toast says ``price`` after all discounts."""
    known = {"displayName": name, "item": ref("MenuItem", multiLocationId=f"P-{name}"), "tax": Decimal(tax)}
    made = selection(gross, **{**known, **more})
    return made if price is None else made | {"price": Decimal(price)}


def paid(*items: Json, payments: Iterable[Json] = (), tax: str | None = None, **more: Any) -> Json:
    """A check that counts its voided items not; ``tax`` replaces the sum of its items'."""
    live = [one for one in items if not one["voided"]]
    charges = [one for one in more.get("appliedServiceCharges", ()) if not one["gratuity"]]
    amount = sum((one["price"] for one in live), Decimal(0)) + sum((one["chargeAmount"] for one in charges), Decimal(0))
    taxes = sum((one["tax"] for one in live), Decimal(0)) if tax is None else Decimal(tax)
    total = {"amount": amount, "taxAmount": taxes, "totalAmount": amount + taxes}
    return check(*items, payments=payments, **{**total, **more})


def refunded_payment(amount: str, tip: str = "0", *, refund: str, tip_refund: str = "0", **more: Any) -> Json:
    made = payment(amount, tip, refund=refund, **more)
    made["refund"]["tipRefundAmount"] = Decimal(tip_refund)
    return made


PIZZA = {"quantity": "0.5", "tax": "0.80"}
CASES: dict[str, Case] = {
    "an item refunded with its tax, and part of the tip": Case(
        order(
            paid(
                item("Burger", "12.00", tax="0.96"),
                item("Fries", "4.00", tax="0.32", refundDetails=refund_details("4.00", "0.32")),
                payments=[refunded_payment("17.28", "3.00", refund="4.32", tip_refund="1.00")],
            )
        ),
        {
            **{"net_sales": "16.00", "gross_sales": "16.00", "tax_amount": "1.28", "payment_amount": "17.28"},
            **{"tip_amount": "3.00", "refund_amount": "4.32", "tip_refund_amount": "1.00"},
        },
        {
            ("P-Burger", BOUGHT): (1, "12.00", "0", "12.00"),
            ("P-Fries", BOUGHT): (1, "4.00", "0", "4.00"),
            ("P-Fries", RETURNED): (-1, "-4.00", "0", "-4.00"),
        },
    ),
    "one pizza on two checks": Case(
        order(
            paid(item("Pizza", "10.00", **PIZZA), payments=[payment("10.80")]),
            paid(item("Pizza", "10.00", **PIZZA), payments=[payment("10.80")]),
        ),
        {"net_sales": "20.00", "check_count": 2},
        {("P-Pizza", BOUGHT): (1, "20.00", "0", "20.00")},
    ),
    "an item's discount, then a comped check": Case(
        order(
            paid(
                item("Steak", "10.00", price="0", appliedDiscounts=[discount("2.00")]),
                item("Salad", "5.00", price="0"),
                appliedDiscounts=[discount("13.00", name="Comp", discountType="PERCENT")],
            )
        ),
        {"net_sales": "0.00", "gross_sales": "15.00", "discount_amount": "15.00"},
        {("P-Steak", BOUGHT): (1, "10.00", "10.00", "0.00"), ("P-Salad", BOUGHT): (1, "5.00", "5.00", "0.00")},
    ),
    "buy one, get one: the discount of the check belongs to the free item": Case(
        order(
            paid(
                item("Coffee", "4.00"),
                item("Croissant", "3.50", price="0.00"),
                appliedDiscounts=[discount("3.50", name="BOGO", discountType="BOGO")],
                payments=[payment("4.00")],
            )
        ),
        {"net_sales": "4.00", "gross_sales": "7.50", "discount_amount": "3.50"},
        {("P-Coffee", BOUGHT): (1, "4.00", "0", "4.00"), ("P-Croissant", BOUGHT): (1, "3.50", "3.50", "0.00")},
    ),
    "a combo on the check, and a cake beside it": Case(
        order(
            paid(
                *(item("Wrap", "10.00", price="7.06"), item("Cola", "3.00", price="2.12")),
                *(item("Chips", "4.00", price="2.82"), item("Cake", "6.00")),
                appliedDiscounts=[discount("5.00", name="Lunch combo", discountType="FIXED_TOTAL")],
                payments=[payment("18.00")],
            )
        ),
        {"net_sales": "18.00"},
        {("P-Cake", BOUGHT): (1, "6.00", "0", "6.00"), ("P-Wrap", BOUGHT): (1, "10.00", "2.94", "7.06")},
    ),
    "payment voided, item voided, paid again": Case(
        order(
            paid(
                item("Soup", "8.00", tax="0.64", voided=True, voidDate="2025-09-19T18:50:00.000+0000"),
                item("Salad", "9.00", tax="0.72"),
                payments=[payment("18.36", "2.00", voided=True), payment("9.72", "1.00")],
            )
        ),
        {"net_sales": "9.00", "tax_amount": "0.72", "payment_amount": "9.72", "tip_amount": "1.00"},
        {("P-Salad", BOUGHT): (1, "9.00", "0", "9.00")},
        revenue="9.00",
    ),
    "a voided modifier": Case(
        order(
            paid(
                item("Burger", "12.00", modifiers=[item("Bacon", "2.00", voided=True), item("Cheese", "0")]),
                payments=[payment("12.00")],
            )
        ),
        {"net_sales": "12.00"},
        {("P-Burger", BOUGHT): (1, "12.00", "0", "12.00")},
    ),
    "modifiers three deep": Case(
        order(
            paid(
                item(
                    *("Plate", "15.50"),
                    modifiers=[item("Side", "2.50", modifiers=[item("Dip", "0.50", modifiers=[item("More", "0.25")])])],
                )
            )
        ),
        {"net_sales": "15.50"},
        {("P-Plate", BOUGHT): (1, "15.50", "0", "15.50")},
    ),
    "a discount on a modifier": Case(
        order(
            paid(
                item(
                    *("Burger", "14.00"),
                    price="12.00",
                    modifiers=[item("Bacon", "2.00", price="0.00", appliedDiscounts=[discount("2.00")])],
                ),
                payments=[payment("12.00")],
            )
        ),
        {"net_sales": "12.00", "discount_amount": "2.00"},
        {("P-Burger", BOUGHT): (1, "14.00", "2.00", "12.00")},
    ),
    "weighed: 0.75 lb": Case(
        order(paid(item("Brisket", "18.00", quantity="0.75", unitOfMeasure="LB"), payments=[payment("18.00")])),
        {"net_sales": "18.00"},
        {("P-Brisket", BOUGHT): (1, "18.00", "0", "18.00")},
    ),
    "an open item below zero": Case(
        order(
            paid(
                item("Burger", "12.00"),
                item("Credit", "-5.00", selectionType="OPEN_ITEM", item=None),
                payments=[payment("7.00")],
            )
        ),
        {"net_sales": "7.00"},
        {
            ("P-Burger", BOUGHT): (1, "12.00", "0", "12.00"),
            ("OPEN_ITEM", RETURNED): (-1, "-5.00", "0", "-5.00"),
        },
    ),
    "a gift card sold, another one spent": Case(
        order(
            paid(
                *(gift_card("25.00"), item("Burger", "12.00", tax="0.96")),
                payments=[payment("12.96", type="GIFTCARD"), payment("25.00")],
            )
        ),
        {"net_sales": "12.00", "payment_amount": "37.96"},
        {("P-Burger", BOUGHT): (1, "12.00", "0", "12.00")},
        count=1,
    ),
    "a house account paid off, and a meal put on it": Case(
        order(
            paid(
                item("Balance", "100.00", selectionType="HOUSE_ACCOUNT_PAY_BALANCE", item=None),
                payments=[payment("100.00", type="OTHER")],
            ),
            paid(item("Lunch", "30.00"), payments=[payment("30.00", type="HOUSE_ACCOUNT")]),
        ),
        {"net_sales": "30.00"},
        {("P-Lunch", BOUGHT): (1, "30.00", "0", "30.00")},
        count=1,
    ),
    "a deposit for a meal in three weeks": Case(
        order(
            paid(item("Deposit", "200.00", deferred=True, item=None), payments=[payment("200.00")]),
            source="Catering",
            approvalStatus="FUTURE",
            promisedDate="2025-10-08T16:00:00.000+0000",
            openedDate="2025-10-08T16:00:00.000+0000",
            businessDate=20251008,
        ),
        {"net_sales": "0", "business_date": date(2025, 10, 8)},
        count=0,
    ),
    "a gratuity and a taxed delivery fee": Case(
        order(
            paid(
                item("Tray", "50.00", tax="4.00"),
                appliedServiceCharges=[service_charge("9.00", gratuity=True), service_charge("5.00", taxable=True)],
                tax="4.40",
                payments=[payment("68.40")],
            )
        ),
        {
            **{"gross_sales": "55.00", "net_sales": "55.00", "service_charge_amount": "5.00"},
            **{"gratuity_amount": "9.00", "tax_amount": "4.40"},
        },
    ),
    "a donation": Case(
        order(
            paid(
                item("Bowl", "11.00"),
                appliedServiceCharges=[service_charge("1.00", serviceChargeCategory="FUNDRAISING_CAMPAIGN")],
                payments=[payment("12.00")],
            )
        ),
        {"net_sales": "11.00", "service_charge_amount": "0"},
    ),
    "a card surcharge and cash rounding": Case(
        order(
            paid(
                item("Bowl", "11.00"),
                appliedServiceCharges=[
                    service_charge("0.44", serviceChargeCategory="CREDIT_CARD_SURCHARGE"),
                    service_charge("-0.02", serviceChargeCategory="CASH_ROUNDING"),
                ],
                payments=[payment("11.42")],
            )
        ),
        {"net_sales": "11.42", "service_charge_amount": "0.42"},
    ),
    "excess food": Case(
        order(
            paid(item("Soup", "9.50", price="0", appliedDiscounts=[discount("9.50", name="Waste")])), excessFood=True
        ),
        {"net_sales": "0", "gross_sales": "0", "discount_amount": "0"},
        count=0,
    ),
    "test mode": Case(
        order(paid(item("Soup", "9.50"), payments=[payment("9.50")]), createdInTestMode=True),
        {"net_sales": "9.50"},
        count=0,
    ),
    "a loyalty reward whose part without tax is null": Case(
        order(
            paid(
                item("Feast", "41.50", price="36.50"),
                appliedDiscounts=[discount("5.00", nonTaxDiscountAmount=None, processingState="PENDING_APPLIED")],
                payments=[payment("36.50")],
            )
        ),
        {"net_sales": "36.50"},
        {("P-Feast", BOUGHT): (1, "41.50", "5.00", "36.50")},
    ),
    "a loyalty reward taken back": Case(
        order(
            paid(
                item("Feast", "41.50"),
                appliedDiscounts=[discount("5.00", processingState="VOID")],
                payments=[payment("41.50")],
            )
        ),
        {"net_sales": "41.50"},
    ),
    "a price that includes tax, 10 % off": Case(
        order(
            paid(
                item(
                    *("Beer", "10.00"),
                    price="9.00",
                    tax="0.90",
                    receiptLinePrice=Decimal("11.00"),
                    taxInclusion="INCLUDED",
                    appliedDiscounts=[discount("1.00", taxed="1.10")],
                ),
                payments=[payment("9.90")],
            )
        ),
        {"net_sales": "9.00"},
        {("P-Beer", BOUGHT): (1, "10.00", "1.00", "9.00")},
    ),
    "a refund of an amount, of no item": Case(
        order(paid(item("Roast", "20.00", tax="1.60"), payments=[payment("21.60", refund="5.00")])),
        {"net_sales": "20.00", "refund_amount": "5.00"},
        {
            ("P-Roast", BOUGHT): (1, "20.00", "0", "20.00"),
            ("UNITEMIZED_REFUND", RETURNED): (0, "-5.00", "0", "-5.00"),
        },
    ),
    "all refunded, with the delivery fee and its tax": Case(
        order(
            paid(
                item("Roast", "20.00", tax="1.60", refundDetails=refund_details("20.00", "1.60")),
                appliedServiceCharges=[service_charge("5.00", refundDetails=refund_details("5.00", "0.40"))],
                tax="2.00",
                payments=[refunded_payment("27.00", "4.00", refund="27.00", tip_refund="4.00")],
            )
        ),
        {"net_sales": "25.00", "refund_amount": "27.00", "tip_refund_amount": "4.00"},
        {("P-Roast", RETURNED): (-1, "-20.00", "0", "-20.00")},
        count=2,
    ),
    "an item voided after it was paid, its price given back": Case(
        order(
            paid(
                item("Steak", "10.00", tax="0.80", voided=True),
                item("Salad", "5.00", tax="0.40"),
                payments=[payment("16.20", refund="10.80")],
            )
        ),
        {"net_sales": "5.00"},
        revenue="5.00",
    ),
    "a gift card given back, the amount alone": Case(
        order(paid(gift_card("25.00"), payments=[payment("25.00", refund="25.00")])),
        {"net_sales": "0"},
        revenue="0",
    ),
    "a gift card given back, as an item": Case(
        order(
            paid(gift_card("25.00", refundDetails=refund_details("25.00")), payments=[payment("25.00", refund="25.00")])
        ),
        {"net_sales": "0"},
        revenue="0",
    ),
    "opened after midnight, before the closeout": Case(
        order(
            paid(item("Beer", "6.00"), payments=[payment("6.00")]),
            openedDate="2025-09-18T05:30:00.000+0000",
            businessDate=20250917,
        ),
        {
            **{"net_sales": "6.00", "business_date": date(2025, 9, 17)},
            **{"opened_at_local": datetime(2025, 9, 18, 1, 30)},  # noqa: DTZ001 - on the restaurant's clock
        },
    ),
    "opened in the hour that comes twice": Case(
        order(
            paid(item("Beer", "6.00"), payments=[payment("6.00")]),
            openedDate="2025-11-02T06:30:00.000+0000",
            businessDate=20251101,
            modifiedDate="2025-11-02T07:00:00.000+0000",
        ),
        {"opened_at_local": datetime(2025, 11, 2, 1, 30)},  # noqa: DTZ001 - on the restaurant's clock
    ),
    "two guests on two checks": Case(
        order(
            paid(item("Roll", "8.00"), guest=customer("a@example.com"), payments=[payment("8.00")]),
            paid(item("Tea", "3.00"), guest=customer("b@example.com"), payments=[payment("3.00")]),
        ),
        {"net_sales": "11.00"},
    ),
    "a check's discount when all items are voided": Case(
        order(paid(item("Roll", "8.00", voided=True), appliedDiscounts=[discount("2.00")])),
        {"net_sales": "0"},
        revenue="0",
    ),
    "a payment voided after part of it was refunded": Case(
        order(
            paid(
                item("Roll", "8.00"),
                payments=[payment("8.00", refund="2.00", voided=True), payment("8.00", type="CASH")],
            )
        ),
        {"net_sales": "8.00", "payment_amount": "8.00", "refund_amount": "0"},
        revenue="8.00",
    ),
    "a deferred modifier": Case(
        order(
            paid(
                item("Bowl", "10.25", modifiers=[item("Quarter for kids", "0.25", deferred=True)]),
                payments=[payment("10.25")],
            )
        ),
        {"net_sales": "10.00"},
        revenue="10.00",
    ),
    "a check's discount that leaves alcohol out": Case(
        order(
            paid(
                *(item("Pasta", "20.00", price="18.00"), item("Wine", "10.00")),
                appliedDiscounts=[discount("2.00", name="Seniors", discountType="PERCENT")],
                payments=[payment("28.00")],
            )
        ),
        {"net_sales": "28.00"},
        {("P-Wine", BOUGHT): (1, "10.00", "0", "10.00")},
    ),
    "tax alone refunded": Case(
        order(
            paid(
                item("Pasta", "20.00", tax="1.60", refundDetails=refund_details("0", "1.60")),
                payments=[payment("21.60", refund="1.60")],
            )
        ),
        {"net_sales": "20.00", "refund_amount": "1.60"},
        revenue="20.00",
    ),
    "one refund over two payments": Case(
        order(
            paid(
                item("Roast", "20.00", tax="1.60", refundDetails=refund_details("20.00", "1.60")),
                payments=[payment("10.80", refund="10.80"), payment("10.80", refund="10.80")],
            )
        ),
        {"net_sales": "20.00", "refund_amount": "21.60"},
        revenue="0",
    ),
}


def transactions(made: Json) -> list[Json]:
    return rows("transactions", made)


def kind(row: Json) -> str:
    return RETURNED if row["is_return"] else CANCELLED if row["is_cancellation"] else BOUGHT


def wrong(case: Case) -> dict[str, tuple[object, object]]:
    """What is found and what is right, by what it is of."""
    _, tables = flatten(RawOrders(RESTAURANT, encode(case.order), ZONE, "USD"))
    (found,) = tables["orders"].to_pylist()
    compared: dict[str, tuple[object, object]] = {
        name: (found[name], Decimal(right) if isinstance(right, str) else right) for name, right in case.columns.items()
    }
    sold = transactions(case.order)
    amounts = ("item_quantity", "item_list_price", "item_discount_amount", "item_revenue")
    by_product = {(row["product_id"], kind(row)): tuple(row[name] for name in amounts) for row in sold}
    for key, (quantity, *texts) in case.rows.items():
        compared[" ".join(key)] = (by_product.get(key), (quantity, *map(Decimal, texts)))
    if case.count is not None:
        compared["rows"] = (len(sold), case.count)
    if case.revenue is not None:
        compared["revenue"] = (sum((row["item_revenue"] for row in sold), Decimal(0)), Decimal(case.revenue))
    return {name: pair for name, pair in compared.items() if pair[0] != pair[1]}


@pytest.mark.parametrize("name", CASES)
def test_amounts_are_what_toasts_documents_give(name: str) -> None:
    assert wrong(CASES[name]) == {}
