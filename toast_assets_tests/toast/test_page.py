"""What a reply with status 200 says, and when it is no evidence at all."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from toast_assets.errors import ToastReplyError
from toast_assets.orders.times import format_time
from toast_assets.toast.page import PAGE_SIZE, OrdersPage, PageReader, Window

WINDOW = Window(1_757_908_800_000, 1_757_912_400_000)


def order(guid: str = "a", modified_ms: int = WINDOW.start) -> dict[str, object]:
    return {"guid": guid, "modifiedDate": format_time(modified_ms)}


def reply(content: object, *links: str) -> httpx.Response:
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return httpx.Response(200, content=body, headers=[("Link", link) for link in links])


def read(content: object, *links: str) -> OrdersPage:
    return PageReader(WINDOW, "one").read(reply(content, *links), 7)


def test_a_page_is_the_orders_in_their_order() -> None:
    page = read([order("b", WINDOW.end - 1), order("a")])
    assert [(each.guid, each.modified_ms, each.pulled_ms) for each in page.orders] == [
        ("b", WINDOW.end - 1, 7),
        ("a", WINDOW.start, 7),
    ]
    assert not page.may_have_more


def test_an_empty_array_is_an_empty_page() -> None:
    assert read([]) == OrdersPage([], has_next=False)


@pytest.mark.parametrize(
    "links",
    [
        ['<http://t/?page=1>; rel="first"', '<http://t/?page=2>; rel="next"'],
        ['<http://t/?page=1>; rel="first", <http://t/?page=2>; rel="next"'],
        ["<http://t/?page=2>;rel=next"],
        ['<http://t/?page=2>; Rel = "Next"'],
        ['<http://t/?page=2>; title="more"; rel="last next"'],
    ],
)
def test_a_next_link_is_found_in_any_form(links: list[str]) -> None:
    page = read([order()], *links)
    assert page.has_next
    assert page.may_have_more


@pytest.mark.parametrize("links", [[], ['<http://t/next?rel=next>; rel="self"'], ['<http://t/>; rel="prev"']])
def test_no_next_link_is_found_where_there_is_none(links: list[str]) -> None:
    assert not read([order()], *links).has_next


def test_a_full_page_may_have_more_even_without_a_link() -> None:
    assert read([order(f"o{number}") for number in range(PAGE_SIZE)]).may_have_more


def test_the_guides_dialect_carries_its_token() -> None:
    page = read({"orders": [order()], "nextPageToken": "abc"})
    assert (page.has_next, page.token) == (True, "abc")
    last = read({"orders": [order()], "nextPageToken": None})
    assert (last.has_next, last.token) == (False, None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<!doctype html><title>Gateway</title>",
        b'[{"guid": "a", "modifiedDate": "2025-09-15T04:0',
        b'{"status": "ok"}',
        b'{"orders": null}',
        b'{"orders": {"guid": "a"}}',
        b"null",
        b'"[]"',
        b'[{"guid": "a", "modifiedDate": "2025-09-15T04:00:00.000+0000"}] trailing',
        b'[{"guid": "a}]',
        b'[{"guid": ["a"}]',
        b'{"orders": [{"guid": NaN}], "nextPageToken": ["a"]}',
        b'{"orders": [{"guid": NaN}]',
        b"\xff\xfe[\x00]\x00",
    ],
)
def test_a_body_that_is_no_list_of_this_restaurants_orders_proves_nothing(body: bytes) -> None:
    with pytest.raises(ToastReplyError, match="200 for restaurant one") as caught:
        read(body)
    assert "2025-09-15T04:00:00.000+0000, 2025-09-15T05:00:00.000+0000" in str(caught.value)


@pytest.mark.parametrize("modified_ms", [WINDOW.start - 1, WINDOW.end])
def test_an_order_from_outside_the_window_is_believed_when_it_comes_three_times_alike(modified_ms: int) -> None:
    reader = PageReader(WINDOW, "one")
    for _ in range(2):
        with pytest.raises(ToastReplyError, match="outside the window"):
            reader.read(reply([order("a"), order("b", modified_ms)]), 7)
    page = reader.read(reply([order("a"), order("c"), order("b", modified_ms)]), 7)
    assert [each.guid for each in page.orders] == ["a", "c", "b"]


def test_orders_from_outside_the_window_that_differ_are_never_believed() -> None:
    reader = PageReader(WINDOW, "one")
    for number in range(9):
        with pytest.raises(ToastReplyError, match="outside the window"):
            reader.read(reply([order("a"), order("b", WINDOW.end + number // 2)]), 7)
    assert len(reader.read(reply([order("a")]), 7).orders) == 1


@pytest.mark.parametrize("enveloped", [False, True])
def test_what_is_no_order_affects_no_other_order_and_counts_on_the_page(enveloped: bool) -> None:
    good, odd = msgspec.json.encode(order()), b'{"guid":"odd","modifiedDate":"2025-09-15T04:00:00.000Z","x":NaN}'
    array = b"[" + b",".join([good, b"null", odd, *[good] * 97]) + b"]"
    page = read(b'{"nextPageToken":"t","orders":' + array + b"}" if enveloped else array)
    assert [len(page.orders), page.rows, page.may_have_more] == [98, PAGE_SIZE, True]
    assert [(each.body, each.guid) for each in page.unreadable] == [(b"null", None), (odd, "odd")]
    assert page.token == ("t" if enveloped else None)


def test_a_byte_order_mark_is_no_reason_to_doubt_a_page() -> None:
    assert len(read(b"\xef\xbb\xbf" + msgspec.json.encode([order()])).orders) == 1


def test_an_error_never_quotes_the_body() -> None:
    with pytest.raises(ToastReplyError) as caught:
        read(b'[{"guid": "a", "email": "guest@example.com"}')
    assert "guest" not in str(caught.value)
