"""What raw orders add up to, read from their JSON without the tables' code: the other side of the reconciliation.

Amounts are exact decimals, by Toast's recipes for net sales, refunds and what is no sale (Toast: "Calculating net sales
using the orders API", "Building a sales report"), rounded per order, check and payment to four places, as the rows of
the tables are. As in the tables, texts, guests and modifiers may have any type; an order with an amount or a flag of
another type is in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple

_Part = dict[str, Any]

AMOUNTS = (
    *("net_sales", "item_sales", "service_charge_amount", "gross_sales", "discount_amount"),
    *("net_sales_after_refunds", "sales_refund_amount", "tax_refund_amount", "tip_refund_amount", "refund_amount"),
    *("waste_amount", "deferred_amount", "donation_amount", "gratuity_amount"),
    *("tip_amount", "payment_amount", "tax_amount"),
)
"""Of whole orders. ``SUMS`` are these and, with the table's name before them, those of single checks and payments."""
# The tax in the table of checks is Toast's own, also of checks that do not count.
OF_CHECKS = AMOUNTS[:-1]
OF_PAYMENTS = ("payment_amount", "tip_amount", "refund_amount", "tip_refund_amount")
SUMS = (*AMOUNTS, *(f"checks.{name}" for name in OF_CHECKS), *(f"payments.{name}" for name in OF_PAYMENTS))
_PLACES = Decimal("0.0001")
# The tables' columns have 14 digits before the point.
_LIMIT = Decimal(10) ** 14
_ZERO = Decimal(0)
# Toast's states of payments that brought no money, of loyalty rewards taken back, and of what is no revenue.
_NO_MONEY = ("CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK", "PROCESSING_VOID", "VOIDED", "VOIDED_AT_RISK")
_TAKEN_BACK = ("VOID", "PENDING_VOID")
_GIFT_CARDS = ("TOAST_CARD_SELL", "TOAST_CARD_RELOAD")
_PREPAID = (*_GIFT_CARDS, "HOUSE_ACCOUNT_PAY_BALANCE")


class UnreadableAmountsError(ValueError):
    """An order whose amounts cannot be added up."""


class _Item(NamedTuple):
    """An item, or a modifier below one, with all that is below it: what of it is sold, deferred, taken off by its own
    discounts and given back."""

    counts: bool
    sold: Decimal
    deferred: Decimal
    off: Decimal
    refund: Decimal
    tax_refund: Decimal


def read_amounts(order: object) -> tuple[Decimal, ...]:
    """The ``SUMS`` of a decoded order, in currency units.

    Raises UnreadableAmountsError where it is no object, or an amount or a flag is of another type, or too large.
    """
    if type(order) is not dict:
        raise UnreadableAmountsError("it is no order")
    try:
        found = _amounts(order)
        if max(map(abs, found)) >= _LIMIT:
            raise UnreadableAmountsError("an amount is too large")
    except ArithmeticError:
        raise UnreadableAmountsError("an amount is no number") from None
    except RecursionError:
        raise UnreadableAmountsError("modifiers are nested too deep") from None
    return found


def _amounts(order: _Part) -> tuple[Decimal, ...]:
    checks: list[Sequence[Decimal]] = []
    payments: list[Sequence[Decimal]] = []
    all_gone, wasted = _is_gone(order), _flag(order, "excessFood")
    for check in _parts(order, "checks"):
        own = [money for payment in _parts(check, "payments") if (money := _money(payment))]
        payments += own
        amounts = dict.fromkeys(AMOUNTS, _ZERO)
        if not wasted:
            amounts.update(zip(OF_PAYMENTS, _added(own, len(OF_PAYMENTS)), strict=True))
        if not (_is_gone(check) or all_gone):
            _add_sales(check, amounts, wasted=wasted)
        checks.append([*amounts.values()])
    of_order = _rounded(_added(checks, len(AMOUNTS)))
    of_checks = of_order if len(checks) == 1 else _added(map(_rounded, checks), len(AMOUNTS))
    return (*of_order, *of_checks[: len(OF_CHECKS)], *_added(map(_rounded, payments), len(OF_PAYMENTS)))


def _money(payment: _Part) -> Sequence[Decimal]:
    """``OF_PAYMENTS``; nothing of a payment that brought no money."""
    refund, void = _get(payment, "refund", dict) or {}, _get(payment, "voidInfo", dict) or {}
    given = (_amount(payment, "amount"), _amount(payment, "tipAmount"))
    back = (_amount(refund, "refundAmount"), _amount(refund, "tipRefundAmount"))
    voided = (void.get("voidDate") or void.get("voidBusinessDate")) is not None
    return () if voided or payment.get("paymentStatus") in _NO_MONEY else (*given, *back)


