"""The text of an error, and what becomes of its code where another error quotes it."""

from __future__ import annotations

import pytest

from toast_assets.errors import (
    SettingsError,
    StoreError,
    ToastError,
    ToastLoginError,
    ToastRefusedError,
    quoted,
    split_code,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (StoreError("It failed."), "It failed. [STORE]"),
        (StoreError("It failed.", hint="Run again."), "It failed. Run again. [STORE]"),
        (StoreError("It failed.", hint="Run again.", code="STORE-KMS"), "It failed. Run again. [STORE-KMS]"),
        (StoreError("Two failed:\n  - a\n  - b\n"), "Two failed:\n  - a\n  - b\n[STORE]"),
        (StoreError("Two failed:\n  - a\n  - b\n", hint="Look."), "Two failed:\n  - a\n  - b\nLook. [STORE]"),
    ],
)
def test_a_text_ends_with_the_code(error: StoreError, text: str) -> None:
    assert str(error) == text
    assert split_code(text)[1] == error.code


def test_of_several_settings_the_whole_has_a_code_and_no_line() -> None:
    text = str(SettingsError(["A is not set", "B is not set"]))
    assert text.startswith("2 settings missing or malformed:\n  - A is not set\n  - B is not set\n")
    assert text.endswith(" [SETTINGS]")


def test_a_code_of_one_error_is_not_that_of_its_class() -> None:
    assert ToastLoginError("No.", code="TOAST-TOKEN").code == "TOAST-TOKEN"
    assert (ToastLoginError.code, ToastLoginError("No.").code) == ("TOAST-LOGIN", "TOAST-LOGIN")


def test_the_reason_that_restaurants_share_keeps_the_code() -> None:
    message = "Toast answered 403 to /orders for restaurant one (no, request id 7)."
    error: ToastError = ToastRefusedError(message, status=403, code="TOAST-LIST")
    assert error.reason == "Toast answered 403 to /orders. [TOAST-LIST]"


@pytest.mark.parametrize("text", ["It failed.", "", "An array such as [A] is in it", "It failed [a-1]", "[STORE]"])
def test_a_text_that_does_not_end_with_a_code_has_none(text: str) -> None:
    assert split_code(text) == (text, "")


def test_errors_that_share_a_code_are_quoted_without_it() -> None:
    assert quoted(["a: No. [X-1]", "b: No.\n[X-1]"]) == (["a: No.", "b: No."], "X-1")


@pytest.mark.parametrize("texts", [["a [X-1]", "b [X-2]"], ["a [X-1]", "b"], ["a", "b"]])
def test_errors_of_several_codes_are_quoted_as_they_are(texts: list[str]) -> None:
    assert quoted(texts) == (texts, "SEVERAL-CAUSES")
