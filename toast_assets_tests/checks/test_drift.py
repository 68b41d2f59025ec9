"""What orders of a week contain that no earlier week had, and what of the earlier ones they no longer contain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import msgspec
import pytest

from toast_assets.checks.drift import DriftFinding, FieldCollector, FieldHistory, Fields, decoded
from toast_assets.orders.model import Order, known_fields
from toast_assets_tests.support.data.guide import guide_order
from toast_assets_tests.support.data.invented import (
    Json,
    encode,
    modifier,
    order,
    selection,
)


def plain(**more: object) -> Json:
    """An order of recorded fields alone: the builder's employees have names, which real orders have not."""
    made = order(**more)  # type: ignore[arg-type]
    del made["server"]
    for bill in made["checks"]:
        for paid in bill["payments"]:
            del paid["server"]
    return made


class Drift:
    """Findings by kind, each with the first order."""

    def __init__(self, findings: Sequence[DriftFinding]) -> None:
        self.findings = findings
        self.new_fields = {one.path: one.first_order for one in findings if one.kind == "new field"}
        self.new_values = {(one.path, one.value): one.first_order for one in findings if one.kind == "new value"}
        self.vanished_fields = {one.path: one.first_order for one in findings if one.kind == "vanished field"}
        self.other_types = {
            (one.path, one.value): (one.first_order, one.times) for one in findings if one.kind == "other type"
        }

    def __bool__(self) -> bool:
        return bool(self.findings)


def drift(*orders: Json, after: Sequence[Sequence[Json]] | None = None) -> Drift:
    """What orders have that earlier weeks, each of ``after``, had not; by default one week of ordinary orders."""
    return drift_of(encode(*orders), after=after)


def drift_of(orders: Iterable[bytes], after: Sequence[Sequence[Json]] | None = None) -> Drift:
    history = FieldHistory()
    for earlier in [[plain(), plain(checks=12)]] if after is None else after:
        history.add(fields_of(encode(*earlier)))
    return Drift(history.drift(fields_of(orders)))


def fields_of(orders: Iterable[bytes]) -> Fields:
    collector = FieldCollector()
    for one in orders:
        collector.add(decoded(one))
    return collector.fields()


def test_orders_like_those_of_earlier_weeks_are_no_drift() -> None:
    assert not drift(plain(), plain(checks=2))


def test_a_new_field_is_named_with_the_first_order_that_has_it() -> None:
    first, second = plain(loyaltyTier="gold"), plain(loyaltyTier="silver")
    assert drift(plain(), first, second).new_fields == {"loyaltyTier": first["guid"]}


def test_a_new_field_is_found_at_any_depth_and_depth_itself_is_no_drift() -> None:
    deep = modifier(modifiers=[modifier(modifiers=[modifier(spicy=True)])])
    made = plain()
    made["checks"][0]["selections"] = [selection(modifiers=[deep])]
    assert drift(made).new_fields == {"checks.selections.modifiers.spicy": made["guid"]}


def test_a_new_enum_value_is_named_with_the_first_order_that_has_it() -> None:
    made = plain(source="Telepathy", pricingFeatures=["TAXESV2", "TAXESV9"])
    made["checks"][0]["payments"][0]["type"] = "SEASHELLS"
    assert drift(plain(), made, plain(source="Telepathy")).new_values == {
        ("source", "Telepathy"): made["guid"],
        ("pricingFeatures", "TAXESV9"): made["guid"],
        ("checks.payments.type", "SEASHELLS"): made["guid"],
    }


ODD_ORDER = {"source": "Telepathy", "loyaltyTier": 1, "displayNumber": 12}


def test_what_an_earlier_week_had_is_not_named_again_even_if_other_weeks_came_between() -> None:
    assert len(drift(plain(**ODD_ORDER)).findings) == 3
    assert not drift(plain(**ODD_ORDER), after=[[plain(**ODD_ORDER)]])
    assert not drift(plain(**ODD_ORDER), after=[[plain()], [plain(**ODD_ORDER)], [plain()], []])


