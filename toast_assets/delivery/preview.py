"""A record as it would be sent, for people: its fields in their order, without any value that may be a guest's.

A text is shown only where a documented field holds a GUID, a time or a value that Toast documents, or where it is a
hash of AMPERITY_REDACT; a number only in a documented field that says nothing of a guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any

import msgspec

from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.feeds.customers import CUSTOMERS
from toast_assets.amperity.records import NOTIFY
from toast_assets.amperity.redaction import Redaction
from toast_assets.orders.model import known_fields
from toast_assets.orders.shown import shown_name

NOTE = (
    "The fields as they would be sent. Fields that AMPERITY_REDACT drops are absent; those that it hashes are shown as"
    " their hash. Texts and numbers that may be a guest's are hidden here, and would be sent."
)
LONGEST = 10_000
"""Characters of a preview at most."""
# Elements of an array, fields of an object and levels that are shown: fewer until the preview is short enough.
_SIZES = ((50, 200, 12), (3, 100, 12), (2, 60, 12), (1, 60, 8), (1, 30, 4), (1, 10, 2))
# Whose parts are a guest's, beside the columns of guests' rows.
_OBJECTS = ("customer", "appliedLoyaltyInfo", "loyaltyDetails", "houseAccount", "tabName")
_PLACES = ("deliveryInfo", "deliveryServiceInfo", "curbsidePickupInfo", "thirdPartyProviderInfo")
_GUESTS = frozenset({*_OBJECTS, *_PLACES, *CUSTOMERS.columns} - {"modified_at", "modified_at_local"})
# Hashes, too, and of known e-mails and phones they could be found by trying.
_KEYS = frozenset({"customer_id", "fk_customer", "email_key"})
_ID_NAME = re.compile(r"guid|\w*Guid|id|\w+_id", re.ASCII)
_ID = re.compile(r"[\w|-]{1,200}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_INTEGERS = range(-(2**63), 2**63)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def preview(method: str, body: bytes, redaction: Redaction) -> str | None:
    """The record's JSON, indented, at most ``LONGEST`` characters: what is left out of a long one is counted in its
    place. None where nothing can read it."""
    text = None
    try:
        record = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError):
        return None
    for size in _SIZES:
        # A notice is the pipeline's own.
        shown = record if method == NOTIFY else _Preview("hash" in redaction.rules.values(), *size).of(record, "")
        text = msgspec.json.format(_encode(shown), indent=2).decode()
        if len(text) <= LONGEST:
            break
    return text


@cache
def _documented() -> frozenset[str]:
    columns = {name for feed in FEEDS.values() for name in feed.columns}
    return known_fields().fields | columns | {"restaurantGuid"}


class _Preview:
    def __init__(self, hashes: bool, items: int, fields: int, levels: int) -> None:
        self._hashes, self._items, self._fields, self._levels = hashes, items, fields, levels

    def of(self, value: Any, path: str, level: int = 0, *, of_guest: bool = False) -> Any:
        """What is shown of the value at a path; ``of_guest`` where what holds it is a guest's."""
        match value:
            case dict() if level < self._levels:
                return dict(self._shown_fields(value, path, level, of_guest=of_guest))
            case list() if level < self._levels:
                shown = [self.of(one, path, level + 1, of_guest=of_guest) for one in value[: self._items]]
                return [*shown, *([f"<and {len(value) - self._items} more>"] if len(value) > self._items else [])]
            case dict() | list():
                return f"<{'object' if isinstance(value, dict) else 'array'} of {len(value)}>"
            case None | bool():
                return value
            case str():
                is_shown = self._is_shown(value, path, of_guest=of_guest)
                size = "1 character" if len(value) == 1 else f"{len(value)} characters"
                return value if is_shown else f"<hidden: text of {size}>"
        is_finite = value in _INTEGERS if isinstance(value, int) else isinstance(value, Decimal) and value.is_finite()
        return value if is_finite and path in _documented() and not of_guest else "<hidden: number>"

    def _shown_fields(self, fields: dict[str, Any], path: str, level: int, *, of_guest: bool) -> Iterator[Any]:
        for name, value in islice(fields.items(), self._fields):
            below = path if name == "modifiers" and path.endswith(name) else f"{path}.{name}".removeprefix(".")
            label = name if below in _documented() else shown_name(name)
            yield label, self.of(value, below, level + 1, of_guest=of_guest or name in _GUESTS)
        if len(fields) > self._fields:
            yield "…", f"<and {len(fields) - self._fields} more fields>"

    def _is_shown(self, text: str, path: str, *, of_guest: bool) -> bool:
        if self._hashes and _HASH.fullmatch(text) and path not in _KEYS:
            return True
        if of_guest or path not in _documented():
            return False
        name = path.rpartition(".")[2]
        if text in known_fields().values.get(path, ()) or _TIME.fullmatch(text):
            return True
        return bool((_ID_NAME.fullmatch(name) and _ID.fullmatch(text)) or (name == "entityType" and text.isalpha()))
