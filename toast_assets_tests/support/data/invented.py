"""Invented Toast orders, built by intent: ``order(voided=True, checks=2)``.

Shapes follow Toast's documentation; names, GUIDs and amounts are made up. Amounts are ``Decimal`` and come out as
JSON numbers with their digits. Keywords that are no parameter go into the object as they are, in Toast's spelling.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import count
from typing import Any

import msgspec

Json = dict[str, Any]

RESTAURANT = "11111111-2222-3333-4444-555555555555"
MODIFIED = "2025-09-19T18:45:12.345+0000"
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_NUMBERS = count(1)


def guid() -> str:
    """A GUID that was never used before."""
    number = next(_NUMBERS)
    return f"{number:08x}-0000-4000-8000-{number:012x}"


def encode(*orders: Json) -> list[bytes]:
    """Each order as the bytes of one JSON object."""
    return [_ENCODER.encode(order) for order in orders]


def ref(kind: str, **more: Any) -> Json:
    """A reference to something configured."""
    return {"guid": guid(), "entityType": kind, **more}


def discount(amount: str, *, taxed: str | None = None, **more: Any) -> Json:
    """A discount of ``amount`` on sales; ``taxed`` is the whole amount where prices include tax."""
    return {
        "guid": guid(),
        "entityType": "AppliedCustomDiscount",
        "name": "Friends",
        "discount": ref("CustomDiscount"),
        "discountType": "FIXED",
        "discountAmount": Decimal(taxed or amount),
        "nonTaxDiscountAmount": Decimal(amount),
        "discountPercent": None,
        "processingState": None,
        "appliedDiscountReason": None,
        "loyaltyDetails": None,
        "triggers": [],
        **more,
    }


def refund_details(amount: str, tax: str = "0") -> Json:
    """What was refunded of an item or a service charge."""
    return {
        "refundAmount": Decimal(amount),
        "taxRefundAmount": Decimal(tax),
        "refundTransaction": ref("RefundTransaction"),
    }


def selection(
    price: str = "10.00", *, quantity: str = "1", off: str = "0", modifiers: Iterable[Json] = (), **more: Any
) -> Json:
    """An item of gross ``price`` (whole quantity, with modifiers), ``off`` of it as one discount."""
    gross, reduced = Decimal(price), Decimal(off)
    return {
        "guid": guid(),
        "entityType": "MenuItemSelection",
        "externalId": None,
        "deferred": False,
        "preDiscountPrice": gross,
        "price": gross - reduced,
        "tax": (gross - reduced) * Decimal("0.08"),
        "receiptLinePrice": gross,
        "quantity": Decimal(quantity),
        "unitOfMeasure": "NONE",
        "selectionType": "NONE",
        "displayName": "Soup of the day",
        "item": ref("MenuItem", multiLocationId="400000000001"),
        "itemGroup": ref("MenuGroup"),
        "salesCategory": ref("SalesCategory"),
        "optionGroup": None,
        "preModifier": None,
        "seatNumber": -1,
        "voided": False,
        "voidDate": None,
        "voidBusinessDate": None,
        "voidReason": None,
        "refundDetails": None,
        "appliedDiscounts": [discount(off)] if reduced else [],
        "appliedTaxes": [{"guid": None, "entityType": "AppliedTaxRate", "name": "State", "rate": Decimal("0.08")}],
        "modifiers": list(modifiers),
        "fulfillmentStatus": "READY",
        "taxInclusion": "NOT_INCLUDED",
        "createdDate": "2025-09-19T18:01:02.003+0000",
        "modifiedDate": MODIFIED,
        **more,
    }


def modifier(price: str = "1.00", **more: Any) -> Json:
    """A modifier, whose price is part of its item's."""
    return selection(price, **{"displayName": "Extra cheese", "optionGroup": ref("MenuOptionGroup"), **more})


def gift_card(price: str = "50.00", **more: Any) -> Json:
    """A gift card sold: no item, deferred revenue."""
    card = {
        "selectionType": "TOAST_CARD_SELL",
        "deferred": True,
        "item": None,
        "itemGroup": None,
        "tax": Decimal(0),
    }
    return selection(price, **{"displayName": "Gift Card", **card, **more})


def service_charge(amount: str, *, gratuity: bool = False, **more: Any) -> Json:
    """A charge on the check."""
    return {
        "guid": guid(),
        "entityType": "AppliedServiceCharge",
        "name": "Gratuity" if gratuity else "Delivery fee",
        "chargeAmount": Decimal(amount),
        "chargeType": "FIXED",
        "gratuity": gratuity,
        "serviceCharge": ref("ServiceCharge"),
        "refundDetails": None,
        **more,
    }


