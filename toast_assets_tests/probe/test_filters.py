"""What a probe makes of filters that no switch of the sandbox has."""

from __future__ import annotations

import pytest

from toast_assets.probe.answers import Verdict
from toast_assets.sandbox import Assumption, Sandbox
from toast_assets.sandbox.assumptions import Switch
from toast_assets.sandbox.orders import RestaurantOrders, StoredOrder
from toast_assets_tests.probe.probing import GUID, Probing, refuted


def filter_by_hidden_time(sandbox: Sandbox, patch: pytest.MonkeyPatch, later_ms: int) -> None:
    """Filters by a time that no body has."""

    def filter_ms(_switch: Switch, _orders: RestaurantOrders, order: StoredOrder) -> int:
        return order.modified_ms + later_ms

    patch.setattr(Switch, "filter_ms", filter_ms)
    sandbox.switch.without = Assumption.FILTER_TIME


def hide_orders(sandbox: Sandbox, count: int) -> None:
    """Takes orders of the second day off all pages of ``ordersBulk``."""
    orders = sandbox.toast.orders[GUID]
    start = 1_757_908_800_000 + 36 * 3_600_000
    orders.lost |= {order.guid for order in orders.between(start, start + 24 * 3_600_000)[:count]}


async def test_of_a_hidden_time_only_its_distance_to_the_window_is_known(
    probing: Probing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = probing.sandbox()
    filter_by_hidden_time(sandbox, monkeypatch, 3_600_000)
    hide_orders(sandbox, 2)
    answers = await probing.answers(sandbox)
    assert refuted(answers) == {"times_in_window"}
    assert answers["filter_time"].verdict is answers["order_list"].verdict is Verdict.UNSEEN
    assert answers["milliseconds"].verdict is answers["start_inclusive"].verdict is Verdict.UNSEEN


async def test_lost_orders_refute_the_order_list_alone(probing: Probing) -> None:
    sandbox = probing.sandbox()
    hide_orders(sandbox, 2)
    answers = await probing.answers(sandbox)
    assert refuted(answers) == {"order_list"}
    assert ", 2 of them although" in answers["order_list"].reason
