"""Takes a forgotten guest out of an order's JSON; every other byte stays as Toast sent it.

These become null: on the guest's checks the customer, the tab's name, the loyalty account with its discounts, and house
accounts; on the order the address and notes of a delivery, and the description of a pick-up's car; on both who paid and
with which card (``PAYER_FIELDS``); and any other text or number that holds the guest's e-mail or phone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import compress, count, pairwise
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from toast_assets.orders.identity import Forgotten, earliest, traits
from toast_assets.orders.model import PAYER_FIELDS, STAFF_FIELDS
from toast_assets.orders.raw import RawOrder, version_of
from toast_assets.orders.scanner import decode

Path = list[str | int]
"""Where a value is in a JSON text: names of fields and numbers of elements, from the outermost."""

_DELIVERY_STAYS = frozenset({"deliveredDate", "dispatchedDate", "deliveryEmployee", "deliveryState"})
_CURBSIDE_GOES = frozenset({"transportColor", "transportDescription", "notes"})
_OF_ONE_GUEST = frozenset({"deliveryInfo", "curbsidePickupInfo"})
# At any depth: of an order, and of a check of the guest's.
_PAYER = re.compile("|".join(PAYER_FIELDS))
_STAFF = re.compile("|".join(STAFF_FIELDS))
_CHECK_GOES = re.compile(
    "|".join((*PAYER_FIELDS, "customer", "tabName", "appliedLoyaltyInfo", "loyaltyDetails", "comment", "houseAccount"))
)

# A string with the colon that makes it a field's name, or a number. The inside of a string is never taken for one.
_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")(\s*:)?|-?[0-9][0-9.eE+\-]*', re.DOTALL)
_ESCAPED = re.compile(rb'"[^"\\]*\\.(?:[^"\\]|\\.)*"', re.DOTALL)
_STRUCTURE = re.compile(rb'("(?:[^"\\]|\\.)*")(\s*:)?|[{\[}\],]', re.DOTALL)
_STOPS = re.compile(r"[\s\"\\@,;:<>()\[\]]")
_SIGNS = re.compile(r"[=?&/#'!|]")
# A phone by itself, not a part of a longer word such as a GUID.
_PHONE = re.compile(r"(?<![\w.+\-])[+(]{0,2}[0-9][0-9 ().\-/]{5,18}[0-9](?![\w\-])")


class _Customer(msgspec.Struct):
    guid: Any = None
    email: Any = None
    phone: Any = None
    phoneCountryCode: Any = None


class _Check(msgspec.Struct):
    guid: Any = None
    customer: _Customer | None = None

    @property
    def traits(self) -> list[str]:
        guest = self.customer or _Customer()
        return traits(guest.guid, guest.email, guest.phone, guest.phoneCountryCode)


class _Head(msgspec.Struct):
    guid: Any = None
    openedDate: Any = None
    createdDate: Any = None
    checks: tuple[_Check, ...] | None = None


class Guest(NamedTuple):
    """A guest as one check of one order names them; the guest index names no order and no check (``""``)."""

    order_guid: str
    check_guid: str
    traits: list[str]


class Part(NamedTuple):
    """An order with some guests' checks alone, and without employees and drivers. ``left_out`` fields do not say which
    guest they are of; ``theirs`` says of each check of the whole order whether it is in the part."""

    body: bytes
    left_out: list[str]
    theirs: list[bool]


def guests_of(body: bytes) -> Iterator[Guest]:
    """The guests that an order's checks name; none for what is no order."""
    head = _head(body)
    for check in head.checks or ():
        if found := check.traits:
            yield Guest(str(head.guid), str(check.guid), found)


