"""Which names and values of orders may be shown: those that have the form of a field's name or of an enum's value.

Where names are data, they can be a guest's e-mail, phone or name. What has another form is described instead, and the
first order that has it leads there.
"""

from __future__ import annotations

import re

# Toast writes fields in camelCase; what else is in use for fields passes too.
_NAME = re.compile(r"[a-z_][A-Za-z0-9_]{0,59}", re.ASCII)
_VALUE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}", re.ASCII)
_LIKE_A_PHONE = re.compile(r"\d{7}", re.ASCII)
_SIGNS = {"@": "@", "+": "+", "-": "-", ".": ".", " ": "blanks"}


def shown_name(name: str) -> str:
    """A field's name, or what it looks like where it may be a guest's data: ``(a name of 21 characters with @)``."""
    return name if _fits(_NAME, name) else _described("name", name)


def shown_value(value: str) -> str:
    """An enum's value, or what it looks like where it may be a guest's data."""
    return value if _fits(_VALUE, value) else _described("text", value)


def _fits(form: re.Pattern[str], text: str) -> bool:
    return form.fullmatch(text) is not None and _LIKE_A_PHONE.search(text) is None


def _described(kind: str, text: str) -> str:
    signs = [said for sign, said in _SIGNS.items() if sign in text]
    size = f"{len(text)} character{'' if len(text) == 1 else 's'}"
    return f"(a {kind} of {size}{' with ' if signs else ''}{', '.join(signs)})"
