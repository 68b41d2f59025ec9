"""Checks of the raw orders. The first paragraph of each docstring is what the UI shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from math import ceil, sqrt
from statistics import median

from toast_assets.checks.check import CheckedWeek, CheckResult, causes, of_restaurants
from toast_assets.checks.drift import KINDS, DriftFinding
from toast_assets.checks.facts import WeekFacts
from toast_assets.errors import StoreError, split_code
from toast_assets.orders.raw_file import UnreadableFileError
from toast_assets.orders.unreadable import read_lines
from toast_assets.pull.estimate import in_words
from toast_assets.scratch import scratch_folder
from toast_assets.store.layout import restaurant_in
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.names import stored_rows
from toast_assets.tables.schema import RESTAURANTS

# With fewer earlier weeks there is no "usual", with fewer orders a share means nothing.
_FEWEST_WEEKS = 3
_FEWEST_ORDERS = 10
# "Online" is takeout by another name: orders that guests place under their names.
_AWAY = frozenset({"DELIVERY", "TAKE_OUT", "Online"})
_NO_NAMES = "Names were not read for this week (TOAST_NAMES is off, or an earlier release pulled it)."
# By whether the names of the restaurant were read for the week.
_NAMELESS = {
    True: "archived before the first pull that read names, or deleted",
    False: "of a restaurant whose names were not read for this week",
}
_NEVER_ORDERED = (
    "no order in any stored week. It is new, or the client may not read its orders: Toast can answer that with an empty"
    " list. Check the client's access and scopes for it, or remove it from TOAST_RESTAURANT_GUID"
)


def every_restaurant_complete(checked: CheckedWeek) -> CheckResult:
    """Every restaurant's week was pulled and proved whole. Does not block: what is whole goes on."""
    reasons = dict(checked.manifest.failures)
    reasons |= dict.fromkeys(checked.manifest.pending, "not pulled yet: a run was cut off")
    return CheckResult(
        [f"{checked.named(guid)}: {reason}" for guid, reason in reasons.items()],
        "All restaurants are complete.",
        figures={"restaurants": len(checked.manifest.restaurants), "missing": len(reasons)},
        heads=("restaurant", "reason", "code"),
        rows=[(checked.named(guid), *split_code(reason)) for guid, reason in reasons.items()],
        causes=causes(reasons),
    )


def every_order_readable(checked: CheckedWeek) -> CheckResult:
    """Every order that Toast returned could be read and placed. Does not block: one that cannot is kept aside and
    affects no other order.

    An object that is damaged is named as such: what only warns must not fail a run.
    """
    layout, bucket = checked.store.layout, checked.store.bucket
    folder = layout.unreadable_folder(checked.week)
    rows = [
        (checked.named(guid), count, reason, window, bucket.uri(key))
        for key in bucket.keys(folder)
        if (guid := restaurant_in(key, folder, ".ndjson.gz"))
        for count, reason, window in _unreadable_orders(checked.store, key)
    ]
    return CheckResult(
        [
            f"{name}: {count} orders cannot be read ({reason}; window {window}); they are kept in {uri}"
            for name, count, reason, window, uri in rows
        ],
        "Every order could be read.",
        warns=True,
        figures={"unreadable_orders": sum(count for _, count, *_ in rows)},
        heads=("restaurant", "orders", "reason", "first window"),
        rows=[row[:4] for row in rows],
    )


def _unreadable_orders(store: OrderStore, key: str) -> list[tuple[int, str, str]]:
    """Counts, reasons and first windows of orders that cannot be read, and nothing of what is in them."""
    counts: Counter[str] = Counter()
    windows: dict[str, str] = {}
    with scratch_folder() as folder:
        if store.bucket.fetch(key, folder / "lines") is not None:
            try:
                for line in read_lines(folder / "lines"):
                    counts[line.reason] += 1
                    windows.setdefault(line.reason, f"{line.window_start} to {line.window_end}")
            except UnreadableFileError as error:
                reason = f"the object itself cannot be read: {error}; restore an earlier version of it, or remove it"
                counts[reason] += 1
                windows[reason] = "unknown"
    return [(count, reason, windows[reason]) for reason, count in counts.most_common()]


