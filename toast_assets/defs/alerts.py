"""Alerts: one message to the webhooks (Slack-compatible) when something breaks, one when it has recovered.

They hold no guest's data: causes are this package's own sentences, and of any other error only its type.

Dagster's own run status sensors move on when their function fails, and the alert is lost. This sensor keeps what an
address has not taken. A process that dies between a post and the end of its tick posts the message again.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg
import msgspec

from toast_assets.defs.alert_state import Broken, Evaluation, Problem, Recovered, changed
from toast_assets.defs.brand import PARTITION_TAG, WEEKLY_JOB, Brand
from toast_assets.defs.resources import AlertsResource
from toast_assets.defs.sensors import SENSOR_NAME, idle
from toast_assets.errors import ToastAssetsError
from toast_assets.http.webhooks import Webhook
from toast_assets.markdown import first_of, plain

RunEnd = Literal[dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS]

ALERT_SENSOR_NAME = "alert_sensor"
_ENDS: tuple[RunEnd, ...] = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)
# A thousand restaurants with a reason each are for the check's page, not for a chat.
_LONGEST_CAUSE = 1000
_LONGEST_TEXT = 4000
# Dagster ends a tick after a minute.
_TICK_SECONDS = 40.0
_MOST_RUNS = 25
# A message that an address did not take for so long is out of date, and must not hold up newer ones.
_OLDEST_SECONDS = 3 * 86_400
_MOST_MESSAGES = 20


class Message(msgspec.Struct, frozen=True):
    """A message, when it was written (epoch seconds), the run that it is about, and the addresses that have not taken
    it, by their digests."""

    at: int
    text: str
    run_id: str
    due: Sequence[str]


class AlertCursor(msgspec.Struct, frozen=True):
    """What the sensor remembers: the last run's end that it has read, what is broken, the addresses that it knows, and
    the messages that some of them have not taken."""

    position: int
    problems: Sequence[Problem] = ()
    addresses: Sequence[str] = ()
    messages: Sequence[Message] = ()

    @classmethod
    def decode(cls, text: str | None) -> "AlertCursor | None":
        """The cursor as it was stored; None where there is none, or it cannot be read."""
        try:
            return msgspec.json.decode(text or "", type=cls)
        except msgspec.DecodeError:
            return None


def build_alert_sensor(brand: Brand, *, running: bool, now: Callable[[], float] = time.time) -> dg.SensorDefinition:
    """The brand's sensor. Until somebody switches it, it is on where ``running`` is true."""
    resource_key = brand.named("alerts")

    @dg.sensor(
        name=brand.named(ALERT_SENSOR_NAME),
        description=brand.said(
            "Posts to ALERT_WEBHOOK_URL what has broken (step or check, week, cause, link), and what has recovered."
        ),
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=60,
        required_resource_keys={resource_key},
    )
    def alert_sensor(context: dg.SensorEvaluationContext) -> Iterator[Any]:
        alerts: AlertsResource = getattr(context.resources, resource_key)
        webhooks, ui_url, at = alerts.webhooks(), alerts.settings().ui_url, int(now())
        stored = AlertCursor.decode(context.cursor)
        cursor = stored if stored and webhooks else AlertCursor(_newest_end(context.instance))
        if not webhooks:
            context.update_cursor(_encoded(cursor))
            yield dg.SkipReason(brand.said("ALERT_WEBHOOK_URL is not set."))
            return
        digests = [webhook.digest for webhook in webhooks]
        messages = _inherited(cursor, digests)
        problems, position = cursor.problems, cursor.position
        for record, text, after in _news(context, brand, cursor, ui_url):
            problems, position = after, record.storage_id
            if text:
                messages.append(Message(at, text, record.run_id, digests))
        text, problems = _news_of_settings(context, brand, problems, at)
        if text:
            messages.append(Message(at, text, "", digests))
        messages = _in_time(context, messages, at)
        posted = list(_post(webhooks, messages))
        taken = {(digest, number) for digest, number, failure in posted if failure is None}
        left = [
            msgspec.structs.replace(one, due=due)
            for number, one in enumerate(messages)
            if (due := [digest for digest in one.due if (digest, number) not in taken])
        ]
        context.update_cursor(_encoded(AlertCursor(position, problems, digests, left)))
        if not posted:
            begins = "Nothing broke and nothing recovered."
            yield dg.SkipReason(begins if stored else "Begins with the runs that end from now on.")
        # A failure comes last, so that it is the tick's result.
        for _, number, failure in sorted(posted, key=lambda one: one[2] is not None):
            run = context.instance.get_run_by_id(messages[number].run_id)
            if run or failure:
                yield _reaction(run or dg.DagsterRun(brand.named(WEEKLY_JOB)), failure)
            else:
                yield dg.SkipReason("Posted what is wrong with the settings, or that they are complete.")

    return alert_sensor


def _encoded(cursor: AlertCursor) -> str:
    return msgspec.json.encode(cursor).decode()


