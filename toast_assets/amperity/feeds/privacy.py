"""The privacy setting, applied to feed rows: every key stays, what is left out is null."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import msgspec

from toast_assets.amperity.feeds.schema import Row
from toast_assets.amperity.redaction import COLUMNS, Redaction, Rule

_KEYS = ("customer_id", "fk_customer")
_DERIVED_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FeedPrivacy:
    """``redaction``'s rules for the rows of a feed: by fields of Toast's order that the row repeats, or by its own.

    A guest's key that is the plain hash of an e-mail or a phone could be found by trying, so where one of the two is
    under a rule such keys are hashed once more, with the salt.
    """

    redaction: Redaction

    @cached_property
    def _rules(self) -> dict[str, Rule]:
        repeated = {name: {self.redaction.rule_of(path) for path in paths} for name, paths in COLUMNS.items()}
        by_toast: dict[str, Rule] = {
            name: "drop" if "drop" in rules else "hash" for name, rules in repeated.items() if rules != {None}
        }
        return {**self.redaction.rules, **by_toast}

    @cached_property
    def _guards_contacts(self) -> bool:
        return not self._rules.keys().isdisjoint(("email", "phone"))

    def apply(self, row: Row) -> Row:
        """The row with the rules applied."""
        changes: dict[str, str | None] = {}
        for name, rule in self._rules.items():
            value = getattr(row, name, None)
            if value is not None:
                changes[name] = self.redaction.hashed(str(value)) if rule == "hash" else None
        for name in _KEYS if self._guards_contacts else ():
            value = getattr(row, name, None)
            if value is not None and _DERIVED_KEY.fullmatch(value):
                changes[name] = self.redaction.hashed(value)
        return msgspec.structs.replace(row, **changes) if changes else row
