"""How a feed is declared: its row is a struct whose fields say what they hold, and all documentation follows.

A row writes every key, in the order of its fields, null where nothing is known: Amperity takes the first record for
the schema. Field names are lower-case letters, digits and underscores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import get_type_hints

import msgspec

# Numbers keep their digits: 12.10 is written as 12.10, not as text and not by way of a binary float.
_ENCODER = msgspec.json.Encoder(decimal_format="number")
LAST_UPDATED = "modified_at"
CONTENT_TYPE = "application/x-ndjson"


@dataclass(frozen=True)
class Field:
    """What one field of a row holds: its documented type, a description with the rule applied, Amperity's tags."""

    type: str
    description: str
    key: bool = False
    tags: Sequence[str] = ()


# Each takes a description. Ids, postal codes and phones are strings, too; an amount is in currency units; a time is
# written ``yyyy-MM-dd HH:mm:ss.SSS``, a date ``2025-09-19``.
text = partial(Field, "string")
decimal = partial(Field, "decimal(18,4)")
quantity = partial(Field, "decimal(18,6)")
integer = partial(Field, "integer")
flag = partial(Field, "boolean")
moment = partial(Field, "datetime")
day = partial(Field, "date")


class Row(msgspec.Struct, frozen=True):
    """One record of a feed."""


@dataclass(frozen=True)
class Feed:
    """A feed: what one row is, the struct of its rows, the Amperity table that it is meant for, Amperity's semantic
    tags by field, and the fields that depend on ``names``: what Toast's configuration, not the order, says."""

    name: str
    description: str
    row: type[Row]
    purpose: str
    tags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Sequence[str] = ()

    @cached_property
    def columns(self) -> dict[str, Field]:
        """The fields by name, in the order in which they are written."""
        hints = get_type_hints(self.row, include_extras=True)
        names = self.row.__struct_fields__
        return {name: replace(hints[name].__metadata__[0], tags=self.tags.get(name, ())) for name in names}

    @cached_property
    def key(self) -> str:
        """The name of the key field."""
        return next(name for name, one in self.columns.items() if one.key)

    def without_names(self, row: Row) -> Row:
        """The row as it is whatever its names are: they can change while the order does not."""
        return msgspec.structs.replace(row, **dict.fromkeys(self.names, ""))


def encode(row: Row) -> bytes:
    """``row`` as one line of NDJSON, without the line feed: one JSON object, every key in fixed order."""
    return _ENCODER.encode(row)
