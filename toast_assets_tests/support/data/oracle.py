"""What an order comes to, worked out without the package: plain ``json`` and ``Decimal``.

Written from Toast's documents ("Calculating net sales using the orders API", "Building a sales report", "How do refunds
appear in Toast reporting"), not from the code that makes tables and feeds: where both agree, it is not because they are
the same recipe. Amounts are in currency units.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from hashlib import sha256
from typing import Any

Json = dict[str, Any]
ZERO = Decimal(0)
CENT = Decimal("0.01")
NO_MONEY = {"VOIDED", "VOIDED_AT_RISK", "PROCESSING_VOID", "CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK"}
# A payment that was voided did take money before.
NEVER_TAKEN = {"CANCELLED", "DENIED", "ERROR", "ERROR_NETWORK"}
PREPAID = {"TOAST_CARD_SELL", "TOAST_CARD_RELOAD", "HOUSE_ACCOUNT_PAY_BALANCE"}
# The kinds of rows of ``transactions``.
PURCHASE, RETURN, CANCELLATION = "purchase", "return", "cancellation"
UNITEMIZED_REFUND = "UNITEMIZED_REFUND"
UNKNOWN_TIME = datetime.max.replace(tzinfo=UTC)

AMOUNTS = (
    *("item_sales", "service_charge_amount", "gross_sales", "discount_amount", "net_sales"),
    *("sales_refund_amount", "tax_refund_amount", "tip_refund_amount", "net_sales_after_refunds"),
    *("waste_amount", "deferred_amount", "refund_amount"),
    *("gratuity_amount", "donation_amount", "tax_amount", "tip_amount", "payment_amount"),
)


@dataclass
class Entry:
    """What an order has of one product and kind: a row of ``transactions``, amounts with their sign.

    ``times``: when all that is in it happened (UTC), ``UNKNOWN_TIME`` where Toast does not say when. ``slack``: by how
    much rounding may move the discount, where only proportions say how much of the check's is the product's.
    """

    units: Decimal = ZERO
    list_price: Decimal = ZERO
    discount: Decimal = ZERO
    check_discount: Decimal = ZERO
    tax: Decimal | None = ZERO
    times: set[datetime] = field(default_factory=set)
    slack: Decimal = ZERO

    @property
    def quantity(self) -> int:
        """Units, rounded half up, and to one at least."""
        rounded = int(abs(self.units).quantize(Decimal(1), ROUND_HALF_UP))
        return (-1 if self.units < 0 else 1) * max(rounded, 1 if self.units else 0)

    @property
    def revenue(self) -> Decimal:
        return self.list_price - self.discount

    @property
    def is_zero(self) -> bool:
        return not any((self.units, self.list_price, self.discount, self.check_discount, self.tax))

    def add(self, other: Entry, sign: int, times: Iterable[datetime]) -> None:
        """Add ``other`` (``sign`` 1) or take it off (-1)."""
        self.units += sign * other.units
        self.list_price += sign * other.list_price
        self.discount += sign * other.discount
        self.check_discount += sign * other.check_discount
        self.tax = None if self.tax is None or other.tax is None else self.tax + sign * other.tax
        self.slack += other.slack
        self.times |= set(times)


Entries = dict[tuple[str, str], Entry]
"""By product and kind."""
Names = Mapping[tuple[str, str], tuple[str | None, str | None]]
"""The name and the behavior that the configuration has, by kind and GUID in lower case."""


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


def _called(names: Names, thing: Json, field: str, kind: str) -> tuple[str | None, str | None]:
    """The name and the behavior of what a field refers to."""
    guid = (thing.get(field) or {}).get("guid")
    return names.get((kind, guid.lower()), (None, None)) if guid else (None, None)


def named(order: Json, names: Names) -> dict[str, list[list[Any]]]:
    """By table, for each row in its order: what Toast's configuration says of it, and of orders also the market place,
    in the sequence of the table's columns."""
    find = partial(_called, names)

    option, behavior = find(order, "diningOption", "dining_option")
    found: dict[str, list[list[Any]]] = {
        "orders": [
            [
                _marketplace(order),
                option,
                behavior or (order.get("diningOption") or {}).get("behavior"),
                find(order, "revenueCenter", "revenue_center")[0],
                find(order, "restaurantService", "restaurant_service")[0],
                find(order, "serviceArea", "service_area")[0],
                find(order, "table", "table")[0],
            ]
        ],
        **{table: [] for table in ("order_items", "payments", "discounts", "service_charges", "taxes")},
    }

    def add_line(line: Json, discounts: list[list[Any]]) -> None:
        fields = {
            "item": "menu_item",
            "itemGroup": "menu_group",
            "salesCategory": "sales_category",
            "diningOption": "dining_option",
            "voidReason": "void_reason",
        }
        found["order_items"].append([find(line, field, kind)[0] for field, kind in fields.items()])
        found["taxes"] += [[find(tax, "taxRate", "tax_rate")[0]] for tax in line.get("appliedTaxes") or []]
        discounts += [[find(one, "discount", "discount")[0]] for one in line.get("appliedDiscounts") or []]
        for modifier in line.get("modifiers") or []:
            add_line(modifier, discounts)

    for check in order.get("checks") or []:
        of_lines: list[list[Any]] = []
        for item in check.get("selections") or []:
            add_line(item, of_lines)
        of_check = [[find(one, "discount", "discount")[0]] for one in check.get("appliedDiscounts") or []]
        found["discounts"] += of_check + of_lines
        found["payments"] += [
            [
                find(payment.get("voidInfo") or {}, "voidReason", "void_reason")[0],
                find(payment, "otherPayment", "alternate_payment_type")[0],
            ]
            for payment in check.get("payments") or []
        ]
        found["service_charges"] += [
            [find(charge, "serviceCharge", "service_charge")[0] or charge.get("name")]
            for charge in check.get("appliedServiceCharges") or []
        ]
    return found