def order_guids_unique(checked: CheckedWeek) -> CheckResult:
    """Each order is once in its restaurant's week. Blocks: a record that is sent twice is wrong twice. One GUID at
    two restaurants only warns, and so does a restaurant whose raw orders cannot be read.

    An error, too, if no restaurant's raw orders can be read.
    """
    facts = checked.facts
    repeated = [
        (checked.named(guid), one.repeats, ", ".join(one.first_repeated))
        for guid, one in facts.restaurants.items()
        if one.repeats
    ]
    shared = [(", ".join(map(checked.named, one.restaurants)), one.order_guid) for one in facts.shared]
    problems = [
        f"{name}: {count} orders are in the week more than once, such as {some.split(', ')[0]}"
        for name, count, some in repeated
    ]
    problems += [f"{names}: each of them has the order {order}" for names, order in shared]
    return CheckResult(
        [*problems, *checked.damaged],
        "Every order is in its week once.",
        warns=not repeated and bool(facts.restaurants),
        figures={
            "repeated_orders": sum(count for _, count, _ in repeated),
            "orders_at_several_restaurants": facts.shared_orders,
        },
        heads=("restaurant", "what", "orders"),
        rows=[
            *((name, f"in the week more than once: {count}", some) for name, count, some in repeated),
            *((names, "each of them has it", order) for names, order in shared),
        ],
        causes=checked.damaged_causes,
    )


def modified_times_inside_week(checked: CheckedWeek) -> CheckResult:
    """Every order was modified within the week. Does not block: what is stored stays stored, so that a week whose
    bounds were set differently once would never be delivered again."""
    found = [(checked.named(guid), one) for guid, one in checked.facts.restaurants.items() if one.outside_week]
    rows = [
        (name, one.outside_week, in_words(ceil(one.farthest_outside_ms / 1000)), ", ".join(one.first_outside))
        for name, one in found
    ]
    problems = [
        f"{name}: {count} orders were modified outside, by up to {distance}, such as {some.split(', ')[0]}"
        for name, count, distance, some in rows
    ]
    start, end = checked.week.start, checked.week.end
    return CheckResult(
        [*problems, *checked.damaged],
        f"All were modified from {start:%Y-%m-%d %H:%M} until before {end:%Y-%m-%d %H:%M} UTC.",
        warns=True,
        figures={
            "orders_outside": sum(one.outside_week for _, one in found),
            "farthest_outside_seconds": max((one.farthest_outside_ms / 1000 for _, one in found), default=0.0),
        },
        heads=("restaurant", "orders outside", "by up to", "the first of them"),
        rows=rows,
        causes=checked.damaged_causes,
    )


def no_schema_drift(checked: CheckedWeek) -> CheckResult:
    """Orders have the fields, types and enum values of earlier weeks. What is new or has vanished is named by the first
    week that shows it, with its first order; later weeks do not name it again.

    What Toast documents is no news, except a type that costs amounts.
    """
    if checked.facts.reports_failure is not None:
        return CheckResult([_not_looked_at(checked.facts)], warns=True)
    fields, history = checked.fields, checked.field_history
    drift = history.drift(fields)
    new = {one.path for one in drift if one.kind == "new field"}
    kinds = Counter(one.kind for one in drift)
    fine = f"Nothing is new compared with {history.weeks} earlier weeks."
    if not history.weeks:
        first = "No earlier week has a record of its fields" if history.unrecorded else "This is the first stored week"
        fine = f"{first}: {len(fields) - 1} fields recorded."
    return CheckResult(
        # What is inside a new field is new with it: the rows alone have it.
        [_drifted(one) for one in drift if one.kind != "new field" or one.path.rpartition(".")[0] not in new],
        fine,
        warns=True,
        # "new_fields", "new_values", "other_types", "vanished_fields"
        figures={f"{kind.replace(' ', '_')}s": kinds[kind] for kind in KINDS}
        | {"fields": len(fields) - 1, "earlier_weeks": history.weeks, "unrecorded_weeks": history.unrecorded},
        heads=("what", "field", "value", "times", "first order"),
        rows=[(one.kind, one.path, one.value or "", one.times or "", one.first_order or "") for one in drift],
    )


def _not_looked_at(facts: WeekFacts) -> str:
    found = f"Fields, names and guests of these orders could not be looked at ({facts.reports_failure})"
    return f"{found}; nothing depends on it"


