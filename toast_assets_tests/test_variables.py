"""The variables of one of several brands: their names, their values, how messages name them, and misspelt ones."""

from __future__ import annotations

import pytest

from toast_assets.errors import SettingsError
from toast_assets.variables import Variables, known_variables

BRAND_A = Variables("BRAND_A_")
SHARED = ("ALLOW_HTTP_HOSTS", "DAGSTER_UI_URL")


@pytest.mark.parametrize("name", [*sorted(known_variables() - set(SHARED)), "AWS_PROFILE"])
def test_every_variable_of_a_brand_has_its_prefix_and_never_the_value_of_the_bare_name(name: str) -> None:
    assert BRAND_A.name(name) == f"BRAND_A_{name}"
    assert BRAND_A.environment({f"BRAND_A_{name}": "own", name: "bare", f"BRAND_B_{name}": "of b"})[name] == "own"
    assert name not in BRAND_A.environment({name: "bare", f"BRAND_B_{name}": "of b"})
    assert Variables().name(name) == name
    assert Variables().environment({name: "bare", f"BRAND_A_{name}": "of a"})[name] == "bare"


@pytest.mark.parametrize(
    "name", [*SHARED, "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "HTTPS_PROXY", "TMPDIR"]
)
def test_what_the_deployment_has_once_is_shared_by_all_brands(name: str) -> None:
    assert BRAND_A.name(name) == name
    assert BRAND_A.environment({name: "for all"}) == {name: "for all"}
    assert BRAND_A.renamed(f"Check {name}.") == f"Check {name}."


@pytest.mark.parametrize(
    ("text", "renamed"),
    [
        ("Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET.", "Check BRAND_A_TOAST_CLIENT_ID, BRAND_A_TOAST_CLIENT_SECRET."),
        ("with S3_SSE=aws:kms", "with BRAND_A_S3_SSE=aws:kms"),
        ("(AWS_PROFILE)", "(BRAND_A_AWS_PROFILE)"),
        ("BRAND_A_TOAST_CLIENT_ID is not set", "BRAND_A_TOAST_CLIENT_ID is not set"),
        ("TOAST_CLIENT_ID_FILE and MY_TOAST_CLIENT_ID", "TOAST_CLIENT_ID_FILE and MY_TOAST_CLIENT_ID"),
        # Misspelt variables of the brand have its prefix, too.
        ("TOAST_CLIENT_IDS", "BRAND_A_TOAST_CLIENT_IDS"),
        ("toast_client_id", "toast_client_id"),
        # The longer of two names that begin alike.
        ("AMPERITY_REDACT_SALT, AMPERITY_REDACT", "BRAND_A_AMPERITY_REDACT_SALT, BRAND_A_AMPERITY_REDACT"),
    ],
)
def test_a_message_names_the_variables_that_the_brand_has_as_whole_words_and_once(text: str, renamed: str) -> None:
    assert BRAND_A.renamed(text) == renamed
    assert BRAND_A.renamed(renamed) == renamed
    assert Variables().renamed(text) == text


def test_only_a_brands_own_misspelt_variables_are_pointed_out_under_its_names() -> None:
    environment = dict.fromkeys(
        (
            *("BRAND_A_TOAST_STARTDATE", "BRAND_A_TOAST_START_DATE", "BRAND_A_S3_ENDPOINT", "BRAND_A_AWS_PROFILE"),
            *("TOAST_STARTDATE", "BRAND_B_TOAST_STARTDATE", "BRAND_A_TOAST_CLIENT_SECRET_FILE", "BRAND_A_NOTE"),
        ),
        "",
    )
    assert BRAND_A.misspelt(environment) == [
        "BRAND_A_S3_ENDPOINT is no variable of this pipeline",
        "BRAND_A_TOAST_STARTDATE is no variable of this pipeline; the nearest is BRAND_A_TOAST_START_DATE",
    ]
    assert Variables().misspelt(environment) == [
        "TOAST_STARTDATE is no variable of this pipeline; the nearest is TOAST_START_DATE"
    ]


@pytest.mark.parametrize("prefix", ["BRAND_A", "brand_a_", "1_", "_", "BRAND-A_", "BRAND A_", "BRAND_A_\n", "É_"])
def test_what_cannot_be_a_prefix_is_refused_with_the_form_of_one(prefix: str) -> None:
    with pytest.raises(SettingsError, match="is not one such as BRAND_A_: capital letters") as refused:
        Variables(prefix)
    assert repr(prefix) in str(refused.value)


@pytest.mark.parametrize("prefix", ["", "A_", "BRAND_A_", "BRAND2_", "TOAST_"])
def test_what_can_be_a_prefix_is_taken(prefix: str) -> None:
    assert Variables(prefix).name("TOAST_CLIENT_ID") == f"{prefix}TOAST_CLIENT_ID"
