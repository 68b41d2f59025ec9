"""JSON that decoders refuse: its parts, whatever is wrong inside one, and forms of it that decoders read.

Decoders refuse a whole text for one wrong character, and recurse. This looks only at brackets, commas and strings.
It is a hundred times as slow, so it is for texts that a decoder has refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock
from typing import Any, NamedTuple, TypeVar

import msgspec

_T = TypeVar("_T")

# Fewer levels than any decoder reads, wherever it is called from, and more than an order needs.
_MOST_LEVELS = 300
_SPACES = b" \t\n\r"
_END_OF = {b"[": b"]", b"{": b"}"}
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
# A quote by itself begins a string that does not end.
_STRUCTURE = re.compile(_STRING + rb'|[\[\]{},"]', re.DOTALL)
_MEMBER = re.compile(rb"[ \t\n\r]*+(" + _STRING + rb")[ \t\n\r]*+:", re.DOTALL)
# An escaped pair, half of one, or any other escape, from left to right.
_ESCAPES = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


class UncuttableError(ValueError):
    """A text of which nobody can say where its parts begin and end; the message never quotes it."""


class Member(NamedTuple):
    """A field of an object: its decoded ``name``, its ``value``, and all of its ``text``."""

    name: str
    value: bytes
    text: bytes


def elements(array: bytes) -> list[bytes]:
    """The elements of a JSON array, byte for byte, whatever is wrong inside them, or an UncuttableError."""
    found = [part.strip(_SPACES) for part in _parts(array, b"[")]
    return [] if found == [b""] else found


def members(body: bytes) -> list[Member]:
    """The fields of a JSON object, in its order and as often as they occur, or an UncuttableError; what has no name
    that can be decoded is left out."""
    found = []
    for part in _parts(body, b"{"):
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            if match := _MEMBER.match(part):
                found.append(Member(decode(match[1], str), part[match.end() :].strip(_SPACES), part))
    return found


def _parts(text: bytes, begin: bytes) -> Iterator[bytes]:
    """The parts between the commas of the array or object that ``text`` is; one empty part where it has none."""
    if text.lstrip(_SPACES)[:1] != begin:
        raise UncuttableError(f"it is no JSON {'array' if begin == b'[' else 'object'}")
    ends: list[bytes] = []
    start = 0
    for token in _STRUCTURE.finditer(text):
        mark = token[0]
        if mark == b'"':
            raise UncuttableError("a string in it does not end")
        if mark in _END_OF:
            ends.append(_END_OF[mark])
            if len(ends) == 1:
                start = token.end()
        elif mark == b",":
            if len(ends) == 1:
                yield text[start : token.start()]
                start = token.end()
        elif mark in (b"]", b"}"):
            if ends.pop() != mark:
                raise UncuttableError("its brackets do not match")
            if not ends:
                yield text[start : token.start()]
                if text[token.end() :].strip(_SPACES):
                    raise UncuttableError("something follows its end")
                return
    raise UncuttableError("it does not end")


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_building = Lock()


def decoder(form: type[_T]) -> msgspec.json.Decoder[_T]:
    """msgspec's decoder of a form, made once for all threads."""
    if form not in _decoders:
        # msgspec describes a type when it is first used. Two threads that come to it at once can end the process.
        with _building:
            _decoders[form] = msgspec.json.Decoder(form)
    return _decoders[form]


def decode(text: bytes, form: type[_T]) -> _T:
    """What msgspec decodes, out of any JSON: half of an escaped pair of characters becomes U+FFFD, and every array and
    object that is nested deeper than decoders go becomes null.

    Raises:
        msgspec.DecodeError: it is not JSON; as a msgspec.ValidationError, it is not of that form.
        UnicodeDecodeError: a text of that form is not UTF-8.
    """
    text = readable(text)
    try:
        return decoder(form).decode(text)
    except RecursionError:
        return decoder(form).decode(shallow(text))


def readable(body: bytes) -> bytes:
    """JSON that decoders read, as long as ``body``: half of an escaped pair of characters becomes U+FFFD. Software that
    cuts a text in the middle of an emoji sends one; JSON's grammar allows it, decoders for UTF-8 refuse it."""
    # Most bodies have no escape at all, and looking for one byte is much faster than looking for two.
    if b"\\" not in body or b"\\u" not in body:
        return body
    return _ESCAPES.sub(lambda escape: rb"\ufffd" if escape[2] else escape[0], body)


def shallow(body: bytes) -> bytes:
    """``readable`` JSON with ``null`` in place of every array and object that is nested deeper than decoders go; a
    msgspec.DecodeError where one of these is not JSON."""
    # What is nested too deep is null in its text, and a text of its own. What is never closed is no JSON.
    texts = [bytearray()]
    depth = start = 0
    for token in _STRUCTURE.finditer(body):
        mark = token[0]
        if mark in _END_OF:
            if depth > 0 and depth % _MOST_LEVELS == 0:
                texts[-1] += body[start : token.start()] + b"null"
                texts.append(bytearray())
                start = token.start()
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth > 0 and depth % _MOST_LEVELS == 0:
                msgspec.json.decode(bytes(texts.pop() + body[start : token.end()]), type=msgspec.Raw)
                start = token.end()
    texts[-1] += body[start:]
    return bytes(texts[0])