def _reaction(run: dg.DagsterRun, problem: str | None) -> Any:
    """Reports to Dagster that an alert was posted, or could not be: the tick then fails, and keeps its cursor. Dagster
    exports no class for it, but reads it in its stored form."""
    stored = {
        "__class__": "PipelineRunReaction",
        "pipeline_run": json.loads(dg.serialize_value(run)),
        "error": problem
        and {"__class__": "SerializableErrorInfo", "message": problem, "stack": [], "cls_name": "AlertError"},
        "run_status": None,
    }
    return dg.deserialize_value(json.dumps(stored))


def _inherited(cursor: AlertCursor, digests: Sequence[str]) -> list[Message]:
    """The messages that are left, for the addresses that there are. A new address gets what one that is gone has not
    taken: it may have replaced it. It hears of nothing else that is past."""
    added = [digest for digest in digests if digest not in cursor.addresses]
    messages = []
    for one in cursor.messages:
        kept = [digest for digest in one.due if digest in digests]
        if due := kept + added * (len(kept) < len(one.due)):
            messages.append(msgspec.structs.replace(one, due=due))
    return messages


def _in_time(context: dg.SensorEvaluationContext, messages: Sequence[Message], at: int) -> list[Message]:
    kept = [one for one in messages if at - one.at <= _OLDEST_SECONDS][-_MOST_MESSAGES:]
    if given_up := len(messages) - len(kept):
        context.log.error(
            f"{given_up} alerts are given up: they were not taken for three days, or more than {_MOST_MESSAGES} wait."
        )
    return kept


def _post(webhooks: Sequence[Webhook], messages: Sequence[Message]) -> Iterator[tuple[str, int, str | None]]:
    """Posts to each address what it has not taken, in its order, up to the first failure; yields the address' digest,
    the message's number, and what went wrong."""
    for webhook in webhooks:
        end = time.monotonic() + _TICK_SECONDS / len(webhooks)
        for number, message in enumerate(messages):
            if webhook.digest not in message.due:
                continue
            if (left := end - time.monotonic()) <= 0:
                break
            try:
                webhook.post(message.text, left)
            except ToastAssetsError as error:
                yield webhook.digest, number, str(error)
                break
            yield webhook.digest, number, None


def _newest_end(instance: dg.DagsterInstance) -> int:
    ends = (record for kind in _ENDS for record in instance.fetch_run_status_changes(kind, limit=1).records)
    return max((record.storage_id for record in ends), default=-1)


def _news(
    context: dg.SensorEvaluationContext, brand: Brand, cursor: AlertCursor, ui_url: str | None
) -> Iterator[tuple[dg.EventLogRecord, str, Sequence[Problem]]]:
    """The next runs' ends in their order, each with the message about it, if there is something to say, and what is
    broken after it."""
    records: list[dg.EventLogRecord] = []
    for kind in _ENDS:
        after = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=cursor.position)
        records += context.instance.fetch_run_status_changes(after, limit=_MOST_RUNS, ascending=True).records
    problems = cursor.problems
    for record in sorted(records, key=lambda record: record.storage_id)[:_MOST_RUNS]:
        run, text = context.instance.get_run_by_id(record.run_id), ""
        # The only brand of a deployment also hears of runs that work on other assets of its code location.
        if run and _is_of_this_location(context, run) and (not brand.name or brand.concerns(run)):
            evaluations = _evaluations(context.instance, record, run, brand)
            problems, broken, recovered = changed(problems, evaluations, int(record.timestamp))
            if broken or recovered:
                week = run.tags.get(PARTITION_TAG)
                link = f"{ui_url}/runs/{run.run_id}" if ui_url else f"run {run.run_id}"
                head = f"{f'week {week}' if week else 'a run without a partition'} {_outcome(record, evaluations)}"
                text = _text(brand, f"{head} – {link}", broken, recovered)
        yield record, text, problems


