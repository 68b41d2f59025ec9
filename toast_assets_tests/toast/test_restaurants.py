"""Lists and details of restaurants, read from what Toast documents."""

from __future__ import annotations

import msgspec
import pytest

from toast_assets.errors import ToastReplyError
from toast_assets.toast.restaurants import read_group_list, read_partner_list, read_restaurant


def test_details_without_names_or_zone_are_details_all_the_same() -> None:
    for body in (b"{}", b'{"guid":"one","general":null}', b'{"general":{"name":null}}'):
        restaurant = read_restaurant(body, "one")
        assert (restaurant.guid, restaurant.name, restaurant.time_zone, restaurant.archived) == (
            "one",
            None,
            None,
            False,
        )


def test_details_that_are_no_object_are_an_error_to_be_retried() -> None:
    for body in (b"", b"<html>", b"[]", b'{"general":[]}'):
        with pytest.raises(ToastReplyError, match="one"):
            read_restaurant(body, "one")


def test_a_detail_of_an_unexpected_type_is_left_out_and_the_others_stay() -> None:
    body = b'{"general":{"name":"Pier","locationName":7,"archived":"perhaps","timeZone":"UTC","firstBusinessDate":"x"}}'
    found = read_restaurant(body, "one")
    assert (found.full_name, found.time_zone, found.archived, found.first_business_date) == ("Pier", "UTC", False, None)


def test_the_partner_list_marks_deleted_restaurants_and_knows_each_once() -> None:
    body = msgspec.json.encode(
        [
            {"restaurantGuid": "b", "deleted": False, "restaurantName": "B"},
            {"restaurantGuid": "a", "deleted": True},
            {"restaurantGuid": "b"},
        ]
    )
    assert read_partner_list(body) == {"a": True, "b": False}


def test_the_list_of_a_group_has_guids_only() -> None:
    assert read_group_list(b'[{"guid":"b"},{"guid":"a"}]') == ["a", "b"]


def test_an_entry_without_a_guid_is_left_out_with_a_warning_and_the_others_stay(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert read_group_list(b'[{"guid":"a"},{"guid":"../secrets"},{"guid":7},null,{}]') == ["a"]
    assert "these are no GUIDs, and are left out: '../secrets', 7, None, None" in caplog.text
    body = b'[{"restaurantGuid":"a","deleted":"maybe"},{"restaurantGuid":"b c"},{"restaurantGuid":"d","deleted":true}]'
    assert read_partner_list(body) == {"a": False, "d": True}
    assert "'b c'" in caplog.text


def test_an_empty_list_is_a_list() -> None:
    assert (read_group_list(b"[]"), read_partner_list(b"[]")) == ([], {})


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'[{"guid":7}]', b'[{"guid":"../secrets"}]', b'[{"guid":""}]'])
def test_a_list_that_is_none_is_an_error_to_be_retried(body: bytes) -> None:
    with pytest.raises(ToastReplyError, match="list of restaurants"):
        read_group_list(body)
