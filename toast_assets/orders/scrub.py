"""Takes a forgotten guest out of an order's JSON; every other byte of the order's values stays as Toast sent it.

What goes, and is null afterwards: on the guest's checks the customer, the name on the tab, the loyalty account and
what discounts say of it, and the house accounts of the payments; of the order where a delivery went and what was said
about it, and how to recognise the car of a pick-up; at any depth of both what says who paid and with which card, by
the list of what is never sent to Amperity. Any other text or number that holds the guest's e-mail or phone goes as a
whole, and so does a field's name. What was ordered, when, for how much, and by whom it was served stays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import unquote

import msgspec

from toast_assets.orders.forgotten import Forgotten
from toast_assets.orders.identity import traits
from toast_assets.orders.never_sent import PAYER_FIELDS
from toast_assets.orders.raw import RawOrder, version_of
from toast_assets.orders.scanner import elements, members, readable, shallow

Edit = Callable[[bytes], bytes]

_DELIVERY_STAYS = frozenset({"deliveredDate", "dispatchedDate", "deliveryEmployee", "deliveryState"})
_CURBSIDE_GOES = ("transportColor", "transportDescription", "notes")
# At any depth, as regular expressions of whole names: of an order, and on a check of the guest's.
_PAYER = re.compile("|".join(PAYER_FIELDS))
_CHECK_GOES = re.compile(
    "|".join((*PAYER_FIELDS, "customer", "tabName", "appliedLoyaltyInfo", "loyaltyDetails", "comment", "houseAccount"))
)

# A string with the colon that makes it a field's name, or a number. The inside of a string is never taken for one.
_TOKEN = re.compile(rb'("(?:[^"\\]|\\.)*")(\s*:)?|-?[0-9][0-9.eE+\-]*', re.DOTALL)
_ESCAPED = re.compile(rb'"[^"\\]*\\(?:[^"\\]|\\.)*"', re.DOTALL)
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*"|[{\[]|[}\]]|,', re.DOTALL)
_EMAIL = re.compile(r"[^\s\"\\@,;:<>()\[\]]{1,64}@[^\s\"\\@,;:<>()\[\]]{1,255}")
_SIGNS = re.compile(r"[=?&/#'!|]")
# A pattern that begins with a set of characters is searched several times faster than one that looks behind first.
_DIGITS = re.compile(r"[0-9][0-9 ().\-/]{5,18}[0-9]")
_PHONE = re.compile(r"(?<![\w.+\-])[+(]{0,2}[0-9][0-9 ().\-/]{5,18}[0-9](?![\w\-])")

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Customer(msgspec.Struct):
    """A guest in Toast's spelling, whatever the fields hold."""

    guid: Any = None
    email: Any = None
    phone: Any = None
    phoneCountryCode: Any = None


class _Check(msgspec.Struct):
    guid: Any = None
    customer: Customer | None = None


class _Head(msgspec.Struct):
    guid: Any = None
    openedDate: Any = None
    createdDate: Any = None
    checks: tuple[_Check, ...] | None = None


_decode_head = msgspec.json.Decoder(_Head).decode


@dataclass(frozen=True)
class Guest:
    """A guest as one check of one order names them."""

    order_guid: str
    check_guid: str
    traits: tuple[str, ...]
    customer: Customer


def guests_of(body: bytes) -> Iterator[Guest]:
    """The guests that an order's checks name; none for what is no order."""
    head = _head(body)
    for check in (head.checks or ()) if head else ():
        customer = check.customer
        if head and customer is not None:
            found = traits(customer.guid, customer.email, customer.phone, customer.phoneCountryCode)
            if found:
                yield Guest(str(head.guid), str(check.guid), tuple(found), customer)


@dataclass(frozen=True)
class Scrubber:
    """Takes out whoever ``forgotten`` knows."""

    forgotten: Forgotten

    def raw(self, order: RawOrder) -> RawOrder:
        """The order without forgotten guests; the very same where there is none in it."""
        body = self.order(order.body)
        if body is order.body:
            return order
        return msgspec.structs.replace(order, body=body, version=version_of(body))

    def order(self, body: bytes) -> bytes:
        """The order's JSON without forgotten guests; the very same object where there is none in it."""
        head = _head(body)
        if head is None:
            return self.text(body)
        opened = next((at for at in (head.openedDate, head.createdDate) if isinstance(at, str)), None)
        theirs = [self._is_theirs(check, opened) for check in head.checks or ()]
        scrubbed = body
        if any(theirs) or self.forgotten.knows(f"o:{head.guid}"):
            edits: dict[str, Edit] = dict.fromkeys(_fields(body), _without_payer)
            edits |= {name: nulled for name in edits if _PAYER.fullmatch(name)}
            edits |= {"deliveryInfo": _all_null(_DELIVERY_STAYS), "curbsidePickupInfo": _nulls(_CURBSIDE_GOES)}
            scrubbed = edited(body, {**edits, "checks": lambda raw: _checks(raw, theirs)})
        return self.text(scrubbed, opened)

    def holds(self, text: str, opened: str | None = None) -> bool:
        """Whether a text holds a forgotten e-mail or phone."""
        if "%" in text and (decoded := unquote(text)) != text and self.holds(decoded, opened):
            return True
        if any(self._knows(traits(email=one), opened) for one in _emails(text)):
            return True
        return any(self._knows(traits(phone=one), opened) for one in _phones(text))

    def text(self, body: bytes, opened: str | None = None) -> bytes:
        """A JSON value in which every string or number that holds a forgotten e-mail or phone is null; a field whose
        name holds one has another name. The value's structure is not looked at, so it may be of any depth."""
        escaped = _ESCAPED.findall(body) if b"\\" in body else ()
        if not any(self.holds(text, opened) for text in (body.decode(errors="replace"), *map(_plain, escaped))):
            return body
        names = count(1)

        def emptied(token: re.Match[bytes]) -> bytes:
            if not self.holds(_plain(token[1]) if token[1] else token[0].decode(), opened):
                return token[0]
            return b'"forgotten-%d"%b' % (next(names), token[2]) if token[2] else b"null"

        return _TOKEN.sub(emptied, body)

    def _is_theirs(self, check: _Check, opened: str | None) -> bool:
        if self.forgotten.knows(f"c:{check.guid}"):
            return True
        customer = check.customer
        return customer is not None and self._knows(
            traits(customer.guid, customer.email, customer.phone, customer.phoneCountryCode), opened
        )

    def _knows(self, found: Iterable[str], opened: str | None) -> bool:
        return any(self.forgotten.knows(trait, opened) for trait in found)


