"""Lists of a business day: what explains an order that ``ordersBulk`` did not return, and what does not."""

from __future__ import annotations

from typing import Any

from toast_assets.probe.answers import Verdict
from toast_assets.sandbox import Sandbox
from toast_assets.sandbox.order_builder import decode, encode, toast_time
from toast_assets.sandbox.orders import StoredOrder
from toast_assets_tests.probe.probing import GUID, Probing, place, refuted
from toast_assets_tests.support.services.toast_orders import edit, put, put_bytes

DAY_MS = 86_400_000
# Noon in New York on the second day of the week.
NOON_MS = 1_757_908_800_000 + DAY_MS + 12 * 3_600_000


def orders_of_a_day(sandbox: Sandbox) -> list[StoredOrder]:
    return sandbox.toast.orders[GUID].between(NOON_MS, NOON_MS + DAY_MS // 2)


def changed(order: StoredOrder, **fields: Any) -> bytes:
    return encode(decode(order.json) | fields)


async def test_an_order_that_was_modified_after_the_week_is_explained(probing: Probing) -> None:
    sandbox = probing.sandbox(place(100))
    for order in orders_of_a_day(sandbox)[:3]:
        edit(sandbox.toast.orders[GUID], order.guid, NOON_MS + 8 * DAY_MS)
    answers = await probing.answers(sandbox)
    assert refuted(answers) == set()
    assert ", 0 of them although their time" in answers["order_list"].reason
    assert answers["order_list"].verdict is answers["payment_list"].verdict is Verdict.CONFIRMED


async def test_an_order_created_long_after_it_was_opened_confirms_that_none_came_late(probing: Probing) -> None:
    sandbox = probing.sandbox(place(100))
    order = orders_of_a_day(sandbox)[0]
    put(sandbox.toast.orders[GUID], changed(order, openedDate=toast_time(order.modified_ms - 7_200_000)))
    put(sandbox.toast.orders[GUID], changed(order, createdDate=toast_time(order.modified_ms)))
    answers = await probing.answers(sandbox)
    assert answers["no_backdated_orders"].verdict is Verdict.CONFIRMED


async def test_orders_of_an_odd_form_end_no_probe(probing: Probing) -> None:
    sandbox = probing.sandbox(place(100))
    orders = sandbox.toast.orders[GUID]
    first, second, *_ = orders_of_a_day(sandbox)
    put(
        orders,
        changed(
            first, checks="none", businessDate=[7], createdDate=7, openedDate="0001-01-01T00:00:00.000Z", deleted="yes"
        ),
    )
    put_bytes(orders, "no-order", second.modified_ms, b'{"guid": 7}')
    put_bytes(orders, "no-json", second.modified_ms, b'"text"')
    answers = await probing.answers(sandbox)
    assert refuted(answers) == set()
    others = {key for key, answer in answers.items() if answer.verdict is not Verdict.CONFIRMED}
    assert others <= {"no_backdated_orders", "page_default", "deleted_orders", "test_orders"}