def _drifted(one: DriftFinding) -> str:
    value = f" = {one.value}" if one.value else ""
    times = f", {one.times} times" if one.times else ""
    return f"{one.kind} {one.path}{value}{times} (first in order {one.first_order})"


def guests_scope_present(checked: CheckedWeek) -> CheckResult:
    """Takeout and delivery orders name guests; if none does, the credential lacks the scope guest.pi:read.

    Toast requires a guest where its configuration calls the dining option takeout or delivery: if no order of the week
    names a guest, one such order is enough to warn. Otherwise it takes ten.
    """
    facts = checked.facts
    if facts.reports_failure is not None:
        return CheckResult([_not_looked_at(facts)], warns=True)
    found = [(channel, one) for of in facts.restaurants.values() for channel, one in of.channels.items()]
    away = [one for channel, one in found if channel in _AWAY]
    orders, named = sum(one.orders for one in away), sum(one.with_guest for one in away)
    nobody = not any(one.with_guest for _, one in found)
    enough = orders >= _FEWEST_ORDERS or (nobody and any(one.certain for one in away))
    problem = (
        f"None of {orders} takeout and delivery orders names a guest: the credential lacks the scope guest.pi:read."
        " Ask Toast to add it, then materialize the week again with refresh: true"
    )
    return CheckResult(
        [problem] if enough and not named else [],
        f"{named} of {orders} takeout and delivery orders name a guest.",
        warns=True,
        figures={"takeout_and_delivery": orders, "with_guest": named},
    )


def guests_reachable(checked: CheckedWeek) -> CheckResult:
    """A report: the share of orders with an e-mail or a phone, by restaurant and channel.

    It never fails.
    """
    facts = checked.facts
    if facts.reports_failure is not None:
        return CheckResult(fine=_not_looked_at(facts))
    found = [(guid, *one) for guid, of in facts.restaurants.items() for one in of.channels.items()]
    found.sort(key=lambda row: (row[0], -row[2].orders))
    of_all = {guid: sum(one.orders for one in of.channels.values()) for guid, of in facts.restaurants.items()}
    orders, reached = sum(of_all.values()), sum(one.reachable for *_, one in found)
    return CheckResult(
        fine=f"{reached} of {orders} orders ({_share(reached, orders):.0%}) have an e-mail or a phone.",
        figures={"orders": orders, "reachable_orders": reached, "reachable_share": round(_share(reached, orders), 4)},
        heads=("restaurant", "channel", "orders", "share of orders", "with a guest", "with e-mail or phone"),
        rows=[
            (
                *(checked.named(guid), channel, one.orders, f"{_share(one.orders, of_all[guid]):.0%}"),
                *(one.with_guest, f"{one.reachable} ({_share(one.reachable, one.orders):.0%})"),
            )
            for guid, channel, one in found
        ],
    )


def _share(part: int, of: int) -> float:
    return part / of if of else 0.0


def names_known(checked: CheckedWeek) -> CheckResult:
    """Dining options, menu items, discounts, … in orders have a name from Toast's configuration. Does not block: names
    are for reports."""
    facts, records = checked.facts, checked.manifest.restaurants
    unread = {guid: record.names_failure for guid, record in records.items() if record.names_failure}
    problems, found_causes = _unread_names(checked, unread), causes(unread)
    if facts.reports_failure is not None:
        return CheckResult([*problems, _not_looked_at(facts)], warns=True, causes=found_causes)
    was_read = any(record.names_read_at for record in records.values())
    if not (problems or was_read or facts.names_version or facts.names_failure):
        return CheckResult(fine=_NO_NAMES)
    found = [(guid, *one) for guid, of in facts.restaurants.items() for one in of.names.items()]
    found.sort(key=lambda row: -row[2].without_name)
    guids, unnamed = sum(one.guids for *_, one in found), sum(one.without_name for *_, one in found)
    if facts.names_failure is not None:
        problems.append(facts.names_failure)
        found_causes.append(split_code(facts.names_failure)[1])
    elif unnamed:
        were_read = {bool(records[guid].names_read_at) for guid, _, one in found if one.without_name}
        reasons = " or ".join(_NAMELESS[one] for one in sorted(were_read, reverse=True))
        problems.append(f"{unnamed} of {guids} GUIDs ({_share(unnamed, guids):.1%}) have no name: {reasons}")
    return CheckResult(
        problems,
        f"All {guids} GUIDs have a name.",
        warns=True,
        figures={"guids": guids, "guids_without_name": unnamed, "share_without_name": round(_share(unnamed, guids), 4)},
        heads=("restaurant", "kind", "GUIDs", "without a name", "share"),
        rows=[
            (checked.named(guid), kind, one.guids, one.without_name, f"{_share(one.without_name, one.guids):.0%}")
            for guid, kind, one in found
        ],
        causes=found_causes,
    )