def _add_sales(check: _Part, amounts: dict[str, Decimal], *, wasted: bool) -> None:
    """Adds to the ``amounts`` of payments those of a check that counts; of a wasted one, what it would have cost."""
    items = [(item, _item(item)) for item in _parts(check, "selections")]
    sold = [one for _, one in items if one.counts]
    if wasted:
        amounts["waste_amount"] = sum((one.sold for one in sold), _ZERO)
        return
    # What the payments gave back and no item or charge explains was a custom amount.
    unexplained = amounts["refund_amount"]
    for item, one in items:
        paid = _amount(item, "price") + _amount(item, "tax")
        explained = one.refund + one.tax_refund
        unexplained -= explained if one.counts else max(paid, explained)
        amounts["deferred_amount"] += one.deferred
    for one in sold:
        amounts["item_sales"] += one.sold
        amounts["discount_amount"] += one.off
        amounts["sales_refund_amount"] += one.refund
        amounts["tax_refund_amount"] += one.tax_refund
    if any(one.sold > one.off for one in sold):
        amounts["discount_amount"] += _taken_off(check)
    for charge in _parts(check, "appliedServiceCharges"):
        donated = charge.get("serviceChargeCategory") == "FUNDRAISING_CAMPAIGN"
        kind = "donation" if donated else "gratuity" if _flag(charge, "gratuity") else "service_charge"
        amounts[f"{kind}_amount"] += _amount(charge, "chargeAmount")
        refund, tax_refund = _refund(charge) or (_ZERO, _ZERO)
        unexplained -= refund + tax_refund
        if kind == "service_charge":
            amounts["sales_refund_amount"] += refund
            amounts["tax_refund_amount"] += tax_refund
    amounts["sales_refund_amount"] += max(unexplained, _ZERO)
    amounts["gross_sales"] = amounts["item_sales"] + amounts["service_charge_amount"]
    amounts["net_sales"] = amounts["gross_sales"] - amounts["discount_amount"]
    amounts["net_sales_after_refunds"] = amounts["net_sales"] - amounts["sales_refund_amount"]
    amounts["tax_amount"] = _amount(check, "taxAmount")


def _item(item: _Part) -> _Item:
    """Toast: an item's price and refund are with those of its modifiers."""
    price, kind = _amount(item, "preDiscountPrice"), item.get("selectionType")
    gone, deferred = _is_gone(item), _flag(item, "deferred") or kind in _GIFT_CARDS
    off, later, refund, tax_refund = _taken_off(item), _ZERO, _ZERO, _ZERO
    modifiers = item.get("modifiers")
    if type(modifiers) is list and all(type(one) is dict for one in modifiers):
        for one in map(_item, modifiers):
            off += one.off if one.counts else _ZERO
            later += one.deferred
            refund += one.refund
            tax_refund += one.tax_refund
    refund, tax_refund = _refund(item) or (refund, tax_refund)
    later = _ZERO if gone else price if deferred else later
    return _Item(not (gone or deferred or kind in _PREPAID), price - later, later, off, refund, tax_refund)


def _refund(part: _Part) -> tuple[Decimal, Decimal] | None:
    """What was given back of an item or a charge, and of its tax; None where Toast does not say."""
    details = _get(part, "refundDetails", dict)
    return None if details is None else (_amount(details, "refundAmount"), _amount(details, "taxRefundAmount"))


def _taken_off(part: _Part) -> Decimal:
    total = _ZERO
    for discount in _parts(part, "appliedDiscounts"):
        amount, untaxed = _amount(discount, "discountAmount"), _amount(discount, "nonTaxDiscountAmount")
        if discount.get("processingState") not in _TAKEN_BACK:
            total += amount if discount.get("nonTaxDiscountAmount") is None else untaxed
    return total


def _amount(part: _Part, name: str) -> Decimal:
    value = part.get(name)
    return _ZERO if value is None else Decimal(_get(part, name, Decimal, int, str)) or _ZERO


def _is_gone(part: _Part) -> bool:
    return _flag(part, "voided") | _flag(part, "deleted")


def _flag(part: _Part, name: str) -> bool:
    value = part.get(name)
    return False if value is None or value is False else bool(_get(part, name, bool))


def _parts(part: _Part, name: str) -> list[_Part]:
    found: list[_Part] = _get(part, name, list) or []
    for one in found:
        if type(one) is not dict:
            raise UnreadableAmountsError(f"{name} is of another type")
    return found


def _get(part: _Part, name: str, *kinds: type) -> Any:
    """The value of a field, None where it is null or missing."""
    value = part.get(name)
    if value is not None and type(value) not in kinds:
        raise UnreadableAmountsError(f"{name} is of another type")
    return value


def _added(rows: Iterable[Sequence[Decimal]], columns: int) -> Sequence[Decimal]:
    return [sum(column, _ZERO) for column in zip(*rows, strict=True)] or [_ZERO] * columns


def _rounded(amounts: Iterable[Decimal]) -> Sequence[Decimal]:
    return [amount and amount.quantize(_PLACES, ROUND_HALF_EVEN) for amount in amounts]
