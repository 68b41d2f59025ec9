"""The stand-in for Toast's configuration: names for every GUID of an order, in pages that a publication ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from toast_assets.sandbox import Call, Configuration, Kind
from toast_assets.sandbox.configuration import ENTITIES
from toast_assets.sandbox.order_builder import decode, toast_time
from toast_assets_tests.sandbox.conftest import ARCHIVED, DELETED, END_MS, ONE, SMALL, START_MS, Caller, Start

OTHER = "5e5e5e5e-0000-4000-a000-000000000000"
TOKEN = "toast-next-page-token"
# By the type of a reference in an order.
ENTITY_OF = {kind: entity for entity, (kind, _) in ENTITIES.items()}


def ask(caller: Caller, entity: str = "tables", restaurant: str = ONE, **query: Any) -> httpx.Response:
    return caller.toast(f"/config/v2/{entity}", {"Toast-Restaurant-External-ID": restaurant}, **query)


def walk(caller: Caller, entity: str = "tables", **query: Any) -> Iterator[httpx.Response]:
    reply = ask(caller, entity, **query)
    yield reply
    while TOKEN in reply.headers:
        reply = ask(caller, entity, pageToken=reply.headers[TOKEN], **query)
        yield reply


def configuration(caller: Caller, restaurant: str = ONE) -> Configuration:
    return caller.sandbox.toast.configurations[restaurant]


def guid_of(caller: Caller, entity: str, name: str) -> str:
    return next(guid for guid, each in configuration(caller).names(entity).items() if each == name)


@pytest.fixture
def paged(start: Start) -> Caller:
    """Pages of 7; a restaurant has 30 tables."""
    return start(configuration_page_size=7)


# What there is


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_entity_is_a_bare_array_of_named_objects(caller: Caller, entity: str) -> None:
    reply = ask(caller, entity)
    assert reply.status_code == 200
    assert all({"guid", "entityType", "name"} <= set(each) for each in reply.json())
    assert {each["guid"]: each["name"] for each in reply.json()} == configuration(caller).names(entity)
    assert TOKEN not in reply.headers


def references(part: Any) -> Iterator[tuple[str, str]]:
    """The references of an order to what its restaurant configures: the entity, and the GUID."""
    if isinstance(part, dict):
        if (entity := ENTITY_OF.get(part.get("entityType", ""))) is not None:
            yield entity, part["guid"]
        for each in part.values():
            yield from references(each)
    if isinstance(part, list):
        for each in part:
            yield from references(each)


@pytest.mark.parametrize("restaurant", [ONE, SMALL])
def test_every_guid_that_a_weeks_orders_refer_to_has_a_name(caller: Caller, restaurant: str) -> None:
    used = defaultdict[str, set[str]](set)
    for order in caller.sandbox.toast.orders[restaurant].between(START_MS, END_MS):
        for entity, guid in references(decode(order.json)):
            used[entity].add(guid)
    for entity, guids in used.items():
        assert guids <= set(configuration(caller, restaurant).names(entity)), entity
    assert restaurant == SMALL or set(used) == set(ENTITIES), "every kind is referred to in a week of some hundreds"


def test_restaurants_have_the_same_names_under_other_guids(caller: Caller) -> None:
    one, other = (configuration(caller, guid).names("diningOptions") for guid in (ONE, SMALL))
    assert list(one.values()) == list(other.values()) == ["Dine In", "Take Out", "Delivery", "Curbside"]
    assert not set(one) & set(other)


def test_dining_options_tell_how_guests_are_served(caller: Caller) -> None:
    options = {each["name"]: (each["behavior"], each["curbside"]) for each in ask(caller, "diningOptions").json()}
    assert options == {
        "Dine In": ("DINE_IN", False),
        "Take Out": ("TAKE_OUT", False),
        "Delivery": ("DELIVERY", False),
        "Curbside": ("TAKE_OUT", True),
    }


def test_discounts_have_promotion_codes_and_service_charges_a_category_and_a_destination(caller: Caller) -> None:
    codes = {each["name"]: [code["code"] for code in each["promoCodes"]] for each in ask(caller, "discounts").json()}
    assert codes == {"Happy Hour": [], "Loyal Guest": ["LOYAL15"], "Staff Meal": []}
    gratuity, fee = ask(caller, "serviceCharges").json()
    assert (gratuity["gratuity"], gratuity["percent"], gratuity["destination"]) == (True, 18, "SERVER")
    assert (fee["gratuity"], fee["amount"], fee["destination"]) == (False, 3.99, "RESTAURANT")
    assert gratuity["category"] == fee["category"] == "SERVICE_CHARGE"


def test_a_tax_rate_has_its_rate_as_orders_apply_it(caller: Caller) -> None:
    (rate,) = ask(caller, "taxRates").json()
    assert (rate["name"], rate["rate"], rate["type"]) == ("State Tax", 0.07, "PERCENT")


# Who may ask, and how


def test_a_missing_or_unknown_token_is_a_401(caller: Caller) -> None:
    assert caller.toast("/config/v2/tables", {"Authorization": "Bearer nonsense"}).status_code == 401


@pytest.mark.parametrize(
    ("restaurant", "status"), [("", 400), (f"{ONE},{SMALL}", 400), (OTHER, 404), (DELETED, 403), (ARCHIVED, 200)]
)
def test_exactly_one_known_and_allowed_restaurant_must_be_named(caller: Caller, restaurant: str, status: int) -> None:
    assert ask(caller, restaurant=restaurant).status_code == status


def test_without_the_scope_for_the_configuration_there_is_a_403(start: Start) -> None:
    caller = start(scopes="orders:read restaurants:read")
    assert ask(caller).status_code == 403
    assert caller.week().status_code == 200


@pytest.mark.parametrize("path", ["/config/v2/employees", "/config/v2/Tables", "/config/v2/tables/", "/config/v2"])
def test_another_entity_does_not_exist(caller: Caller, path: str) -> None:
    assert caller.toast(path).status_code == 404


@pytest.mark.parametrize(
    "query",
    [
        {"page": 1},
        {"pageSize": 10},
        {"lastModified": "2025-09-15"},
        {"lastModified": "2025-13-15T04:00:00.000+0000"},
        {"pageToken": "never issued"},
        {"pageToken": ""},
        {"lastModified": ["2025-09-15T04:00:00.000Z", "2025-09-15T04:00:00.000Z"]},
    ],
)
def test_a_query_that_toast_does_not_know_is_a_400(caller: Caller, query: dict[str, Any]) -> None:
    assert ask(caller, **query).status_code == 400


def test_the_calls_count_against_the_limits_over_all_apis_and_not_against_those_of_orders(start: Start) -> None:
    caller = start(rate_limits=True)
    replies = [ask(caller) for _ in range(15)]
    assert {reply.headers["x-toast-ratelimit-by"] for reply in replies} == {"GLOBAL"}
    assert [caller.week().status_code for _ in range(5)] == [200] * 5
    assert ask(caller).status_code == 429


def test_the_log_says_what_was_asked_for(caller: Caller) -> None:
    ask(caller, "discounts", SMALL)
    log = caller.sandbox.toast.log
    assert (log.entries[-1].path, log.entries[-1].entity, log.entries[-1].target) == (
        "configuration",
        "discounts",
        SMALL,
    )
    assert log.count("configuration", SMALL, 200) == 1
    assert log.count("configuration", ONE) == 0


# Pages


def test_pages_hold_every_object_once_and_the_last_has_no_token(paged: Caller) -> None:
    pages = list(walk(paged))
    assert [len(page.json()) for page in pages] == [7, 7, 7, 7, 2]
    assert {each["guid"] for page in pages for each in page.json()} == set(configuration(paged).names("tables"))
    assert [TOKEN in page.headers for page in pages] == [True] * 4 + [False]


def test_a_page_has_at_most_300_objects(caller: Caller) -> None:
    for number in range(271):
        configuration(caller).add("tables", f"Garden {number}")
    assert [len(page.json()) for page in walk(caller)] == [300, 1]


def test_a_full_last_page_has_no_token(start: Start) -> None:
    caller = start(configuration_page_size=30)
    assert len(ask(caller).json()) == 30
    assert TOKEN not in ask(caller).headers


def test_a_page_token_must_be_escaped_in_a_url(paged: Caller) -> None:
    token = ask(paged).headers[TOKEN]
    assert {"+", "="} <= set(token)
    url = f"{paged.sandbox.toast_url}/config/v2/tables?pageToken={token}"
    headers = {"Authorization": f"Bearer {paged.token}", "Toast-Restaurant-External-ID": ONE}
    assert paged.http.get(url, headers=headers).status_code == 400


def test_a_page_token_is_for_its_restaurant_entity_and_time(paged: Caller) -> None:
    token = ask(paged).headers[TOKEN]
    assert ask(paged, restaurant=SMALL, pageToken=token).status_code == 400
    assert ask(paged, "menuItems", pageToken=token).status_code == 400
    assert ask(paged, pageToken=token, lastModified="2025-09-15T04:00:00.000Z").status_code == 400
    assert ask(paged, pageToken=token).status_code == 200


def test_after_a_publication_a_page_token_is_a_409_and_the_walk_starts_again(paged: Caller) -> None:
    token = ask(paged).headers[TOKEN]
    configuration(paged, SMALL).publish()
    assert ask(paged, pageToken=token).status_code == 200
    configuration(paged).publish()
    assert ask(paged, pageToken=token).status_code == 409
    assert len(list(walk(paged))) == 5


def test_a_publication_can_be_played_in_the_middle_of_a_walk(paged: Caller) -> None:
    def publish(call: Call) -> None:
        assert call.entity == "tables"
        paged.sandbox.toast.configurations[call.target or ""].publish()

    paged.sandbox.faults.arm(Kind.HOOK, "configuration", target=ONE, first=3, last=3, action=publish)
    assert [page.status_code for page in walk(paged)] == [200, 200, 409]
    assert [page.status_code for page in walk(paged)] == [200] * 5


# Changes


def test_a_renamed_object_keeps_its_guid(caller: Caller) -> None:
    guid = guid_of(caller, "restaurantServices", "Dinner")
    configuration(caller).rename(guid, "Supper")
    named = {each["guid"]: each["name"] for each in ask(caller, "restaurantServices").json()}
    assert (named[guid], len(named)) == ("Supper", 3)


def test_an_archived_object_is_not_returned(caller: Caller) -> None:
    guid = guid_of(caller, "tables", "Table 7")
    configuration(caller).archive(guid)
    assert guid not in {each["guid"] for each in ask(caller).json()}
    assert len(ask(caller).json()) == 29


def test_an_added_object_has_a_guid_of_its_own_whatever_its_name(caller: Caller) -> None:
    former = guid_of(caller, "diningOptions", "Delivery")
    configuration(caller).rename(former, "Delivery by us")
    guid = configuration(caller).add("diningOptions", "Delivery", behavior="DELIVERY", curbside=False)
    added = ask(caller, "diningOptions").json()[-1]
    expected = {"guid": guid, "entityType": "DiningOption", "name": "Delivery", "behavior": "DELIVERY"}
    assert added == expected | {"curbside": False}
    assert configuration(caller).names("diningOptions")[former] == "Delivery by us"


@pytest.mark.parametrize("change", ["add", "rename", "archive"])
def test_every_change_is_published(paged: Caller, change: str) -> None:
    changes = {"add": ("tables", "Garden 1"), "rename": (guid_of(paged, "tables", "Bar 1"), "Bar")}
    token = ask(paged).headers[TOKEN]
    getattr(configuration(paged), change)(*changes.get(change, (guid_of(paged, "tables", "Bar 1"),)))
    assert ask(paged, pageToken=token).status_code == 409


def test_last_modified_leaves_out_what_did_not_change_since(start: Start) -> None:
    caller = start(configuration_page_size=1)
    before = toast_time(int(start.clock() * 1000) - 1)
    assert ask(caller, lastModified=before).json() == []
    configuration(caller).rename(guid_of(caller, "tables", "Bar 1"), "Window")
    configuration(caller).add("tables", "Garden 1")
    changed = [each["name"] for page in walk(caller, lastModified=before) for each in page.json()]
    assert changed == ["Window", "Garden 1"]
    assert ask(caller, lastModified=toast_time(int(start.clock() * 1000))).json() == []
    token = ask(caller, lastModified=before).headers[TOKEN]
    assert [each["name"] for each in ask(caller, pageToken=token).json()] == ["Garden 1"]


# Faults


def test_the_configuration_can_be_made_to_fail(caller: Caller) -> None:
    caller.sandbox.faults.arm(Kind.STATUS, "configuration", status=503)
    assert ask(caller).status_code == 503
    caller.sandbox.faults.arm(Kind.HTML, "configuration")
    assert ask(caller).text.startswith("<!doctype html>")
    caller.sandbox.faults.arm(Kind.CUT_JSON, "configuration")
    with pytest.raises(ValueError, match=r"."):
        ask(caller).json()
    caller.sandbox.faults.arm(Kind.RESET, "configuration")
    with pytest.raises(httpx.ReadError):
        ask(caller)
    caller.sandbox.faults.arm(Kind.NEVER, "configuration")
    caller.http.timeout = httpx.Timeout(600, read=0.05)
    with pytest.raises(httpx.ReadTimeout):
        ask(caller)
    caller.http.timeout = httpx.Timeout(600)
    assert ask(caller).status_code == 200