def edited(body: bytes, edits: Mapping[str, Edit]) -> bytes:
    """A JSON object with some fields edited; the very same bytes where no edit changes anything."""
    if body.strip()[:1] != b"{":
        return body
    fields = _fields(body)
    after = {name: edits[name](raw) if name in edits else raw for name, raw in fields.items()}
    return body if after == fields else _object(after)


def _without(raw: bytes, names: re.Pattern[str]) -> bytes:
    """A JSON value in which the fields of these names are null, at any depth; the very same bytes where there are none.
    It is read from left to right, so depth costs nothing."""
    kept, end = [], 0
    for token in _TOKEN.finditer(raw):
        if token.start() >= end and token[2] and names.fullmatch(_plain(token[1])):
            stop = _end_of_value(raw, token.end())
            if raw[token.end() : stop].strip() != b"null":
                kept += [raw[end : token.end()], b"null"]
                end = stop
    return b"".join([*kept, raw[end:]]) if kept else raw


def _without_payer(raw: bytes) -> bytes:
    return _without(raw, _PAYER)


def _end_of_value(raw: bytes, start: int) -> int:
    """Where the JSON value that begins at ``start`` ends."""
    depth = 0
    for token in _STRUCTURE.finditer(raw, start):
        if token[0] in b"{[":
            depth += 1
        elif token[0] in b"}]":
            depth -= 1
        if depth < 0 or (depth == 0 and token[0] == b","):
            return token.start()
        if depth == 0 and token[0] in b"}]":
            return token.end()
    return len(raw)


def nulled(_: bytes) -> bytes:
    """The edit that leaves null."""
    return b"null"


def _nulls(names: Iterable[str]) -> Edit:
    edits = dict.fromkeys(names, nulled)
    return lambda raw: edited(raw, edits)


def _all_null(staying: frozenset[str]) -> Edit:
    def edit(raw: bytes) -> bytes:
        if raw.strip()[:1] != b"{":
            return raw
        return edited(raw, {name: nulled for name in _fields(raw) if name not in staying})

    return edit


def _checks(raw: bytes, theirs: list[bool]) -> bytes:
    before = _elements(raw)
    after = [_without(one, _CHECK_GOES) if guests else one for one, guests in zip(before, theirs, strict=True)]
    return raw if after == before else b"[" + b",".join(after) + b"]"


def _fields(body: bytes) -> dict[str, bytes]:
    """The fields of a JSON object, byte for byte, also where no decoder reads what is in them."""
    try:
        return {name: bytes(raw) for name, raw in _decode_object(body).items()}
    except (msgspec.DecodeError, RecursionError):
        return {field.name: field.value for field in members(body) if field.name is not None}


def _elements(array: bytes) -> list[bytes]:
    """The elements of a JSON array, byte for byte, also where no decoder reads what is in them."""
    try:
        return [bytes(one) for one in _decode_array(array)]
    except (msgspec.DecodeError, RecursionError):
        return elements(array)


def _object(fields: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + raw for name, raw in fields.items()) + b"}"


def _head(body: bytes) -> _Head | None:
    try:
        return _decode_head(readable(body))
    except RecursionError:
        return _head(shallow(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _plain(string: bytes) -> str:
    """What a JSON string says."""
    return msgspec.json.decode(readable(string), type=str)


def _emails(text: str) -> Iterator[str]:
    """Everything in a text that may be an e-mail; found by its @, because hardly any text has one."""
    at = text.find("@")
    while at >= 0:
        start = max(0, at - 64)
        for found in _EMAIL.finditer(text, start, at + 256):
            if found.start() < at < found.end():
                yield found[0].strip(".")
                # In an address such as https://…/?mail=…&x=1 these signs are none of the e-mail's.
                local, _, domain = found[0].partition("@")
                yield f"{_SIGNS.split(local)[-1]}@{_SIGNS.split(domain)[0].strip('.')}"
        at = text.find("@", at + 1)


def _phones(text: str) -> Iterator[str]:
    """Everything in a text that may be a phone by itself, not a part of a longer word such as a GUID."""
    for found in _DIGITS.finditer(text):
        # Two characters before it can be + and (; one more tells whether it is a part of a word.
        yield from _PHONE.findall(text, max(0, found.start() - 3), found.end() + 1)
