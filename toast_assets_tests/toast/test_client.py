"""The client against the sandbox over real HTTP."""

from __future__ import annotations

from collections.abc import Callable

from toast_assets.sandbox import Sandbox
from toast_assets.toast.client import ToastClient
from toast_assets.toast.page import Window
from toast_assets.week import Week


async def test_a_page_holds_the_orders_that_the_sandbox_has(
    sandbox: Sandbox, make_toast: Callable[..., ToastClient], week: Week
) -> None:
    guid = sandbox.restaurant_guids[0]
    async with make_toast() as toast:
        page = await toast.orders_page(guid, Window(week.start_ms, week.end_ms))
    assert len(page.orders) == 100
    assert page.has_next
