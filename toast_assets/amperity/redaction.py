"""What leaves for Amperity: Toast's object without card and employee fields, and without what the setting names.

Works on the JSON's own bytes: only objects that hold such a field are put together anew, everything else, digits
included, stays as Toast sent it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import msgspec

from toast_assets.errors import UnrepresentableError

Rule = Literal["drop", "hash"]

# Personal data that no destination needs (Toast: payments; PCI DSS counts the first six and last four digits).
CARD_FIELDS = ("first6Digits", "last4Digits", "cardPaymentId", "networkTransactionIdentifier")
# Amperity recognises personal data by field name and would take an employee for a customer.
EMPLOYEE_FIELDS = ("server", "openedBy", "approver", "voidUser", "voidApprover", "deliveryEmployee")

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True)
class Redaction:
    """Which fields are left out or hashed, at any depth. ``salt`` keys the hashes (HMAC-SHA-256, hexadecimal)."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    salt: bytes = b""

    @cached_property
    def _all_rules(self) -> dict[str, Rule]:
        always: dict[str, Rule] = dict.fromkeys((*CARD_FIELDS, *EMPLOYEE_FIELDS), "drop")
        return {**self.rules, **always}

    @cached_property
    def _mentions(self) -> re.Pattern[bytes]:
        names = "|".join(re.escape(name) for name in self._all_rules)
        # A backslash may hide a name behind an escape, so such a part is looked at in full.
        return re.compile(rb'"(?:%s)"|\\' % names.encode())

    def apply(self, body: bytes) -> bytes:
        """The JSON value with the rules applied.

        Raises:
            UnrepresentableError: the bytes cannot be read as JSON, so nobody knows what they hold.
        """
        try:
            return self._applied(body.strip())
        except (msgspec.DecodeError, RecursionError):
            # The cause may quote the record.
            raise UnrepresentableError("the record cannot be read, so it cannot be redacted") from None

    def _applied(self, body: bytes) -> bytes:
        if body[:1] not in (b"{", b"[") or not self._mentions.search(body):
            return body
        if body[:1] == b"[":
            return b"[" + b",".join(self._applied(bytes(item)) for item in _decode_array(body)) + b"]"
        parts = []
        for name, raw in _decode_object(body).items():
            rule = self._all_rules.get(name)
            if rule == "drop":
                continue
            value = self._hashed_value(bytes(raw)) if rule == "hash" else self._applied(bytes(raw))
            parts.append(msgspec.json.encode(name) + b":" + value)
        return b"{" + b",".join(parts) + b"}"

    def _hashed_value(self, value: bytes) -> bytes:
        """Strings and numbers become their hash, in objects and arrays each by itself; null stays null."""
        if value[:1] == b"{":
            fields = (
                msgspec.json.encode(name) + b":" + self._hashed_value(bytes(raw))
                for name, raw in _decode_object(value).items()
            )
            return b"{" + b",".join(fields) + b"}"
        if value[:1] == b"[":
            return b"[" + b",".join(self._hashed_value(bytes(item)) for item in _decode_array(value)) + b"]"
        if value in (b"null", b"true", b"false"):
            return value
        return msgspec.json.encode(
            self.hashed(msgspec.json.decode(value, type=str) if value[:1] == b'"' else value.decode())
        )

    def hashed(self, text: str) -> str:
        """What stands for ``text``: HMAC-SHA-256 keyed by the salt, hexadecimal."""
        return hmac.new(self.salt, text.encode(), hashlib.sha256).hexdigest()
