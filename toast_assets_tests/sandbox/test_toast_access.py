"""What credentials may see at the stand-in for Toast, and which restaurants there are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from toast_assets.sandbox import Restaurant
from toast_assets_tests.sandbox.conftest import ARCHIVED, BULK, DELETED, ONE, SMALL, Caller, Start

OTHER = "5e5e5e5e-0000-4000-a000-000000000000"


def whole_week(caller: Caller) -> list[dict[str, Any]]:
    return [order for page in range(1, 5) for order in caller.week(page=page).json()]


# Scopes


def test_without_the_guest_scope_customers_are_absent(start: Start) -> None:
    caller = start(scopes="orders:read delivery_info.address:read")
    orders = whole_week(caller)
    assert not any("customer" in check for order in orders for check in order["checks"])
    assert any((order["deliveryInfo"] or {}).get("address1") for order in orders)


def test_without_the_address_scope_deliveries_have_no_address(start: Start) -> None:
    caller = start(scopes="orders:read guest.pi:read")
    deliveries = [order["deliveryInfo"] for order in whole_week(caller) if order["deliveryInfo"]]
    assert deliveries
    assert not any("address1" in delivery or "zipCode" in delivery for delivery in deliveries)


def test_without_a_scope_for_orders_or_restaurants_there_is_a_403(start: Start) -> None:
    caller = start(scopes="config:read")
    assert caller.week().status_code == 403
    assert caller.toast(f"/restaurants/v1/restaurants/{ONE}").status_code == 403


def test_with_the_channel_scope_alone_a_client_sees_no_orders_of_others(start: Start) -> None:
    assert start(scopes="orders.channel:read").week().json() == []


@pytest.mark.parametrize("state", ["phantom", ""])
def test_a_phantom_trades_by_all_appearance_and_has_no_orders_for_ever(start: Start, state: Any) -> None:
    caller = start(restaurants=(Restaurant(OTHER, "Pier 10", state=state), Restaurant(ONE, "Pier 9")))
    here = {"Toast-Restaurant-External-ID": OTHER}
    days: tuple[dict[str, Any], ...] = ({"businessDate": "20250917"}, {"paidBusinessDate": "20250917"})
    replies = [
        caller.week(OTHER),
        caller.toast(BULK, here, **days[0]),
        caller.toast("/orders/v2/orders", here, **days[0]),
        caller.toast("/orders/v2/payments", here, **days[1]),
    ]
    assert [reply.status_code for reply in replies] == [200] * 4
    assert [reply.json() == [] for reply in replies] == [state == "phantom"] * 4
    assert caller.sandbox.restaurant_guids == (OTHER, ONE)
    assert caller.toast(f"/restaurants/v1/restaurants/{OTHER}", here).json()["general"]["archived"] is False
    assert caller.toast("/config/v2/tables", here).json()
    assert OTHER in {each["restaurantGuid"] for each in caller.toast("/partners/v1/restaurants").json()}


# Locations


def test_partners_list_all_restaurants_and_the_deleted_one_is_marked(caller: Caller) -> None:
    entries = caller.toast("/partners/v1/restaurants", {"Toast-Restaurant-External-ID": ""}).json()
    assert {entry["restaurantGuid"]: entry["deleted"] for entry in entries}[DELETED] is True
    assert len(entries) == 5


def test_others_than_partners_may_not_list_restaurants(start: Start) -> None:
    assert start(partner=False).toast("/partners/v1/restaurants").status_code == 403


def test_a_group_lists_guids_and_nothing_else(caller: Caller) -> None:
    group = caller.toast("/partners/v1/restaurants").json()[0]["managementGroupGuid"]
    members = caller.toast(f"/restaurants/v1/groups/{group}/restaurants").json()
    assert {"guid": ONE} in members
    assert {"guid": DELETED} not in members
    assert caller.toast(f"/restaurants/v1/groups/{OTHER}/restaurants").status_code == 404
    no_member = {"Toast-Restaurant-External-ID": ""}
    assert caller.toast(f"/restaurants/v1/groups/{group}/restaurants", no_member).status_code == 400


def test_a_restaurant_tells_its_time_zone_close_out_hour_and_whether_it_is_archived(caller: Caller) -> None:
    general = caller.toast(f"/restaurants/v1/restaurants/{SMALL}").json()["general"]
    assert (general["timeZone"], general["closeoutHour"], general["archived"]) == ("America/Los_Angeles", 3, False)
    assert caller.toast(f"/restaurants/v1/restaurants/{ARCHIVED}").json()["general"]["archived"] is True
    assert caller.toast(f"/restaurants/v1/restaurants/{OTHER}").status_code == 404


def test_a_restaurant_tells_its_code_its_currency_and_its_first_business_date(start: Start) -> None:
    names = {ONE: "Harbor & Thistle, Pier 9", SMALL: "Café Ciénaga", OTHER: "Harbor & Thistle, Quai 2"}
    restaurants = [Restaurant(guid, name, currency="CAD" if guid == OTHER else "USD") for guid, name in names.items()]
    caller = start(restaurants=tuple(restaurants))
    general = [caller.toast(f"/restaurants/v1/restaurants/{guid}").json()["general"] for guid in names]
    assert [each["locationCode"] for each in general] == ["PIER9", "CAFÉCI", "QUAI2"]
    assert [each["currencyCode"] for each in general] == ["USD", "USD", "CAD"]
    days = [datetime.strptime(str(each["firstBusinessDate"]), "%Y%m%d").replace(tzinfo=UTC) for each in general]
    assert all(2015 <= day.year < 2025 for day in days)
    assert len(set(days)) == 3
