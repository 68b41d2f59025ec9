"""What raw orders add up to, read from their JSON without the tables' code: the other side of the reconciliation.

Amounts are exact decimals, summed by Toast's recipe for net sales (Toast: "Calculating net sales using the orders API")
and rounded per order, check and payment to four places, as the rows of the tables are. As in the tables, texts and
guests may have any type; an order with an amount or a flag of another type is in neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec

from toast_assets.orders.scanner import readable, shallow

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


class _Fields(msgspec.Struct, rename="camel", frozen=True, gc=False): ...


class _Discount(_Fields, frozen=True):
    discount_amount: Decimal | None = None
    non_tax_discount_amount: Decimal | None = None
    processing_state: Any = None


class _Item(_Fields, frozen=True):
    pre_discount_price: Decimal | None = None
    selection_type: Any = None
    deferred: bool | None = None
    voided: bool | None = None
    deleted: bool | None = None
    applied_discounts: tuple[_Discount, ...] | None = None


class _Charge(_Fields, frozen=True):
    charge_amount: Decimal | None = None
    gratuity: bool | None = None


class _Refund(_Fields, frozen=True):
    refund_amount: Decimal | None = None


class _Payment(_Fields, frozen=True):
    amount: Decimal | None = None
    tip_amount: Decimal | None = None
    payment_status: Any = None
    refund: _Refund | None = None
    void_info: dict[str, Any] | None = None


class _Check(_Fields, frozen=True):
    voided: bool | None = None
    deleted: bool | None = None
    tax_amount: Decimal | None = None
    customer: Any = None
    selections: tuple[_Item, ...] | None = None
    payments: tuple[_Payment, ...] | None = None
    applied_discounts: tuple[_Discount, ...] | None = None
    applied_service_charges: tuple[_Charge, ...] | None = None


class AmountsOrder(_Fields, frozen=True):
    """One order, as far as amounts and channel need it."""

    voided: bool | None = None
    deleted: bool | None = None
    source: Any = None
    dining_option: Any = None
    dining: Any = None
    delivery_info: Any = None
    curbside_pickup_info: Any = None
    checks: tuple[_Check, ...] | None = None

    @property
    def guests(self) -> list[dict[str, Any]]:
        return [check.customer for check in self.checks or () if isinstance(check.customer, dict)]

    @property
    def channel(self) -> str:
        """DELIVERY, TAKE_OUT or DINE_IN where the order says so, else its source, as in ``Online``: Toast's text."""
        option = self.dining_option if isinstance(self.dining_option, dict) else self.dining
        behavior = option.get("behavior") if isinstance(option, dict) else None
        if isinstance(behavior, str) and behavior:
            return behavior
        if isinstance(self.delivery_info, dict):
            return "DELIVERY"
        if isinstance(self.curbside_pickup_info, dict):
            return "TAKE_OUT"
        return self.source if isinstance(self.source, str) and self.source else "Unknown"


_decode = msgspec.json.Decoder(AmountsOrder).decode


class UnreadableAmountsError(ValueError):
    """An order whose amounts cannot be added up."""


def read_amounts(body: bytes) -> tuple[AmountsOrder, tuple[Decimal, ...]]:
    """The order in ``body`` and its ``SUMS``, in that order, in currency units.

    Raises:
        UnreadableAmountsError: it is not JSON, or an amount or a flag is of another type, or too large.
    """
    try:
        try:
            order = _decode(body)
        except (msgspec.DecodeError, RecursionError):
            order = _decode(shallow(readable(body)))
        found = _amounts(order)
        if max(map(abs, found)) >= _LIMIT:
            raise UnreadableAmountsError("an amount is too large")
    except (msgspec.DecodeError, UnicodeDecodeError, ArithmeticError):
        raise UnreadableAmountsError("no order, no flag or no amount") from None
    return order, found


def _amounts(order: AmountsOrder) -> tuple[Decimal, ...]:
    checks: list[Sequence[Decimal]] = []
    payments: list[Sequence[Decimal]] = []
    for check in order.checks or ():
        own = [
            (one.amount or _ZERO, one.tip_amount or _ZERO, (one.refund and one.refund.refund_amount) or _ZERO)
            for one in check.payments or ()
            if one.payment_status not in _NO_MONEY and not _has_date(one.void_info or {})
        ]
        payments += own
        paid, tips, refunds = _added(own, len(OF_PAYMENTS))
        gone = order.voided or order.deleted or check.voided or check.deleted
        net, tax = (_ZERO, _ZERO) if gone else (_net_sales(check), check.tax_amount or _ZERO)
        checks.append((net, tax, tips, paid, refunds))
    net, _, tips, paid, refunds = _added(map(_rounded, checks), len(AMOUNTS))
    of_payments = _added(map(_rounded, payments), len(OF_PAYMENTS))
    return (*_rounded(_added(checks, len(AMOUNTS))), net, tips, paid, refunds, *of_payments)


def _has_date(void: Mapping[str, Any]) -> bool:
    return (void.get("voidDate") or void.get("voidBusinessDate")) is not None


def _added(rows: Iterable[Sequence[Decimal]], columns: int) -> Sequence[Decimal]:
    return [sum(column, _ZERO) for column in zip(*rows, strict=True)] or [_ZERO] * columns


def _rounded(amounts: Iterable[Decimal]) -> Sequence[Decimal]:
    return [amount.quantize(_PLACES, ROUND_HALF_EVEN) for amount in amounts]


def _net_sales(check: _Check) -> Decimal:
    net = Decimal(0)
    for item in check.selections or ():
        if not (item.voided or item.deleted or item.deferred or item.selection_type in _PREPAID):
            net += (item.pre_discount_price or 0) - _taken_off(item.applied_discounts)
    for charge in check.applied_service_charges or ():
        if not charge.gratuity:
            net += charge.charge_amount or 0
    return net - _taken_off(check.applied_discounts)


def _taken_off(discounts: Iterable[_Discount] | None) -> Decimal:
    total = Decimal(0)
    for discount in discounts or ():
        if discount.processing_state not in _TAKEN_BACK:
            untaxed = discount.non_tax_discount_amount
            total += (discount.discount_amount if untaxed is None else untaxed) or 0
    return total
