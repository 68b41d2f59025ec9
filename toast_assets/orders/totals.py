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
UNPAID_STATES = frozenset(
    {"VOIDED", "VOIDED_AT_RISK", "PROCESSING_VOID", "CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK"}
)
# Toast: a loyalty reward in these states was taken off the order again.
REMOVED_REWARD_STATES = frozenset({"PENDING_VOID", "VOID"})


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
    paid, tips, refunded, tips_refunded = _payments(check.payments or ())
    if not counts or check.is_gone:
        return Totals(payment_amount=paid, tip_amount=tips, refund_amount=refunded, tip_refund_amount=tips_refunded)
    gross = discounts = charges = gratuity = ZERO
    for selection in check.selections or ():
        if selection.is_sale:
            gross += selection.pre_discount_price or ZERO
            discounts += discount_sum(selection.applied_discounts)
    discounts += discount_sum(check.applied_discounts)
    for charge in check.applied_service_charges or ():
        if charge.gratuity:
            gratuity += charge.charge_amount or ZERO
        else:
            charges += charge.charge_amount or ZERO
    net, tax = gross - discounts + charges, check.tax_amount or ZERO
    return Totals(net, gross, discounts, charges, gratuity, tax, paid, tips, refunded, tips_refunded)


def line_net_sales(selection: Selection) -> Decimal:
    """An item's own part of net sales, before discounts on the check: gross less its non-tax discounts."""
    return (selection.pre_discount_price or ZERO) - discount_sum(selection.applied_discounts)


def discount_sum(discounts: Iterable[AppliedDiscount] | None) -> Decimal:
    """What these discounts take off sales."""
    return sum(map(sales_discount, discounts or ()), ZERO)


def sales_discount(discount: AppliedDiscount) -> Decimal:
    """What one discount takes off sales: the non-tax amount.

    Toast: "in most cases" it equals ``discountAmount``, which stands in where it is null. A loyalty reward that
    was removed from the order again takes off nothing.
    """
    if discount.processing_state in REMOVED_REWARD_STATES:
        return ZERO
    amount = discount.non_tax_discount_amount
    return (discount.discount_amount if amount is None else amount) or ZERO


def is_taken(payment: Payment) -> bool:
    """Whether the payment took money, or is about to."""
    return payment.payment_status not in UNPAID_STATES and (payment.void_info is None or not payment.is_voided)


def refund_of(selection: Selection) -> tuple[Decimal, Decimal]:
    """What was refunded of an item and of its tax.

    Toast: the item's ``refundAmount`` includes the modifiers below it, so theirs count only where it has none.
    """
    if selection.refund_details is not None:
        return refund_amounts(selection.refund_details)
    amount = tax = ZERO
    for modifier in selection.modifiers or ():
        below, tax_below = refund_of(modifier)
        amount += below
        tax += tax_below
    return amount, tax


def refund_amounts(details: RefundDetails | None) -> tuple[Decimal, Decimal]:
    """The refunded amount without tax, and the refunded tax."""
    if details is None:
        return ZERO, ZERO
    return details.refund_amount or ZERO, details.tax_refund_amount or ZERO


def _payments(payments: Iterable[Payment]) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    paid = tips = refunded = tips_refunded = ZERO
    for payment in payments:
        if not is_taken(payment):
            continue
        paid += payment.amount or ZERO
        tips += payment.tip_amount or ZERO
        if payment.refund is not None:
            refunded += payment.refund.refund_amount or ZERO
            tips_refunded += payment.refund.tip_refund_amount or ZERO
    return paid, tips, refunded, tips_refunded
