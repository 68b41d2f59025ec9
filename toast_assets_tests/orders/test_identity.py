"""Who is meant: one form for each way of writing a GUID, an e-mail or a phone."""

from __future__ import annotations

import pytest

from toast_assets.orders.identity import NoGuestError, doubtful, given_trait, given_traits, traits


@pytest.mark.parametrize(
    ("given", "trait"),
    [
        (" Jane@Example.ORG\n", "e:jane@example.org"),
        ("(617) 555-0188", "p:6175550188"),
        ("+1 617.555.0188", "p:6175550188"),
        ("+44 20 7946 0958", "p:+442079460958"),
        ("0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "g:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"),
        ("{0D3C6A52-7C3D-4E8F-9A10-4D2C6B7E8F01}", "g:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"),
        ("urn:uuid:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "g:0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"),
        ("mailto:Jane@Example.org", "e:jane@example.org"),
        ("Jane Roe <jane@example.org>", "e:jane@example.org"),
        ('"jane@example.org";', "e:jane@example.org"),
        ("\ufeffjane@example.org", "e:jane@example.org"),
        ("tel:+1-617-555-0188", "p:6175550188"),
        ("+1\u00a0(617)\u00a0555\u20130188", "p:6175550188"),
        ("1-617-555-0188", "p:6175550188"),
    ],
)
def test_what_is_typed_in_is_understood(given: str, trait: str) -> None:
    assert given_trait(given) == trait


def test_a_phone_is_the_same_whether_the_country_stands_before_it_or_beside_it() -> None:
    assert traits(phone="020 7946 0958", country_code="44") == [given_trait("+44 20 7946 0958")]


@pytest.mark.parametrize(
    "given", ["000-000-0000", "Jane Roe", "jane@", "jane.roe@example", "@example.org", "a@b.org c@d.org", "x" * 101]
)
def test_what_names_nobody_is_refused_by_its_line_without_repeating_it(given: str) -> None:
    with pytest.raises(
        NoGuestError, match=r"^Line 3 is no guest's GUID, e-mail or phone \(2 others are fine\)"
    ) as caught:
        given_traits(["a@example.org", "", given, "+1 617 555 0188"])
    assert given not in str(caught.value)


def test_several_lines_that_name_nobody_are_named_together() -> None:
    with pytest.raises(NoGuestError, match=r"Lines 1, 3 are no guest's .* \(1 other is fine\)"):
        given_traits(["jane@", "jane@example.org", "Jane Roe"])


def test_a_guid_that_is_no_uuid_is_doubtful_until_it_is_found() -> None:
    assert [doubtful(trait) for trait in given_traits(["not-an-email", "jane-doe", "12"])] == [True] * 3
    known = given_traits(["0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01", "jane@example.org", "617-555-0188"])
    assert not any(map(doubtful, known))


def test_nobody_is_refused() -> None:
    with pytest.raises(NoGuestError, match="No guest was named"):
        given_traits(["", " "])
