"""Which fields differ between two versions: their paths, and nothing of their values."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from toast_assets.lookup.changes import Change, changes

ORDER: dict[str, Any] = {
    "guid": "o",
    "voided": False,
    "voidDate": None,
    "checks": [
        {
            "guid": "c",
            "customer": {"email": "ann@example.com"},
            "selections": [{"guid": "s1", "price": 1.5}, {"guid": "s2", "price": 2}],
            "payments": [{"guid": "p", "tipAmount": 1.0}],
        }
    ],
    "numbers": [1, 2],
}


def differing(change: Any) -> list[str]:
    after = copy.deepcopy(ORDER)
    change(after)
    found = changes(json.dumps(ORDER).encode(), json.dumps(after).encode())
    assert found is not None
    return [f"{one.path} {one.what}" for one in found]


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (
            lambda order: order["checks"][0]["payments"][0].update(tipAmount=3),
            ["checks[].payments[].tipAmount changed"],
        ),
        (lambda order: order.update(voidDate="2025-01-01"), ["voidDate added"]),
        (lambda order: order.pop("voided"), ["voided removed"]),
        (lambda order: order.pop("voidDate"), []),
        (lambda order: order["checks"][0]["selections"].reverse(), []),
        (lambda order: order["checks"][0]["selections"].pop(0), ["checks[].selections[] removed"]),
        (lambda order: order["checks"][0]["selections"].append({"guid": "s3"}), ["checks[].selections[] added"]),
        (lambda order: order["checks"][0]["selections"].append({"guid": "s1"}), ["checks[].selections[] added"]),
        (lambda order: order["numbers"].reverse(), ["numbers[] changed"]),
        (lambda order: order["checks"][0].update(customer=None), ["checks[].customer removed"]),
    ],
)
def test_a_path_says_what_became_of_a_field(change: Any, wanted: list[str]) -> None:
    assert differing(change) == wanted


def test_a_name_that_may_be_a_guests_and_all_values_stay_unsaid() -> None:
    found = changes(b'{"guid":"o"}', b'{"guid":"o","ann@example.com":"Ann","note":"+1 617 555 0123"}')
    assert found == [Change("(a name of 15 characters with @, .)", "added"), Change("note", "added")]


def test_another_spelling_of_the_same_json_differs_in_no_field() -> None:
    assert changes(b'{"a":12.10,"b":"\\u0041"}', b'{ "b":"A", "a":12.1}') == []


@pytest.mark.parametrize("body", [b"no JSON", b"[]", b"\xff"])
def test_what_cannot_be_read_cannot_be_compared(body: bytes) -> None:
    assert changes(b'{"guid":"o"}', body) is None


def test_an_order_that_is_nested_too_deep_is_compared_as_far_as_decoders_go() -> None:
    deep = b'{"guid":"o","deep":%s%s,"tip":%%d}' % (b"[" * 5000, b"]" * 5000)
    assert changes(deep % 1, deep % 2) == [Change("tip", "changed")]
