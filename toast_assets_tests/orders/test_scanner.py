"""JSON is cut into its parts without a decoder, and agrees with decoders wherever these can say anything."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toast_assets.orders.scanner import UncuttableError, decode, elements, members


def is_json(text: bytes) -> bool:
    try:
        decode(text, msgspec.Raw)
    except msgspec.DecodeError:
        return False
    return True


SIGNS = ["[", "]", "{", "}", ",", ":", " ", "\n", "\x00", "\f"]
TEXTS = ['"', '"a"', '"\\""', r'"\u00e9"', r'"\ud83d"', r'"\q"']
SCALARS = ["0", "-0", "01", "1.5e-7", "1.", "1e", "-", "true", "null", "nul", "NaN"]
pieces = st.sampled_from([*SIGNS, *TEXTS, *SCALARS])
values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5)
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=3), inner, max_size=4)),
    max_leaves=12,
)


@given(st.lists(pieces, max_size=9).map("".join))
@settings(max_examples=1_000, deadline=None)
def test_what_json_is_agrees_with_the_decoder(text: str) -> None:
    try:
        json.loads(text, parse_constant=lambda _: 1 / 0)
        expected = True
    except (ValueError, ZeroDivisionError):
        expected = False
    assert is_json(text.encode()) == expected


@given(st.lists(values, max_size=4), st.sampled_from([None, 1]))
@settings(max_examples=200, deadline=None)
def test_elements_and_fields_are_those_that_a_decoder_finds(items: list[object], indent: int | None) -> None:
    array = json.dumps(items, indent=indent).encode()
    assert elements(array) == [bytes(one).strip() for one in msgspec.json.decode(array, type=list[msgspec.Raw])]
    fields = {str(number): item for number, item in enumerate(items)}
    found = members(json.dumps(fields, indent=indent).encode())
    assert {str(field.name): json.loads(field.value) for field in found} == fields
    assert is_json(array)


@given(st.binary(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_cut_or_refused(data: bytes) -> None:
    for text in (data, b"[" + data + b"]", b"{" + data + b"}"):
        for cut in (elements, members):
            with suppress(UncuttableError):
                cut(text)
        is_json(text)


@pytest.mark.parametrize("depth", [10, 100_000])
def test_depth_does_not_matter(depth: int) -> None:
    deep = b'[{"a":' * depth + b"1" + b"}]" * depth
    assert elements(b"[" + deep + b"]") == [deep]
    assert is_json(deep)
    assert not is_json(deep[:-1])
