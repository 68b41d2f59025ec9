"""Orders are cut out of pages without losing a byte, and placed by the few fields that place them."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toast_assets.orders.raw import (
    RawOrder,
    UnreadableOrder,
    cut_orders,
    version_of,
    with_restaurant,
)
from toast_assets.orders.scanner import UncuttableError
from toast_assets.orders.times import format_time, parse_time_ms
from toast_assets.week import epoch_ms

PLACED = '"guid":"a","modifiedDate":"2025-09-19T14:30:00.000+0000"'


class Parts(NamedTuple):
    orders: list[RawOrder]
    unreadable: list[UnreadableOrder]


def parts(text: str | bytes, restaurant: str = "one") -> Parts:
    body = text if isinstance(text, bytes) else text.encode()
    return Parts(*cut_orders(body, restaurant_guid=restaurant, pulled_ms=5))


def cut(text: str | bytes, restaurant: str = "one") -> list[RawOrder]:
    orders, unreadable = parts(text, restaurant)
    assert unreadable == []
    return orders


def one(fields: str = "") -> RawOrder:
    (order,) = cut("[{" + PLACED + fields + "}]")
    return order


# Any JSON value, written with odd but legal white space and escapes.

numbers = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(str).filter(lambda text: "E" not in text),
    st.sampled_from(["12.10", "-0", "1E400", "1e-7", "0.10000000000000000000000001", "123456789012345678901234567890"]),
)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.one_of(
        st.sampled_from(["null", "true", "false"]),
        numbers,
        texts.map(json.dumps),
        texts.map(lambda text: json.dumps(text, ensure_ascii=False)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[ " + " ,\n".join(items) + "]"),
        st.lists(st.tuples(texts, inner), max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + " , ".join(f"{json.dumps(name)} :\t{value}" for name, value in pairs) + " }"
        ),
    ),
    max_leaves=8,
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    guid = draw(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))
    fields = [f'"guid": {json.dumps(guid)}', '"modifiedDate":"2025-09-19T14:30:00.000Z"']
    fields += [f'"field{number}" : {draw(values)}' for number in range(draw(st.integers(0, 4)))]
    return ("{" + draw(st.sampled_from(["", " ", "\n\t"])) + " , ".join(draw(st.permutations(fields))) + "}").encode()


@given(st.lists(bodies(), max_size=6), st.sampled_from([b",", b" , ", b",\n  "]))
@settings(max_examples=150, deadline=None)
def test_every_byte_of_an_order_survives(orders: list[bytes], between: bytes) -> None:
    page = b" [" + between.join(orders) + b" ]\n"
    assert [(order.body, order.version) for order in cut(page)] == [
        (body, hashlib.sha256(body).hexdigest()) for body in orders
    ]


@given(bodies())
@settings(max_examples=100, deadline=None)
def test_the_restaurant_is_added_and_nothing_else_changes(body: bytes) -> None:
    added = with_restaurant(body, "one")
    assert added.startswith(body.rstrip()[:-1].rstrip())
    assert json.loads(added) == {**json.loads(body), "restaurantGuid": "one"}
    assert list(json.loads(added))[-1] == "restaurantGuid"


def test_the_restaurants_guid_is_added_as_json() -> None:
    assert json.loads(with_restaurant(b'{"guid":"a","modifiedDate":""}', 'o"ne'))["restaurantGuid"] == 'o"ne'


def test_an_order_that_names_its_restaurant_stays_as_it_is() -> None:
    body = one(',"restaurantGuid":"one"').body
    assert with_restaurant(body, "one") == body
    assert with_restaurant(body, "ONE") == body


def test_a_nested_restaurant_is_not_the_orders_own() -> None:
    body = one(',"restaurant":{"restaurantGuid":"another"}').body
    assert json.loads(with_restaurant(body, "one"))["restaurantGuid"] == "one"


@pytest.mark.parametrize("name", ["restaurantGuid", r"restaurant\u0047uid"])
@pytest.mark.parametrize("value", ["null", '""'])
@pytest.mark.parametrize("shape", ["{%s,%s}", "{%s , %s }", "{%s,%s,%s}", "{ %s,%s, %s}"])
def test_a_field_that_names_nobody_is_replaced_so_that_no_name_stands_twice(name: str, value: str, shape: str) -> None:
    nobody = f'"{name}" :{value}'
    (order,) = cut("[" + shape % tuple([nobody, PLACED, nobody][: shape.count("%s")]) + "]")
    named: list[tuple[str, object]] = json.loads(with_restaurant(order.body, "one"), object_pairs_hook=list)
    assert [field for field, _ in named] == ["guid", "modifiedDate", "restaurantGuid"]
    assert named[-1][1] == "one"


def test_the_restaurant_is_named_once_however_often_and_deep_an_order_names_it() -> None:
    deep = '"x":' + "[" * 3_000 + "]" * 3_000
    (order,) = cut("[{" + PLACED + ',"restaurantGuid":"ONE","restaurantGuid":null,' + deep + "}]")
    assert with_restaurant(order.body, "one") == ("{" + PLACED + "," + deep + ',"restaurantGuid":"one"}').encode()
    (named,) = cut("[{" + PLACED + ',"restaurantGuid":"ONE",' + deep + "}]")
    assert with_restaurant(named.body, "one") == named.body


@pytest.mark.parametrize("value", ['"two"', "5", '{"guid":"one"}', "false", "[]", r'"\ud83d"'])
def test_an_order_of_another_restaurant_is_set_aside_alone(value: str) -> None:
    found = parts("[{" + PLACED + ',"restaurantGuid":' + value + "},{" + PLACED + ',"restaurantGuid":"ONE"}]')
    assert [len(found.orders), *(each.guid for each in found.unreadable)] == [1, "a"]
    assert "restaurantGuid is not that of the restaurant" in found.unreadable[0].reason


# The fields that place an order


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", (None, False, False)),
        (',"businessDate":20250919,"deleted":true,"voided":true', (date(2025, 9, 19), True, True)),
        (',"businessDate":"20250919"', (date(2025, 9, 19), False, False)),
        (',"businessDate":null,"deleted":null,"voided":null', (None, False, False)),
        (',"businessDate":0', (None, False, False)),
        (',"businessDate":20251399', (None, False, False)),
        (',"businessDate":99999999999999999999', (None, False, False)),
        (',"businessDate":{"year":2025},"deleted":"no","voided":0', (None, False, False)),
    ],
)
def test_a_strange_business_date_or_flag_loses_no_order(fields: str, expected: tuple[Any, ...]) -> None:
    order = one(fields)
    assert (order.business_date, order.deleted, order.voided) == expected


def test_the_sort_key_is_time_then_guid() -> None:
    assert one().sort_key == (parse_time_ms("2025-09-19T14:30:00.000Z"), "a")


@pytest.mark.parametrize(
    "array",
    ["", "{}", "<html>", "[" + "{" + PLACED + "}", "[{" + PLACED + "}] []", '[{"guid":"a}]', '[{"x":[}]', "[{]"],
)
def test_a_page_that_cannot_be_cut_is_refused(array: str) -> None:
    with pytest.raises(UncuttableError):
        cut(array)


ODD_TIMES = [
    "null",
    "5",
    "1758292200000",
    '""',
    '" "',
    '"yesterday"',
    '"2025-09-19T14:30:00"',
    '" 2025-09-19T14:30:00.000Z"',
    '"2025-09-19T25:00:00.000Z"',
    '"0001-01-01T00:00:00.000+2359"',
    '"9999-12-31T23:59:59.999-2359"',
    r'"\ud83d"',
    "[" * 2_000 + "]" * 2_000,
]
ODD: list[tuple[str | bytes, str | None, str]] = [
    *((f'{{"guid":"b","modifiedDate":{time}}}', "b", "modifiedDate") for time in ODD_TIMES),
    ('{"guid":"b"}', "b", "lacks what every order has"),
    ("{}", None, "lacks what every order has"),
    ("null", None, "lacks what every order has"),
    ("7", None, "lacks what every order has"),
    ("[]", None, "lacks what every order has"),
    ("[" * 2_000 + "]" * 2_000, None, "lacks what every order has"),
    ("", None, "not JSON"),
    *(
        ('{"guid":' + guid + ',"modifiedDate":"2025-09-19T14:30:00.000Z"}', None, "guid")
        for guid in ("7", "null", '""')
    ),
    *(
        ("{" + PLACED + ',"x":' + value + "}", "a", "not JSON")
        for value in (
            "01",
            "NaN",
            "-Infinity",
            '"\\q"',
            '"\n"',
            "tru",
            "{1:2}",
            "[1,]",
            "[" * 2_000 + "x" + "]" * 2_000,
        )
    ),
    (b'{"guid":"b","modifiedDate":"2025-09-19T14:30:00.000Z","x":"\xff"}', "b", "not UTF-8"),
    (b'{"guid":"\xff","modifiedDate":"2025-09-19T14:30:00.000Z"}', None, "not UTF-8"),
    (b'{"guid":"b","modifiedDate":"2025-09-19T14:30:00.000Z","x":"\xc0\x80"}', "b", "not UTF-8"),
    (b"\xef\xbb\xbf{" + PLACED.encode() + b"}", None, "not JSON"),
]


@pytest.mark.parametrize(("odd", "guid", "reason"), ODD)
def test_an_order_that_cannot_be_read_is_set_aside_and_affects_no_other(
    odd: str | bytes, guid: str | None, reason: str
) -> None:
    body = odd if isinstance(odd, bytes) else odd.encode()
    found = parts(b"[{" + PLACED.encode() + b"} , " + body + b" ,{" + PLACED.encode() + b"}]")
    assert len(found.orders) == 2
    ((kept, why, named),) = ((each.body, each.reason, each.guid) for each in found.unreadable)
    assert (kept, named) == (body, guid)
    assert reason in why


@pytest.mark.parametrize(
    "fields",
    [
        '"x":' + "[" * 3_000 + "]" * 3_000,
        '"x":' + '{"a":' * 3_000 + "1" + "}" * 3_000,
        '"checks":[{"selections":[' + '{"modifiers":[' * 900 + "]}" * 900 + "]}]",
        '"businessDate":' + "9" * 5_000,
        '"guid":"a"',
        r'"x":"\ud83d"',
    ],
)
def test_an_order_that_is_hard_to_read_keeps_every_byte(fields: str) -> None:
    body = "{" + fields + "," + PLACED + ' , "voided":true }'
    (first, order, last) = cut("[{" + PLACED + "}," + body + ",{" + PLACED + "}]")
    assert (order.body.decode(), order.guid, order.voided, order.version) == (
        body,
        "a",
        True,
        version_of(body.encode()),
    )
    assert first.modified_ms == order.modified_ms == last.modified_ms


def test_a_reason_names_no_content() -> None:
    (odd,) = parts('[{"guid":7,"modifiedDate":"","email":"guest@example.com"}]').unreadable
    assert "guest" not in odd.reason


# Times


@pytest.mark.parametrize(
    "text",
    [
        "2025-09-19T14:30:00.000+0000",
        "2025-09-19T14:30:00.000Z",
        "2025-09-19T14:30:00.000+00:00",
        "2025-09-19T10:30:00.000-0400",
        "2025-09-19T14:30:00Z",
        "2025-09-19T14:30:00.000999Z",
        "2025-09-19T14:30:00.000999999Z",
    ],
)
def test_times_are_read_in_every_form_that_was_seen(text: str) -> None:
    assert parse_time_ms(text) == epoch_ms(datetime(2025, 9, 19, 14, 30, tzinfo=UTC))


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_is_written_as_it_is_read(milliseconds: int) -> None:
    text = format_time(milliseconds)
    assert parse_time_ms(text) == milliseconds
    assert len(text) == len("2025-09-19T14:30:00.000+0000")


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))  # noqa: DTZ001
def test_offsets_do_not_matter(moment: datetime, minutes: int) -> None:
    zoned = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    assert parse_time_ms(zoned.isoformat()) == epoch_ms(zoned)


def test_a_raw_order_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        one().guid = "b"  # type: ignore[misc]
    assert isinstance(one(), msgspec.Struct)


class TestHalfOfAnEscapedPair:
    """What software leaves of an emoji that it cuts in two: JSON's grammar allows it, no decoder for UTF-8 reads it."""

    @pytest.mark.parametrize(
        "text",
        [r"x\ud83d", r"\uDE00 y", r"\ud83d\ud83d\ude00", r"\\\ud83d", r"\ud83d\n\ude00", r"\ude00\ud83d"],
    )
    def test_the_order_and_its_neighbours_keep_every_byte(self, text: str) -> None:
        bodies = ["{" + PLACED + ',"n": "' + part + '"}' for part in ("one", text, r"\ud83d\ude00", "four")]
        assert [order.body.decode() for order in cut("[" + " , ".join(bodies) + "]")] == bodies

    def test_it_takes_the_restaurant_on(self) -> None:
        (order,) = cut("[{" + PLACED + r',"n":"\ud83d","x":{"restaurantGuid":null}}]')
        assert with_restaurant(order.body, "one") == order.body[:-1] + b',"restaurantGuid":"one"}'

    @pytest.mark.parametrize("text", [r"\u12", r"\ud8", "\\x"])
    def test_what_is_no_escape_stays_an_error(self, text: str) -> None:
        (odd,) = parts("[{" + PLACED + ',"n":"' + text + r' \ud83d"}]').unreadable
        assert "not JSON" in odd.reason
