"""Other weeks' rejects whose cause may be gone, which a week's delivery sends again at its end.

Due are rejects that were last tried under another recipe, seven days ago, or by the delivery of an earlier week than
this one: so weekly deliveries retry them, and so does a backfill.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from toast_assets.concurrency import in_thread
from toast_assets.delivery.deliver import WeekDelivery, not_delivered
from toast_assets.delivery.open_rejects import MOST_TRIES, claim, note_rejects, weeks_with_rejects
from toast_assets.errors import AmperityError, StoreError, ToastAssetsError
from toast_assets.store.raw_weeks import week_of

MOST_WEEKS = 4
"""Weeks whose rejects one delivery retries."""


@dataclass
class Retries:
    """What became of other weeks' rejects: the ``weeks`` (partition keys) that were retried, records by outcome, weeks
    that are ``left`` for the next delivery, and what went wrong by week."""

    weeks: list[str] = field(default_factory=list)
    accepted: int = 0
    rejected: int = 0
    left: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)


async def retry_rejects(delivery: WeekDelivery) -> Retries:
    """Retry what is due after a ``delivery`` whose records were all answered; any other, a dry run or a replay retries
    nothing. What fails here is logged and reported, and fails nothing else."""
    retries, log, of = Retries(), delivery.log, delivery.as_try
    unanswered = any(counts.pending for counts in delivery.report.methods.values())
    if delivery.dry_run or delivery.replay or unanswered:
        return retries
    others = {key: found for key, found in delivery.open_rejects.items() if key != delivery.week.key}
    # Those with the fewest tries first, so that weeks that stay refused do not keep the others waiting.
    due = sorted((found.tries_under(of.recipe), key) for key, found in others.items() if of.is_due(found))
    waiting = [key for _, key in due]
    retries.left = waiting[MOST_WEEKS:]
    for number, key in enumerate(waiting[:MOST_WEEKS]):
        try:
            await _retry(delivery, key, retries)
        except Exception as error:
            retries.problems[key] = str(error)
            if not isinstance(error, ToastAssetsError):
                log.exception("The rejects of week %s could not be retried.", key)
                retries.problems[key] = type(error).__name__
            # The next delivery has another client.
            if isinstance(error, AmperityError) or delivery.amperity.is_settled:
                retries.left = waiting[number + 1 :]
                break
    try:
        await in_thread(_drop_missing, delivery, [key for key, one in others.items() if one.tries >= MOST_TRIES])
    except StoreError as error:
        log.warning("The index of open rejects was not corrected: %s", error)
    for key, problem in retries.problems.items():
        log.warning("The rejects of week %s were not retried whole: %s", key, problem)
    if retries.weeks:
        text = "Retried rejects of %s: %d accepted, %d refused again."
        log.info(text, ", ".join(retries.weeks), retries.accepted, retries.rejected)
    if retries.left:
        log.info("The next delivery retries rejects of %s.", ", ".join(retries.left))
    return retries


async def _retry(delivery: WeekDelivery, key: str, retries: Retries) -> None:
    store = delivery.store
    if not await in_thread(claim, store, key, delivery.as_try):
        return
    retries.weeks.append(key)
    week = await in_thread(week_of, key, store)
    report = await WeekDelivery(week, delivery.amperity, store, replay=True, log=delivery.log, now=delivery.now).run()
    counts = report.methods.values()
    retries.accepted += report.accepted
    retries.rejected += sum(one.rejected for one in counts)
    if problem := not_delivered(report):
        raise problem
    if pending := sum(one.pending for one in counts):
        raise AmperityError(f"{pending} records had no answer, last: {report.last_failure}")


def _drop_missing(delivery: WeekDelivery, keys: list[str]) -> None:
    """Take weeks out of the index that nothing retries any more, and whose file was removed."""
    for key in set(keys).difference(weeks_with_rejects(delivery.store)) if keys else ():
        note_rejects(delivery.store, key, {}, None)