def _marketplace(order: Json) -> str | None:
    third, service = order.get("thirdPartyProviderInfo"), order.get("deliveryServiceInfo") or {}
    if isinstance(third, dict):
        third = third.get("providerName") or third.get("provider") or third.get("name")
    found: str | None = third or service.get("providerName")
    return found


def revenue(order: Json) -> Decimal:
    """What the rows of ``transactions`` of an order add up to."""
    if _is_nobodys(order):
        return ZERO
    total = ZERO
    for check in order.get("checks") or []:
        found = check_amounts(order, check)
        total += found["item_sales"] - found["discount_amount"]
        if not any(_gone(each) for each in (order, check)):
            of_items, _, custom, _ = _refunds(check, found["refund_amount"])
            total -= of_items + custom
    return total


def check_discounts(order: Json) -> Decimal:
    """The discounts on the checks of an order, of those that count."""
    found = ZERO
    for check in order.get("checks") or []:
        items = [item for item in check.get("selections") or [] if _is_sale(item)]
        counts = not (_is_nobodys(order) or _gone(order) or _gone(check))
        if counts and any(_sold(item) > _own_discounts(item) for item in items):
            found += _off(check)
    return found


def transaction_rows(order: Json) -> Entries:
    """The rows of ``transactions`` of an order that say anything: those of zeros are left out."""
    found: Entries = defaultdict(Entry)
    for check in () if _is_nobodys(order) else order.get("checks") or []:
        shares, refunds = _shares(check), _refunds_of_payments(check)
        refunded = [_time(one["refundDate"]) if one["refundAmount"] else UNKNOWN_TIME for one in refunds]
        for item in check.get("selections") or []:
            if item.get("deferred") or item.get("selectionType") in PREPAID:
                continue
            product = product_id(item)
            line = _line(item, shares)
            amount, tax = _refund(item)
            voids = [_gone_time(each) for each in (order, check, item) if _gone(each)]
            if not voids:
                found[product, PURCHASE].add(line, 1, [_time(order["openedDate"])])
                whole = amount >= line.revenue > 0
                back = Entry(line.units if whole else ZERO, amount, tax=tax)
                found[product, RETURN].add(back, -1, refunded if amount or tax else ())
            elif money_taken(order, check, min(voids)):
                found[product, PURCHASE].add(line, 1, [_time(order["openedDate"])])
                found[product, CANCELLATION].add(line, -1, voids)
        if not (_gone(order) or _gone(check)):
            *_, custom, _ = _refunds(check, _sum(refunds, "refundAmount"))
            found[UNITEMIZED_REFUND, RETURN].add(Entry(list_price=custom, tax=None), -1, refunded if custom else ())
    return {key: entry for key, entry in found.items() if not entry.is_zero}


def referred(order: Json) -> Iterable[tuple[str, str]]:
    """The kinds and GUIDs that an order refers to and whose names are in feeds."""
    if (option := order.get("diningOption")) is not None:
        yield "dining_option", option["guid"].lower()
    for item in all_selections(order):
        for kind, member in (("sales_category", "salesCategory"), ("menu_group", "itemGroup")):
            if (reference := item.get(member)) is not None:
                yield kind, reference["guid"].lower()


def channels(order: Json, names: Names) -> tuple[str, str | None]:
    """The purchase channel and the digital channel."""
    option, source = order.get("diningOption") or {}, order.get("source")
    _, configured = _called(names, order, "diningOption", "dining_option")
    return configured or option.get("behavior") or source or "Unknown", source


def categories(item: Json, names: Names) -> tuple[str | None, str | None]:
    """The product category and the product subcategory of an item or modifier."""
    category, group = (("salesCategory", "sales_category"), ("itemGroup", "menu_group"))
    return _called(names, item, *category)[0], _called(names, item, *group)[0]