def test_of_the_first_week_only_types_are_named_that_tables_cannot_hold() -> None:
    made = plain(**ODD_ORDER)
    assert [(one.kind, one.path) for one in drift(made, after=[]).findings] == [("other type", "displayNumber")]


def test_what_toast_documents_is_no_news_in_whichever_week_it_comes_first() -> None:
    made = plain(curbsidePickupInfo={"transportColor": "red"}, source="Order-and-Pay-at-Table")
    made["checks"][0]["payments"][0]["type"] = "HOUSE_ACCOUNT"
    assert not drift(made)


def test_another_type_of_a_field_that_no_table_has_is_named_once() -> None:
    first, second = plain(loyaltyTier="gold"), plain(loyaltyTier=2)
    found = drift(plain(loyaltyTier=None), second, second, after=[[first]])
    assert found.other_types == {("loyaltyTier", "a number"): (second["guid"], 2)}
    assert not drift(second, plain(loyaltyTier=2.5), after=[[first], [second]])
    assert not drift(first, after=[[plain(loyaltyTier=None)]])


def without(path: str, made: Json) -> Json:
    """An order without one field of its first check."""
    part = made["checks"][0]
    *above, name = path.split(".")
    for one in above:
        part = part[one][0]
    del part[name]
    return made


def lacking(orders: int, path: str = "selections.preDiscountPrice") -> list[Json]:
    return [without(path, plain()) for _ in range(orders)]


def whole(orders: int, **more: object) -> list[Json]:
    return [plain(**more) for _ in range(orders)]


def test_a_field_that_was_always_there_is_missed_when_no_order_has_it() -> None:
    made = lacking(10)
    found = drift(*made, after=[whole(20)])
    assert found.vanished_fields == {"checks.selections.preDiscountPrice": made[0]["guid"]}
    assert not drift(*made, plain(), after=[whole(20)]).vanished_fields


def test_a_vanished_field_is_named_by_the_first_week_that_lacks_it_alone() -> None:
    assert not drift(*lacking(10), after=[whole(20), lacking(10)])
    assert not drift(*lacking(10), after=[whole(20), lacking(10), whole(20)])


def test_a_field_that_came_later_and_vanishes_is_missed_too() -> None:
    weeks = [whole(10), whole(10, kitchenPacing=1), whole(10, kitchenPacing=1)]
    assert drift(*whole(10), after=weeks).vanished_fields.keys() == {"kitchenPacing"}


def test_few_orders_say_nothing_of_what_has_vanished_until_there_are_enough() -> None:
    assert not drift(*lacking(9), after=[whole(20)])
    assert not drift(*lacking(20), after=[whole(9)])
    assert drift(*lacking(5), after=[whole(20), lacking(5)]).vanished_fields
    assert not drift(*lacking(5), after=[whole(20), lacking(5), lacking(5)])


def test_a_field_that_some_orders_always_lacked_does_not_vanish() -> None:
    assert not drift(*lacking(50), after=[[*whole(18), *lacking(2)], whole(20)])


def test_nothing_is_missed_where_nothing_could_have_it() -> None:
    bare = [plain() for _ in range(20)]
    for one in bare:
        one["checks"] = [one["checks"][0] | {"payments": [], "selections": []}]
    assert not drift(*bare, after=[whole(20)])
    assert not drift(after=[whole(20)])


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("displayNumber", 12, "a number"),
        ("source", {"name": "Online"}, "an object"),
        ("numberOfGuests", "2", "text"),
        ("numberOfGuests", 2.5, "a number"),
        ("voided", "false", "text"),
        ("checks", {}, "an object"),
        ("table", [], "an array"),
        ("openedDate", True, "true or false"),
    ],
)
def test_another_type_than_the_recorded_is_named_and_counted(field: str, value: object, found: str) -> None:
    first, second = plain() | {field: value}, plain() | {field: value}
    assert drift(plain(), first, second).other_types == {(field, found): (first["guid"], 2)}


