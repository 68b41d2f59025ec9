"""The check of the census: what Toast lists by business day, a second witness beside ``ordersBulk``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toast_assets.checks.check import CheckedWeek, CheckResult, causes, of_restaurants
from toast_assets.markdown import first_of, plain
from toast_assets.store.manifest import LOOKS, VERDICTS, CensusRecord

_FIRST = 3


def no_order_missing(checked: CheckedWeek) -> CheckResult:
    """Every order and payment that Toast lists for the week's business days is stored, or due in a later week. Does not
    block: what is stored is right, and the next look asks again.

    An error where one is newly unknown: listed, stored in no week, and impossible to fetch; from the second look on a
    warning. An order that only the list had was fetched and is stored: a warning, with the window that should have
    returned it. Where Toast refuses the list the check does not pass: the census is not available.
    """
    records = checked.manifest.restaurants
    taken = {guid: record.census for guid, record in records.items() if record.census is not None}
    if not taken:
        return CheckResult(fine="No census was taken: TOAST_CENSUS is off, or an earlier release pulled the week.")
    problems = [*_unknown(checked, taken), *_found(checked, taken), *_not_available(checked, taken)]
    by_restaurant = [(one.total("orders"), one.total("payments")) for one in taken.values()]
    orders, payments = (
        {verdict: sum(totals[verdict] for totals in of) for verdict in VERDICTS}
        for of in zip(*by_restaurant, strict=True)
    )
    return CheckResult(
        problems,
        f"Of {orders['listed']} orders and {payments['listed']} payments that Toast lists, {orders['held']} and"
        f" {payments['held']} are stored; the others are due in a later week.",
        warns=not any(looks < LOOKS for one in taken.values() for looks in one.unknown.values()),
        figures={
            **{f"{verdict}_orders": orders[verdict] for verdict in VERDICTS},
            **{f"{verdict}_payments": payments[verdict] for verdict in VERDICTS},
            "not_available": sum(one.failure is not None for one in taken.values()),
        },
        heads=("restaurant", "orders", "payments", "not available"),
        rows=[
            (
                *(checked.named(guid), one.in_words("orders"), one.in_words("payments")),
                one.failure or one.payments_failure or "",
            )
            for guid, one in taken.items()
        ],
        causes=[
            *causes({guid: one.failure or "" for guid, one in taken.items()}),
            *causes({guid: one.payments_failure or "" for guid, one in taken.items()}),
        ],
    )


def _unknown(checked: CheckedWeek, taken: Mapping[str, CensusRecord]) -> Iterator[str]:
    for guid, one in taken.items():
        if one.unknown:
            first = ", ".join(first_of([*map(plain, one.unknown)], _FIRST))
            yield (
                f"{checked.named(guid)}: {len(one.unknown)} orders or payments that Toast lists are in no week, and"
                f" cannot be fetched: {first}. Materialize the week again with refresh: true; if they stay, ask Toast"
            )


def _found(checked: CheckedWeek, taken: Mapping[str, CensusRecord]) -> Iterator[str]:
    for guid, one in taken.items():
        if one.found:
            first = first_of([f"{plain(order)} in {window}" for order, window in one.found.items()], _FIRST)
            yield (
                f"{checked.named(guid)}: ordersBulk did not return {len(one.found)} orders that Toast lists; they were"
                f" fetched by GUID and are stored: {', '.join(first)}. Report the window to Toast"
            )


def _not_available(checked: CheckedWeek, taken: Mapping[str, CensusRecord]) -> Iterator[str]:
    """What Toast does not list, once for each reason."""
    restaurants: dict[str, list[str]] = {}
    for guid, one in taken.items():
        for what, failure in (("orders", one.failure), ("payments", one.payments_failure)):
            if failure and (what == "orders" or failure != one.failure):
                reason = f"The list of {what} is not available: {failure}"
                restaurants.setdefault(reason, []).append(checked.named(guid))
    for reason, some in sorted(restaurants.items(), key=lambda one: -len(one[1])):
        yield of_restaurants(reason, some, len(taken))
