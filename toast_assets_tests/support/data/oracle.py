"""What an order comes to, worked out without the package: plain ``json`` and ``Decimal``.

Written from Toast's documents ("Calculating net sales using the orders API", "Building a sales report", "How do refunds
appear in Toast reporting"), not from the code that makes tables and feeds: where both agree, it is not because they are
the same recipe. Amounts are in currency units.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
ZERO = Decimal(0)
CENT = Decimal("0.01")
NO_MONEY = {"VOIDED", "VOIDED_AT_RISK", "PROCESSING_VOID", "CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK"}
PREPAID = {"TOAST_CARD_SELL", "TOAST_CARD_RELOAD", "HOUSE_ACCOUNT_PAY_BALANCE"}

AMOUNTS = (
    *("item_sales", "service_charge_amount", "gross_sales", "discount_amount", "net_sales"),
    *("sales_refund_amount", "tax_refund_amount", "tip_refund_amount", "net_sales_after_refunds"),
    *("waste_amount", "deferred_amount", "refund_amount"),
    *("gratuity_amount", "donation_amount", "tax_amount", "tip_amount", "payment_amount"),
)


def read(body: bytes | str) -> Json:
    """An order with exact numbers."""
    found: Json = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    return found


def amounts(order: Json) -> dict[str, Decimal]:
    """All amounts of an order: the sums over its checks."""
    totals = dict.fromkeys(AMOUNTS, ZERO)
    for check in order.get("checks") or []:
        for name, amount in check_amounts(order, check).items():
            totals[name] += amount
    return totals


def check_amounts(order: Json, check: Json) -> dict[str, Decimal]:
    """All amounts of one check of an order."""
    found = dict.fromkeys(AMOUNTS, ZERO)
    items = list(check.get("selections") or [])
    counts = not any(_gone(each) for each in (order, check))
    if order.get("excessFood"):
        if counts:
            found["waste_amount"] = sum((_sold(item) for item in items if _is_sale(item)), ZERO)
        return found
    taken = [payment for payment in check.get("payments") or [] if _took_money(payment)]
    refunds = [payment.get("refund") or {} for payment in taken]
    found["payment_amount"] = _sum(taken, "amount")
    found["tip_amount"] = _sum(taken, "tipAmount")
    found["refund_amount"] = _sum(refunds, "refundAmount")
    found["tip_refund_amount"] = _sum(refunds, "tipRefundAmount")
    if not counts:
        return found
    found["tax_amount"] = _number(check.get("taxAmount"))
    for item in items:
        found["deferred_amount"] += _deferred(item)
        if _is_sale(item):
            found["item_sales"] += _sold(item)
            found["discount_amount"] += _own_discounts(item)
    if any(_is_sale(item) and _sold(item) > _own_discounts(item) for item in items):
        found["discount_amount"] += _off(check)
    for charge in check.get("appliedServiceCharges") or []:
        amount = _number(charge.get("chargeAmount"))
        if _is_donation(charge):
            found["donation_amount"] += amount
        elif charge.get("gratuity"):
            found["gratuity_amount"] += amount
        else:
            found["service_charge_amount"] += amount
    found["gross_sales"] = found["item_sales"] + found["service_charge_amount"]
    found["net_sales"] = found["gross_sales"] - found["discount_amount"]
    of_items, of_charges, custom, tax = _refunds(check, found["refund_amount"])
    found["sales_refund_amount"] = of_items + of_charges + custom
    found["tax_refund_amount"] = tax
    found["net_sales_after_refunds"] = found["net_sales"] - found["sales_refund_amount"]
    return found


def revenue(order: Json) -> Decimal:
    """What the rows of ``transactions`` of an order add up to."""
    if order.get("createdInTestMode") or order.get("excessFood"):
        return ZERO
    total = ZERO
    for check in order.get("checks") or []:
        found = check_amounts(order, check)
        total += found["item_sales"] - found["discount_amount"]
        if not any(_gone(each) for each in (order, check)):
            of_items, _, custom, _ = _refunds(check, found["refund_amount"])
            total -= of_items + custom
    return total


def item_shares(order: Json, check: Json) -> dict[str, Decimal] | None:
    """By selection GUID, how much of the check's discounts Toast's own prices give to each item that bears some; None
    where they do not explain these discounts to the cent, so that only proportions are left."""
    if any(_gone(each) for each in (order, check)) or order.get("excessFood"):
        return {}
    items = [item for item in check.get("selections") or [] if _is_sale(item)]
    if not any(_sold(item) > _own_discounts(item) for item in items):
        return {}
    shares = {}
    for item in items:
        if item.get("price") is None:
            return None
        shares[item["guid"]] = _number(item.get("preDiscountPrice")) - _own_discounts(item) - _number(item["price"])
    explained = min(shares.values(), default=ZERO) >= 0 and sum(shares.values(), ZERO) == _off(check)
    return {guid: share for guid, share in shares.items() if share} if explained else None


def _refunds(check: Json, refunded: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """What was given back without tax, of items, of service charges that are sales, and of no item at all; and of
    tax."""
    items = tax = itemized = unsold = ZERO
    for item in check.get("selections") or []:
        amount, of_tax = _refund(item)
        itemized += amount + of_tax
        if _is_sale(item):
            items += amount
            tax += of_tax
        else:
            # What was paid for it and is no sale any more explains what the payment gave back.
            unsold += max(_number(item.get("price")) + _number(item.get("tax")) - amount - of_tax, ZERO)
    charges = ZERO
    for charge in check.get("appliedServiceCharges") or []:
        details = charge.get("refundDetails") or {}
        amount, of_tax = _number(details.get("refundAmount")), _number(details.get("taxRefundAmount"))
        itemized += amount + of_tax
        if not (charge.get("gratuity") or _is_donation(charge)):
            charges += amount
            tax += of_tax
    return items, charges, max(refunded - itemized - unsold, ZERO), tax


def _refund(item: Json) -> tuple[Decimal, Decimal]:
    """An item's refund includes its modifiers'; only where it has none do theirs count."""
    if (details := item.get("refundDetails")) is not None:
        return _number(details.get("refundAmount")), _number(details.get("taxRefundAmount"))
    below = [_refund(modifier) for modifier in item.get("modifiers") or []]
    return sum((amount for amount, _ in below), ZERO), sum((tax for _, tax in below), ZERO)


def _is_sale(item: Json) -> bool:
    return not (_gone(item) or item.get("deferred") or item.get("selectionType") in PREPAID)


def _sold(item: Json) -> Decimal:
    """The price before discounts of an item that counts, which includes its modifiers, without deferred ones."""
    return _number(item.get("preDiscountPrice")) - _deferred_below(item)


def _deferred(item: Json) -> Decimal:
    if _gone(item):
        return ZERO
    if item.get("deferred") or item.get("selectionType") in PREPAID - {"HOUSE_ACCOUNT_PAY_BALANCE"}:
        return _number(item.get("preDiscountPrice"))
    return _deferred_below(item)


def _deferred_below(item: Json) -> Decimal:
    return sum((_deferred(modifier) for modifier in item.get("modifiers") or []), ZERO)


def _own_discounts(item: Json) -> Decimal:
    """Discounts on the item and on those of its modifiers that count."""
    below = (_own_discounts(modifier) for modifier in item.get("modifiers") or [] if _is_sale(modifier))
    return _off(item) + sum(below, ZERO)


def _off(thing: Json) -> Decimal:
    """What its discounts take off sales: without tax, without rewards that were taken back."""
    total = ZERO
    for discount in thing.get("appliedDiscounts") or []:
        if discount.get("processingState") not in ("VOID", "PENDING_VOID"):
            untaxed = discount.get("nonTaxDiscountAmount")
            total += _number(discount.get("discountAmount") if untaxed is None else untaxed)
    return total


def _is_donation(charge: Json) -> bool:
    return charge.get("serviceChargeCategory") == "FUNDRAISING_CAMPAIGN"


def _took_money(payment: Json) -> bool:
    void = payment.get("voidInfo") or {}
    return payment.get("paymentStatus") not in NO_MONEY and not (void.get("voidDate") or void.get("voidBusinessDate"))


def _gone(thing: Json) -> bool:
    return bool(thing.get("voided") or thing.get("deleted"))


def _sum(things: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return sum((_number(thing.get(name)) for thing in things), ZERO)


def _number(value: Any) -> Decimal:
    return ZERO if value is None else Decimal(value)
