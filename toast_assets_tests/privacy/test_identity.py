"""Who is meant: one form for each way of writing a GUID, an e-mail or a phone."""

from __future__ import annotations

import pytest

from toast_assets.privacy.identity import NoGuestError, given_trait, given_traits, traits


@pytest.mark.parametrize(
    ("given", "trait"),
    [
        (" Jane@Example.ORG\n", "e:jane@example.org"),
        ("(617) 555-0188", "p:6175550188"),
        ("+1 617.555.0188", "p:6175550188"),
        ("+44 20 7946 0958", "p:+442079460958"),
        ("0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "g:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"),
    ],
)
def test_what_is_typed_in_is_understood(given: str, trait: str) -> None:
    assert given_trait(given) == trait


def test_a_phone_is_the_same_whether_the_country_stands_before_it_or_beside_it() -> None:
    assert traits(phone="020 7946 0958", country_code="44") == [given_trait("+44 20 7946 0958")]


@pytest.mark.parametrize("given", ["000-000-0000", "Jane Roe", "jane@", "12", "../x"])
def test_what_names_nobody_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(NoGuestError) as caught:
        given_trait(given)
    assert given not in str(caught.value)


def test_nobody_is_refused() -> None:
    with pytest.raises(NoGuestError, match="No guest was named"):
        given_traits(["", " "])
