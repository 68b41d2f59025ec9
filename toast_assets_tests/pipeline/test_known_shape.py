"""The quick watch finds what the full walk over all orders finds."""

from __future__ import annotations

import copy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toast_assets.pipeline import known_shape
from toast_assets.pipeline.known_shape import DriftWatch
from toast_assets.tables.drift import Drift, FieldObserver, known_fields
from toast_assets_tests.guide import guide_order
from toast_assets_tests.invented import Json, check, encode, invented_week, modifier, order, payment, selection


@pytest.fixture(autouse=True)
def short_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_shape, "_LOOKED_AT_FIRST", 3)


def watched(orders: list[bytes]) -> Drift:
    watch = DriftWatch()
    watch.add(orders)
    return watch.seen().drift(known_fields())


def walked(orders: list[bytes]) -> Drift:
    return FieldObserver().add(orders).drift()


def changed(place: str) -> Json:
    made = order(check(selection(modifiers=[modifier(modifiers=[modifier(modifiers=[modifier()])])])))
    bill = made["checks"][0]
    deepest = bill["selections"][0]["modifiers"][0]["modifiers"][0]["modifiers"][0]
    match place:
        case "field":
            made["newField"] = {"inside": 1}
        case "deep field":
            deepest["newModifierField"] = None
        case "value":
            bill["payments"][0]["type"] = "SEASHELLS"
        case "object for a value":
            made["source"] = {"name": "Online"}
        case "value for an object":
            made["diningOption"] = "here"
        case "missing":
            del bill["payments"][0]["amount"]
        case "null":
            made["checks"] = None
    return made


PLACES = ["field", "deep field", "value", "object for a value", "value for an object", "missing", "null", "nothing"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PLACES), min_size=1, max_size=25))
def test_whatever_differs_wherever_is_found_as_by_the_walk(places: list[str]) -> None:
    orders = encode(*(changed("nothing") for _ in range(4)), *map(changed, places), changed("nothing"))
    assert watched(orders) == walked(orders)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PLACES), max_size=12), st.lists(st.sampled_from(PLACES), max_size=12))
@example(["missing"], ["missing"])
def test_two_watches_find_together_what_the_walk_finds_in_all_orders(earlier: list[str], later: list[str]) -> None:
    orders = [encode(*map(changed, places)) for places in (earlier, later)]
    watches = DriftWatch(), DriftWatch()
    for watch, its_orders in zip(watches, orders, strict=True):
        watch.add(its_orders)
    assert watches[0].seen().and_then(watches[1].seen()).drift(known_fields()) == walked([*orders[0], *orders[1]])


def test_the_guides_payload_and_what_is_no_order_are_found_as_by_the_walk() -> None:
    orders = [*invented_week(20), b"<html>", b"[]", *encode(guide_order()), *invented_week(20, seed=2)]
    assert watched(orders) == walked(orders)


def test_a_field_that_every_order_has_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    add = FieldObserver.add

    def counted(observer: FieldObserver, orders: list[bytes]) -> FieldObserver:
        looked.append(len(orders))
        return add(observer, orders)

    plain = [copy.deepcopy(order(loyaltyTier="gold")) for _ in range(50)]
    monkeypatch.setattr(FieldObserver, "add", counted)
    assert "loyaltyTier" in watched(encode(*plain)).new_fields
    assert len(looked) < 10


def test_a_field_that_vanishes_half_way_is_not_reported_while_it_comes_back() -> None:
    without = order(check(payments=[payment()]))
    del without["checks"][0]["payments"][0]["amount"]
    orders = encode(*(order() for _ in range(5)), without, order())
    assert not watched(orders).vanished_fields
