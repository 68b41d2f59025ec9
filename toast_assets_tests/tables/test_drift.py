"""What orders contain that is not recorded, and what is recorded that they no longer contain."""

from __future__ import annotations

from typing import Any, get_args

import msgspec

from toast_assets.orders.model import Order
from toast_assets.tables.drift import Drift, FieldObserver, known_fields, observed_fields
from toast_assets_tests.guide import guide_order
from toast_assets_tests.invented import (
    Json,
    check,
    encode,
    modifier,
    order,
    payment,
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


def drift(*orders: Json) -> Drift:
    return FieldObserver().add(encode(*orders)).drift()


def test_orders_of_recorded_fields_are_no_drift() -> None:
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


def test_a_field_that_amounts_need_is_missed_when_no_order_has_it() -> None:
    made = plain()
    del made["checks"][0]["selections"][0]["preDiscountPrice"]
    assert drift(made).vanished_fields == {"checks.selections.preDiscountPrice": made["guid"]}
    assert not drift(made, plain()).vanished_fields


def test_nothing_is_missed_where_nothing_could_have_it() -> None:
    bare = plain()
    bare["checks"] = [bare["checks"][0] | {"payments": [], "selections": []}]
    assert not drift(bare)
    assert not drift()


def test_null_is_not_the_same_as_vanished() -> None:
    assert not drift(plain(businessDate=None)).vanished_fields


def test_the_guides_example_shows_as_drift() -> None:
    found = drift(guide_order())
    assert {"dining", "orderNumber", "netAmount", "deliveryInfo.address"} <= set(found.new_fields)
    assert ("source", "ONLINE") in found.new_values


def test_what_is_no_order_is_passed_over() -> None:
    observer = FieldObserver().add([b"<html>", b"[]", b"", b"[" * 100_000, *encode(plain())])
    assert not observer.drift()


def test_the_paths_of_one_order_leave_array_indices_out() -> None:
    paths = observed_fields(encode(order(check(payments=[payment(), payment()]), checks=3))[0])
    assert {"guid", "checks.guid", "checks.payments.tipAmount", "checks.selections.item.multiLocationId"} <= paths


def test_the_record_agrees_with_itself() -> None:
    assert set(known_fields().always) <= known_fields().fields
    assert set(known_fields().values) <= known_fields().fields


def test_every_field_that_is_read_is_recorded_except_the_guides_own() -> None:
    guides = ("orderNumber", "dining.", "dining", "appliedDiscounts", "deliveryInfo.address.", "deliveryInfo.address")
    unrecorded = {path for path in paths_of(Order) if path not in known_fields().fields and not path.startswith(guides)}
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
