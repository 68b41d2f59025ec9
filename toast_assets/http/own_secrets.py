"""Keeps our own secrets out of texts that other systems wrote, before they are logged or raised."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
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
    lowered, hidden = raw.lower(), bytearray(len(raw))
    for form in {form for secret in filter(None, secrets) for form in _forms(secret)}:
        size = min(len(form), _SHORTEST_PIECE)
        pieces = {form[at : at + size] for at in range(len(form) - size + 1)}
        for at in (at for at in range(len(raw) - size + 1) if lowered[at : at + size] in pieces):
            # Something so short may be a part of any word, so it counts as a word of its own.
            beside = lowered[max(at - 1, 0) : at], lowered[at + size : at + size + 1]
            if size == _SHORTEST_PIECE or not any(map(bytes.isalnum, beside)):
                hidden[at : at + size] = b"\x01" * size
    kept = bytes(0 if hide else byte or 32 for byte, hide in zip(raw, hidden, strict=True))
    return re.sub(rb"\x00+", HIDDEN.encode(), kept).decode("utf-8", "replace") if any(hidden) else text


def _forms(secret: str) -> set[bytes]:
    escaped = json.dumps(secret)[1:-1]
    forms = {secret, escaped, escaped.replace("/", "\\/"), json.dumps(secret, ensure_ascii=False)[1:-1]}
    forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    return {form.encode("utf-8", "replace").lower() for form in forms}
