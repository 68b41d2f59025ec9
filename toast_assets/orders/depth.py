"""JSON of any depth for decoders, which give up at some hundred levels, each at another number."""

from __future__ import annotations

import re

# Far below what any decoder reads, wherever it is called from, and far above what an order needs.
MOST_LEVELS = 300
_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def shallow(body: bytes, levels: int = MOST_LEVELS) -> bytes:
    """JSON with ``null`` in place of every array and object that is nested deeper than ``levels``.

    It is found by counting brackets, so that any depth costs the same memory.
    """
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKENS.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth == levels + 1:
                    kept += (body[start : token.start()], b"null")
            case b"]" | b"}":
                if depth == levels + 1:
                    start = token.end()
                depth -= 1
    # What is never closed is no JSON, and ends where it became too deep.
    return b"".join((*kept, body[start:] if depth <= levels else b""))
