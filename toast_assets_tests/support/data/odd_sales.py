"""Invented orders in which sales, discounts, refunds and what is no sale meet in every way that Toast's documents know:
donations, waste, deposits, deferred modifiers, combos, refunds of what was voided, of charges, of tax alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from random import Random
from typing import Any

from toast_assets.orders.names import Name
from toast_assets_tests.support.data.invented import (
    Json,
    check,
    discount,
    encode,
    gift_card,
    modifier,
    order,
    payment,
    ref,
    refund_details,
    selection,
    service_charge,
    taken_off,
    toast_amount,
)

PAID = ("2025-09-19T18:40:00.000+0000", "2025-09-19T18:55:00.000+0000")
# Before any payment, at the time of the first, and after all; Toast does not always say when.
VOIDED = ("2025-09-19T18:20:00.000+0000", PAID[0], "2025-09-19T19:30:00.000+0000", None)
REFUNDED = ("2025-09-20T10:00:00.000+0000", "2025-09-23T17:05:00.000+0000")
# What a market place's field was seen to hold, or may hold.
MARKETPLACES: tuple[Any, ...] = (
    *(None, "Grubhub", "", {"providerName": "DoorDash", "provider": "dd"}, {"provider": "Uber Eats", "name": "x"}),
    *({"name": "Slice"}, {"orderId": "5"}, {}),
)
SERVICES: tuple[Any, ...] = (
    None,
    {"providerName": "Wheels", "driverName": "Dora", "driverPhoneNumber": "6175550199"},
    {},
)
# Fields of each part of an order that refer to something in Toast's configuration.
OF_ORDERS = ("diningOption", "revenueCenter", "restaurantService", "serviceArea", "table")
OF_ITEMS = ("item", "itemGroup", "salesCategory", "diningOption", "voidReason")
CATEGORIES = ("SERVICE_CHARGE", "FUNDRAISING_CAMPAIGN", "CREDIT_CARD_SURCHARGE", "CASH_ROUNDING", None)


def odd_week(orders: int, seed: int) -> Iterator[bytes]:
    """That many orders, as bytes."""
    # Times and references have chances of their own, so that all else of a seed stays as it is.
    chance, times, references = Random(seed), Random(f"times of {seed}"), Random(f"references of {seed}")
    return (encode(_referring(references, _timed(times, _order(chance))))[0] for _ in range(orders))


def odd_names() -> dict[tuple[str, str], Name]:
    """The names of most of what the orders refer to, by kind and GUID in lower case."""
    kinds = {
        *("dining_option", "revenue_center", "restaurant_service", "service_area", "table", "menu_item", "menu_group"),
        *("sales_category", "void_reason", "alternate_payment_type", "discount", "service_charge", "tax_rate"),
    }
    behaviors = {1: "DINE_IN", 2: "TAKE_OUT", 3: "DELIVERY"}
    return {
        (kind, f"guid-{number}"): Name(
            f"{kind} {number}" if number != 4 else None, behaviors.get(number) if kind == "dining_option" else None
        )
        for kind in kinds
        for number in range(1, 6)
    }


def _referring(chance: Random, made: Json) -> Json:
    """The order with references to things that have a name, or none, in whatever case."""
    _refer(chance, made, *OF_ORDERS)
    if made["diningOption"]:
        made["diningOption"]["behavior"] = chance.choice([None, "DINE_IN", "CATERING"])
    made["thirdPartyProviderInfo"] = chance.choice(MARKETPLACES)
    made["deliveryServiceInfo"] = chance.choice(SERVICES)
    for bill in made["checks"]:
        for line in _lines(bill["selections"]):
            if line["item"]:
                _refer(chance, line, *OF_ITEMS)
            for tax in line["appliedTaxes"]:
                _refer(chance, tax, "taxRate")
            for reduced in line["appliedDiscounts"]:
                _refer(chance, reduced, "discount")
        for reduced in bill["appliedDiscounts"]:
            _refer(chance, reduced, "discount")
        for charge in bill["appliedServiceCharges"]:
            _refer(chance, charge, "serviceCharge")
        for paid in bill["payments"]:
            _refer(chance, paid, "otherPayment")
            if paid["paymentStatus"] == "VOIDED":
                # Without a time, which would say more than the status.
                paid["voidInfo"] = {}
                _refer(chance, paid["voidInfo"], "voidReason")
    return made


def _refer(chance: Random, thing: Json, *fields: str) -> None:
    for field in fields:
        # The last ones have no name.
        guid = chance.choice(("guid-{}", "GUID-{}", "Guid-{}")).format(chance.randint(1, 7))
        thing[field] = (thing.get(field) or {}) | {"guid": guid} if chance.random() < 0.8 else None


def _lines(selections: Iterable[Json]) -> Iterator[Json]:
    for line in selections:
        yield line
        yield from _lines(line["modifiers"])


def _timed(times: Random, made: Json) -> Json:
    """The order with the times of its payments, refunds and voids."""
    for check_made in made["checks"]:
        for item in check_made["selections"]:
            _void_time(times, item)
        _void_time(times, check_made)
        for paid in check_made["payments"]:
            paid["paidDate"] = times.choice(PAID)
            if paid["refund"]:
                paid["refund"]["refundDate"] = times.choice(REFUNDED)
    _void_time(times, made)
    if made["deleted"]:
        made["deletedDate"] = times.choice(VOIDED)
    return made


def _void_time(times: Random, thing: Json) -> None:
    if thing["voided"]:
        thing["voidDate"] = times.choice(VOIDED)


def _order(chance: Random) -> Json:
    return order(
        *(_check(chance) for _ in range(chance.choice([1, 1, 1, 2]))),
        voided=_rarely(chance),
        deleted=_rarely(chance),
        excessFood=_rarely(chance),
        createdInTestMode=_rarely(chance),
    )


def _check(chance: Random) -> Json:
    items = [_item(chance) for _ in range(chance.randint(0, 5))]
    charges = [_charge(chance) for _ in range(chance.choice([0, 0, 1, 2]))]
    made = check(*(items or [selection()]), guest=None, voided=_rarely(chance), deleted=_rarely(chance))
    made |= {"selections": items, "appliedServiceCharges": charges}
    if chance.random() < 0.3:
        _take_off(chance, made)
    made["payments"] = [_payment(chance, made) for _ in range(chance.choice([0, 1, 1, 2]))]
    return made | {"amount": toast_amount(made)}


def _item(chance: Random) -> Json:
    if chance.random() < 0.05:
        card = gift_card(_cents(chance, 5000), deferred=chance.choice([True, None]))
        return card | ({"refundDetails": refund_details(str(card["price"]))} if chance.random() < 0.3 else {})
    extras = [_modifier(chance) for _ in range(chance.choice([0, 0, 1, 2]))]
    own = sum((extra["preDiscountPrice"] for extra in extras if not extra["voided"]), Decimal(0))
    made = selection(
        str(own + Decimal(_cents(chance, 3000))),
        modifiers=extras,
        voided=_rarely(chance),
        deleted=_rarely(chance),
        deferred=_rarely(chance),
        selectionType=chance.choice(["NONE", "NONE", "OPEN_ITEM", None, "HOUSE_ACCOUNT_PAY_BALANCE", "A_NEW_TYPE"]),
        item=ref("MenuItem", multiLocationId=f"4000000000{chance.randint(10, 30)}"),
    )
    if chance.random() < 0.2:
        made["appliedDiscounts"] = [_discount(chance, made["preDiscountPrice"])]
    _refund(chance, made)
    _price(made)
    return made


def _modifier(chance: Random, depth: int = 1) -> Json:
    below = [_modifier(chance, depth + 1)] if depth < 3 and chance.random() < 0.3 else []
    own = sum((one["preDiscountPrice"] for one in below if not one["voided"]), Decimal(0))
    made = modifier(
        str(own + Decimal(_cents(chance, 300))), modifiers=below, voided=_rarely(chance), deferred=_rarely(chance)
    )
    if _rarely(chance):
        made["appliedDiscounts"] = [_discount(chance, made["preDiscountPrice"])]
    if _rarely(chance):
        _refund(chance, made)
    return made


def _discount(chance: Random, room: Decimal) -> Json:
    amount = (room * chance.randint(0, 100) / 100).quantize(Decimal("0.01"))
    made = discount(str(amount), taxed=str(amount + Decimal("0.10")), processingState=_state(chance))
    if chance.random() < 0.3:
        made |= {"nonTaxDiscountAmount": None, "discountAmount": amount}
    return made


def _state(chance: Random) -> str | None:
    return chance.choice([None, None, None, "APPLIED", "VOID", "PENDING_VOID", "PENDING_APPLIED"])


def _price(item: Json) -> None:
    """Toast's price: after the discounts on the item and on its modifiers."""
    item["price"] = item["preDiscountPrice"] - taken_off(item)