@dataclass(frozen=True)
class Scrubber:
    """Takes out whoever ``forgotten`` knows."""

    forgotten: Forgotten

    def raw(self, order: RawOrder) -> RawOrder:
        """The order without forgotten guests; the very same where there is none in it."""
        body = self.order(order.body) if self.forgotten.since else order.body
        if body is order.body:
            return order
        return msgspec.structs.replace(order, body=body, version=version_of(body))

    def order(self, body: bytes) -> bytes:
        """The order's JSON without forgotten guests; the very same object where there is none in it."""
        head = _head(body)
        opened, theirs = self._theirs(head)
        if any(theirs) or self.forgotten.knows(f"o:{head.guid}"):
            body = without(body, partial(_goes, theirs))
        return self.text(body, opened)

    def part(self, body: bytes) -> Part | None:
        """What of an order is theirs; None for what is no order of theirs."""
        head = _head(body)
        _, theirs = self._theirs(head)
        if not (any(theirs) or self.forgotten.knows(f"o:{head.guid}")):
            return None
        fields = decode(body, dict[str, msgspec.Raw])
        others = any(one.traits and not mine for one, mine in zip(head.checks or (), theirs, strict=True))
        doubtful = [name for name in fields if others and (name in _OF_ONE_GUEST or _PAYER.fullmatch(name))]
        left_out = [name for name in doubtful if bytes(fields[name]) != b"null"]
        if head.checks is not None:
            checks = decode(bytes(fields["checks"]), list[msgspec.Raw])
            fields["checks"] = msgspec.Raw(msgspec.json.encode([*compress(checks, theirs)]))
        kept = {name: value for name, value in fields.items() if name not in left_out}
        own = without(msgspec.json.encode(kept), lambda path: _STAFF.fullmatch(str(path[-1])) is not None)
        return Part(own, left_out, theirs)

    def _theirs(self, head: _Head) -> tuple[str | None, list[bool]]:
        """When an order was opened, as far as that counts, and of each check whether it is theirs."""
        # What was one of their orders stays one, whatever becomes of its times at Toast.
        is_theirs = self.forgotten.knows(f"o:{head.guid}")
        opened = None if is_theirs else earliest(head.openedDate, head.createdDate)
        knows = self.forgotten.knows
        return opened, [knows(f"c:{check.guid}") or self._knows(check.traits, opened) for check in head.checks or ()]

    def holds(self, text: str, opened: str | None = None) -> bool:
        """Whether a text holds a forgotten e-mail or phone."""
        if "%" in text and (decoded := unquote(text)) != text and self.holds(decoded, opened):
            return True
        if any(self._knows(traits(email=one), opened) for one in _emails(text)):
            return True
        return any(self._knows(traits(phone=one), opened) for one in _PHONE.findall(text))

    def text(self, body: bytes, opened: str | None = None) -> bytes:
        """A JSON value of any depth in which every string or number that holds a forgotten e-mail or phone is null, and
        a field's name that holds one is replaced."""
        texts = [body.decode(errors="replace"), *(decode(one, str) for one in _ESCAPED.findall(body))]
        if not any(self.holds(text, opened) for text in texts):
            return body
        names = count(1)

        def emptied(token: re.Match[bytes]) -> bytes:
            if not self.holds(decode(token[1], str) if token[1] else token[0].decode(), opened):
                return token[0]
            return b'"forgotten-%d"%b' % (next(names), token[2]) if token[2] else b"null"

        return _TOKEN.sub(emptied, body)

    def _knows(self, found: Iterable[str], opened: str | None) -> bool:
        return any(self.forgotten.knows(trait, opened) for trait in found)


def without(body: bytes, goes: Callable[[Path], bool]) -> bytes:
    """A JSON text of any depth with null as the value of each field whose path ``goes``; the same bytes where there is
    none. Fields inside of a value that goes are not asked for."""
    kept: list[bytes] = []
    path: Path = []
    copied = start = level = 0
    for token in _STRUCTURE.finditer(body):
        mark = token[0]
        ends = mark in (b",", b"}", b"]")
        if level and ends and len(path) == level:
            if body[start : token.start()].strip() != b"null":
                kept += [body[copied:start], b"null"]
                copied = token.start()
            level = 0
        if mark in (b"{", b"["):
            path.append("" if mark == b"{" else 0)
        elif ends and mark != b",":
            path.pop()
        elif ends and isinstance(path[-1], int):
            path[-1] += 1
        elif token[2] and not level:
            path[-1] = decode(token[1], str)
            if goes(path):
                start, level = token.end(), len(path)
    return b"".join([*kept, body[copied:]]) if kept else body


def _goes(theirs: list[bool], path: Path) -> bool:
    """Whether a field of an order is a guest's; ``theirs`` says of each check whether its guest is forgotten."""
    name = str(path[-1])
    match path:
        case ["checks", int(number), *_]:
            # A number beyond: the order has several lists of checks, and the decoder read another one.
            return (number >= len(theirs) or theirs[number]) and _CHECK_GOES.fullmatch(name) is not None
        case ["deliveryInfo", _] if name not in _DELIVERY_STAYS:
            return True
        case ["curbsidePickupInfo", _] if name in _CURBSIDE_GOES:
            return True
    return _PAYER.fullmatch(name) is not None


def _head(body: bytes) -> _Head:
    try:
        return decode(body, _Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Head()


def _emails(text: str) -> Iterator[str]:
    """Everything in a text that may be an e-mail."""
    for before, after in pairwise(text.split("@")):
        local, domain = _STOPS.split(before[-64:])[-1], _STOPS.split(after[:255])[0]
        yield f"{local}@{domain}".strip(".")
        # In an address such as https://…/?mail=…&x=1 these signs are none of the e-mail's.
        yield f"{_SIGNS.split(local)[-1]}@{_SIGNS.split(domain)[0].strip('.')}"