def payment(
    amount: str = "10.80", tip: str = "0", *, refund: str | None = None, voided: bool = False, **more: Any
) -> Json:
    """A card payment, with the card data that must go nowhere."""
    return {
        "guid": guid(),
        "entityType": "OrderPayment",
        "type": "CREDIT",
        "amount": Decimal(amount),
        "tipAmount": Decimal(tip),
        "amountTendered": Decimal(amount),
        "cardEntryMode": "CONTACTLESS",
        "cardType": "VISA",
        "first6Digits": "411111",
        "last4Digits": "4242",
        "cardPaymentId": "card-payment-id-of-a-guest",
        "paymentStatus": "VOIDED" if voided else "CAPTURED",
        "paidDate": "2025-09-19T18:40:00.000+0000",
        "paidBusinessDate": 20250919,
        "refundStatus": "NONE" if refund is None else "PARTIAL",
        "refund": None
        if refund is None
        else {
            "refundAmount": Decimal(refund),
            "tipRefundAmount": Decimal(0),
            "refundDate": "2025-09-20T10:00:00.000+0000",
            "refundBusinessDate": 20250920,
        },
        "voidInfo": {"voidDate": "2025-09-19T19:00:00.000+0000", "voidBusinessDate": 20250919} if voided else None,
        "server": ref("RestaurantUser", firstName="Edna", lastName="Employee", email="edna@staff.example"),
        **more,
    }


def customer(email: str | None = "guest@example.com", **more: Any) -> Json:
    """A guest with a GUID."""
    return {
        "guid": guid(),
        "entityType": "Customer",
        "firstName": "Greta",
        "lastName": "Guest",
        "email": email,
        "phone": "(617) 555-0123",
        "phoneCountryCode": "1",
        **more,
    }


def check(*selections: Json, payments: Iterable[Json] = (), guest: Json | None = None, **more: Any) -> Json:
    """A check with these items, by default one of 10.00."""
    items = list(selections) or [selection()]
    tax = sum((item["tax"] for item in items), Decimal(0))
    sold = {"selections": items, "appliedDiscounts": [], "appliedServiceCharges": [], **more}
    amount = toast_amount(sold)
    return {
        "guid": guid(),
        "entityType": "Check",
        "displayNumber": "12",
        "openedDate": "2025-09-19T18:00:00.000+0000",
        "closedDate": "2025-09-19T18:41:00.000+0000",
        "modifiedDate": MODIFIED,
        "deleted": False,
        "deletedDate": "1970-01-01T00:00:00.000+0000",
        "voided": False,
        "voidDate": None,
        "paymentStatus": "CLOSED",
        "amount": amount,
        "taxAmount": tax,
        "totalAmount": amount + tax,
        "taxExempt": False,
        "tabName": None,
        "openedBy": ref("RestaurantUser"),
        "customer": guest,
        "payments": list(payments) or [payment(str(amount + tax))],
        "appliedLoyaltyInfo": None,
        **sold,
    }


def toast_amount(bill: Json) -> Decimal:
    """Toast's ``amount`` of a check: items after all discounts, and service charges that are no gratuity."""
    live = (one for one in bill["selections"] if not (one["voided"] or one.get("deleted")))
    sold = sum((one["preDiscountPrice"] - taken_off(one) for one in live), Decimal(0))
    charges = (one["chargeAmount"] for one in bill["appliedServiceCharges"] if not one["gratuity"])
    return sold - (taken_off(bill) if sold else 0) + sum(charges, Decimal(0))


def taken_off(sold: Json) -> Decimal:
    """What the discounts on a check, or on an item and its modifiers, take off."""
    below = (taken_off(one) for one in sold.get("modifiers", ()) if not (one["voided"] or one["deferred"]))
    own = (
        one["discountAmount"] if one["nonTaxDiscountAmount"] is None else one["nonTaxDiscountAmount"]
        for one in sold["appliedDiscounts"]
        if one["processingState"] not in ("VOID", "PENDING_VOID")
    )
    return sum(own, Decimal(0)) + sum(below, Decimal(0))