def _take_off(chance: Random, made: Json) -> None:
    """A discount on the check: of some items, as Toast's prices say, or with prices that do not explain it."""
    sold = [
        one
        for one in made["selections"]
        if not (one["voided"] or one.get("deleted") or one["deferred"])
        and one["selectionType"] not in ("TOAST_CARD_SELL", "HOUSE_ACCOUNT_PAY_BALANCE")
    ]
    concerned = [one for one in sold if one["price"] > 0 and chance.random() < 0.6]
    total = Decimal(0)
    explained = chance.random() < 0.7
    for one in concerned:
        share = (one["price"] * chance.randint(1, 100) / 100).quantize(Decimal("0.01"))
        total += share
        if explained:
            one["price"] -= share
    if total or chance.random() < 0.2:
        made["appliedDiscounts"] = [discount(str(total or Decimal("1.00")), discountType="BOGO")]


def _charge(chance: Random) -> Json:
    made = service_charge(
        _cents(chance, 900), gratuity=chance.random() < 0.3, serviceChargeCategory=chance.choice(CATEGORIES)
    )
    if chance.random() < 0.2:
        made["refundDetails"] = refund_details(str(made["chargeAmount"]), _cents(chance, 40))
    return made


def _refund(chance: Random, made: Json) -> None:
    if chance.random() < 0.15:
        amount = (made["preDiscountPrice"] * chance.choice([0, 50, 100]) / 100).quantize(Decimal("0.01"))
        made["refundDetails"] = refund_details(str(amount), _cents(chance, 90))


def _payment(chance: Random, made: Json) -> Json:
    """Money back for exactly what items say, for less, for more, or for something that was voided."""
    refund = chance.choice([None, None, "itemized", "custom"])
    amount = Decimal(_cents(chance, 6000))
    if refund == "itemized":
        back = sum(
            (
                sum((one["refundDetails"]["refundAmount"], one["refundDetails"]["taxRefundAmount"]), Decimal(0))
                for one in (*made["selections"], *made["appliedServiceCharges"])
                if one["refundDetails"]
            ),
            Decimal(0),
        )
    else:
        back = Decimal(_cents(chance, 3000))
    paid = payment(str(amount), _cents(chance, 500), refund=None if refund is None else str(back))
    if paid["refund"]:
        paid["refund"]["tipRefundAmount"] = Decimal(_cents(chance, 200))
    status = chance.choice(["CAPTURED"] * 6 + ["VOIDED", "DENIED", "AUTHORIZED"])
    return paid | {"paymentStatus": status}


def _rarely(chance: Random) -> bool:
    return chance.random() < 0.05


def _cents(chance: Random, most: int) -> str:
    return str(Decimal(chance.randint(0, most)) / 100)
