"""What orders refer to: every reference of a kind that has names, at any depth, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from toast_assets.orders.names import Name, Names, references


def ref(guid: object) -> dict[str, Any]:
    return {"guid": guid, "entityType": "X"}


ORDER: dict[str, Any] = {
    "guid": "order",
    **{"diningOption": ref("dining"), "revenueCenter": ref("center"), "restaurantService": ref("meal")},
    **{"serviceArea": ref("area"), "table": ref("table-7"), "server": ref("employee")},
    "checks": [
        {
            "guid": "check",
            "appliedDiscounts": [{"guid": "applied", "discount": ref("discount")}],
            "appliedServiceCharges": [{"serviceCharge": ref("fee"), "appliedTaxes": [{"taxRate": ref("fee-tax")}]}],
            "payments": [{"otherPayment": ref("house"), "voidInfo": {"voidReason": ref("payment-void")}}],
            "selections": [
                {
                    **{"item": ref("item"), "itemGroup": ref("group"), "salesCategory": ref("category")},
                    **{"diningOption": ref("item-dining"), "voidReason": ref("item-void"), "optionGroup": ref("o")},
                    "appliedTaxes": [{"taxRate": ref("tax")}],
                    "modifiers": [{"item": ref("modifier"), "modifiers": [{"item": ref("deep")}]}],
                }
            ],
        }
    ],
}


def test_every_reference_of_a_kind_with_names_is_found_at_any_depth() -> None:
    assert sorted(references(ORDER)) == sorted(
        [
            *(("dining_option", "dining"), ("dining_option", "item-dining"), ("revenue_center", "center")),
            *(("restaurant_service", "meal"), ("service_area", "area"), ("table", "table-7")),
            *(("discount", "discount"), ("service_charge", "fee"), ("tax_rate", "fee-tax"), ("tax_rate", "tax")),
            *(("alternate_payment_type", "house"), ("void_reason", "payment-void"), ("void_reason", "item-void")),
            *(("menu_item", "item"), ("menu_item", "modifier"), ("menu_item", "deep")),
            *(("menu_group", "group"), ("sales_category", "category")),
        ]
    )


@pytest.mark.parametrize("odd", [None, "text", 7, [], {}, ref(None), ref(""), ref(7)])
def test_what_is_no_reference_is_left_out(odd: object) -> None:
    assert list(references({"diningOption": odd, "checks": odd, "table": ref("kept")})) == [("table", "kept")]


def test_a_name_is_found_by_kind_and_guid_without_case() -> None:
    names = Names({("table", "ab-1"): Name("Table 1")})
    assert names.find("table", "AB-1").name == "Table 1"
    assert names.find("menu_item", "ab-1") == names.find("table", None) == Name()
