"""Windows: what counts as read whole, what is doubted, and that nothing slips through while orders change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toast_assets.errors import ToastIncompleteError, ToastRefusedError
from toast_assets.orders.raw import UnreadableOrder
from toast_assets.toast.density import Density
from toast_assets.toast.page import OrdersPage, Window
from toast_assets.toast.windows import Evidence, ProvedWindow, read_week
from toast_assets_tests.support.services.simulated import (
    HOUR_MS,
    WEEK,
    SimulatedToast,
    Sorting,
    ascending,
    at_random,
    by_guid,
    descending,
    raw_order,
    realistic_times,
    uniform_times,
)

SORTINGS = (ascending, descending, by_guid, at_random)
# A crowd: more orders of one millisecond than fit a reply.
CROWDED = WEEK.start + 50 * HOUR_MS


async def read(toast: SimulatedToast | Misbehaving, week: Window = WEEK) -> list[ProvedWindow]:
    return [proved async for proved in read_week(toast, week, Density(week))]


def guids(proved: list[ProvedWindow]) -> list[str]:
    return [order.guid for each in proved for order in each.orders]


class Misbehaving:
    """A simulated Toast of which single replies are replaced: ``twist`` gets the request's number and the true page."""

    def __init__(self, toast: SimulatedToast, twist: Callable[[int, Window, int, OrdersPage], OrdersPage]) -> None:
        self.toast = toast
        self.twist = twist

    async def __call__(self, window: Window, *, page: int = 1, token: str | None = None) -> OrdersPage:
        true = await self.toast(window, page=page, token=token)
        return self.twist(len(self.toast.asked), window, page, true)


# The shape of what is read


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize("orders", [0, 1, 99, 100, 101, 777])
async def test_the_windows_touch_exactly_and_hold_every_order_once(orders: int, sorting: Sorting) -> None:
    toast = SimulatedToast.of(realistic_times(orders), sorting)
    proved = await read(toast)
    assert proved[0].window.start == WEEK.start
    assert proved[-1].window.end == WEEK.end
    assert all(one.window.end == next_one.window.start for one, next_one in pairwise(proved))
    assert sorted(guids(proved)) == sorted(toast.orders)


