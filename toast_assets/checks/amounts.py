"""What raw orders add up to, read from their JSON without the tables' code: the other side of the reconciliation.

Amounts are exact decimals, summed by Toast's recipe for net sales (Toast: "Calculating net sales using the orders API")
and rounded per order, check and payment to four places, as the rows of the tables are. As in the tables, texts and
guests may have any type; an order with an amount or a flag of another type is in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

_Part = dict[str, Any]

AMOUNTS = ("net_sales", "tax_amount", "tip_amount", "payment_amount", "refund_amount")
"""Of whole orders. ``SUMS`` are these and, with the table's name before them, those of single checks and payments."""
OF_CHECKS = ("net_sales", "tip_amount", "payment_amount", "refund_amount")
OF_PAYMENTS = ("payment_amount", "tip_amount", "refund_amount")
SUMS = (*AMOUNTS, *(f"checks.{name}" for name in OF_CHECKS), *(f"payments.{name}" for name in OF_PAYMENTS))
_PLACES = Decimal("0.0001")
# The tables' columns have 14 digits before the point.
_LIMIT = Decimal(10) ** 14
_ZERO = Decimal(0)
# Toast's states of payments that brought no money, of loyalty rewards taken back, and of what is no revenue.
_NO_MONEY = ("CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK", "PROCESSING_VOID", "VOIDED", "VOIDED_AT_RISK")
_TAKEN_BACK = ("VOID", "PENDING_VOID")
_PREPAID = ("TOAST_CARD_SELL", "TOAST_CARD_RELOAD", "HOUSE_ACCOUNT_PAY_BALANCE")


class UnreadableAmountsError(ValueError):
    """An order whose amounts cannot be added up."""


def read_amounts(order: object) -> tuple[Decimal, ...]:
    """The ``SUMS`` of a decoded order, in currency units.

    Raises:
        UnreadableAmountsError: it is no object, or an amount or a flag is of another type, or too large.
    """
    if type(order) is not dict:
        raise UnreadableAmountsError("it is no order")
    try:
        found = _amounts(order)
        if max(map(abs, found)) >= _LIMIT:
            raise UnreadableAmountsError("an amount is too large")
    except ArithmeticError:
        raise UnreadableAmountsError("an amount is no number") from None
    return found


def _amounts(order: _Part) -> tuple[Decimal, ...]:
    checks: list[Sequence[Decimal]] = []
    payments: list[Sequence[Decimal]] = []
    all_gone = _is_gone(order)
    for check in _parts(order, "checks"):
        own = [amounts for payment in _parts(check, "payments") if (amounts := _money(payment))]
        payments += own
        paid, tips, refunds = _added(own, len(OF_PAYMENTS))
        net, tax = _net_sales(check), _amount(check, "taxAmount")
        if _is_gone(check) or all_gone:
            net = tax = _ZERO
        checks.append((net, tax, tips, paid, refunds))
    net, _, tips, paid, refunds = _added(map(_rounded, checks), len(AMOUNTS))
    of_payments = _added(map(_rounded, payments), len(OF_PAYMENTS))
    return (*_rounded(_added(checks, len(AMOUNTS))), net, tips, paid, refunds, *of_payments)


def _money(payment: _Part) -> Sequence[Decimal]:
    """Amount, tip and refund; nothing of a payment that brought no money."""
    refund, void = _get(payment, "refund", dict) or {}, _get(payment, "voidInfo", dict) or {}
    amounts = (_amount(payment, "amount"), _amount(payment, "tipAmount"), _amount(refund, "refundAmount"))
    voided = (void.get("voidDate") or void.get("voidBusinessDate")) is not None
    return () if voided or payment.get("paymentStatus") in _NO_MONEY else amounts


def _net_sales(check: _Part) -> Decimal:
    net = -_taken_off(check)
    for item in _parts(check, "selections"):
        sale = _amount(item, "preDiscountPrice") - _taken_off(item)
        no_sale = _is_gone(item) | _flag(item, "deferred")
        if not no_sale and item.get("selectionType") not in _PREPAID:
            net += sale
    for charge in _parts(check, "appliedServiceCharges"):
        amount = _amount(charge, "chargeAmount")
        net += _ZERO if _flag(charge, "gratuity") else amount
    return net


def _taken_off(part: _Part) -> Decimal:
    total = _ZERO
    for discount in _parts(part, "appliedDiscounts"):
        amount, untaxed = _amount(discount, "discountAmount"), _amount(discount, "nonTaxDiscountAmount")
        if discount.get("processingState") not in _TAKEN_BACK:
            total += amount if discount.get("nonTaxDiscountAmount") is None else untaxed
    return total


def _amount(part: _Part, name: str) -> Decimal:
    value = _get(part, name, Decimal, int, str)
    return _ZERO if value is None else Decimal(value) or _ZERO


def _is_gone(part: _Part) -> bool:
    return _flag(part, "voided") | _flag(part, "deleted")


def _flag(part: _Part, name: str) -> bool:
    return bool(_get(part, name, bool))


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
    return [amount.quantize(_PLACES, ROUND_HALF_EVEN) for amount in amounts]
