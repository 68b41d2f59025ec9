"""Keeps our own secrets out of texts that other systems wrote, before they are logged or raised."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "[secret]"
# A piece of a token that is shorter reveals nothing; texts of other systems hold as much by chance.
_SHORTEST_PIECE = 12
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")


def fits_a_header(token: str) -> bool:
    """Whether an ``Authorization`` header can carry it: visible ASCII characters only, and at least one."""
    return _HEADER_VALUE.fullmatch(token) is not None


def without_secrets(text: str, secrets: Iterable[str | None]) -> str:
    """``text`` without the secrets, and without any piece of twelve characters or more of one: plain, JSON-escaped,
    URL-encoded or HTML-escaped, in either case."""
    raw = text.encode("utf-8", "replace")
    covered = bytearray(len(raw))
    for secret in filter(None, secrets):
        for form in _forms(secret):
            for start, end in _spans(raw.lower(), form):
                covered[start:end] = b"\x01" * (end - start)
    if not any(covered):
        return text
    kept = re.sub(rb"\x00+", b"\x00", bytes(0 if hide else byte or 32 for byte, hide in zip(raw, covered, strict=True)))
    return kept.replace(b"\x00", HIDDEN.encode()).decode("utf-8", "replace")


def _forms(secret: str) -> set[bytes]:
    escaped = json.dumps(secret)[1:-1]
    forms = {secret, escaped, escaped.replace("/", "\\/"), json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    return {form.encode("utf-8", "replace").lower() for form in forms}


def _spans(text: bytes, form: bytes) -> Iterator[tuple[int, int]]:
    """Where a form of a secret, or a piece of it, is in ``text``."""
    if len(form) < _SHORTEST_PIECE:
        # Something so short may be a part of any word, so it counts as a word of its own.
        yield from (found.span() for found in re.finditer(rb"(?<![0-9a-z])" + re.escape(form) + rb"(?![0-9a-z])", text))
        return
    pieces = {form[at : at + _SHORTEST_PIECE] for at in range(len(form) - _SHORTEST_PIECE + 1)}
    for at in range(len(text) - _SHORTEST_PIECE + 1):
        if text[at : at + _SHORTEST_PIECE] in pieces:
            yield at, at + _SHORTEST_PIECE
