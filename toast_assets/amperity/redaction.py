"""What leaves for Amperity: Toast's object without what is never sent, and without what the privacy setting names.

Works on the JSON's own bytes: only objects that hold such a field are put together again, everything else, digits
included, stays as Toast sent it.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, cached_property, lru_cache
from itertools import combinations
from typing import Literal

import msgspec

from toast_assets.amperity.feeds.schema import Row
from toast_assets.errors import UnrepresentableError
from toast_assets.orders.identity import DERIVED_KEY, email_key, normal_email, normal_phone
from toast_assets.orders.model import NEVER_SENT, known_fields

Rule = Literal["drop", "hash"]

_NEVER_SENT = re.compile("|".join(NEVER_SENT))

# By the field of a feed's row: the fields of Toast's order whose text it repeats.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "given_name": ("checks.customer.firstName",),
    "surname": ("checks.customer.lastName",),
    "email": ("checks.customer.email",),
    "phone": ("checks.customer.phone",),
    "loyalty_id": ("checks.appliedLoyaltyInfo.loyaltyIdentifier",),
    "address": ("deliveryInfo.address1", "deliveryInfo.address.address1"),
    "address2": ("deliveryInfo.address2", "deliveryInfo.address.address2"),
    "city": ("deliveryInfo.city", "deliveryInfo.address.city"),
    "state": ("deliveryInfo.state", "deliveryInfo.administrativeArea", "deliveryInfo.address.state"),
    "postal": ("deliveryInfo.zipCode", "deliveryInfo.address.zipCode"),
    "country": ("deliveryInfo.country", "deliveryInfo.address.country"),
    "product_name": ("checks.selections.displayName", "checks.selections.modifiers.displayName"),
    "purchase_channel": ("source", "diningOption.behavior"),
    "digital_channel": ("source",),
    "payment_method": ("checks.payments.type",),
}
_CONTACTS = ("email", "phone")
# Loyalty accounts are often known by one of these.
_LOYALTY = ("loyaltyIdentifier", "maskedLoyaltyIdentifier")
# Part of every record's version: a release that hashes the same text differently changes it, so that records go again.
_NORMAL_FORMS = 2
# The fields of rows that hold a guest's key.
_GUEST_KEYS = ("customer_id", "fk_customer")
# Fields that Toast or Amperity's guide has and that the recorded description of an order does not name.
_ALSO_KNOWN = (
    *("address", "calculatedGuestCount", "createdByClientName", "deliveryInstructions", "excessFoodInfo"),
    *("guestOrderStatus", "thirdPartyProviderInfo"),
)

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True)
class Redaction:
    """Which fields are left out or hashed. ``salt`` keys the hashes (HMAC-SHA-256, hexadecimal).

    A rule's name is a field's (``email``), at any depth, its path (``checks.customer.email``; modifiers of modifiers
    are at ``checks.selections.modifiers``), or a field of a feed's row. Names of guests are typed on tabs, too: what is
    done to ``customer`` is done to ``tabName``, unless that has a rule of its own. What is done to ``customer``,
    ``email`` or ``phone`` is done to identifiers of loyalty accounts in the same way.
    """

    rules: Mapping[str, Rule] = field(default_factory=dict)
    salt: bytes = b""

    @cached_property
    def digest(self) -> str:
        """Changes with all that shapes what is sent: the fields that the rules mean, salt, what is never sent, and the
        forms that are hashed. It reveals the salt only to guessing."""
        shape = msgspec.json.encode([_NORMAL_FORMS, NEVER_SENT, sorted(self._fields.items())])
        return hmac.new(self.salt, shape, hashlib.sha256).hexdigest()

    @cached_property
    def _fields(self) -> dict[str, Rule]:
        """The rules by name, at any depth, and by path, which begins with a dot."""
        own = {name: rule for given, rule in self.rules.items() for name in _meant(given)}
        customer = {own.get("customer"), own.get(".checks.customer")}
        contact = customer | {own.get(f"{place}{name}") for place in ("", ".checks.customer.") for name in _CONTACTS}
        implied = {"tabName": _strictest(customer)} | dict.fromkeys(_LOYALTY, _strictest(contact))
        named = {name.rpartition(".")[2] for name in own}
        return own | {name: rule for name, rule in implied.items() if rule and name not in named}

    @cached_property
    def _mentions(self) -> re.Pattern[bytes]:
        named = {name.rpartition(".")[2] for name in self._fields}
        names = "|".join([*(name.replace(".*", '[^"]*') for name in NEVER_SENT), *map(re.escape, sorted(named))])
        # A backslash may hide a name behind an escape, so such a part is looked at in full.
        return re.compile(rb'"(?:%s)"|\\' % names.encode())

    def apply(self, body: bytes) -> bytes:
        """The JSON value with the rules applied. Raises UnrepresentableError where the bytes cannot be read as JSON, so
        that nobody knows what they hold."""
        try:
            return self._redacted(body.strip(), "", {}, hashing=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The cause may quote the record.
            raise UnrepresentableError("the record cannot be read, so it cannot be redacted") from None

    @cached_property
    def _row_rules(self) -> dict[str, Rule]:
        """The rules by the fields of feeds' rows: their own, and those of the fields of Toast's order they repeat."""
        rules = dict(self.rules)
        for name, paths in COLUMNS.items():
            parts = [path.split(".") for path in paths]
            below = [(part, "." + ".".join(of[: number + 1])) for of in parts for number, part in enumerate(of)]
            if rule := _strictest({self._rule(part, path) for part, path in below}):
                rules[name] = rule
        return rules

    def apply_to_row(self, row: Row) -> Row:
        """A feed's row with the rules applied: every key stays, what is left out is null.

        A guest's key that is the plain hash of an e-mail or a phone could be found by trying, so where one of the two
        is under a rule such keys are hashed once more, with the salt. A guest's ``email_key`` is made here, because it
        is keyed by the salt and goes where the e-mail is dropped.
        """
        if "email_key" in row.__struct_fields__:
            email = getattr(row, "email", None) if self._row_rules.get("email") != "drop" else None
            row = msgspec.structs.replace(row, email_key=email_key(email, self.salt))
        changes: dict[str, str | None] = {}
        for name, rule in self._row_rules.items():
            value = getattr(row, name, None)
            if value is not None:
                changes[name] = self.hashed(str(value)) if rule == "hash" else None
        for name in _GUEST_KEYS if self._row_rules.keys() & {*_CONTACTS} else ():
            value = getattr(row, name, None)
            if value is not None and DERIVED_KEY.fullmatch(value):
                changes[name] = self.hashed(value)
        return msgspec.structs.replace(row, **changes) if changes else row

    def hashed(self, text: str) -> str:
        """What replaces ``text``: HMAC-SHA-256 keyed by the salt, hexadecimal."""
        return hmac.new(self.salt, text.encode(), hashlib.sha256).hexdigest()

    def _rule(self, name: str, path: str) -> Rule | None:
        if _is_never_sent(name):
            return "drop"
        return _strictest({self._fields.get(name), self._fields.get(path)})

    def _redacted(self, value: bytes, path: str, beside: Mapping[str, msgspec.Raw], *, hashing: bool) -> bytes:
        """With ``hashing`` strings and numbers become their hash, in objects and arrays each by itself; null, true and
        false stay. ``beside`` are the fields of the object that holds the value."""
        if value[:1] not in (b"{", b"["):
            if not hashing or value in (b"null", b"true", b"false"):
                return value
            return msgspec.json.encode(self.hashed(_normal(path.rpartition(".")[2], value, beside)))
        if not hashing and not self._mentions.search(value):
            return value
        if value[:1] == b"[":
            items = (self._redacted(bytes(item), path, beside, hashing=hashing) for item in _decode_array(value))
            return b"[" + b",".join(items) + b"]"
        parts = []
        fields = _decode_object(value)
        for name, raw in fields.items():
            # Modifiers of modifiers are as modifiers.
            below = path if name == "modifiers" and path.endswith("modifiers") else f"{path}.{name}"
            rule = self._rule(name, below)
            if rule != "drop":
                inner = self._redacted(bytes(raw), below, fields, hashing=hashing or rule == "hash")
                parts.append(msgspec.json.encode(name) + b":" + inner)
        return b"{" + b",".join(parts) + b"}"


# Names can be data, so not all of them are kept.
@lru_cache(maxsize=4096)
def _is_never_sent(name: str) -> bool:
    return _NEVER_SENT.fullmatch(name) is not None


def name_problem(name: str) -> str | None:
    """Why a rule's name is refused, in words that follow the variable's name; None where it names something.

    A rule that names nothing would let everything leave without a word, and what has left cannot be taken back.
    """
    if name in _known_names() or _is_never_sent(name):
        return None
    known = {_plain(one): one for one in sorted(_known_names())}
    plain = _plain(name)
    matches = [plain] if plain in known else difflib.get_close_matches(plain, known, cutoff=0.7)
    nearest = " or ".join(known[one] for one in matches)
    way_out = f"did you mean {nearest}?" if nearest else "write a name such as email or checks.customer.email"
    return f"holds {name!r}, which is no field of Toast's order (names are exact, case included); {way_out}"


def contradiction(rules: Mapping[str, str]) -> str | None:
    """Two rules that say different things of one field, in words; None where there are none."""
    for (one, first), (other, second) in combinations(rules.items(), 2):
        if first != second and _meant(one, everywhere=True) & _meant(other, everywhere=True):
            return f"holds {one}={first} and {other}={second}, which contradict each other"
    return None


@cache
def _known_names() -> frozenset[str]:
    # Rows of feeds are redacted by this module.
    from toast_assets.amperity.feeds.build import FEEDS

    paths = known_fields().fields
    columns = {name for feed in FEEDS.values() for name in feed.columns}
    return frozenset([*paths, *_ALSO_KNOWN, *columns, *(path.rpartition(".")[2] for path in paths)])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def _meant(name: str, *, everywhere: bool = False) -> set[str]:
    """What a rule's name means: itself, at any depth, and paths, which begin with a dot; ``everywhere`` with the paths
    of all known fields of that name."""
    if "." in name:
        return {f".{name}"}
    paths: Iterable[str] = COLUMNS.get(name, ())
    if name == "address":
        # None of Toast's names: the street in the feed, the whole address in the guide's example of an order.
        addresses = (path for paths in COLUMNS.values() for path in paths if path.startswith("deliveryInfo."))
        paths = ("deliveryInfo.address", *addresses)
    named = [path for path in known_fields().fields if path.rpartition(".")[2] == name] if everywhere else []
    return {name, *(f".{path}" for path in (*paths, *named))}


def _strictest(rules: set[Rule | None]) -> Rule | None:
    return "drop" if "drop" in rules else "hash" if "hash" in rules else None


def _normal(name: str, value: bytes, beside: Mapping[str, msgspec.Raw]) -> str:
    """The text that is hashed for a string or a number. An e-mail or a phone has the form in which feeds have it, so
    that a guest has one hash; everything else is as it is."""
    is_text = value[:1] == b'"'
    text = msgspec.json.decode(value, type=str) if is_text else value.decode()
    if name == "email":
        return normal_email(text) or text.strip().lower()
    if name == "phone":
        code = msgspec.json.decode(beside["phoneCountryCode"]) if "phoneCountryCode" in beside else None
        country = str(code) if isinstance(code, str | int) else None
        return normal_phone(text if is_text else _digits(text), country) or text.strip().lower()
    return text


def _digits(number: str) -> str:
    """The digits of a JSON number, also where it is written with a fraction or an exponent."""
    try:
        value = Decimal(number)
    except ArithmeticError:
        return number
    return str(int(value)) if value.adjusted() < 15 and value == value.to_integral_value() else number
