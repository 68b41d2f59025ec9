"""Bodies: bounded, unpacked in small steps, decoded without a crash."""

from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import httpx
import pytest

from toast_assets.http.bodies import PACKED, UnreadableBodyError, decode, read_reply

REQUEST = httpx.Request("GET", "https://toast.test")


def packed(body: bytes, encoding: str = "gzip") -> httpx.Response:
    return httpx.Response(200, headers={"Content-Encoding": encoding}, stream=httpx.ByteStream(body))


async def test_a_packed_body_is_unpacked_and_an_unpacked_one_left_alone() -> None:
    body = b"[" + b"1," * 2_000_000 + b"1]"
    assert (await read_reply(packed(gzip.compress(body)), REQUEST)).content == body
    assert (await read_reply(httpx.Response(200, stream=httpx.ByteStream(body)), REQUEST)).content == body
    assert (await read_reply(httpx.Response(204), REQUEST)).content == b""


async def test_a_reply_says_whether_its_body_was_packed() -> None:
    replies = [
        packed(gzip.compress(b"[]")),
        packed(b"[]", "identity"),
        httpx.Response(200, stream=httpx.ByteStream(b"")),
    ]
    assert [(await read_reply(reply, REQUEST)).extensions[PACKED] for reply in replies] == [True, False, False]


async def test_a_megabyte_that_unpacks_to_very_much_is_given_up_at_the_bound() -> None:
    bomb = gzip.compress(b" " * 100_000_000, 9)
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableBodyError, match="more than 10,000,000 bytes"):
            await read_reply(packed(bomb), REQUEST, 10_000_000)
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"not gzip at all", "gzip"),
        (gzip.compress(b"[1, 2]" * 99, mtime=0)[:-20], "gzip"),
        (b"x", "br"),
        (b"x", "gzip, gzip"),
    ],
)
async def test_a_body_that_cannot_be_unpacked_is_an_error(body: bytes, encoding: str) -> None:
    with pytest.raises(UnreadableBodyError):
        await read_reply(packed(body, encoding), REQUEST)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 20_000 + b"]" * 20_000,
        b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"x":"\xff"}',
        b"",
        b"<html>",
        b"7",
    ],
)
def test_what_cannot_be_decoded_is_one_error(body: bytes) -> None:
    with pytest.raises(UnreadableBodyError) as caught:
        decode(body, dict[str, Any])
    assert caught.value.__suppress_context__