def _is_of_this_location(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """As in Dagster's own run status sensors: a deployment can hold other code locations."""
    location = context.code_location_origin
    repository = run.remote_job_origin and run.remote_job_origin.repository_origin
    ours = (location.location_name if location else None, context.repository_name)
    theirs = (repository.code_location_origin.location_name, repository.repository_name) if repository else (None, None)
    return ours == theirs


def _has_failed(record: dg.EventLogRecord) -> bool:
    event = record.event_log_entry.dagster_event
    return event is not None and event.event_type is dg.DagsterEventType.RUN_FAILURE


def _outcome(record: dg.EventLogRecord, evaluations: Sequence[Evaluation]) -> str:
    if _has_failed(record):
        return "failed"
    return "succeeded, but checks failed" if any(one.causes for one in evaluations) else "succeeded"


def _evaluations(
    instance: dg.DagsterInstance, record: dg.EventLogRecord, run: dg.DagsterRun, brand: Brand
) -> list[Evaluation]:
    """What the run found of each step and each check, and of itself where it failed by neither."""
    kinds = {
        *(dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.STEP_SUCCESS),
        *(dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_OBSERVATION),
        dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    }
    run_week = run.tags.get(PARTITION_TAG, "")
    events = [one.dagster_event for one in instance.all_logs(run.run_id, of_type=kinds) if one.dagster_event]
    made = {one.asset_key for one in events if one.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION}
    # A dry run observes what it would do.
    dry = {
        one.step_key
        for one in events
        if one.event_type is dg.DagsterEventType.ASSET_OBSERVATION and one.asset_key not in made
    }
    found: dict[str, Evaluation] = {}
    has_failed_checks = False
    for event in events:
        step = event.step_key or "a step"
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            error, given = event.step_failure_data.error, event.step_failure_data.user_failure_data
            kind = (error.cause or error).cls_name if error else None
            code = _text_of(given.metadata, "code") if given else None
            text = (given and given.description) or f"{kind or 'failed'} (see the run's log)"
            found[step] = Evaluation(step, run_week, [(code or kind or "failed", "")], text, conclusive=False)
        elif event.event_type is dg.DagsterEventType.STEP_SUCCESS and step not in dry:
            found[step] = Evaluation(step, run_week)
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            subject = f"{check.asset_key.to_user_string()} / {check.check_name}"
            causes: list[tuple[str, str]] = []
            # A warning is for the check's page: a field that Toast has added would else be news every week.
            if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
                has_failed_checks = True
                causes = _causes_of(check)
            found[subject] = Evaluation(
                subject,
                _text_of(check.metadata, "week") or run_week,
                causes,
                check.description or "failed",
                stored=check.asset_key not in made,
            )
    if has_failed_checks:
        # A check that blocks also fails its step.
        found = {name: one for name, one in found.items() if ("DagsterAssetCheckFailedError", "") not in one.causes}
    itself = "the run" if brand.concerns(run) else f"the run of {run.job_name}"
    causes = []
    if _has_failed(record) and not any(one.causes for one in found.values()):
        causes = [("RUN", "")]
    ended = record.event_log_entry.dagster_event
    return [Evaluation(itself, run_week, causes, (ended and ended.message) or "failed"), *found.values()]


def _text_of(metadata: Mapping[str, Any], name: str) -> str:
    value = getattr(metadata.get(name), "value", None)
    return value if isinstance(value, str) else ""


def _causes_of(check: dg.AssetCheckEvaluation) -> list[tuple[str, str]]:
    """The codes by which a check failed, each with its restaurant; of a check of another package its name."""
    given = getattr(check.metadata.get("causes"), "value", None)
    listed = [each.partition(" ") for each in given] if isinstance(given, list) else []
    return [(code, restaurant) for code, _, restaurant in listed] or [(check.check_name, "")]


def _news_of_settings(
    context: dg.SensorEvaluationContext, brand: Brand, problems: Sequence[Problem], at: int
) -> tuple[str, Sequence[Problem]]:
    """The message about a weekly sensor that starts nothing because of its settings, and what is broken then."""
    waits = idle(brand, context.instance)
    if waits and not waits.is_fault:
        return "", problems
    causes = [("SETTINGS", "")] if waits else []
    one = Evaluation(brand.named(SENSOR_NAME), "", causes, brand.said(waits.reason) if waits else "")
    problems, broken, recovered = changed(problems, [one], at)
    head = "settings are missing or malformed" if broken else "the settings are complete"
    return (_text(brand, head, broken, recovered) if broken or recovered else ""), problems


def _text(brand: Brand, head: str, broken: Sequence[Broken], recovered: Sequence[Recovered]) -> str:
    """A message of bounded length: what happened, a line for what broke at each step or check, and for what is over."""
    lines = []
    for news in broken:
        # The line begins with the code.
        text = plain(" ".join(news.text.split()).removesuffix(f" [{news.codes[0]}]"), _LONGEST_CAUSE)
        about = f" ({_listed(news.restaurants)})" if news.restaurants else ""
        lines.append(f"• {news.subject}: [{_listed(news.codes)}] {text}{about}")
    if recovered:
        lines.append("Recovered:")
    for over in recovered:
        about = f" {_listed(over.restaurants)}," if over.restaurants else ""
        since = f"{datetime.fromtimestamp(over.since, UTC):%Y-%m-%d %H:%M} UTC"
        others = f" Restaurants that still fail by it: {over.others}." if over.others else ""
        weeks = f" Still to be materialized: {_listed(over.weeks)}." if over.weeks else ""
        lines.append(f"• {over.subject}: [{over.code}]{about} broken since {since}.{others}{weeks}")
    shown: list[str] = []
    for line in lines:
        if sum(map(len, shown)) + len(line) > _LONGEST_TEXT:
            shown.append(f"and {len(lines) - len(shown)} more lines: see the run")
            break
        shown.append(line)
    return "\n".join([f"{f'toast-assets {brand.name}'.rstrip()}: {head}", *shown])


def _listed(items: Sequence[str]) -> str:
    return ", ".join(first_of(items))
