"""JSON that decoders refuse: its parts, whatever is wrong inside one, and forms of it that decoders read.

Decoders refuse a whole text for one wrong character, and recurse. This looks only at brackets, commas and strings.
It is a hundred times as slow, so it is for texts that a decoder has refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

# Fewer levels than any decoder reads, wherever it is called from, and more than an order needs.
_MOST_LEVELS = 300
_SPACES = b" \t\n\r"
_END_OF_ARRAY, _END_OF_OBJECT, _COMMA, _QUOTE = b']},"'
_END_OF = {ord("["): _END_OF_ARRAY, ord("{"): _END_OF_OBJECT}
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# A quote by itself begins a string that does not end.
_STRUCTURE = re.compile(_STRING + rb'|[\[\]{},"]', re.DOTALL)
_MEMBER = re.compile(rb"[ \t\n\r]*+(" + _STRING + rb")[ \t\n\r]*+:", re.DOTALL)
# The tokens of RFC 8259.
_TOKEN = re.compile(
    rb"[ \t\n\r]*+(?:"
    rb'("[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+")'
    rb"|(-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+|true|false|null)"
    rb"|([\[{])|([\]}])|(,)|(:))"
)
# An escaped pair, half of one, or any other escape, from left to right.
_ESCAPES = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_TEXT, _SCALAR, _OPEN, _CLOSE, _NEXT, _COLON = range(1, 7)
_VALUE = frozenset({_TEXT, _SCALAR, _OPEN})
_NAME = frozenset({_TEXT})
_FIRST = {_END_OF_ARRAY: _VALUE | {_CLOSE}, _END_OF_OBJECT: _NAME | {_CLOSE}}
_LATER = {_END_OF_ARRAY: _VALUE, _END_OF_OBJECT: _NAME}


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
    """The elements of a JSON array, byte for byte, whatever is wrong inside them.

    Raises:
        UncuttableError: it is no array, or a bracket or a string in it does not end.
    """
    if array.lstrip(_SPACES)[:1] != b"[":
        raise UncuttableError("it is no JSON array")
    found = [array[start:end].strip(_SPACES) for start, end in _parts(array)]
    return [] if found == [b""] else found


def members(body: bytes) -> list[Member]:
    """The fields of a JSON object, in its order and as often as they occur; what is no field is left out.

    Raises:
        UncuttableError: it is no object, or a bracket or a string in it does not end.
    """
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
    ends = bytearray()
    allowed, at = _VALUE, 0
    while allowed:
        match = _TOKEN.match(text, at)
        kind = match.lastindex if match else None
        if match is None or kind not in allowed:
            return False
        at = match.end()
        if kind == _OPEN:
            ends.append(_END_OF[text[at - 1]])
            allowed = _FIRST[ends[-1]]
        elif kind == _NEXT:
            allowed = _LATER[ends[-1]]
        elif kind == _COLON:
            allowed = _VALUE
        elif kind == _TEXT and _SCALAR not in allowed:
            allowed = frozenset({_COLON})
        else:
            if kind == _CLOSE and ends.pop() != text[at - 1]:
                return False
            allowed = frozenset({_NEXT, _CLOSE}) if ends else frozenset()
    return not text[at:].strip(_SPACES)


def readable(body: bytes) -> bytes:
    """JSON that decoders read, as long as ``body``: half of an escaped pair of characters becomes U+FFFD.

    JSON's grammar allows such a half, and software that cuts a text in the middle of an emoji sends one. No decoder for
    UTF-8 can read it, but that is no reason to give up an order.
    """
    # Most bodies have no escape at all, and looking for one byte is much faster than looking for two.
    if b"\\" not in body or b"\\u" not in body:
        return body
    return _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[2] else escape[0], body)


def shallow(body: bytes) -> bytes:
    """JSON with ``null`` in place of every array and object that is nested deeper than decoders go."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _STRUCTURE.finditer(body):
        mark = body[token.start()]
        if mark in _END_OF:
            depth += 1
            if depth == _MOST_LEVELS + 1:
                kept += (body[start : token.start()], b"null")
        elif mark in _END_OF.values():
            if depth == _MOST_LEVELS + 1:
                start = token.end()
            depth -= 1
    # What is never closed is no JSON, and ends where it became too deep.
    return b"".join((*kept, body[start:] if depth <= _MOST_LEVELS else b""))
