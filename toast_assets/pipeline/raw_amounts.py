"""What raw orders add up to, read from their JSON without the tables' code: the other side of the reconciliation.

Only the fields that the amounts need are read, into types of their own, and summed as exact decimals by Toast's recipe
for net sales (Toast: "Calculating net sales using the orders API"). Each order's amounts are rounded to four places,
as the tables' columns are, so that both sides agree to the last digit or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

AMOUNTS = ("net_sales", "tax_amount", "tip_amount", "payment_amount", "refund_amount")
_PLACES = Decimal("0.0001")
# Toast's states of payments that brought no money, of loyalty rewards taken back, and of what is no revenue.
_NO_MONEY = frozenset(
    ("CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK", "PROCESSING_VOID", "VOIDED", "VOIDED_AT_RISK"),
)
_TAKEN_BACK = ("VOID", "PENDING_VOID")
_PREPAID = ("TOAST_CARD_SELL", "TOAST_CARD_RELOAD", "HOUSE_ACCOUNT_PAY_BALANCE")


class _Fields(msgspec.Struct, rename="camel", frozen=True, gc=False):
    """Options of all structs here."""


class _Discount(_Fields, frozen=True):
    discount_amount: Decimal | None = None
    non_tax_discount_amount: Decimal | None = None
    processing_state: str | None = None


class _Item(_Fields, frozen=True):
    pre_discount_price: Decimal | None = None
    selection_type: str | None = None
    deferred: bool | None = None
    voided: bool | None = None
    deleted: bool | None = None
    applied_discounts: tuple[_Discount, ...] | None = None


class _Charge(_Fields, frozen=True):
    charge_amount: Decimal | None = None
    gratuity: bool | None = None


class _Refund(_Fields, frozen=True):
    refund_amount: Decimal | None = None


class _Void(_Fields, frozen=True):
    void_date: str | None = None
    void_business_date: int | None = None


class _Payment(_Fields, frozen=True):
    amount: Decimal | None = None
    tip_amount: Decimal | None = None
    payment_status: str | None = None
    refund: _Refund | None = None
    void_info: _Void | None = None


class Contact(_Fields, frozen=True):
    """A guest as far as it matters here: whether there is one, and how to reach them."""

    email: str | None = None
    phone: str | None = None


class _Check(_Fields, frozen=True):
    voided: bool | None = None
    deleted: bool | None = None
    tax_amount: Decimal | None = None
    customer: Contact | None = None
    selections: tuple[_Item, ...] | None = None
    payments: tuple[_Payment, ...] | None = None
    applied_discounts: tuple[_Discount, ...] | None = None
    applied_service_charges: tuple[_Charge, ...] | None = None


class _Object(_Fields, frozen=True):
    """An object of which only the presence counts."""


class _Option(_Fields, frozen=True):
    behavior: str | None = None


class AmountsOrder(_Fields, frozen=True):
    """One order, as far as amounts and channel need it."""

    voided: bool | None = None
    deleted: bool | None = None
    source: str | None = None
    dining_option: _Option | None = None
    dining: _Option | None = None
    delivery_info: _Object | None = None
    curbside_pickup_info: _Object | None = None
    checks: tuple[_Check, ...] | None = None

    @property
    def contacts(self) -> list[Contact]:
        """The guests of its checks."""
        return [check.customer for check in self.checks or () if check.customer is not None]

    @property
    def channel(self) -> str:
        """DELIVERY, TAKE_OUT or DINE_IN where the order says so, else its source, as in ``Online``."""
        option = self.dining_option or self.dining
        if option is not None and option.behavior:
            return option.behavior
        if self.delivery_info is not None:
            return "DELIVERY"
        if self.curbside_pickup_info is not None:
            return "TAKE_OUT"
        return self.source or "Unknown"


decode_amounts = msgspec.json.Decoder(AmountsOrder, strict=False).decode


def amounts(order: AmountsOrder) -> tuple[Decimal, ...]:
    """The order's ``AMOUNTS``, in that order, in currency units.

    Raises:
        ArithmeticError: an amount is no number, or beyond all measure.
    """
    gone = order.voided or order.deleted
    net = tax = tips = paid = refunds = Decimal(0)
    for check in order.checks or ():
        for payment in check.payments or ():
            if _brought_money(payment):
                paid += payment.amount or 0
                tips += payment.tip_amount or 0
                refunds += (payment.refund and payment.refund.refund_amount) or 0
        if not (gone or check.voided or check.deleted):
            net += _net_sales(check)
            tax += check.tax_amount or 0
    return tuple(amount.quantize(_PLACES, ROUND_HALF_EVEN) for amount in (net, tax, tips, paid, refunds))


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


def _brought_money(payment: _Payment) -> bool:
    void = payment.void_info
    voided = void is not None and (void.void_date or void.void_business_date) is not None
    return not voided and payment.payment_status not in _NO_MONEY
