"""JSON that decoders refuse: its parts, whatever is wrong inside one, and forms of it that decoders read.

Decoders refuse a whole text for one wrong character, and recurse. This looks only at brackets, commas and strings.
It is a hundred times as slow, so it is for texts that a decoder has refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

# Fewer levels than any decoder reads, wherever it is called from, and more than an order needs.
_MOST_LEVELS = 300
_SPACES = b" \t\n\r"
_END_OF_ARRAY, _END_OF_OBJECT, _COMMA, _QUOTE = b']},"'
_END_OF = {ord("["): _END_OF_ARRAY, ord("{"): _END_OF_OBJECT}
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# A quote by itself begins a string that does not end.
_STRUCTURE = re.compile(_STRING + rb'|[\[\]{},"]', re.DOTALL)
_MEMBER = re.compile(rb"[ \t\n\r]*+(" + _STRING + rb")[ \t\n\r]*+:", re.DOTALL)
# An escaped pair, half of one, or any other escape, from left to right.
_ESCAPES = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


class UncuttableError(ValueError):
    """A text of which nobody can say where its parts begin and end."""


class Member(NamedTuple):
    """A field of an object: its decoded ``name`` (None where it cannot be decoded), its ``value``, and where the field
    begins and ends in the object's text."""

    name: str | None
    value: bytes
    start: int
    end: int


def elements(array: bytes) -> list[bytes]:
    """The elements of a JSON array, byte for byte, whatever is wrong inside them, or an UncuttableError."""
    if array.lstrip(_SPACES)[:1] != b"[":
        raise UncuttableError("it is no JSON array")
    found = [array[start:end].strip(_SPACES) for start, end in _parts(array)]
    return [] if found == [b""] else found


def members(body: bytes) -> list[Member]:
    """The fields of a JSON object, in its order and as often as they occur, or an UncuttableError; what is no field is
    left out."""
    if body.lstrip(_SPACES)[:1] != b"{":
        raise UncuttableError("it is no JSON object")
    matches = ((_MEMBER.match(body, start, end), start, end) for start, end in _parts(body))
    return [
        Member(_name(match[1]), body[match.end() : end].strip(_SPACES), start, end)
        for match, start, end in matches
        if match
    ]


def _name(key: bytes) -> str | None:
    try:
        name: str = json.loads(key.decode(errors="replace"), strict=False)
    except ValueError:
        return None
    return name


def _parts(text: bytes) -> Iterator[tuple[int, int]]:
    """Where the parts between the commas of the array or object begin and end that ``text`` is; one empty part where
    it has none."""
    ends = bytearray()
    start = 0
    for token in _STRUCTURE.finditer(text):
        mark = text[token.start()]
        if mark == _QUOTE:
            if len(token[0]) == 1:
                raise UncuttableError("a string in it does not end")
        elif mark in _END_OF:
            ends.append(_END_OF[mark])
            if len(ends) == 1:
                start = token.end()
        elif mark == _COMMA:
            if len(ends) == 1:
                yield start, token.start()
                start = token.end()
        elif ends.pop() != mark:
            raise UncuttableError("its brackets do not match")
        elif not ends:
            yield start, token.start()
            if text[token.end() :].strip(_SPACES):
                raise UncuttableError("something follows its end")
            return
    raise UncuttableError("it does not end")


def is_json(text: bytes) -> bool:
    """Whether ``text`` is one JSON value by the grammar of RFC 8259, of any depth; it may be no UTF-8."""
    try:
        for layer in _layers(text):
            _check_grammar(layer.decode(errors="replace"))
    except ValueError:
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


# ``NaN`` and its like are Python's, not JSON's; numbers stay text, because only their form matters.
_check_grammar = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse).decode


def readable(body: bytes) -> bytes:
    """JSON that decoders read, as long as ``body``: half of an escaped pair of characters becomes U+FFFD. Software that
    cuts a text in the middle of an emoji sends one; JSON's grammar allows it, decoders for UTF-8 refuse it."""
    # Most bodies have no escape at all, and looking for one byte is much faster than looking for two.
    if b"\\" not in body or b"\\u" not in body:
        return body
    return _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[2] else escape[0], body)


def shallow(body: bytes) -> bytes:
    """JSON with ``null`` in place of every array and object that is nested deeper than decoders go."""
    *_, outermost = _layers(body)
    return outermost


def _layers(body: bytes) -> Iterator[bytes]:
    """JSON in texts that decoders can read, the outermost last: what is nested too deep is ``null`` in its text, and a
    text of its own. What is never closed is no JSON, and ends where it became too deep."""
    texts = [bytearray()]
    depth = start = 0
    for token in _STRUCTURE.finditer(body):
        mark = body[token.start()]
        if mark in _END_OF:
            if depth > 0 and depth % _MOST_LEVELS == 0:
                texts[-1] += body[start : token.start()] + b"null"
                texts.append(bytearray())
                start = token.start()
            depth += 1
        elif mark in _END_OF.values():
            depth -= 1
            if depth > 0 and depth % _MOST_LEVELS == 0:
                yield bytes(texts.pop() + body[start : token.end()])
                start = token.end()
    texts[-1] += body[start:]
    yield from map(bytes, reversed(texts))
