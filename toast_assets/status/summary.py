"""The table ``status`` in few lines: one for each week, and one for each cause by which restaurants are not fine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.errors import without_details
from toast_assets.markdown import plain
from toast_assets.status.rows import Row, standing

_LONGEST_NAME = 56
_SUMMED = ("orders", "delivered", "rejected", "pending", "census_found", "census_pending", "census_unknown")
_OF_CAUSE = ("week", "restaurant_guid", "restaurant_name", "state", "delivery", "reason", "next")


@dataclass(frozen=True)
class WeekLine:
    """A week over all restaurants: how many of them there are, how many are ``fine``, sums of counts by column, and
    second look and census in words."""

    week: str
    restaurants: int
    fine: int
    sums: Mapping[str, int]
    second_look: str
    census: str


@dataclass(frozen=True)
class Cause:
    """Restaurants (name and GUID) that are not fine in the same ``weeks``, oldest first, for the same ``reason``;
    ``everywhere``: it is all restaurants of these weeks."""

    weeks: tuple[str, ...]
    restaurants: tuple[tuple[str, str], ...]
    everywhere: bool
    standing: str
    reason: str
    next: str

    @property
    def when(self) -> str:
        """The weeks in words."""
        first, last, count = self.weeks[0], self.weeks[-1], len(self.weeks)
        return first if count == 1 else f"{first} to {last} ({count} weeks)"

    def named(self, most: int) -> list[str]:
        """The first ``most`` restaurants, and how many more there are."""
        count = len(self.restaurants)
        shown = [f"{_short(name)} ({guid})" if name else guid for name, guid in self.restaurants[:most]]
        return [*shown, *([f"and {count - most:,} more"] if count > most else [])]


def week_lines(table: pa.Table) -> list[WeekLine]:
    """A line for each week of the table, the newest first."""
    columns = ["week", "reason", "second_look", "second_look_at", "census", *_SUMMED]
    rows = table.select(columns).sort_by([("week", "descending")]).to_pylist()
    return [_line(str(day), list(of_week)) for day, of_week in groupby(rows, key=itemgetter("week"))]


def _line(week: str, rows: Sequence[Row]) -> WeekLine:
    sums = {name: sum(row[name] or 0 for row in rows) for name in _SUMMED}
    looks = {row["second_look"]: row["second_look_at"] for row in rows if row["second_look"]}
    look = next((look for look in ("due", "overdue", "not needed", "done") if look in looks), "–")
    look = f"due {looks['due']:%m-%d %H:%M}" if look == "due" else look
    taken = Counter(row["census"] for row in rows)
    found = [f"{sums[f'census_{name}']:,} {name}" for name in ("unknown", "found", "pending") if sums[f"census_{name}"]]
    found += [f"{taken['not available']} n/a"] if taken["not available"] else []
    census = ", ".join(found) or ("all held" if taken["taken"] else "–")
    return WeekLine(week, len(rows), sum(row["reason"] is None for row in rows), sums, look, census)


def causes(table: pa.Table) -> list[Cause]:
    """Why restaurants are not fine, the newest week first, and in it what concerns most restaurants."""
    rows = table.filter(pc.is_valid(table["reason"])).select(list(_OF_CAUSE)).to_pylist()
    sizes = {str(one["values"]): one["counts"] for one in pc.value_counts(table["week"]).to_pylist()}
    of_week: dict[tuple[str, str, str, str], list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        # The same outage has another request id for each restaurant.
        why = standing(row["state"], row["delivery"]), without_details(row["reason"]), row["next"]
        of_week[str(row["week"]), *why].append((row["restaurant_name"] or "", row["restaurant_guid"]))
    found: dict[tuple[tuple[tuple[str, str], ...], bool, str, str, str], list[str]] = defaultdict(list)
    for (week, *cause), some in sorted(of_week.items()):
        everywhere = len(some) == sizes[week] > 1
        found[tuple(sorted(some)), everywhere, cause[0], cause[1], cause[2]].append(week)
    made = [Cause(tuple(weeks), *key) for key, weeks in found.items()]
    return sorted(made, key=lambda one: (one.weeks[-1], len(one.restaurants)), reverse=True)


def _short(name: str) -> str:
    """A name that fits on a line with a GUID."""
    shown = plain(name)
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1].rstrip()}…"
