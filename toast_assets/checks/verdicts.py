"""What the asset checks conclude from the facts of a week: pure functions, each with its reasons in words.

Order GUIDs, restaurants, counts and field names are all that is ever named, and however long they are, texts and rows
stay short.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import median

from toast_assets.checks.inspection import DriftFinding, Inspection
from toast_assets.checks.unreadable import UnreadableOrders
from toast_assets.markdown import plain
from toast_assets.store.manifest import Manifest
from toast_assets.week import Week

_MOST_REASONS = 10
_LONGEST_REASON = 500
# Below so many earlier weeks there is no "usual", below so many orders no share means anything.
_FEWEST_WEEKS = 3
_FEWEST_ORDERS = 10
# Takeout by another name: orders that guests place under their names.
_AWAY = frozenset({"DELIVERY", "TAKE_OUT", "Online"})


@dataclass(frozen=True)
class Verdict:
    """Whether a check passed and why; ``warns`` says that a failure deserves a look rather than a stop.

    ``figures`` are numbers under names that stay, ``rows`` below ``heads`` the details.
    """

    passed: bool
    description: str
    warns: bool = False
    figures: Mapping[str, int | float] = field(default_factory=dict)
    heads: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()


def verdict(
    problems: Sequence[str],
    fine: str,
    *,
    warns: bool = False,
    figures: Mapping[str, int | float] | None = None,
    heads: Sequence[str] = (),
    rows: Sequence[Sequence[object]] = (),
) -> Verdict:
    """Passed with ``fine`` if there are no ``problems``; else failed with the first of them."""
    return Verdict(not problems, listed(problems) or fine, warns, figures or {}, heads, rows)


def listed(problems: Sequence[str]) -> str:
    """Problems as one text; of many the first, with the number of the others."""
    more = len(problems) - _MOST_REASONS
    first = "; ".join(plain(problem, _LONGEST_REASON) for problem in problems[:_MOST_REASONS])
    return first + (f"; and {more} more" if more > 0 else "")


def named(manifest: Manifest, guid: str) -> str:
    """A restaurant as people know it, with its GUID; the GUID alone where the manifest has no name."""
    record = manifest.restaurants.get(guid)
    return f"{plain(record.name)} ({guid})" if record is not None and record.name else guid


def damaged(manifest: Manifest, found: Inspection) -> list[str]:
    """The restaurants whose raw orders cannot be read, each with the reason."""
    return [f"{named(manifest, guid)}: {reason}" for guid, reason in found.damaged.items()]


def every_restaurant_complete(manifest: Manifest) -> Verdict:
    """Every restaurant's week was pulled and proved whole."""
    reasons = dict(manifest.failures)
    reasons |= dict.fromkeys(manifest.pending, "not pulled yet: a run was cut off")
    rows = [(named(manifest, guid), reason) for guid, reason in reasons.items()]
    return verdict(
        [f"{name}: {reason}" for name, reason in rows],
        "All restaurants are complete.",
        figures={"restaurants": len(manifest.restaurants), "missing": len(reasons)},
        heads=("restaurant", "reason"),
        rows=rows,
    )


def every_order_readable(manifest: Manifest, found: Iterable[UnreadableOrders]) -> Verdict:
    """Every order that Toast returned could be read and placed."""
    rows = [
        (named(manifest, one.guid), count, reason, one.windows[reason], one.uri)
        for one in found
        for reason, count in one.reasons.most_common()
    ]
    return verdict(
        [
            f"{name}: {count} orders cannot be read ({reason}; window {window}); they are kept in {uri}"
            for name, count, reason, window, uri in rows
        ],
        "Every order could be read.",
        warns=True,
        figures={"unreadable_orders": sum(count for _, count, *_ in rows)},
        heads=("restaurant", "orders", "reason", "first window", "object"),
        rows=rows,
    )


def order_guids_unique(manifest: Manifest, found: Inspection) -> Verdict:
    """Each order stands once in its restaurant's week, and in one restaurant's.

    An order that stands twice in one is an error, as a record would be sent twice. One GUID at two restaurants warns:
    these are two orders. So does a restaurant whose raw orders cannot be read, unless there is no other.
    """
    repeated = [
        (named(manifest, guid), facts.repeats, ", ".join(facts.repeated))
        for guid, facts in found.restaurants.items()
        if facts.repeats
    ]
    shared = [(", ".join(named(manifest, guid) for guid in one.restaurants), one.order_guid) for one in found.shared]
    problems = [
        f"{name}: {count} orders stand more than once, such as {some.split(', ')[0]}" for name, count, some in repeated
    ]
    problems += [f"{names}: the order {order} stands at each of them" for names, order in shared]
    return verdict(
        [*problems, *damaged(manifest, found)],
        "Every order stands once.",
        warns=not repeated and bool(found.restaurants),
        figures={
            "repeated_orders": sum(count for _, count, _ in repeated),
            "orders_at_several_restaurants": found.shared_orders,
        },
        heads=("restaurant", "what", "orders"),
        rows=[
            *((name, f"{count} stand more than once", some) for name, count, some in repeated),
            *((names, "stands at each of them", order) for names, order in shared),
        ],
    )


def modified_times_inside_week(week: Week, manifest: Manifest, found: Inspection) -> Verdict:
    """Every order was modified within the week."""
    rows = [
        (named(manifest, guid), facts.strays, ", ".join(facts.outside))
        for guid, facts in found.restaurants.items()
        if facts.strays
    ]
    problems = [
        f"{name}: {count} orders were modified outside, such as {some.split(', ')[0]}" for name, count, some in rows
    ]
    return verdict(
        [*problems, *damaged(manifest, found)],
        f"All were modified from {week.start:%Y-%m-%d %H:%M} until before {week.end:%Y-%m-%d %H:%M} UTC.",
        warns=True,
        figures={"orders_outside": sum(count for _, count, _ in rows)},
        heads=("restaurant", "orders outside", "the first of them"),
        rows=rows,
    )