def order(*bills: Json, checks: int = 1, voided: bool = False, deleted: bool = False, **more: Any) -> Json:
    """An order with these checks, else with ``checks`` plain ones."""
    return {
        "guid": guid(),
        "entityType": "Order",
        "externalId": None,
        "displayNumber": "47",
        "businessDate": 20250919,
        "openedDate": "2025-09-19T18:00:00.000+0000",
        "createdDate": "2025-09-19T18:00:00.000+0000",
        "modifiedDate": MODIFIED,
        "paidDate": "2025-09-19T18:40:00.000+0000",
        "closedDate": "2025-09-19T18:41:00.000+0000",
        "promisedDate": None,
        "voided": voided,
        "voidDate": "2025-09-19T18:44:00.000+0000" if voided else None,
        "voidBusinessDate": 20250919 if voided else None,
        "deleted": deleted,
        "deletedDate": "2025-09-19T18:44:00.000+0000" if deleted else "1970-01-01T00:00:00.000+0000",
        "source": "In Store",
        "duration": 2400,
        "numberOfGuests": 2,
        "diningOption": ref("DiningOption"),
        "revenueCenter": ref("RevenueCenter"),
        "restaurantService": ref("RestaurantService"),
        "server": ref("RestaurantUser", firstName="Edna", lastName="Employee", email="edna@staff.example"),
        "table": None,
        "deliveryInfo": None,
        "approvalStatus": "APPROVED",
        "createdInTestMode": False,
        "excessFood": False,
        "checks": list(bills) or [check() for _ in range(checks)],
        **more,
    }


def invented_week(orders: int, seed: int = 1) -> Iterator[bytes]:
    """Orders with everything that restaurants do: splits, voids, refunds, gift cards, discounts of every kind."""
    chance = random.Random(seed)
    return (_ENCODER.encode(_some_order(chance)) for _ in range(orders))


def _some_order(chance: random.Random) -> Json:
    bills = [_some_check(chance) for _ in range(1 + (chance.random() < 0.1))]
    return order(
        *bills,
        voided=chance.random() < 0.02,
        deleted=chance.random() < 0.02,
        createdInTestMode=chance.random() < 0.01,
        source=chance.choice(["In Store", "Online", "Kiosk", "API", "Caller Id", None]),
        openedDate=f"2025-09-{chance.randint(15, 21)}T{chance.randint(0, 23):02d}:{chance.randint(0, 59):02d}:00.000Z",
    )


def _some_check(chance: random.Random) -> Json:
    items = [_some_selection(chance) for _ in range(chance.randint(0 if chance.random() < 0.02 else 1, 5))]
    amount = sum((item["price"] for item in items), Decimal(0))
    paid = [payment(str(amount), _cents(chance, 9), refund=_cents(chance, 3) if chance.random() < 0.05 else None)]
    if chance.random() < 0.03:
        paid.append(payment(str(amount), voided=True))
    made = check(*(items or [selection()]), payments=paid, guest=_some_guest(chance), voided=chance.random() < 0.01)
    made["selections"] = items
    if chance.random() < 0.1:
        room = sum((item["price"] for item in items if not (item["voided"] or item["deferred"])), Decimal(0))
        made["appliedDiscounts"] = [_some_discount(chance, room)]
    if chance.random() < 0.1:
        made["appliedServiceCharges"] = [service_charge(_cents(chance, 5), gratuity=chance.random() < 0.5)]
    return made | {"amount": toast_amount(made), "totalAmount": toast_amount(made) + made["taxAmount"]}


def _some_selection(chance: random.Random) -> Json:
    if chance.random() < 0.02:
        return gift_card(_cents(chance, 100))
    extras = [modifier(_cents(chance, 3)) for _ in range(chance.randint(0, 2))]
    if extras and chance.random() < 0.2:
        extras[0]["modifiers"] = [modifier("0")]
    made = selection(
        _cents(chance, 40),
        quantity=chance.choice(["1", "1", "1", "2", "0.5", "1.25"]),
        modifiers=extras,
        voided=chance.random() < 0.03,
        item=ref("MenuItem", multiLocationId=f"4000000000{chance.randint(10, 40)}"),
    )
    if chance.random() < 0.1:
        taken_off = _some_discount(chance, made["price"])
        made |= {"appliedDiscounts": [taken_off], "price": made["price"] - taken_off["discountAmount"]}
    if chance.random() < 0.03:
        made["refundDetails"] = refund_details(str(made["price"]), str(made["tax"]))
    return made


def _some_discount(chance: random.Random, room: Decimal) -> Json:
    amount = str(min(Decimal(_cents(chance, 2)), room))
    kind = chance.choice(["PERCENT", "FIXED", "OPEN_PERCENT", "OPEN_FIXED", "BOGO", "FIXED_TOTAL", "A_NEW_KIND"])
    made = discount(amount, taxed=amount, discountType=kind)
    if chance.random() < 0.3:
        made["nonTaxDiscountAmount"] = None
    return made


def _some_guest(chance: random.Random) -> Json | None:
    number = chance.randint(1, 500)
    guest = customer(f"Guest{number}@Example.com", guid=f"guest-{number}")
    return chance.choice([None, None, guest, guest | {"guid": None}, {"guid": guest["guid"]}, guest | {"email": None}])


def _cents(chance: random.Random, most: int) -> str:
    return str(Decimal(chance.randint(0, most * 100)) / 100)
