"""The recorded schema of Toast's orders: ``known_fields.json`` beside this file."""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec


class KnownFields(msgspec.Struct, frozen=True):
    """A recorded schema: all ``fields``, the ``values`` of enums, and what keys and amounts need ``always``."""

    about: str
    always: tuple[str, ...]
    fields: frozenset[str]
    values: dict[str, frozenset[str]]


@cache
def known_fields() -> KnownFields:
    """The recorded schema that comes with the package."""
    data = resources.files("toast_assets.orders").joinpath("known_fields.json").read_bytes()
    return msgspec.json.decode(data, type=KnownFields)
