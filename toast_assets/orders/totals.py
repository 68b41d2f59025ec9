"""What a check and an order add up to, by Toast's own rules: sales, charges, discounts, taxes, tips, payments, refunds.

The tables' amount columns are these numbers, so that a check can compare both to the cent.

Toast: "Calculating net sales using the orders API", "Building a sales report". Leave out voided and deleted orders,
checks and selections, gift cards and other deferred revenue, donations and wasted food. Take ``preDiscountPrice`` of
the items less their non-tax discounts, add the service charges that are no gratuity, subtract the discounts on the
check. Open and unpaid checks count. Toast Web's reports show net sales after refunds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from toast_assets.orders.model import AppliedDiscount, Check, Payment, RefundDetails, Selection

ZERO = Decimal(0)
_CENT = Decimal("0.01")
# Toast: in these states a payment moved no money, or is being undone.
_UNPAID_STATES = frozenset(
    {"VOIDED", "VOIDED_AT_RISK", "PROCESSING_VOID", "CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK"}
)
# Toast: a loyalty reward in these states was taken off the order again.
_REMOVED_REWARD_STATES = frozenset({"PENDING_VOID", "VOID"})


class Totals(NamedTuple):
    """Amounts in currency units, of a check or of all checks of an order.

    Always ``gross_sales = item_sales + service_charge_amount``, ``net_sales = gross_sales - discount_amount`` and
    ``net_sales_after_refunds = net_sales - sales_refund_amount``.
    """

    item_sales: Decimal = ZERO  # items before discounts, without tax
    service_charge_amount: Decimal = ZERO  # service charges that are neither gratuity nor donation, without tax
    gross_sales: Decimal = ZERO  # Toast's gross sales
    discount_amount: Decimal = ZERO  # non-tax discounts on items and on the check
    net_sales: Decimal = ZERO  # Toast's net sales before refunds
    sales_refund_amount: Decimal = ZERO  # refunds of sales, without tax; of a custom amount all of it
    tax_refund_amount: Decimal = ZERO  # refunds of the tax on sales
    tip_refund_amount: Decimal = ZERO  # refunds of tips
    net_sales_after_refunds: Decimal = ZERO  # net sales in Toast Web
    waste_amount: Decimal = ZERO  # gross price of food that was wasted
    deferred_amount: Decimal = ZERO  # gift cards, deposits and other deferred revenue sold
    refund_amount: Decimal = ZERO  # refunds of payments, without tips, with tax
    gratuity_amount: Decimal = ZERO  # service charges that are a gratuity
    donation_amount: Decimal = ZERO  # service charges that are a donation
    tax_amount: Decimal = ZERO  # Toast's ``taxAmount`` of the checks that count
    tip_amount: Decimal = ZERO  # tips on payments taken
    payment_amount: Decimal = ZERO  # payments taken, without tips, before refunds, whatever became of the check


class Refunds(NamedTuple):
    """What was given back of a check, without tips: without tax of items that are sales, of service charges that are,
    and of ``custom`` amounts; and of ``tax``."""

    items: Decimal = ZERO
    charges: Decimal = ZERO
    custom: Decimal = ZERO
    tax: Decimal = ZERO


def add(totals: Iterable[Totals]) -> Totals:
    return Totals(*(sum(amounts, ZERO) for amounts in zip(*totals, strict=True)))


class ItemSale(NamedTuple):
    """An item of a check as a sale, in currency units; all 0 for what is none."""

    price: Decimal = ZERO  # before discounts, with its modifiers, without the deferred ones among them
    discount: Decimal = ZERO  # of its own and of its modifiers
    check_discount: Decimal = ZERO  # its share of the discounts on the check

    @property
    def net(self) -> Decimal:
        return self.price - self.discount - self.check_discount


NO_SALE = ItemSale()


def item_sales(check: Check) -> list[ItemSale]:
    """Each item of a check as a sale, if its order and the check itself count.

    Toast: an item's ``price`` is after all discounts, so it says which items a BOGO, a combo or an "all except"
    discount on the check concerned. Where these prices do not explain the check's discounts to the cent, the shares are
    in proportion to the items' prices before them. Where nothing costs anything there is nothing to take off.
    """
    items = check.selections or ()
    sales = [ItemSale(sales_price(item), item_discount(item)) if item.is_sale else NO_SALE for item in items]
    due = discount_sum(check.applied_discounts)
    if not due:
        return sales
    weights = [max(sale.net, ZERO) for sale in sales]
    if not any(weights):
        return sales
    shares = [_taken_off_price(item) if item.is_sale else ZERO for item in items]
    if None in shares or min(filter(None, shares), default=ZERO) < 0 or sum(filter(None, shares), ZERO) != due:
        shares = [*allocate(due, weights)]
    return [sale._replace(check_discount=share or ZERO) for sale, share in zip(sales, shares, strict=True)]


def _taken_off_price(item: Selection) -> Decimal | None:
    """How much less Toast's price of an item is than its own discounts leave; None where Toast says no price."""
    return None if item.price is None else (item.pre_discount_price or ZERO) - item_discount(item) - item.price


