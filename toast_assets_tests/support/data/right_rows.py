"""What is wrong with the rows that Amperity holds of one order, by the oracle's reading of its newest version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from toast_assets_tests.support.data import oracle
from toast_assets_tests.support.data.oracle import CANCELLATION, PURCHASE, RETURN, ZERO, Entry, Json, Names

_NUMBERS = (
    *("item_quantity", "item_list_price", "item_discount_amount", "check_discount_amount"),
    *("item_revenue", "item_tax_amount"),
)
_ROUNDED = ("item_discount_amount", "check_discount_amount", "item_revenue")
_ITEM_NUMBERS = (
    *("quantity", "list_price", "discount_amount", "net_price", "tax_amount"),
    *("refund_amount", "tax_refund_amount"),
)


def transaction_faults(rows: Sequence[Json], order: Json, names: Names) -> Iterator[str]:
    """What is wrong with the rows of ``transactions``; empty where they are the newest version's (``order``), with
    ``names`` of what it refers to."""
    held = {(row["product_id"], _kind(row)): row for row in rows if not _is_zero(row, _NUMBERS)}
    right = oracle.transaction_rows(order)
    for key in sorted(held.keys() - right.keys()):
        yield f"{key} is not in the newest version: {_shown(held[key], _NUMBERS)}"
    yield from (f"{key} is missing: {right[key]}" for key in sorted(right.keys() - held.keys()))
    for key in sorted(held.keys() & right.keys()):
        yield from (f"{key}: {fault}" for fault in _row_faults(held[key], right[key]))
        yield from (f"{key}: {fault}" for fault in _category_faults(held[key], order, names))
    for row in rows:
        name = row["transaction_item_id"]
        if row["order_discount_amount"] != 0:
            yield f"{name}: order_discount_amount {row['order_discount_amount']}, which Amperity takes off again"
        if row["item_revenue"] != row["item_list_price"] - row["item_discount_amount"]:
            yield f"{name}: item_revenue is not item_list_price - item_discount_amount"
        if row["is_return"] and row["is_cancellation"]:
            yield f"{name}: both a return and a cancellation"
    yield from _customer_faults(rows, order)
    yield from _channel_faults(rows, order, names)
    yield from _differences("check_discount_amount", _sum(rows, "check_discount_amount"), oracle.check_discounts(order))
    yield from _differences("item_revenue", _sum(rows, "item_revenue"), oracle.revenue(order))
    # Amperity's template: order_revenue + order_returned_revenue + order_canceled_revenure - order_discount_amount.
    net = _sum(rows, "item_revenue") - _sum(rows, "order_discount_amount")
    yield from _differences("net_order_revenue", net, oracle.revenue(order))


def item_faults(rows: Sequence[Json], order: Json, names: Names) -> Iterator[str]:
    """What is wrong with the rows of ``order_items``."""
    known, live = oracle.selection_guids(order), oracle.live_items(order)
    held = {row["selection_id"]: row for row in rows}
    if len(held) != len(rows):
        yield f"a selection has several rows: {Counter(row['selection_id'] for row in rows).most_common(1)}"
    for guid in sorted(known - held.keys()):
        yield f"{guid} has no row"
    for guid in sorted(held.keys() - known):
        if not (held[guid]["is_cancelled"] and _is_zero(held[guid], _ITEM_NUMBERS)):
            yield f"{guid} is not in the newest version: {_shown(held[guid], ('is_cancelled', *_ITEM_NUMBERS))}"
    for row in rows:
        if row["order_item_id"] != f"{row['order_id']}|{row['selection_id']}":
            yield f"{row['order_item_id']} is no key of {row['order_id']} and {row['selection_id']}"
    standing = [row for row in rows if row["depth"] == 0 and not row["is_cancelled"]]
    for guid in sorted({item["guid"] for item in live} ^ {row["selection_id"] for row in standing}):
        yield f"{guid} is cancelled at one side only"
    for column, member in (("list_price", "preDiscountPrice"), ("net_price", "price")):
        right = sum((item[member] for item in live), ZERO)
        yield from _differences(f"{column} of items", _sum(standing, column), right)
    for selection in oracle.all_selections(order):
        if selection["guid"] in known & held.keys():
            found = tuple(held[selection["guid"]][name] for name in ("product_category", "product_subcategory"))
            yield from _differences(f"categories of {selection['guid']}", found, oracle.categories(selection, names))
    yield from _customer_faults(rows, order)
    yield from _channel_faults(rows, order, names)


def _row_faults(row: Json, right: Entry) -> Iterator[str]:
    amounts = (right.list_price, right.discount, right.check_discount, right.revenue)
    for name, value in zip(_NUMBERS, (right.quantity, *amounts, right.tax), strict=True):
        if row[name] != value and (name not in _ROUNDED or abs(row[name] - value) > right.slack):
            yield f"{name} {row[name]}, right {value}"
    if len(right.times) == 1 and oracle.UNKNOWN_TIME not in right.times:
        (moment,) = right.times
        text = moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
        if row["order_datetime_utc"] != text:
            yield f"order_datetime_utc {row['order_datetime_utc']}, right {text}"


def _customer_faults(rows: Sequence[Json], order: Json) -> Iterator[str]:
    customers = {row["fk_customer"] for row in rows}
    if customers - {oracle.customer(order)}:
        yield f"customers {customers}, right {oracle.customer(order)}"


def _channel_faults(rows: Sequence[Json], order: Json, names: Names) -> Iterator[str]:
    found = {(row["purchase_channel"], row["digital_channel"]) for row in rows}
    if found - {oracle.channels(order, names)}:
        yield f"channels {found}, right {oracle.channels(order, names)}"


def _category_faults(row: Json, order: Json, names: Names) -> Iterator[str]:
    """A row sums several items: its names are those of some of them, and null only where not all have one."""
    items = [item for check in order["checks"] for item in check["selections"]]
    of_product = [oracle.categories(item, names) for item in items if oracle.product_id(item) == row["product_id"]]
    some = zip(*of_product, strict=True) if of_product else ((None,), (None,))
    for name, right in zip(("product_category", "product_subcategory"), some, strict=True):
        if row[name] not in {*right, None} or (row[name] is None and None not in right):
            yield f"{name} {row[name]}, right {right}"


def _kind(row: Json) -> str:
    return RETURN if row["is_return"] else CANCELLATION if row["is_cancellation"] else PURCHASE


def _shown(row: Json, columns: Sequence[str]) -> str:
    return ", ".join(f"{column} {row[column]}" for column in ("modified_at", *columns))


def _is_zero(row: Json, columns: Sequence[str]) -> bool:
    return not any(row[column] for column in columns)


def _differences(what: str, found: Any, right: Any) -> Iterator[str]:
    if found != right:
        yield f"{what} {found}, right {right}"


def _sum(rows: Sequence[Json], column: str) -> Decimal:
    return sum((Decimal(row[column] or 0) for row in rows), ZERO)
