"""How ``ordersBulk`` filters: which time it goes by, how precisely, and which bound is part of a window.

A few reference orders are asked for in windows of a second and of a millisecond around their times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from toast_assets.probe.answers import Answer, answer, unseen
from toast_assets.probe.observed import Json
from toast_assets.probe.reading import Scene, Trial, has, time_of
from toast_assets.toast.page import Window

_REFERENCES = 3
_OTHER_TIMES = ("createdDate", "openedDate", "closedDate", "paidDate")
BOUNDS = ("filter_time", "milliseconds", "start_inclusive", "end_exclusive")


async def filter_time(scene: Scene) -> Answer:
    scene.trials = [await _try(scene, order) for order in _references(scene)]
    counts = Counter(field for trial in scene.trials for field in trial.fields)
    most = max(counts.values(), default=0)
    fields = [field for field in counts if counts[field] == most and 2 * most > len(scene.trials)]
    if not fields:
        return unseen(f"of {len(scene.trials)} orders that have a time of their own, no time found more than {most}")
    scene.filter_field = fields[0]
    return answer(
        fields[0] == "modifiedDate", f"{most} of {len(scene.trials)} orders were found by {' and '.join(fields)}"
    )


def milliseconds(scene: Scene) -> Answer:
    exact = [trial.around for trial in _found(scene)]
    return scene.spoilt("filter_time") or _by_most(exact, "orders were found by the millisecond")


def start_inclusive(scene: Scene) -> Answer:
    found = [trial.from_it for trial in _found(scene) if trial.around]
    spoilt = scene.spoilt("filter_time", "milliseconds")
    return spoilt or _by_most(found, "windows that begin at the time of an order returned it")


def end_exclusive(scene: Scene) -> Answer:
    lacking = [not trial.until_it for trial in _found(scene) if trial.around]
    spoilt = scene.spoilt("filter_time", "milliseconds")
    return spoilt or _by_most(lacking, "windows that end at the time of an order lack it")


def times_in_window(scene: Scene) -> Answer:
    outside = sum(len(window.outside) for window in scene.proved)
    reason = f"{outside} of {len(scene.observed.orders)} orders are outside of the window that returned them"
    # Where no trial says which time the filter uses, it may be another one.
    return scene.spoilt(*BOUNDS) or answer(not outside if scene.trials or not outside else None, reason)


def _by_most(votes: Sequence[bool], what: str) -> Answer:
    votes_for = sum(votes)
    is_tie = 2 * votes_for == len(votes)
    return answer(None if is_tie else 2 * votes_for > len(votes), f"{votes_for} of {len(votes)} {what}")


def _found(scene: Scene) -> list[Trial]:
    return [trial for trial in scene.trials if trial.fields == ("modifiedDate",)]


def _references(scene: Scene) -> list[Json]:
    """Orders with a time of their own, not on a whole second, spread over what was read; rather those whose time lies
    in the window that returned them."""
    counts = Counter(time_of(order, "modifiedDate") for order in scene.observed.orders)
    outside = {order.guid for window in scene.proved for order in window.outside}

    def is_reference(order: Json) -> bool:
        at = time_of(order, "modifiedDate")
        others = [other for name in _OTHER_TIMES if (other := time_of(order, name)) is not None]
        if at is None or not others or counts[at] > 1:
            return False
        return 2 <= at % 1000 <= 997 and all(abs(other - at) >= 2000 for other in others)

    found = list(filter(is_reference, scene.observed.orders))
    found = [order for order in found if order["guid"] not in outside] or found
    step = max(1, len(found) // _REFERENCES)
    return found[step // 2 :: step][:_REFERENCES]


async def _try(scene: Scene, order: Json) -> Trial:
    async def returns(start: int, end: int) -> bool:
        return has((await scene.asker.orders(scene.guid, Window(start, end))).page, order["guid"])

    async def second_returns(time: int) -> bool:
        return await returns(time // 1000 * 1000, time // 1000 * 1000 + 1000)

    at = time_of(order, "modifiedDate") or 0
    if not await second_returns(at):
        times = {name: time for name in _OTHER_TIMES if (time := time_of(order, name)) is not None}
        found = {time: await second_returns(time) for time in sorted(set(times.values()))}
        return Trial(tuple(name for name, time in times.items() if found[time]))
    from_it, until_it = await returns(at, at + 1), await returns(at - 1, at)
    return Trial(("modifiedDate",), from_it, until_it, from_it or await returns(at - 1, at + 1))
