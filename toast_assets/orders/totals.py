"""What a check and an order add up to: net sales by Toast's own recipe, taxes, tips, payments, refunds.

The tables' amount columns are these numbers, so that a check can compare both to the cent.

Toast: "Calculating net sales using the orders API". Leave out voided and deleted orders, checks and selections, and
gift cards; take ``preDiscountPrice`` of the items less their non-tax discounts, add the service charges that
are no gratuity, subtract the discounts on the check. Open and unpaid checks count.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from toast_assets.orders.model import AppliedDiscount, Check, Payment, RefundDetails, Selection

ZERO = Decimal(0)
# Toast: in these states a payment moved no money, or is being undone.
_UNPAID_STATES = frozenset(
    {"VOIDED", "VOIDED_AT_RISK", "PROCESSING_VOID", "CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK"}
)
# Toast: a loyalty reward in these states was taken off the order again.
_REMOVED_REWARD_STATES = frozenset({"PENDING_VOID", "VOID"})


class Totals(NamedTuple):
    """Amounts in currency units, of a check or of all checks of an order.

    ``net_sales = gross_sales - discount_amount + service_charge_amount``, always.
    """

    net_sales: Decimal = ZERO
    gross_sales: Decimal = ZERO  # items before discounts, without tax
    discount_amount: Decimal = ZERO  # non-tax discounts on items and on the check
    service_charge_amount: Decimal = ZERO  # service charges that are no gratuity, without tax
    gratuity_amount: Decimal = ZERO  # service charges that are a gratuity
    tax_amount: Decimal = ZERO  # Toast's ``taxAmount`` of the checks that count
    payment_amount: Decimal = ZERO  # payments taken, without tips, before refunds, whatever became of the check
    tip_amount: Decimal = ZERO  # tips on payments taken
    refund_amount: Decimal = ZERO  # refunds of payments, without tips, with tax
    tip_refund_amount: Decimal = ZERO  # refunds of tips


def add(totals: Iterable[Totals]) -> Totals:
    return Totals(*(sum(amounts, ZERO) for amounts in zip(*totals, strict=True)))


def check_totals(check: Check, *, counts: bool = True) -> Totals:
    """The amounts of one check; ``counts`` is false when its order is voided or deleted."""
    taken = [payment for payment in check.payments or () if is_taken(payment)]
    refunds = [payment.refund for payment in taken if payment.refund is not None]
    totals = Totals(
        payment_amount=_sum(payment.amount for payment in taken),
        tip_amount=_sum(payment.tip_amount for payment in taken),
        refund_amount=_sum(refund.refund_amount for refund in refunds),
        tip_refund_amount=_sum(refund.tip_refund_amount for refund in refunds),
    )
    if not counts or check.is_gone:
        return totals
    sold = [item for item in check.selections or () if item.is_revenue and not item.is_gone]
    gross = _sum(item.pre_discount_price for item in sold)
    discounts = discount_sum(check.applied_discounts) + _sum(discount_sum(item.applied_discounts) for item in sold)
    charges = check.applied_service_charges or ()
    charged = _sum(charge.charge_amount for charge in charges if not charge.gratuity)
    return totals._replace(
        net_sales=gross - discounts + charged,
        gross_sales=gross,
        discount_amount=discounts,
        service_charge_amount=charged,
        gratuity_amount=_sum(charge.charge_amount for charge in charges if charge.gratuity),
        tax_amount=check.tax_amount or ZERO,
    )


def _sum(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum(filter(None, amounts), ZERO)


def line_net_sales(selection: Selection) -> Decimal:
    """An item's own part of net sales, before discounts on the check: gross less its non-tax discounts."""
    return (selection.pre_discount_price or ZERO) - discount_sum(selection.applied_discounts)


def discount_sum(discounts: Iterable[AppliedDiscount] | None) -> Decimal:
    """What these discounts take off sales."""
    return _sum(map(sales_discount, discounts or ()))


def sales_discount(discount: AppliedDiscount) -> Decimal:
    """What one discount takes off sales: the non-tax amount.

    Toast: "in most cases" it equals ``discountAmount``, which stands in where it is null. A loyalty reward that
    was removed from the order again takes off nothing.
    """
    if discount.processing_state in _REMOVED_REWARD_STATES:
        return ZERO
    amount = discount.non_tax_discount_amount
    return (discount.discount_amount if amount is None else amount) or ZERO


def is_taken(payment: Payment) -> bool:
    """Whether the payment took money, or is about to."""
    return payment.payment_status not in _UNPAID_STATES and not payment.is_voided


def refund_of(selection: Selection) -> tuple[Decimal, Decimal]:
    """What was refunded of an item and of its tax.

    Toast: the item's ``refundAmount`` includes the modifiers below it, so theirs count only where it has none.
    """
    if selection.refund_details is not None:
        return refund_amounts(selection.refund_details)
    below = [refund_of(modifier) for modifier in selection.modifiers or ()]
    return _sum(amount for amount, _ in below), _sum(tax for _, tax in below)


def refund_amounts(details: RefundDetails | None) -> tuple[Decimal, Decimal]:
    """The refunded amount without tax, and the refunded tax."""
    details = details or RefundDetails()
    return details.refund_amount or ZERO, details.tax_refund_amount or ZERO