def _unread_names(checked: CheckedWeek, unread: Mapping[str, str]) -> list[str]:
    """Why the configuration of restaurants could not be read: each reason once, the most frequent first."""
    restaurants = dict[str, list[str]]()
    for guid, failure in unread.items():
        restaurants.setdefault(failure, []).append(checked.named(guid))
    return [
        of_restaurants(reason, some, len(checked.manifest.restaurants))
        for reason, some in sorted(restaurants.items(), key=lambda one: -len(one[1]))
    ]


def volume_as_usual(checked: CheckedWeek) -> CheckResult:
    """Each restaurant has about as many orders as in its own last weeks, and has had an order in some stored week.

    A week is unusual if it differs from the median by more than 40 %, by more than four times its usual distance from
    it, and by more than chance moves a count of that size (three times its square root). A restaurant that usually
    trades and was not even asked for is unusual too, as no other check can miss it.
    """
    manifest = checked.manifest
    before: dict[str, list[int]] = {}
    for one in checked.earlier:
        for guid, pull in one.stored.items():
            before.setdefault(guid, []).append(pull.orders)
    compared = 0
    problems: list[str] = []
    rows: list[tuple[str, int | str, str, int]] = []
    for guid, weeks in before.items():
        if len(weeks) < _FEWEST_WEEKS:
            continue
        middle = median(weeks)
        distance = median(abs(count - middle) for count in weeks)
        usual = f"{middle:.0f}"
        if guid in manifest.stored:
            compared += 1
            orders, name = manifest.stored[guid].orders, checked.named(guid)
            if abs(orders - middle) > max(0.4 * middle, 4 * distance, 3 * sqrt(middle)):
                problems.append(f"{name}: {orders} orders, usually {usual}")
                rows.append((name, orders, usual, len(weeks)))
        elif guid not in manifest.restaurants and guid not in manifest.pending and middle:
            name = next(checked.named(guid, one) for one in checked.earlier if guid in one.stored)
            problems.append(f"{name}: not asked for, usually {usual} orders")
            rows.append((name, "not asked for", usual, len(weeks)))
    figures = {"unusual_restaurants": len(rows), "compared_restaurants": compared}
    never = sorted(map(checked.named, _never_ordered(checked)))
    problems += [f"{name}: {_NEVER_ORDERED}" for name in never]
    rows += [(name, 0, "no order in any stored week", 0) for name in never]
    return CheckResult(
        problems,
        f"{compared} of {len(manifest.stored)} restaurants have earlier weeks to compare with, and are as usual.",
        warns=True,
        figures={**figures, "restaurants_without_orders": len(never)},
        heads=("restaurant", "orders", "usual", "earlier weeks"),
        rows=rows,
    )


def _never_ordered(checked: CheckedWeek) -> set[str]:
    """The restaurants whose week is complete and without orders, and so is every other week that is stored of them;
    without those that Toast has archived."""
    records = checked.manifest.restaurants
    found = {guid for guid, pull in checked.manifest.stored.items() if records[guid].outcome == "complete"}
    for one in chain((checked.manifest,), checked.earlier, checked.others()):
        ordered = {guid.lower() for guid, pull in one.stored.items() if pull.orders or pull.unreadable}
        found = {guid for guid in found if guid.lower() not in ordered}
        if not found:
            return found
    # Which are archived only shortens the list.
    with suppress(StoreError):
        described = stored_rows(checked.store, RESTAURANTS).select(["restaurant_guid", "archived"]).to_pylist()
        found -= {row["restaurant_guid"] for row in described if row["archived"]}
    return found
