"""The privacy setting, applied to feed rows: every key stays, what is left out is null."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec

from toast_assets.amperity.feeds.schema import Row
from toast_assets.amperity.redaction import Redaction, Rule

# Toast's names, which the setting uses, and the fields that they become.
FIELDS = {
    "firstName": ("given_name",),
    "lastName": ("surname",),
    "email": ("email",),
    "phone": ("phone",),
    "address": ("address", "address2", "city", "state", "postal", "country"),
    "address1": ("address",),
    "address2": ("address2",),
    "city": ("city",),
    "state": ("state",),
    "zipCode": ("postal",),
    "country": ("country",),
}


@dataclass(frozen=True)
class FeedPrivacy:
    """``redaction``'s rules for the rows of a feed, by Toast's names or the feed's own."""

    redaction: Redaction

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        rules: dict[str, Rule] = {}
        for name, rule in self.redaction.rules.items():
            rules |= dict.fromkeys(FIELDS.get(name, (name,)), rule)
        return rules

    def apply(self, row: Row) -> Row:
        """The row with the rules applied."""
        changes: dict[str, str | None] = {}
        for name, rule in self._rules.items():
            value = getattr(row, name, None)
            if value is not None:
                changes[name] = self.redaction.hashed(str(value)) if rule == "hash" else None
        return msgspec.structs.replace(row, **changes) if changes else row
