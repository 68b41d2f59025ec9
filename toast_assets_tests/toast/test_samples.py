"""What overfull pages tell about Toast's sort order, and about what did not fit on them."""

from __future__ import annotations

from toast_assets.toast.page import Window
from toast_assets.toast.samples import Sample, Samples, Sorting

WINDOW = Window(0, 1000)


def of(*samples: Sample) -> Samples:
    kept = Samples()
    for sample in samples:
        kept.add(sample)
    return kept


def test_a_page_that_leaves_room_at_the_end_shows_the_earliest_orders() -> None:
    page = Sample(WINDOW, range(0, 300, 3), 0.5)
    assert of(page).sorting_of(page) is Sorting.EARLIEST


def test_a_page_that_leaves_room_at_the_start_shows_the_latest_orders() -> None:
    page = Sample(WINDOW, range(700, 1000, 3), 0.5)
    assert of(page).sorting_of(page) is Sorting.LATEST


def test_a_page_that_leaves_no_room_may_show_any() -> None:
    page = Sample(WINDOW, range(0, 1000, 10), 0.5)
    assert of(page).sorting_of(page) is Sorting.ANY


def test_an_order_between_those_on_the_page_disproves_that_they_were_the_earliest() -> None:
    page = Sample(WINDOW, range(0, 300, 3), 0.5)
    samples = of(page)
    samples.learn(Window(0, 100), [*range(0, 100, 3), 50])
    assert samples.sorting_of(page) is Sorting.ANY


def test_an_order_between_those_on_the_page_disproves_that_they_were_the_latest() -> None:
    page = Sample(WINDOW, range(700, 1000, 3), 0.5)
    samples = of(page)
    samples.learn(Window(0, 800), [10, 20, *range(700, 800, 2)])
    assert samples.sorting_of(page) is Sorting.ANY


def test_orders_before_the_latest_ones_disprove_nothing() -> None:
    page = Sample(WINDOW, range(700, 1000, 3), 0.5)
    samples = of(page)
    samples.learn(Window(0, 800), [10, 20, 30, *range(700, 800, 3)])
    assert samples.sorting_of(page) is Sorting.LATEST


def test_the_share_is_learnt_from_what_is_found() -> None:
    page = Sample(WINDOW, range(0, 1000, 10), 0.9)
    page.learn(Window(0, 500), list(range(0, 500)))
    assert 0.1 < page.share < 0.15


def test_what_was_read_is_forgotten() -> None:
    samples = of(Sample(WINDOW, range(0, 1000, 10), 0.5))
    samples.learn(Window(0, 999), [])
    assert len(samples.layers()) == 1
    samples.learn(Window(999, 1000), [])
    assert samples.layers() == []