def test_types_that_orders_may_have_are_no_drift() -> None:
    made = plain(numberOfGuests=None, deliveryInfo={"latitude": 1, "longitude": -71.5})
    made["checks"][0]["amount"] = "10.50"
    made["checks"][0]["selections"][0]["quantity"] = 1
    assert not drift(made).other_types


ODD = ["", "-", "a\0b", "🍕", "State tax", "a.b", "k" * 100_000, "6f1c2a7e-0d3b-4b5e-9a51-0c6f2f3e7d11"]
GUESTS = ["jane.doe@example.com", "+12025550123", "2025550123", "Jane Doe", "<img src=x onerror=alert(1)>", "a|b\n# c"]


@pytest.mark.parametrize("name", [*ODD, *GUESTS])
def test_a_name_that_may_be_a_guests_is_described_and_the_order_leads_there(name: str) -> None:
    made = plain(loyaltyMap={name: {"points": 1}})
    (whole, odd, inside) = drift(plain(), made).new_fields.items()
    described = odd[0].removeprefix("loyaltyMap.")
    assert whole == ("loyaltyMap", made["guid"])
    assert described.startswith(f"(a name of {len(name)} character")
    assert inside == (f"loyaltyMap.{described}.points", made["guid"])
    assert not name or len(name) < 3 or name not in described


@pytest.mark.parametrize("name", ["__dict__", "__weakref__", "class", "def", "x1", "new_field", "k" * 60])
def test_a_name_that_has_the_form_of_a_field_is_shown_whatever_it_means_to_python(name: str) -> None:
    assert set(drift(plain(**{name: 1})).new_fields) == {name}


@pytest.mark.parametrize("value", [*ODD, *GUESTS])
def test_an_enum_value_that_may_be_a_guests_is_described(value: str) -> None:
    ((path, shown),) = drift(plain(source=value)).new_values
    assert (path, (shown or "").startswith(f"(a text of {len(value)} character")) == ("source", True)


def test_a_parent_with_very_many_unknown_fields_is_a_map_whatever_the_orders_sequence() -> None:
    made = [plain(map={f"k{number}": {"a": 1} for number in range(start, start + 7)}) for start in range(0, 70, 7)]
    for orders in (made, made[::-1]):
        assert drift(*orders).new_fields == {"map": orders[0]["guid"], "map.*": orders[0]["guid"]}


def test_known_fields_stay_known_where_the_unknown_ones_beside_them_are_a_map() -> None:
    new = {f"new{number}": 1 for number in range(51)}
    found = drift(*whole(20, **new), after=[whole(20)])
    assert found.new_fields.keys() == {"*"}
    assert not found.vanished_fields
    assert not drift(*whole(20, new1=1, other=1), after=[whole(20, **new)])
    assert not drift(*whole(20, **new), after=[whole(20, new1=1), whole(20, **new)])


def test_a_map_with_a_few_keys_in_each_week_is_known_as_one_after_some_weeks() -> None:
    weeks = [[plain(map={f"k{week}{number}": 1 for number in range(10)})] for week in range(6)]
    found = [len(drift(*week, after=weeks[:number]).new_fields) for number, week in enumerate(weeks)]
    assert found == [0, 10, 10, 10, 10, 0]


def test_new_values_of_a_free_text_stop_to_be_news_after_very_many() -> None:
    weeks = [[plain(source=f"Source{number}") for number in range(start, start + 25)] for start in (0, 25, 50)]
    assert [len(drift(*week, after=weeks[:number]).new_values) for number, week in enumerate(weeks)] == [0, 25, 0]


def test_what_is_held_has_a_bound_however_many_names_and_values_there_are() -> None:
    tree: Json = {
        f"a{number}": {f"b{below}": {f"c{deep}": 1 for deep in range(5)} for below in range(20)} for number in range(45)
    }
    orders = [plain(map={f"{number}@x.org": {f"k{number}": 1}}, source=f"S{number}") for number in range(200)]
    found = drift(plain(tree=tree), *orders)
    assert len(found.new_fields) <= 510
    assert len(found.new_values) == 51
    assert ("source", "(other values)") in found.new_values


