"""What a token says of itself. How tokens are fetched and renewed is tested with both clients."""

from __future__ import annotations

import base64

import pytest

from toast_assets.http.bearer import claims_of


def jwt(claims: bytes) -> str:
    return f"header.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.signature"


def test_the_claims_of_a_jwt_are_read_whatever_its_length() -> None:
    for filling in ("", "x", "xx", "xxx"):
        claims = {"scope": f"orders:read{filling}"}
        assert claims_of(jwt(b'{"scope":"orders:read%s"}' % filling.encode())) == claims


@pytest.mark.parametrize(
    "token",
    [
        *("", "opaque", "a.b", "a.b.c.d", "a.é.c", "a.????.c", "..", jwt(b"[]"), jwt(b"{"), jwt(b'{"x":"\xff"}')),
        jwt(b'{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}"),
    ],
)
def test_what_is_no_jwt_has_no_claims(token: str) -> None:
    assert claims_of(token) == {}
