"""What every asset check is given, and what it concludes.

Order GUIDs, restaurants, counts and field names are all that is ever named, and however long they are, texts and rows
stay short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.drift import FieldHistory, Fields
from toast_assets.checks.facts import WeekFacts, field_history, week_facts, week_fields
from toast_assets.errors import split_code
from toast_assets.markdown import first_of, plain
from toast_assets.store.manifest import Manifest
from toast_assets.store.order_store import OrderStore
from toast_assets.store.raw_weeks import earlier_manifests, one_restaurant
from toast_assets.week import Week, WeekCalendar

_MOST_REASONS = 10
_LONGEST_REASON = 500
_WEEKS_COMPARED = 6
_FIRST_RESTAURANTS = 3


@dataclass
class CheckedWeek:
    """A stored week under check. ``facts`` and all below are read when a check first asks for them; ``amperity`` gives
    Amperity's settings."""

    week: Week
    manifest: Manifest
    store: OrderStore
    amperity: Callable[[], AmperitySettings]
    calendar: WeekCalendar = field(default_factory=WeekCalendar)

    @cached_property
    def facts(self) -> WeekFacts:
        return week_facts(self.week, self.manifest, self.store)

    @cached_property
    def fields(self) -> Fields:
        """The fields of the week's orders."""
        return self.facts.fields or week_fields(self.week, self.manifest, self.store)

    @cached_property
    def field_history(self) -> FieldHistory:
        """The fields of all weeks before."""
        return field_history(self.week, self.store)

    @cached_property
    def earlier(self) -> Iterable[Manifest]:
        """The manifests of the weeks before, the nearest first."""
        found = earlier_manifests(self.week, self.calendar, self.store, _WEEKS_COMPARED)
        return [manifest for _, manifest in found]

    def others(self) -> Iterator[Manifest]:
        """The manifests of all stored weeks but this one and ``earlier``, the newest first, without damaged ones."""
        known = {self.week.key, *(manifest.partition for manifest in self.earlier)}
        for key in reversed(self.store.pulled_weeks()):
            if key not in known:
                with one_restaurant(key, {}, self.store):
                    manifest, _ = self.store.load_manifest(replace(self.week, key=key))
                    if manifest is not None:
                        yield manifest

    def named(self, guid: str, manifest: Manifest | None = None) -> str:
        """A restaurant's name in the ``manifest`` of this or another week, with its GUID; else the GUID alone."""
        return (manifest or self.manifest).named(guid)

    @property
    def damaged(self) -> list[str]:
        """The restaurants whose raw orders cannot be read, each with the reason."""
        return [f"{self.named(guid)}: {reason}" for guid, reason in self.facts.damaged.items()]

    @property
    def damaged_causes(self) -> list[str]:
        """The codes of these reasons, as causes of a result."""
        return causes(self.facts.damaged)


@dataclass(frozen=True)
class CheckResult:
    """What a check found: it passed, with ``fine`` to say, if there are no ``problems``.

    ``warns`` says that a failure deserves a look rather than a stop. ``figures`` are numbers under names that stay,
    ``rows`` below ``heads`` the details. ``causes`` are the codes of the errors behind the problems, where there are
    any, each with the restaurant that it is about after a blank: ``TOAST-403-RESTAURANT 4a1c…``. A problem that quotes
    an error ends with the error's code; for all others stands the code of the check itself.
    """

    problems: Sequence[str] = ()
    fine: str = ""
    warns: bool = False
    figures: Mapping[str, int | float] = field(default_factory=dict)
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()
    causes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        return not self.problems

    @property
    def description(self) -> str:
        """The problems as one text; of many the first, with the number of the others."""
        more = len(self.problems) - _MOST_REASONS
        first = "; ".join(map(_shortened, self.problems[:_MOST_REASONS]))
        return (first + (f"; and {more} more" if more > 0 else "")) or self.fine


def causes(reasons: Mapping[str, str]) -> list[str]:
    """The codes at the ends of reasons by restaurant, each with the restaurant; texts of earlier releases have none."""
    return [f"{code} {guid}" for guid, reason in reasons.items() if (code := split_code(reason)[1])]


def of_restaurants(reason: str, names: Sequence[str], total: int) -> str:
    """A reason that the restaurants called ``names`` share, of ``total``; the code at its end stays there."""
    text, code = split_code(reason)
    named = ", ".join(first_of(names, _FIRST_RESTAURANTS))
    return f"{text.rstrip('.')} ({len(names)} of {total} restaurants: {named})" + (f" [{code}]" if code else "")


def _shortened(problem: str) -> str:
    text, code = split_code(problem)
    return plain(text, _LONGEST_REASON) + (f" [{code}]" if code else "")
