"""How ``ordersBulk`` pages, and which windows it answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from toast_assets.probe.answers import Answer, answer, unseen
from toast_assets.probe.asking import Reply
from toast_assets.probe.reading import Scene, decoded, time_of
from toast_assets.toast.page import PAGE_SIZE, Window
from toast_assets.week import epoch_ms

_HOUR_MS = 3_600_000
_LONG_MS = 40 * 24 * _HOUR_MS
# Toast documents that startDate must be after 2015-12-01.
_TOO_EARLY = epoch_ms(datetime(2015, 11, 10, tzinfo=UTC))
# A few can follow each other in a sequence by chance.
_FEWEST_SORTED, _FEWEST_ALIKE = 20, 5
_SORTED_BY = ("guid", "modifiedDate", "createdDate", "openedDate")


async def stable_pages(scene: Scene) -> Answer:
    """Chooses the window of the next questions: of those with less than a page, the one with the most orders."""
    sizes = {one.window: len(one.orders) + len(one.outside) + one.unreadable for one in scene.proved}
    fitting = [window for window in sizes if sizes[window] < PAGE_SIZE]
    if not fitting:
        return unseen("no window has less than a page")
    scene.small = max(fitting, key=lambda window: sizes[window])
    first = (await _small(scene)).page
    scene.page = (await _small(scene)).page
    before, after = ([order.guid for order in page.orders] for page in (first, scene.page))
    says = len(after) >= _FEWEST_ALIKE and sorted(before) == sorted(after)
    sequences = "the same sequence" if before == after else "two sequences"
    return answer(before == after if says else None, f"{len(before)} and {len(after)} orders came in {sequences}")


def unsorted(scene: Scene) -> Answer:
    orders, found = decoded(scene.page.orders), []
    for name in _SORTED_BY:
        values: list[Any] = [order["guid"] if name == "guid" else time_of(order, name) for order in orders]
        if None not in values and len(set(values)) >= _FEWEST_SORTED and sorted(values) in (values, values[::-1]):
            found.append(name)
    reason = f"{len(orders)} orders of a page are sorted by {' and '.join(found) or 'none of their times, nor GUID'}"
    return answer(False if found else True if len(orders) >= _FEWEST_SORTED else None, reason)


async def last_page_ends(scene: Scene) -> Answer:
    # Of three orders or more, the second page of this size is the last, and short.
    size = scene.page.rows // 2 + 1
    return await _ends(scene, 2, size, scene.page.rows - size)


async def full_page_ends(scene: Scene) -> Answer:
    return await _ends(scene, 1, scene.page.rows, scene.page.rows)


async def past_the_end(scene: Scene) -> Answer:
    if not scene.page.rows:
        return unseen("no window with orders")
    reply = await _small(scene, page=9)
    reason = f"page 9 of {scene.page.rows} orders: Toast answered {reply.status} with {reply.page.rows} orders"
    return answer(reply.status == 200 and not reply.page.rows, reason)


async def page_limit(scene: Scene) -> Answer:
    reply = await scene.asker.orders(scene.guid, scene.observed.window, pageSize=PAGE_SIZE + 1)
    rows = reply.page.rows
    says = reply.is_refusal or rows >= PAGE_SIZE
    return answer(
        rows <= PAGE_SIZE if says else None, f"pageSize=101: Toast answered {reply.status} with {rows} orders"
    )


async def page_default(scene: Scene) -> Answer:
    page = (await scene.asker.orders(scene.guid, scene.observed.window, pageSize=None)).page
    is_short = page.has_next and page.rows < min(PAGE_SIZE, len(scene.observed.orders))
    says = is_short or page.rows >= PAGE_SIZE
    return answer(page.rows == PAGE_SIZE if says else None, f"a page has {page.rows} orders")


async def longest_window(scene: Scene) -> Answer:
    end = scene.observed.window.end
    return await _refused(scene, Window(end - _LONG_MS, end), "40 days", expected=True)


async def earliest_date(scene: Scene) -> Answer:
    return await _refused(scene, Window(_TOO_EARLY, _TOO_EARLY + _HOUR_MS), "November 2015", expected=True)


async def open_window(scene: Scene) -> Answer:
    now = scene.asker.now_ms()
    return await _refused(scene, Window(now - _HOUR_MS, now + _HOUR_MS), "an hour from now", expected=False)


async def _refused(scene: Scene, window: Window, what: str, *, expected: bool) -> Answer:
    reply = await scene.asker.orders(scene.guid, window, pageSize=1)
    says = reply.is_refusal or reply.status == 200
    return answer(reply.is_refusal is expected if says else None, f"{what}: Toast answered {reply.status}")


async def _small(scene: Scene, **parameters: int) -> Reply:
    return await scene.asker.orders(scene.guid, scene.small, **parameters)


async def _ends(scene: Scene, number: int, size: int, rows: int) -> Answer:
    """Whether page ``number``, which should have all ``rows`` that are left, names no next one."""
    if rows < 1:
        return unseen(f"no window with {number} pages")
    page = (await _small(scene, page=number, pageSize=size)).page
    following = (await _small(scene, page=number + 1, pageSize=size)).page.rows if page.has_next else 0
    reason = f"page {number} with {page.rows} of {size} orders names {'an empty' if page.has_next else 'no'} next one"
    return answer(not page.has_next, reason) if page.rows == rows and not following else unseen("the pages changed")
