"""What must not leave, at any depth; and that everything else leaves as Toast sent it, digit by digit."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toast_assets.amperity.redaction import CARD_FIELDS, EMPLOYEE_FIELDS, Redaction
from toast_assets.errors import UnrepresentableError

SALT = b"pepper"


def expected_hash(text: str) -> str:
    """What the documentation promises: HMAC-SHA-256 keyed by the salt, hexadecimal."""
    return hmac.new(SALT, text.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("name", [*CARD_FIELDS, *EMPLOYEE_FIELDS])
def test_cards_and_employees_are_left_out_at_any_depth(name: str) -> None:
    body = json.dumps({"a": [{"b": {name: {"guid": "1"}, "kept": 1.50}}], name: "2", "c": None}).encode()
    assert json.loads(Redaction().apply(body)) == {"a": [{"b": {"kept": 1.50}}], "c": None}


def test_a_name_that_hides_behind_an_escape_is_found() -> None:
    assert Redaction().apply(rb'{"last4\u0044igits": "1234", "kept": 1}') == b'{"kept":1}'


def test_no_setting_lets_a_card_leave() -> None:
    assert Redaction({"last4Digits": "hash"}, SALT).apply(b'{"last4Digits":"1234"}') == b"{}"


def test_a_body_without_such_a_field_is_not_touched() -> None:
    body = b'{ "amount": 12.10, "big": 1e400, "text": "of last4Digits", "list": [ 1.0 ] }'
    assert Redaction().apply(body) == body


def test_numbers_beside_a_dropped_field_keep_their_digits() -> None:
    assert Redaction().apply(b'{"amount":12.10,"last4Digits":"1234","tip":1e2}') == b'{"amount":12.10,"tip":1e2}'


def test_a_hash_is_hmac_sha_256_of_the_text_keyed_by_the_salt() -> None:
    redaction = Redaction({"email": "hash", "phone": "hash"}, SALT)
    found = json.loads(redaction.apply('{"email": "ann@example.com", "phone": 5551234567, "x": "ü"}'.encode()))
    assert found == {"email": expected_hash("ann@example.com"), "phone": expected_hash("5551234567"), "x": "ü"}


def test_in_objects_and_arrays_each_value_is_hashed_and_null_stays_null() -> None:
    found = json.loads(Redaction({"customer": "hash"}, SALT).apply(b'{"customer":{"a":["x",null,{"b":true}]}}'))
    assert found == {"customer": {"a": [expected_hash("x"), None, {"b": True}]}}


def test_what_cannot_be_read_must_not_leave_and_its_error_does_not_quote_it() -> None:
    with pytest.raises(UnrepresentableError) as caught:
        Redaction().apply(b'{"last4Digits": "1234"')
    assert "1234" not in str(caught.value)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "email", "server", "last4Digits", 'q"\\']), inner, max_size=4)
    ),
    max_leaves=12,
)


def without(value: object) -> object:
    """The same by the definition: such fields gone, everything else as it was."""
    if isinstance(value, dict):
        return {name: without(one) for name, one in value.items() if name not in ("server", "last4Digits", "email")}
    return [without(one) for one in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4))
def test_whatever_the_record_looks_like_only_what_is_named_is_gone(record: dict[str, object]) -> None:
    redacted = Redaction({"email": "drop"}, SALT).apply(json.dumps(record).encode())
    assert json.loads(redacted) == without(record)