def money_taken(order: Json, check: Json, moment: datetime) -> bool:
    """Whether a payment of the check precedes the ``moment`` at which something was voided, even if the payment was
    voided later. A void without a date came after it if more was paid than the rest of the check costs."""
    paid = [each for each in check.get("payments") or [] if each.get("paymentStatus") not in NEVER_TAKEN]
    paid = [each for each in paid if _number(each.get("amount"))]
    if moment == UNKNOWN_TIME:
        rest = ZERO if _gone(order) or _gone(check) else _number(check.get("totalAmount"))
        return _sum(paid, "amount") > rest
    return any(each.get("paidDate") is None or _time(each["paidDate"]) <= moment for each in paid)


def customer(order: Json) -> str | None:
    """The one customer of an order: of its first check that counts and names one, else of its first that does."""
    checks = sorted(order.get("checks") or [], key=_gone)
    return next(filter(None, (_guest_key(check.get("customer") or {}) for check in checks)), None)


def product_id(item: Json) -> str:
    """The item's id across restaurants, else its GUID, else its kind."""
    menu, kind = item.get("item") or {}, item.get("selectionType")
    known: str | None = menu.get("multiLocationId") or menu.get("guid") or (None if kind == "NONE" else kind)
    return known or "UNKNOWN_ITEM"


def live_items(order: Json) -> list[Json]:
    """The items that were neither voided nor deleted, gift cards and deferred ones included, with their keys in
    ``order_items``."""
    if _is_nobodys(order) or _gone(order):
        return []
    checks = [check for check in order.get("checks") or [] if not _gone(check)]
    return [item for check in checks for item in check.get("selections") or [] if not _gone(item)]


def selection_guids(order: Json) -> set[str]:
    """Of all items and modifiers of an order, whatever became of them."""
    return set() if _is_nobodys(order) else {one["guid"] for one in all_selections(order)}


def all_selections(order: Json) -> Iterable[Json]:
    """All items and modifiers of an order."""
    waiting = [item for check in order.get("checks") or [] for item in check.get("selections") or []]
    while waiting:
        yield (selection := waiting.pop())
        waiting += selection.get("modifiers") or []


def item_shares(order: Json, check: Json) -> dict[str, Decimal] | None:
    """By selection GUID, how much of the check's discounts Toast's own prices give to each item that bears some; None
    where they do not explain these discounts to the cent, so that only proportions are left."""
    if any(_gone(each) for each in (order, check)) or order.get("excessFood"):
        return {}
    return _priced_shares(check)


def _priced_shares(check: Json) -> dict[str, Decimal] | None:
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


def _shares(check: Json) -> dict[str, tuple[Decimal, Decimal]]:
    """By selection GUID the item's share of the check's discounts, and what rounding may change of it."""
    by_price = _priced_shares(check)
    if by_price is not None:
        return {guid: (share, ZERO) for guid, share in by_price.items()}
    nets = {
        item["guid"]: max(_sold(item) - _own_discounts(item), ZERO)
        for item in check.get("selections") or []
        if _is_sale(item)
    }
    total = sum(nets.values(), ZERO)
    return {guid: (_off(check) * net / total, CENT) for guid, net in nets.items() if net}


def _line(item: Json, shares: Mapping[str, tuple[Decimal, Decimal]]) -> Entry:
    share, slack = shares.get(item["guid"], (ZERO, ZERO))
    weighed = item.get("unitOfMeasure") not in (None, "", "NONE")
    units = Decimal(1) if weighed or item.get("quantity") is None else abs(_number(item["quantity"]))
    return Entry(units, _sold(item), _own_discounts(item) + share, share, _number(item.get("tax")), slack=slack)


def _gone_time(thing: Json) -> datetime:
    """When it was voided, else deleted; Toast writes 1970 for what was never deleted."""
    for flag, date in (("voided", "voidDate"), ("deleted", "deletedDate")):
        text = thing.get(date)
        if thing.get(flag) and text and not text.startswith("1970"):
            return _time(text)
    return UNKNOWN_TIME


def _guest_key(guest: Json) -> str | None:
    email = (guest.get("email") or "").strip().lower()
    return guest.get("guid") or (sha256(email.encode()).hexdigest() if email else None)


def _refunds_of_payments(check: Json) -> list[Json]:
    taken = (payment for payment in check.get("payments") or [] if _took_money(payment))
    return [payment["refund"] for payment in taken if payment.get("refund")]


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


def _is_nobodys(order: Json) -> bool:
    """No guest's order: made in test mode, or a record of wasted food."""
    return bool(order.get("createdInTestMode") or order.get("excessFood"))


def _took_money(payment: Json) -> bool:
    void = payment.get("voidInfo") or {}
    return payment.get("paymentStatus") not in NO_MONEY and not (void.get("voidDate") or void.get("voidBusinessDate"))


def _gone(thing: Json) -> bool:
    return bool(thing.get("voided") or thing.get("deleted"))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _sum(things: Iterable[Mapping[str, Any]], name: str) -> Decimal:
    return sum((_number(thing.get(name)) for thing in things), ZERO)


def _number(value: Any) -> Decimal:
    return ZERO if value is None else Decimal(value)