def no_schema_drift(found: Inspection) -> Verdict:
    """Orders have the fields, types and enum values that are recorded."""
    if found.reports_failure is not None:
        return verdict([_not_looked_at(found)], "", warns=True)
    new = {one.path for one in found.drift if one.kind == "new field"}
    # What is inside a new field is new with it, and stands in the rows alone.
    problems = [_drifted(one) for one in found.drift if one.kind != "new field" or _parent(one.path) not in new]
    kinds = [one.kind for one in found.drift]
    return verdict(
        problems,
        "Orders look as recorded.",
        warns=True,
        figures={
            "new_fields": kinds.count("new field"),
            "new_values": kinds.count("new value"),
            "other_types": kinds.count("other type"),
            "vanished_fields": kinds.count("vanished field"),
        },
        heads=("what", "field", "value", "times", "first order"),
        rows=[(one.kind, one.path, one.value or "", one.times or "", one.first_order or "") for one in found.drift],
    )


def _not_looked_at(found: Inspection) -> str:
    return f"Fields and guests of these orders could not be looked at ({found.reports_failure}); nothing depends on it"


def _drifted(one: DriftFinding) -> str:
    value = f" = {one.value}" if one.value else ""
    times = f", {one.times} times" if one.times else ""
    return f"{one.kind} {one.path}{value}{times} (first in order {one.first_order})"


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def guests_scope_present(found: Inspection) -> Verdict:
    """Somebody is named on takeout and delivery orders; where nobody is, the credential may not read guests."""
    if found.reports_failure is not None:
        return verdict([_not_looked_at(found)], "", warns=True)
    away = [reach for facts in found.restaurants.values() for name, reach in facts.channels.items() if name in _AWAY]
    orders, named = sum(one.orders for one in away), sum(one.with_guest for one in away)
    problems = []
    if orders >= _FEWEST_ORDERS and not named:
        problems.append(
            f"None of {orders} takeout and delivery orders names a guest: the credential lacks the scope guest.pi:read."
            " Ask Toast to add it, then materialize the week again with refresh: true"
        )
    fine = f"{named} of {orders} takeout and delivery orders name a guest."
    return verdict(problems, fine, warns=True, figures={"takeout_and_delivery": orders, "with_guest": named})


def guests_reachable(found: Inspection, names: Mapping[str, str]) -> Verdict:
    """A report, never a failure: the share of orders with an e-mail or phone, by restaurant and channel."""
    if found.reports_failure is not None:
        return Verdict(True, _not_looked_at(found))
    rows = [
        (names.get(guid, guid), channel, one.orders, one.with_guest, one.reachable, f"{one.reachable / one.orders:.0%}")
        for guid, facts in found.restaurants.items()
        for channel, one in facts.channels.items()
    ]
    orders = sum(one.orders for facts in found.restaurants.values() for one in facts.channels.values())
    reached = sum(one.reachable for facts in found.restaurants.values() for one in facts.channels.values())
    share = reached / orders if orders else 0.0
    return Verdict(
        True,
        f"{reached} of {orders} orders ({share:.0%}) have an e-mail or a phone.",
        figures={"orders": orders, "reachable_orders": reached, "reachable_share": round(share, 4)},
        heads=("restaurant", "channel", "orders", "with a guest", "with e-mail or phone", "share"),
        rows=rows,
    )


def volume_as_usual(manifest: Manifest, earlier: Iterable[Manifest]) -> Verdict:
    """Each restaurant's orders against the median of its own last weeks.

    A week is unusual if it differs from the median by more than 40 %, by more than four times its usual distance from
    it, and by more than chance moves a count of that size (three times its square root). A restaurant that usually
    trades and was not even asked for is unusual too: no other check can miss what it has never heard of.
    """
    before: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    for one in earlier:
        for guid, pull in one.stored.items():
            before.setdefault(guid, []).append(pull.orders)
            names.setdefault(guid, named(one, guid))
    rows: list[tuple[str, int | str, str, int]] = []
    compared = 0
    for guid, weeks in before.items():
        if len(weeks) < _FEWEST_WEEKS:
            continue
        usual = median(weeks)
        if guid in manifest.stored:
            compared += 1
            orders = manifest.stored[guid].orders
            if _is_unusual(orders, weeks):
                rows.append((named(manifest, guid), orders, f"{usual:.0f}", len(weeks)))
        elif guid not in manifest.restaurants and guid not in manifest.pending and usual:
            rows.append((names[guid], "not asked for", f"{usual:.0f}", len(weeks)))
    return verdict(
        [
            f"{name}: {orders} orders, usually {usual}"
            if isinstance(orders, int)
            else f"{name}: {orders}, usually {usual} orders"
            for name, orders, usual, _ in rows
        ],
        f"{compared} of {len(manifest.stored)} restaurants have earlier weeks to compare with, and are as usual.",
        warns=True,
        figures={"unusual_restaurants": len(rows), "compared_restaurants": compared},
        heads=("restaurant", "orders", "usual", "earlier weeks"),
        rows=rows,
    )


def _is_unusual(orders: int, weeks: Sequence[int]) -> bool:
    usual = median(weeks)
    distance = median(abs(count - usual) for count in weeks)
    return abs(orders - usual) > max(0.4 * usual, 4 * distance, 3 * sqrt(usual))
