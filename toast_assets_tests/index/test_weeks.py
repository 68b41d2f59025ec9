"""Which orders a week holds: what pulls add to the object, and what it says after upgrades, damage and kills."""

from __future__ import annotations

import pytest

from toast_assets.index.weeks import WeekOrders, decode_week_orders, guid_hash, holders
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.services.toast_orders import late_arrivals
from toast_assets_tests.support.stores.pulls import bucket_content, pull, true_versions


def hashes(store: OrderStore, week: Week) -> dict[str, list[int]]:
    found = store.bucket.read(store.layout.week_orders(week.key))
    assert found is not None
    orders = decode_week_orders(found[0])
    assert orders is not None
    return {guid: some.to_pylist() for guid, some in orders.items()}


def truth(sandbox: Sandbox, week: Week) -> dict[str, list[int]]:
    return {guid: sorted(map(guid_hash, true_versions(sandbox, week, guid))) for guid in sandbox.restaurant_guids}


async def test_a_pull_notes_every_order_and_a_second_look_adds_what_is_new(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    first = hashes(store, week)
    assert first == truth(sandbox, week)
    late_arrivals(sandbox.toast.orders[sandbox.restaurant_guids[0]], week.start, week.end, 3)
    await pull(sandbox, week)
    assert hashes(store, week) == truth(sandbox, week) != first


async def test_a_run_for_one_restaurant_covers_the_others_too_where_the_object_is_lost_or_damaged(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    before = bucket_content(sandbox)
    key = store.layout.week_orders(week.key)
    for spoil in (lambda: store.bucket.delete(key), lambda: store.bucket.write(key, b"PAR1 no Parquet")):
        spoil()
        await pull(sandbox, week, TOAST_RESTAURANT_GUID=sandbox.restaurant_guids[1])
        assert bucket_content(sandbox) == before


async def test_a_restaurant_without_orders_is_covered_and_a_missing_raw_file_is_left_out(
    sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    await pull(sandbox, week)
    first, second, third = sandbox.restaurant_guids
    store.bucket.delete(store.layout.week_orders(week.key))
    store.bucket.delete(store.layout.raw(week, third))
    run = WeekOrders(store, week)
    run.found[first] = run._read(first)[first][:0]
    run.save([first, second, third])
    assert hashes(store, week) == {first: [], second: truth(sandbox, week)[second]}


@pytest.mark.parametrize("guid", ["AbC-1", "abc-1", "ABC-1"])
async def test_guids_compare_without_case(sandbox: Sandbox, store: OrderStore, week: Week, guid: str) -> None:
    await pull(sandbox, week)
    found = store.bucket.read(store.layout.week_orders(week.key))
    orders = decode_week_orders(found[0]) if found else None
    restaurant = sandbox.restaurant_guids[2]
    wanted = min(true_versions(sandbox, week, restaurant))
    assert orders is not None
    assert holders(orders, wanted.upper()) == holders(orders, wanted) == [restaurant]
    assert guid_hash(guid) == guid_hash("abc-1")
