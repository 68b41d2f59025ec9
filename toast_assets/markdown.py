"""Markdown that is generated from the code or from what other systems sent, and the one way in which it is written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_LONGEST = 200
# What begins a link, an image, code, HTML or an escape.
_SPECIAL = re.compile(r"[\\`\[\]]")


class Markdown(str):
    """Text that is Markdown already, and is shown as such."""

    __slots__ = ()


def plain(text: str, most: int = _LONGEST) -> str:
    """Text of another system on one line: at most ``most`` characters, none that is invisible or turns lines around."""
    shown = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in text[:most])
    return f"{shown}… ({len(text)} characters)" if len(text) > most else shown


def first_of(items: Sequence[str], most: int = 5) -> list[str]:
    """The first ``most`` of ``items``, and how many more there are."""
    return [*items[:most], *([f"and {len(items) - most} more"] if len(items) > most else [])]


def escaped(value: object) -> str:
    """``value`` as Markdown that shows just its text, as ``plain`` gives it; ``Markdown`` stays as it is."""
    if isinstance(value, Markdown):
        return value
    return _SPECIAL.sub(r"\\\g<0>", plain(str(value))).replace("<", "&lt;")


def code(text: str) -> Markdown:
    """``text`` as code."""
    return Markdown(f"`{text}`")


def table(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table of cells that are Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