def check_totals(
    check: Check, sales: Sequence[ItemSale] | None = None, *, counts: bool = True, wasted: bool = False
) -> Totals:
    """The amounts of one check, whose ``item_sales`` are ``sales``; ``counts`` is false when its order is voided or
    deleted, ``wasted`` true when its order records wasted food."""
    counts = counts and not check.is_gone
    sold = (item_sales(check) if sales is None else sales) if counts else ()
    price = _sum([sale.price for sale in sold])
    if wasted:
        return Totals(waste_amount=price)
    taken = [payment for payment in check.payments or () if is_taken(payment)]
    refunds = [payment.refund for payment in taken if payment.refund is not None]
    paid = {
        "payment_amount": _sum([payment.amount for payment in taken]),
        "tip_amount": _sum([payment.tip_amount for payment in taken]),
        "refund_amount": _sum([refund.refund_amount for refund in refunds]),
        "tip_refund_amount": _sum([refund.tip_refund_amount for refund in refunds]),
    }
    if not counts:
        return Totals(**paid)
    charges = check.applied_service_charges or ()
    charged = _sum([charge.charge_amount for charge in charges if charge.is_sale])
    gratuities = [charge.charge_amount for charge in charges if charge.gratuity and not charge.is_donation]
    discounts = _sum([sale.discount + sale.check_discount for sale in sold])
    refunded = refunds_of(check, paid["refund_amount"])
    sales_refund = refunded.items + refunded.charges + refunded.custom
    return Totals(
        **paid,
        item_sales=price,
        service_charge_amount=charged,
        gross_sales=price + charged,
        discount_amount=discounts,
        net_sales=price + charged - discounts,
        sales_refund_amount=sales_refund,
        tax_refund_amount=refunded.tax,
        net_sales_after_refunds=price + charged - discounts - sales_refund,
        deferred_amount=_sum(map(deferred_price, check.selections or ())),
        gratuity_amount=_sum(gratuities),
        donation_amount=_sum([charge.charge_amount for charge in charges if charge.is_donation]),
        tax_amount=check.tax_amount or ZERO,
    )


def sales_price(item: Selection) -> Decimal:
    """The gross price of an item that is a sale: with its modifiers, without the deferred ones among them."""
    price = item.pre_discount_price or ZERO
    return price - _sum(map(deferred_price, item.modifiers)) if item.modifiers else price


def deferred_price(selection: Selection) -> Decimal:
    """The gross price of what is deferred revenue in an item or modifier, or below it."""
    if selection.is_gone:
        return ZERO
    if selection.is_deferred:
        return selection.pre_discount_price or ZERO
    return _sum(map(deferred_price, selection.modifiers)) if selection.modifiers else ZERO


def item_discount(selection: Selection) -> Decimal:
    """What the discounts on an item and on its modifiers take off sales."""
    own = discount_sum(selection.applied_discounts)
    if not selection.modifiers:
        return own
    return own + _sum(item_discount(modifier) for modifier in selection.modifiers if modifier.is_sale)


def discount_sum(discounts: Iterable[AppliedDiscount] | None) -> Decimal:
    """What these discounts take off sales."""
    return _sum(map(sales_discount, discounts)) if discounts else ZERO


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


def refunds_of(check: Check, refunded: Decimal) -> Refunds:
    """What of the amount that the payments of a check gave back (``refunded``, with tax) was for what.

    What no item or charge accounts for is the refund of a custom amount, except for what was paid for items that were
    voided, and for gift cards and other deferred revenue: that was no sale, or is none any more.
    """
    items = charges = tax = other = ZERO
    for item in check.selections or ():
        amount, tax_amount = refund_of(item)
        if item.is_sale:
            items += amount
            tax += tax_amount
        else:
            other += max((item.price or ZERO) + (item.tax or ZERO), amount + tax_amount)
    for charge in check.applied_service_charges or ():
        amount, tax_amount = refund_amounts(charge.refund_details)
        if charge.is_sale:
            charges += amount
            tax += tax_amount
        else:
            other += amount + tax_amount
    return Refunds(items, charges, max(refunded - items - charges - tax - other, ZERO), tax)


def refund_of(selection: Selection) -> tuple[Decimal, Decimal]:
    """What was refunded of an item and of its tax.

    Toast: the item's ``refundAmount`` includes the modifiers below it, so theirs count only where it has none.
    """
    if selection.refund_details is not None:
        return refund_amounts(selection.refund_details)
    if not selection.modifiers:
        return ZERO, ZERO
    below = [refund_of(modifier) for modifier in selection.modifiers]
    return _sum(amount for amount, _ in below), _sum(tax for _, tax in below)


def refund_amounts(details: RefundDetails | None) -> tuple[Decimal, Decimal]:
    """The refunded amount without tax, and the refunded tax."""
    details = details or RefundDetails()
    return details.refund_amount or ZERO, details.tax_refund_amount or ZERO


def _sum(amounts: Iterable[Decimal | None]) -> Decimal:
    return sum(filter(None, amounts), ZERO)


def allocate(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """``amount`` in parts in proportion to ``weights`` (none of them negative), in whole cents, adding up exactly.

    What is no whole cent goes to the last part with a weight. Where nothing has a weight every part is 0: there is
    nothing that the amount could have been taken off.
    """
    total = sum(weights, ZERO)
    if not amount or not total:
        return [ZERO] * len(weights)
    parts: list[Decimal] = []
    weighed = given = ZERO
    for weight in weights:
        # Shares of the running total, not of each weight, so that roundings cannot pile up.
        weighed += weight
        rounded = (amount * weighed / total).quantize(_CENT, ROUND_HALF_EVEN)
        due = amount if weighed == total else min(rounded, amount)
        part = due - given if weight else ZERO
        parts.append(part)
        given += part
    return parts