@pytest.mark.parametrize("levels", [20, 400, 100_000])
@pytest.mark.parametrize("form", ["arrays", "objects"])
def test_nesting_of_any_depth_is_looked_at_as_far_as_anybody_reads(levels: int, form: str) -> None:
    opening, closing = (b'{"a":', b"}") if form == "objects" else (b"[", b"]")
    deep = b'{"guid":"deep","x":%s1%s}' % (opening * levels, closing * levels)
    found = drift_of([deep]).new_fields
    assert found["x"] == "deep"
    assert max(path.count(".") for path in found) == (9 if form == "objects" else 0)


@pytest.mark.parametrize("number", [b"1e400", b"1e-9999999", b"9" * 5000, b'"cut \\ud83d"'])
def test_what_a_decoder_refuses_is_looked_at_all_the_same(number: bytes) -> None:
    made = encode(plain(loyaltyTier=1))[0].replace(b'"loyaltyTier":1', b'"loyaltyTier":' + number)
    assert set(drift_of([made]).new_fields) == {"loyaltyTier"}


def test_what_may_cost_an_amount_comes_first_and_new_fields_last() -> None:
    made = [*lacking(10), without("selections.preDiscountPrice", plain(**ODD_ORDER))]
    kinds = [one.kind for one in drift(*made, after=[whole(20)]).findings]
    assert kinds == ["vanished field", "other type", "new value", "new field"]


def test_a_market_place_may_be_an_object_or_a_text() -> None:
    made = [plain(thirdPartyProviderInfo=one) for one in ({"name": "x"}, "x", ["x"])]
    assert drift(*made).other_types == {("thirdPartyProviderInfo", "an array"): (made[2]["guid"], 1)}


def test_null_is_not_the_same_as_vanished() -> None:
    assert not drift(*whole(20, businessDate=None), after=[whole(20)])


def test_the_guides_example_shows_as_drift() -> None:
    found = drift(guide_order())
    assert {"dining", "orderNumber", "netAmount", "deliveryInfo.address"} <= set(found.new_fields)
    assert ("source", "ONLINE") in found.new_values


def test_what_is_no_order_is_passed_over() -> None:
    assert not drift_of([b"<html>", b"[]", b"", b"[" * 100_000, *encode(plain())])


def test_the_record_agrees_with_itself() -> None:
    assert set(known_fields().values) <= known_fields().fields


def test_every_field_that_is_read_is_recorded_except_the_guides_own() -> None:
    guides = ("orderNumber", "dining.", "dining", "appliedDiscounts", "deliveryInfo.address.", "deliveryInfo.address")
    # Toast's description does not have it; where it comes, drift shows what is in it.
    others = (*guides, "thirdPartyProviderInfo")
    unrecorded = {path for path in paths_of(Order) if path not in known_fields().fields and not path.startswith(others)}
    # Names and codes inside references are the guide's too; deleted items are not in Toast's description.
    names = {path for path in unrecorded if path.rpartition(".")[2] in {"name", "plu", "deleted"}}
    assert unrecorded - names == {"deliveryInfo.deliveryInstructions", "checks.selections.modifiers.modifiers"}


def paths_of(struct: type[msgspec.Struct], before: str = "", above: tuple[type, ...] = ()) -> set[str]:
    found: set[str] = set()
    for one in msgspec.structs.fields(struct):
        path = f"{before}{one.encode_name}"
        found.add(path)
        for below in structs_in(one.type):
            if below not in above:
                found |= paths_of(below, f"{path}.", (*above, struct))
    return found


def structs_in(annotation: Any) -> list[type[msgspec.Struct]]:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return [annotation]
    return [struct for argument in get_args(annotation) for struct in structs_in(argument)]
