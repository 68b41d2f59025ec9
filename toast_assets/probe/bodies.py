"""The questions that orders alone answer. A reason holds counts, and names that are Toast's or ours; no text of an
order enters it, not even a field's name, because a field can be named after a guest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import msgspec

from toast_assets.checks.facts import channel_of
from toast_assets.orders.names import references
from toast_assets.orders.read import RawOrders
from toast_assets.orders.times import day_begins, zone
from toast_assets.probe.answers import Answer, confirmed, refuted, unseen
from toast_assets.probe.observed import Observed
from toast_assets.tables.flatten import flatten

# Of fewer, a share or an absence says nothing.
_FEWEST = 10
_PERCENT = 95
_CENT = Decimal("0.01")
_ZERO = Decimal(0)
# What is added up, by its name in Toast's words.
_FORMULAS: dict[str, tuple[str, ...]] = {
    "amount + taxAmount": (),
    "amount + taxAmount + gratuities": ("gratuity_amount",),
    "amount + taxAmount + tips": ("tip_amount",),
    "amount + taxAmount + gratuities + tips": ("gratuity_amount", "tip_amount"),
}
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|\+0000|[+-][0-9]{2}:?[0-9]{2})?"
)
# One order that no table can hold makes the whole batch slow.
_AT_ONCE = 50
_EXPECTED_FORMS = {"3 fraction digits and Z", "3 fraction digits and +0000"}
_encode = msgspec.json.Encoder(decimal_format="number").encode


def guests(observed: Observed) -> Answer:
    """By orders that are takeout or delivery: the configuration says so, else the order itself."""
    away = [order for order in observed.orders if channel_of(order, observed.names)[0] in ("TAKE_OUT", "DELIVERY")]
    naming = sum(map(_names_guest, away))
    return _if_any(naming, len(away), f"{naming} of {len(away)} takeout and delivery orders name a guest")


def total_amount(observed: Observed) -> Answer:
    """By the formula that gives the ``totalAmount`` of most checks."""
    bills = [bill for bill in _bills(observed) if None not in (bill["total_amount"], bill["amount"])]
    counts = {
        formula: sum(_equal(bill, "total_amount", ("amount", "tax_amount", *others)) for bill in bills)
        for formula, others in _FORMULAS.items()
    }
    best, most = max(counts.items(), key=lambda count: count[1])
    return _if_most(most, len(bills), f"{best} gives totalAmount in {most} of {len(bills)} checks")


def check_amount(observed: Observed) -> Answer:
    """By the tables, compared as the check ``net_sales_agree_with_toast`` compares them."""
    bills = [bill for bill in _bills(observed) if bill["amount"] is not None]
    same = sum(_equal(bill, "amount", ("net_sales", "deferred_amount", "donation_amount")) for bill in bills)
    return _if_most(same, len(bills), f"items and charges give amount in {same} of {len(bills)} checks")


def settlement(observed: Observed) -> Answer:
    """By captured card payments in orders that were last modified before the end of their business day."""
    details = observed.details
    if zone(details.time_zone) is None:
        return unseen("the time zone of the restaurant is unknown")
    captured = before = 0
    for paid in _rows(observed, "payments"):
        day, modified = paid["business_date"], paid["order_modified_at"]
        if (paid["type"], paid["payment_status"]) == ("CREDIT", "CAPTURED") and day and modified:
            with suppress(OverflowError):
                before += modified < day_begins(day + timedelta(days=1), details.time_zone, details.closeout_hour)
                captured += 1
    reason = f"{before} of {captured} captured card payments are in orders last modified before their closeout"
    return _if_any(before, captured, reason)


def date_formats(observed: Observed) -> Answer:
    """By the texts of all fields whose name ends with Date, at any depth."""
    forms = Counter(_form(text) for order in observed.orders for text in _dates(order))
    if not forms:
        return unseen("no order has a time")
    reason = ", ".join(f"{count} times with {form}" for form, count in forms.most_common())
    return confirmed(reason) if forms.keys() <= _EXPECTED_FORMS else refuted(reason)


def names(observed: Observed) -> Answer:
    """By the distinct GUIDs that orders refer to."""
    if observed.names_problem is not None:
        return unseen(f"the configuration could not be read: {observed.names_problem}")
    referred = {(kind, guid.lower()) for order in observed.orders for kind, guid in references(order)}
    nameless = Counter(sorted(kind for kind, guid in referred if not observed.names.find(kind, guid).name))
    named = len(referred) - nameless.total()
    without = "".join(f", {count} of kind {kind} have none" for kind, count in nameless.most_common())
    return _if_most(named, len(referred), f"{named} of {len(referred)} GUIDs have a name{without}")


BODIES: Mapping[str, Callable[[Observed], Answer]] = {
    each.__name__: each for each in (guests, total_amount, check_amount, settlement, date_formats, names)
}
"""What answers a question, by its key."""


def _if_any(part: int, whole: int, reason: str) -> Answer:
    return confirmed(reason) if part else _if_most(part, whole, reason)


def _if_most(part: int, whole: int, reason: str) -> Answer:
    if whole and 100 * part >= _PERCENT * whole:
        return confirmed(reason)
    return refuted(reason) if whole >= _FEWEST else unseen(reason)


def _bills(observed: Observed) -> list[dict[str, Any]]:
    """The checks that count as sales."""
    return [row for row in _rows(observed, "checks") if row["counts"] and not row["waste_amount"]]


def _rows(observed: Observed, table: str) -> list[dict[str, Any]]:
    """The rows that a table has of the orders."""
    bodies = [*map(_encode, observed.orders)]
    batches = (RawOrders(observed.details.guid, bodies[at : at + _AT_ONCE]) for at in range(0, len(bodies), _AT_ONCE))
    return [row for batch in batches for row in flatten(batch)[1][table].to_pylist()]


def _equal(bill: Mapping[str, Any], total: str, parts: tuple[str, ...]) -> bool:
    """Whether an amount is the sum of others, to the cent."""
    return bool(abs(bill[total] - sum((bill[part] or _ZERO for part in parts), _ZERO)) <= _CENT)


def _names_guest(order: Mapping[str, Any]) -> bool:
    checks = order.get("checks")
    found = [check.get("customer") for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    guests = (guest for guest in found if isinstance(guest, dict))
    return any(guest.get(field) for guest in guests for field in ("firstName", "lastName", "email", "phone"))


def _dates(order: Mapping[str, Any]) -> Iterator[str]:
    left: list[Any] = [order]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield from (text for name, text in part.items() if name.endswith("Date") and text and isinstance(text, str))
            left += part.values()
        elif isinstance(part, list):
            left += part


def _form(text: str) -> str:
    """The form of a time in words that hold nothing of it."""
    found = _TIME.fullmatch(text)
    if found is None:
        return "another form"
    offset = found[2] if found[2] in ("Z", "+0000") else "another offset" if found[2] else "no offset"
    return f"{len(found[1] or '.') - 1} fraction digits and {offset}"
