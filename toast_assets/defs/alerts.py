"""Alerts: a failed run or a failed check is posted to webhooks (Slack-compatible), where there are any.

They hold no guest's data: causes are this package's own sentences, and of any other error only its type.

Dagster's own run status sensors move on when their function fails, and the alert is lost. These keep a position for
each address, which moves only past what that address took.
"""

import json
import time
from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg

from toast_assets.defs.brand import PARTITION_TAG, Brand
from toast_assets.defs.resources import AlertsResource
from toast_assets.errors import AlertError
from toast_assets.markdown import plain

# A thousand restaurants with a reason each are for the check's page, not for a chat.
_LONGEST_CAUSE = 1000
# Dagster ends a tick after a minute.
_TICK_SECONDS = 40.0
_MOST_AT_ONCE = 25
# An alert that no webhook took for so long is out of date, and must not hold up newer ones.
_OLDEST_SECONDS = 3 * 86_400.0

RunEnd = Literal[dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS]


def build_alert_sensors(brand: Brand, *, running: bool) -> list[dg.SensorDefinition]:
    """One sensor for failed runs, one for checks that failed with severity ERROR in runs that succeeded. Until somebody
    switches them, they are on where ``running`` is true."""
    return [
        _alert_sensor(
            brand,
            running,
            "failed_run_alert_sensor",
            "Posts the asset, the week, the cause and the link of a failed run to ALERT_WEBHOOK_URL.",
            dg.DagsterEventType.RUN_FAILURE,
        ),
        _alert_sensor(
            brand,
            running,
            "failed_check_alert_sensor",
            "Posts failed checks of runs that succeeded to ALERT_WEBHOOK_URL.",
            dg.DagsterEventType.RUN_SUCCESS,
        ),
    ]


def _alert_sensor(brand: Brand, running: bool, name: str, description: str, kind: RunEnd) -> dg.SensorDefinition:
    resource_key = brand.named("alerts")

    @dg.sensor(
        name=brand.named(name),
        description=brand.said(description),
        default_status=dg.DefaultSensorStatus.RUNNING if running else dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=60,
        required_resource_keys={resource_key},
    )
    def alert_sensor(context: dg.SensorEvaluationContext) -> Iterator[Any]:
        alerts: AlertsResource = getattr(context.resources, resource_key)
        webhooks, ui_url = alerts.webhooks(), alerts.settings().ui_url
        fetch = context.instance.fetch_run_status_changes
        if not webhooks or context.cursor is None:
            newest = max((record.storage_id for record in fetch(kind, limit=1).records), default=-1)
            context.update_cursor(json.dumps({"record_id": newest}))
            begins = "Begins with the runs that end from now on."
            yield dg.SkipReason(begins if webhooks else brand.said("ALERT_WEBHOOK_URL is not set."))
            return
        # By address, the last event that needs no alert any more. A new address begins with what the slowest one has
        # missed: it may have replaced one that failed.
        stored: dict[str, Any] = json.loads(context.cursor)
        known = stored.get("addresses", {})
        positions = {each.digest: int(known.get(each.digest, stored["record_id"])) for each in webhooks}
        posted: list[tuple[dg.DagsterRun, str | None]] = []
        for webhook in webhooks:
            end = time.monotonic() + _TICK_SECONDS / len(webhooks)
            events = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=positions[webhook.digest])
            for record in fetch(events, limit=_MOST_AT_ONCE, ascending=True).records:
                if (left := end - time.monotonic()) <= 0:
                    break
                run = context.instance.get_run_by_id(record.run_id)
                text = run and _alert(context, record, run, ui_url, brand)
                if run and text:
                    try:
                        webhook.post(text, left)
                    except AlertError as error:
                        posted.append((run, str(error)))
                        break
                    posted.append((run, None))
                positions[webhook.digest] = record.storage_id
        context.update_cursor(json.dumps({"record_id": min(positions.values()), "addresses": positions}))
        if not posted:
            yield dg.SkipReason("No run ended that calls for an alert.")
        # A failure comes last, so that it is the tick's result.
        for run, problem in sorted(posted, key=lambda one: one[1] is not None):
            yield _reaction(run, problem)

    return alert_sensor


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


def _is_of_this_location(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """As in Dagster's own run status sensors: a deployment can hold other code locations."""
    location = context.code_location_origin
    repository = run.remote_job_origin and run.remote_job_origin.repository_origin
    ours = (location.location_name if location else None, context.repository_name)
    theirs = (repository.code_location_origin.location_name, repository.repository_name) if repository else (None, None)
    return ours == theirs


def _alert(
    context: dg.SensorEvaluationContext, record: dg.EventLogRecord, run: dg.DagsterRun, ui_url: str | None, brand: Brand
) -> str | None:
    """What to post of a run that ended; None where nothing is."""
    event = record.event_log_entry.dagster_event
    # The only brand of a deployment also hears of runs that work on other assets of its code location.
    if event is None or not _is_of_this_location(context, run) or (brand.name and not brand.concerns(run)):
        return None
    failed = event.event_type is dg.DagsterEventType.RUN_FAILURE
    # What failed, each with its reason.
    steps: list[tuple[str, str]] = []
    checks: list[tuple[str, str]] = []
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    for entry in context.instance.all_logs(run.run_id, of_type=kinds):
        if (of := entry.dagster_event) is None:
            continue
        if of.event_type is dg.DagsterEventType.STEP_FAILURE:
            error, given = of.step_failure_data.error, of.step_failure_data.user_failure_data
            cause = f"{error.cls_name if error else 'failed'} (see the run's log)"
            steps.append((of.step_key or "a step", str(given.description) if given and given.description else cause))
            continue
        check = of.asset_check_evaluation_data
        # A warning is for the check's page: a field that Toast has added would else be news every week.
        if not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
            checks.append((f"{check.asset_key.to_user_string()} / {check.check_name}", check.description or "failed"))
    causes = [*(steps or [("the run", event.message or "failed")]), *checks] if failed else checks
    if not causes:
        return None
    if time.time() - record.timestamp > _OLDEST_SECONDS:
        context.log.error(f"An alert was not posted for three days, and is given up: run {run.run_id}.")
        return None
    week = run.tags.get(PARTITION_TAG, "without a partition")
    what = "failed" if failed else "succeeded, but checks failed"
    who = f"toast-assets {brand.name}".rstrip()
    lines = [f"{who}: week {week} {what} – {f'{ui_url}/runs/{run.run_id}' if ui_url else f'run {run.run_id}'}"]
    for name, cause in causes:
        lines.append(f"• {name}: {plain(' '.join(cause.split()), _LONGEST_CAUSE)}")
    return "\n".join(lines)
