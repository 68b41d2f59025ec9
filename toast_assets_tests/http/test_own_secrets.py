"""Our secrets in other systems' words."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from toast_assets.http.own_secrets import HIDDEN, fits_a_header, without_secrets

SECRET = 'k9/"<Ünï+code>&=0123456789abcdef'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        SECRET.upper(),
        SECRET[7:],
        SECRET[:-9],
        json.dumps(SECRET),
        json.dumps(SECRET).replace("/", "\\/"),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        SECRET.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;"),
    ],
)
def test_a_secret_is_hidden_in_every_form_and_also_a_piece_of_it(form: str) -> None:
    said = without_secrets(f"bad secret {form}, says é", ["", None, SECRET])
    assert said.startswith("bad secret ")
    assert said.endswith(", says é")
    assert HIDDEN in said
    assert "0123456789ab" not in said
    assert "code" not in said.lower()


def test_a_short_secret_is_hidden_where_it_is_a_word_of_its_own() -> None:
    assert without_secrets("bad secret sec", ["sec"]) == f"bad secret {HIDDEN}"
    assert without_secrets("nothing to hide", ["sec"]) == "nothing to hide"


@pytest.mark.parametrize(
    ("token", "fits"), [("aZ0.-_~+/=", True), ("", False), ("a\n", False), ("é", False), ("a b", False)]
)
def test_a_token_has_to_fit_into_a_header(token: str, fits: bool) -> None:
    assert fits_a_header(token) is fits
