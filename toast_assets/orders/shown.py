"""What may be shown of an order's names and values: what looks like a field's name or an enum's value. All else may be
a guest's data, so it is described."""

from __future__ import annotations

import re

# Toast writes fields in camelCase; what else is in use for fields passes too.
_NAME = re.compile(r"[a-z_][A-Za-z0-9_]{0,59}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}", re.ASCII)
_LIKE_A_PHONE = re.compile(r"\d{7}", re.ASCII)
_SIGNS = {"@": "@", "+": "+", "-": "-", ".": ".", " ": "blanks"}


def shown_value(value: str) -> str:
    """An enum's value, or what it looks like where it may be a guest's data: ``(a text of 21 characters with @)``."""
    return _shown(value, _VALUE, "text")


def shown_name(name: str) -> str:
    """A field's name, or what it looks like where it may be a guest's data: ``(a name of 21 characters with @)``."""
    return _shown(name, _NAME, "name")


def _shown(text: str, form: re.Pattern[str], what: str) -> str:
    if form.fullmatch(text) is not None and _LIKE_A_PHONE.search(text) is None:
        return text
    signs = ", ".join(said for sign, said in _SIGNS.items() if sign in text)
    size = "1 character" if len(text) == 1 else f"{len(text)} characters"
    return f"(a {what} of {size}{f' with {signs}' if signs else ''})"