async def test_orders_come_sorted_by_time_and_guid_over_the_whole_week() -> None:
    times = [WEEK.start + number // 3 * 60_000 for number in range(500)]
    proved = await read(SimulatedToast.of(times))
    orders = [order for each in proved for order in each.orders]
    assert orders == sorted(orders, key=lambda order: order.sort_key)


async def test_every_request_is_counted_in_the_evidence() -> None:
    toast = SimulatedToast.of(uniform_times(950) + [CROWDED] * 250)
    proved = await read(toast)
    assert sum(each.requests for each in proved) == len(toast.asked)


async def test_orders_on_both_edges_of_the_week_belong_to_it_and_those_beyond_do_not() -> None:
    toast = SimulatedToast.of([WEEK.start - 1, WEEK.start, WEEK.end - 1, WEEK.end])
    assert guids(await read(toast)) == ["order-1", "order-2"]


# What counts as evidence


async def test_a_short_page_without_a_next_one_is_enough() -> None:
    proved = await read(SimulatedToast.of(uniform_times(50)))
    assert [(each.evidence, each.requests) for each in proved] == [(Evidence.ONE_REPLY, 1)]


async def test_an_empty_week_is_asked_for_four_times() -> None:
    proved = await read(SimulatedToast.of([]))
    assert [(each.evidence, each.requests) for each in proved] == [(Evidence.ASKED_AGAIN, 4)]


async def test_an_empty_night_is_asked_for_twice() -> None:
    toast = SimulatedToast.of([WEEK.start, WEEK.end - 1])
    earlier = [(Window(WEEK.start, WEEK.start + HOUR_MS), 80), (Window(WEEK.end - HOUR_MS, WEEK.end), 80)]
    proved = [each async for each in read_week(toast, WEEK, Density(WEEK, earlier))]
    assert all(each.requests <= 2 for each in proved)


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize("crowd", [100, 101, 250, 300, 1000])
async def test_hundreds_of_orders_in_one_millisecond_are_walked_until_two_walks_agree(
    crowd: int, sorting: Sorting
) -> None:
    toast = SimulatedToast.of([*uniform_times(300), *[CROWDED] * crowd], sorting)
    proved = await read(toast)
    assert sorted(guids(proved)) == sorted(toast.orders)
    walked = [each for each in proved if each.evidence is Evidence.WALKS_AGREED]
    assert [each.window for each in walked] == [Window(CROWDED, CROWDED + 1)]


@pytest.mark.parametrize("page_size", [1, 7, 50])
async def test_a_toast_whose_pages_are_always_short_is_read_whole(page_size: int) -> None:
    toast = SimulatedToast.of([*uniform_times(120), *[CROWDED] * 20], page_size=page_size)
    assert sorted(guids(await read(toast))) == sorted(toast.orders)


async def test_a_toast_that_always_names_a_next_page_is_read_whole() -> None:
    toast = SimulatedToast.of(uniform_times(230))
    generous = Misbehaving(toast, lambda _n, _w, _p, page: OrdersPage(page.orders, has_next=True))
    assert sorted(guids(await read(generous))) == sorted(toast.orders)


async def test_a_toast_that_returns_more_than_was_asked_for_is_read_whole() -> None:
    toast = SimulatedToast.of(uniform_times(900), page_size=250)
    assert sorted(guids(await read(toast))) == sorted(toast.orders)


def past_the_end(answer: int | None) -> Callable[[int, Window, int, OrdersPage], OrdersPage]:
    """A page past the end is refused with the status ``answer``, or is the last one once more."""
    last: dict[Window, OrdersPage] = {}

    def twist(_number: int, window: Window, page: int, true: OrdersPage) -> OrdersPage:
        if true.rows or page == 1:
            last[window] = true
        elif answer is not None:
            raise ToastRefusedError("no such page", status=answer)
        return last[window]

    return twist


@pytest.mark.parametrize("answer", [None, 400, 404])
@pytest.mark.parametrize("crowd", [100, 200, 250])
async def test_a_page_past_the_end_may_be_the_last_one_again_or_refused(crowd: int, answer: int | None) -> None:
    toast = SimulatedToast.of([*uniform_times(120), *[CROWDED] * crowd])
    proved = await read(Misbehaving(toast, past_the_end(answer)))
    assert sorted(guids(proved)) == sorted(toast.orders)
    assert Evidence.WALKS_AGREED in [each.evidence for each in proved]


async def test_access_that_ends_within_a_walk_is_no_end_of_its_pages() -> None:
    with pytest.raises(ToastRefusedError):
        await read(Misbehaving(SimulatedToast.of([CROWDED] * 200), past_the_end(403)))


async def test_a_page_that_was_announced_and_is_refused_is_no_end_of_a_walk() -> None:
    def twist(_number: int, _window: Window, page: int, true: OrdersPage) -> OrdersPage:
        if page == 2:
            raise ToastRefusedError("no such page", status=404)
        return true

    with pytest.raises(ToastRefusedError):
        await read(Misbehaving(SimulatedToast.of([CROWDED] * 200), twist))


async def test_an_order_that_is_twice_on_a_page_is_read_once_in_its_newest_version() -> None:
    toast = SimulatedToast.of(uniform_times(50), ascending)
    first = toast.within(WEEK)[0]
    newer = raw_order(first.guid, first.modified_ms + 1)

    def twist(_number: int, _window: Window, _page: int, true: OrdersPage) -> OrdersPage:
        return OrdersPage([newer, *true.orders, true.orders[-1]], true.has_next)

    (proved,) = await read(Misbehaving(toast, twist))
    assert sorted(guids([proved])) == sorted(toast.orders)
    assert newer in proved.orders


async def test_an_order_that_is_on_two_pages_of_a_crowd_may_hide_another_one_and_fails_naming_the_window() -> None:
    """A server that cuts equal times into pages without a fixed order shows some twice, and others never."""
    toast = SimulatedToast.of([CROWDED] * 250)

    def twist(_number: int, window: Window, page: int, true: OrdersPage) -> OrdersPage:
        first = toast.sorting(toast.within(window), Random(1))[0]
        return OrdersPage([first, *true.orders[1:]], true.has_next) if page == 2 else true

    with pytest.raises(ToastIncompleteError, match="never came twice alike"):
        await read(Misbehaving(toast, twist), Window(CROWDED, CROWDED + 1))


async def test_an_empty_page_before_one_with_orders_does_not_end_a_walk() -> None:
    """A server that drops orders from its pages after it cut them can have an empty page in between."""
    toast = SimulatedToast.of([CROWDED] * 250, ascending)

    def twist(_number: int, _window: Window, page: int, true: OrdersPage) -> OrdersPage:
        return OrdersPage([], has_next=True) if page == 2 else true

    proved = await read(Misbehaving(toast, twist), Window(CROWDED, CROWDED + 1))
    assert len(guids(proved)) == 150


# What is doubted


def empty_on(*numbers: int) -> Callable[[int, Window, int, OrdersPage], OrdersPage]:
    return lambda number, _w, _p, page: OrdersPage([], has_next=False) if number in numbers else page


@pytest.mark.parametrize("number", range(1, 16))
async def test_one_wrongly_empty_page_loses_nothing(number: int) -> None:
    toast = SimulatedToast.of(realistic_times(600))
    assert sorted(guids(await read(Misbehaving(toast, empty_on(number))))) == sorted(toast.orders)


@pytest.mark.parametrize("number", range(2, 30))
async def test_one_wrongly_empty_page_of_a_crowd_loses_nothing(number: int) -> None:
    toast = SimulatedToast.of([*uniform_times(120), *[CROWDED] * 250])
    assert sorted(guids(await read(Misbehaving(toast, empty_on(number))))) == sorted(toast.orders)


@pytest.mark.parametrize("first", range(1, 8))
async def test_three_wrongly_empty_pages_in_a_row_lose_nothing_of_a_busy_week(first: int) -> None:
    toast = SimulatedToast.of(uniform_times(600))
    twisted = Misbehaving(toast, empty_on(first, first + 1, first + 2))
    assert sorted(guids(await read(twisted))) == sorted(toast.orders)


async def test_an_order_that_was_seen_and_is_missing_makes_the_reply_doubtful() -> None:
    toast = SimulatedToast.of(uniform_times(150), ascending)

    def without_the_first(number: int, _window: Window, _page: int, page: OrdersPage) -> OrdersPage:
        return OrdersPage(page.orders[1:], page.has_next) if number == 2 else page

    proved = await read(Misbehaving(toast, without_the_first))
    assert sorted(guids(proved)) == sorted(toast.orders)
    assert proved[0].requests == 3


async def test_an_order_that_was_edited_between_two_replies_is_not_waited_for_for_ever() -> None:
    toast = SimulatedToast.of(uniform_times(150), ascending)
    first = toast.within(WEEK)[0].guid

    def edit(number: int) -> None:
        if number == 2:
            toast.put(first, WEEK.end + HOUR_MS)

    toast.before = edit
    assert first not in guids(await read(toast))


async def test_a_window_that_contradicts_itself_each_time_fails_naming_it() -> None:
    toast = SimulatedToast.of(uniform_times(50))

    def another_overfull_page_each_time(number: int, _window: Window, _page: int, page: OrdersPage) -> OrdersPage:
        # Overfull at first, so that witnesses are known; then alternately nothing and something else.
        return toast_page(100) if number == 1 else OrdersPage([] if number % 2 else page.orders[:1], has_next=False)

    def toast_page(size: int) -> OrdersPage:
        return OrdersPage(SimulatedToast.of(uniform_times(size)).within(WEEK), has_next=True)

    with pytest.raises(ToastIncompleteError, match=r"2025-09-15T04:00:00.000.*differently each time"):
        await read(Misbehaving(toast, another_overfull_page_each_time))


async def test_pages_that_never_come_twice_alike_fail_naming_the_window() -> None:
    toast = SimulatedToast.of([CROWDED] * 250)

    def another_each_time(number: int, _window: Window, _page: int, page: OrdersPage) -> OrdersPage:
        extra = raw_order(f"new-{number}", CROWDED)
        return OrdersPage([*page.orders[:-1], extra], page.has_next)

    with pytest.raises(ToastIncompleteError, match="never came twice alike"):
        await read(Misbehaving(toast, another_each_time), Window(CROWDED, CROWDED + 1))


async def test_the_same_page_again_and_again_is_no_walk() -> None:
    toast = SimulatedToast.of([CROWDED] * 250)
    first = toast.within(WEEK)[:100]
    with pytest.raises(ToastIncompleteError):
        await read(
            Misbehaving(toast, lambda _n, _w, _p, _page: OrdersPage(first, has_next=True)), Window(CROWDED, CROWDED + 1)
        )


async def test_a_page_that_comes_twice_by_mistake_loses_nothing() -> None:
    toast = SimulatedToast.of([CROWDED] * 350, ascending)
    pages: list[OrdersPage] = []

    def repeat_the_fifth(number: int, _window: Window, _page: int, page: OrdersPage) -> OrdersPage:
        pages.append(page)
        return pages[-2] if number == 5 else page

    proved = await read(Misbehaving(toast, repeat_the_fifth), Window(CROWDED, CROWDED + 1))
    assert sorted(guids(proved)) == sorted(toast.orders)


# Orders that change while they are read


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize("every", [1, 2, 3, 7])
async def test_orders_that_stay_are_found_however_often_others_are_edited(every: int, sorting: Sorting) -> None:
    toast = SimulatedToast.of([*realistic_times(700), *[CROWDED] * 60], sorting)
    rng = Random(every)
    edited: set[str] = set()

    def edit(number: int) -> None:
        if number % every == 0:
            guid = rng.choice(sorted(toast.orders.keys() - edited))
            edited.add(guid)
            toast.put(guid, WEEK.end + number)

    toast.before = edit
    found = guids(await read(toast))
    assert len(found) == len(set(found))
    assert set(toast.orders) - edited <= set(found)


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
async def test_an_edit_of_what_was_just_seen_before_every_request_loses_nothing_else(sorting: Sorting) -> None:
    """The worst case: each reply is followed by an edit of one of its own orders."""
    toast = SimulatedToast.of(uniform_times(400), sorting)
    edited: set[str] = set()

    def edit(number: int) -> None:
        if number > 1:
            window = toast.asked[-1]
            inside = toast.within(window)
            if inside:
                edited.add(inside[0].guid)
                toast.put(inside[0].guid, WEEK.end + number)

    toast.before = edit
    found = guids(await read(toast))
    assert set(toast.orders) - edited <= set(found)


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
async def test_a_crowd_from_which_orders_leave_is_walked_until_it_rests(sorting: Sorting) -> None:
    toast = SimulatedToast.of([CROWDED] * 260, sorting)
    leaving = iter(sorted(toast.orders)[:8])

    def edit(number: int) -> None:
        guid = next(leaving, None) if number % 2 else None
        if guid is not None:
            toast.put(guid, WEEK.end + number)

    toast.before = edit
    staying = {guid for number, guid in enumerate(sorted(toast.orders)) if number >= 8}
    assert staying <= set(guids(await read(toast)))


@pytest.mark.parametrize("number", range(1, 14))
async def test_an_order_that_leaves_a_crowd_in_random_order_takes_no_other_one_along(number: int) -> None:
    """It stood on an early page of a walk and was gone at the last: it must not be counted in place of another."""
    for seed in range(8):
        toast = SimulatedToast.of([CROWDED] * 229, at_random)
        toast.seed = seed

        def edit(request: int, toast: SimulatedToast = toast) -> None:
            if request == number:
                toast.put("order-0", WEEK.end + number)

        toast.before = edit
        found = set(guids(await read(toast, Window(CROWDED, CROWDED + 1))))
        assert toast.orders.keys() - {"order-0"} <= found


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize(("every", "orders"), [(1, 180), (2, 250), (3, 250)])
async def test_a_crowd_of_which_one_leaves_again_and_again_is_read_whole(
    every: int, orders: int, sorting: Sorting
) -> None:
    """The number of rows is another one in each walk, so no two are ever alike."""
    toast, rng = SimulatedToast.of([CROWDED] * orders, sorting), Random(every)
    edited: set[str] = set()

    def edit(number: int) -> None:
        if number % every == 0:
            guid = rng.choice(sorted(toast.orders.keys() - edited))
            edited.add(guid)
            toast.put(guid, WEEK.end + number)

    toast.before = edit
    found = set(guids(await read(toast, Window(CROWDED, CROWDED + 1))))
    assert toast.orders.keys() - edited <= found


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize(("every", "first"), [(2, 0), (2, 1), (3, 1), (3, 2), (5, 3), (5, 4)])
async def test_pages_that_are_wrongly_empty_and_name_a_next_one_lose_nothing(
    every: int, first: int, sorting: Sorting
) -> None:
    toast = SimulatedToast.of([*realistic_times(40), *[CROWDED] * 150], sorting)

    def twist(number: int, _window: Window, _page: int, true: OrdersPage) -> OrdersPage:
        return OrdersPage([], has_next=True) if number % every == first else true

    assert sorted(guids(await read(Misbehaving(toast, twist)))) == sorted(toast.orders)


async def test_orders_that_arrive_late_ahead_of_the_reading_are_found() -> None:
    toast = SimulatedToast.of(realistic_times(300))

    def arrive(number: int) -> None:
        if number <= 5:
            toast.put(f"late-{number}", WEEK.end - number)

    toast.before = arrive
    found = guids(await read(toast))
    assert {f"late-{number}" for number in range(1, 6)} <= set(found)


# Orders that cannot be read


def bodies(toast: SimulatedToast, guids: set[str]) -> set[bytes]:
    return {toast.orders[guid].body for guid in guids}


@pytest.mark.parametrize("sorting", SORTINGS, ids=lambda sorting: sorting.__name__)
@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
@pytest.mark.parametrize("crowd", [0, 230])
async def test_orders_that_cannot_be_read_are_all_seen_and_hide_no_other(
    share: float, crowd: int, sorting: Sorting
) -> None:
    toast = SimulatedToast.of([*realistic_times(300), *[CROWDED] * crowd], sorting)
    toast.spoil(Random(7).sample(sorted(toast.orders), int(share * len(toast.orders))))
    found = guids(await read(toast))
    assert sorted(found) == sorted(toast.orders.keys() - toast.unreadable)
    assert toast.shown == bodies(toast, toast.unreadable)
    assert len(toast.asked) < 400


async def test_a_full_page_of_orders_that_cannot_be_read_is_cut_like_any_other() -> None:
    toast = SimulatedToast.of(uniform_times(100))
    toast.spoil(toast.orders)
    proved = await read(toast)
    assert len(proved) > 1
    assert sum(each.unreadable for each in proved) == 100
    assert toast.shown == bodies(toast, toast.unreadable)


async def test_a_window_in_which_nothing_can_be_read_is_doubted_like_an_empty_one() -> None:
    toast = SimulatedToast.of(uniform_times(30))
    toast.spoil(toast.orders)
    (proved,) = await read(toast)
    assert (proved.evidence, proved.requests, proved.unreadable) == (Evidence.ASKED_AGAIN, 4, 30)


async def test_one_reply_of_which_nothing_can_be_read_loses_nothing() -> None:
    toast = SimulatedToast.of(uniform_times(30))

    def twist(number: int, _window: Window, _page: int, page: OrdersPage) -> OrdersPage:
        odd = UnreadableOrder(b'{"message":"try later"}', "odd", None)
        return OrdersPage([], has_next=False, unreadable=[odd]) if number == 1 else page

    assert sorted(guids(await read(Misbehaving(toast, twist)))) == sorted(toast.orders)


@pytest.mark.parametrize("sorting", [ascending, descending, by_guid], ids=lambda sorting: sorting.__name__)
async def test_equal_bytes_on_several_pages_of_a_crowd_end_no_proof(sorting: Sorting) -> None:
    toast = SimulatedToast.of([CROWDED] * 250, sorting)
    for number in (3, 77, 140, 141, 249):
        toast.put(f"order-{number}", CROWDED, b"null")
        toast.unreadable.add(f"order-{number}")
    (proved,) = await read(toast, Window(CROWDED, CROWDED + 1))
    assert sorted(order.guid for order in proved.orders) == sorted(toast.orders.keys() - toast.unreadable)
    assert proved.unreadable == 5


@given(
    times=st.lists(st.integers(0, 40), max_size=60),
    odd=st.sets(st.integers(0, 59)),
    edits=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 59)), max_size=6),
    page_size=st.sampled_from([7, 20, 100]),
    sorting=st.sampled_from(SORTINGS),
)
@settings(max_examples=150, deadline=None)
def test_no_mix_of_edits_and_of_orders_that_cannot_be_read_loses_one_that_stays(
    times: list[int], odd: set[int], edits: list[tuple[int, int]], page_size: int, sorting: Sorting
) -> None:
    """Few moments and small pages: crowds, walks of several pages, cuts and doubts come together."""
    week = Window(WEEK.start, WEEK.start + 41)
    toast = SimulatedToast.of([week.start + time for time in times], sorting, page_size)
    toast.spoil(f"order-{number}" for number in odd)
    edited = {f"order-{number}" for _, number in edits}

    def edit(request: int) -> None:
        for number, order in edits:
            if number == request and order < len(times):
                toast.put(f"order-{order}", week.end + request)

    staying = {f"order-{number}" for number in range(len(times))} - edited
    expected = bodies(toast, staying & toast.unreadable)
    toast.before = edit
    found = guids(asyncio.run(read(toast, week)))
    assert staying - toast.unreadable <= set(found)
    assert len(found) == len(set(found))
    assert expected <= toast.shown


# Orders from outside the window


async def test_orders_from_outside_their_window_are_handed_on_apart_from_the_others() -> None:
    toast = SimulatedToast.of(uniform_times(150))
    stray = raw_order("stray", WEEK.end + 5)

    def twist(_number: int, window: Window, page: int, true: OrdersPage) -> OrdersPage:
        in_it = window.holds(CROWDED) and page == 1
        return OrdersPage([*true.orders, stray] if in_it else true.orders, true.has_next)

    proved = await read(Misbehaving(toast, twist))
    assert sorted(guids(proved)) == sorted(toast.orders)
    assert [(each.outside, each.evidence) for each in proved if each.outside] == [([stray], Evidence.OUTSIDE_WINDOW)]


# Pages without orders that name a next one


async def test_a_window_without_orders_whose_pages_keep_naming_a_next_one_fails_by_name() -> None:
    endless = Misbehaving(SimulatedToast.of([]), lambda _n, _w, _p, _page: OrdersPage([], has_next=True))
    with pytest.raises(ToastIncompleteError, match=r"no orders, and yet each of its pages names a next one"):
        await read(endless)
