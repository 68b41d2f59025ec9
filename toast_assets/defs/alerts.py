"""Alerts: a failed run or a failed check is posted to webhooks (Slack-compatible), where there are any.

A message names the asset, the week, the cause and the link. It holds no guest's data: causes are this package's own
sentences, and of any other error only its type.

Dagster's own run status sensors move on when their function fails, and the alert is lost. These keep a position for
each address, which moves only past what that address took.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import dagster as dg
from dagster._core.definitions.run_request import DagsterRunReaction
from dagster_shared.error import SerializableErrorInfo
from pydantic import Field

from toast_assets.defs.resources import EnvironmentResource
from toast_assets.errors import AlertError
from toast_assets.http.webhooks import Webhook
from toast_assets.settings import AlertSettings

_PARTITION_TAG = "dagster/partition"
# A thousand restaurants with a reason each are for the check's page, not for a chat.
_LONGEST_CAUSE = 1000
# Dagster ends a tick after a minute.
_TICK_SECONDS = 40.0
_MOST_AT_ONCE = 25
# What no webhook took for so long is no news any more, and must not hold up what is.
_OLDEST_SECONDS = 3 * 86_400.0

RunEnd = Literal[dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS]
Describe = Callable[[dg.SensorEvaluationContext, dg.DagsterRun, dg.DagsterEvent, str | None], str | None]
"""The text of the alert about a run, by the event of its end and the UI's address; None where there is none to post."""


class AlertsResource(EnvironmentResource):
    """Where alerts go; without a webhook there are none."""

    variables: ClassVar[Mapping[str, str]] = {"webhook_url": "ALERT_WEBHOOK_URL", "ui_url": "DAGSTER_UI_URL"}

    webhook_url: str | None = Field(
        default=None,
        description="Takes a POST of {text}; Slack's incoming webhooks do. Several are separated by blanks.",
        json_schema_extra={"dagster__is_secret": True},
    )
    ui_url: str | None = Field(default=None, description="The Dagster UI's base URL, for links to runs.")

    def settings(self) -> AlertSettings:
        """The checked settings.

        Raises:
            SettingsError: naming the variable that is malformed; an address, which is a secret, is not repeated.
        """
        return AlertSettings.parse(self._values())

    def webhooks(self) -> list[Webhook]:
        """One for each address.

        Raises:
            SettingsError: as ``settings``.
        """
        return [Webhook(url.get_secret_value(), "ALERT_WEBHOOK_URL") for url in self.settings().webhook_urls]

    def post(self, text: str) -> None:
        """Send one message to every address.

        Raises:
            AlertError: there is none, or not all of them took it; the others were tried.
            SettingsError: as ``settings``.
        """
        webhooks = self.webhooks()
        if not webhooks:
            raise AlertError("There is nowhere to post an alert.", hint="Set ALERT_WEBHOOK_URL.")
        failures = []
        for webhook in webhooks:
            try:
                webhook.post(text, _TICK_SECONDS / len(webhooks))
            except AlertError as error:
                failures.append(str(error))
        if failures:
            raise AlertError(" ".join(failures))


def build_alert_sensors() -> list[dg.SensorDefinition]:
    """One sensor for failed runs, one for checks that failed with severity ERROR in runs that went through."""
    return [
        _alert_sensor(
            "failed_run_alert_sensor",
            "Posts the asset, the week, the cause and the link of a failed run to ALERT_WEBHOOK_URL.",
            dg.DagsterEventType.RUN_FAILURE,
            _failed_run,
        ),
        _alert_sensor(
            "failed_check_alert_sensor",
            "Posts failed checks of runs that went through to ALERT_WEBHOOK_URL.",
            dg.DagsterEventType.RUN_SUCCESS,
            _failed_checks,
        ),
    ]


def message(run: dg.DagsterRun, what: str, causes: Sequence[tuple[str, str]], ui_url: str | None) -> str:
    """The text of an alert."""
    week = run.tags.get(_PARTITION_TAG, "without a partition")
    link = f"{ui_url}/runs/{run.run_id}" if ui_url else f"run {run.run_id}"
    lines = [f"toast-assets: week {week} {what} – {link}"]
    lines += [f"• {name}: {_shortened(cause)}" for name, cause in causes]
    return "\n".join(lines)


def _alert_sensor(name: str, description: str, kind: RunEnd, describe: Describe) -> dg.SensorDefinition:
    @dg.sensor(
        name=name, description=description, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=60
    )
    def alert_sensor(
        context: dg.SensorEvaluationContext, alerts: AlertsResource
    ) -> Iterator[dg.SkipReason | DagsterRunReaction]:
        webhooks = alerts.webhooks()
        newest = max((record.storage_id for record in _ended(context, kind, 1)), default=-1)
        if not webhooks or context.cursor is None:
            context.update_cursor(_cursor({}, newest))
            begins = "Begins with the runs that end from now on."
            yield dg.SkipReason(begins if webhooks else "ALERT_WEBHOOK_URL is not set.")
            return
        backlog = _Backlog(context, kind, describe, alerts.settings().ui_url, _positions(context.cursor, webhooks))
        for webhook in webhooks:
            backlog.post(webhook, _TICK_SECONDS / len(webhooks))
        context.update_cursor(_cursor(backlog.positions, newest))
        if not backlog.reactions:
            yield dg.SkipReason("No run ended that calls for an alert.")
        # A failure comes last, so that it is the tick's result.
        yield from sorted(backlog.reactions, key=lambda reaction: reaction.error is not None)

    return alert_sensor


@dataclass
class _Backlog:
    """Alerts that are still to be posted, for each webhook those after its position: the storage id of an event.

    A tick tells Dagster by ``reactions`` which runs it posted alerts of, and of which one it could not.
    """

    context: dg.SensorEvaluationContext
    kind: RunEnd
    describe: Describe
    ui_url: str | None
    positions: dict[str, int]
    reactions: list[DagsterRunReaction] = field(default_factory=list)

    def post(self, webhook: Webhook, patience: float) -> None:
        """Post them in their order, within ``patience`` seconds; what is not taken is the first for the next tick."""
        end = time.monotonic() + patience
        for record in _ended(self.context, self.kind, _MOST_AT_ONCE, after=self.positions[webhook.digest]):
            left = end - time.monotonic()
            if left <= 0:
                return
            run = self.context.instance.get_run_by_id(record.run_id)
            text = self._text(record, run) if run else None
            if text is not None:
                try:
                    webhook.post(text, left)
                except AlertError as error:
                    told = SerializableErrorInfo(str(error), [], type(error).__name__)
                    self.reactions.append(DagsterRunReaction(run, error=told))
                    return
                self.reactions.append(DagsterRunReaction(run))
            self.positions[webhook.digest] = record.storage_id

    def _text(self, record: dg.EventLogRecord, run: dg.DagsterRun) -> str | None:
        event = record.event_log_entry.dagster_event
        if event is None or not _is_of_this_location(self.context, run):
            return None
        text = self.describe(self.context, run, event, self.ui_url)
        if text is not None and time.time() - record.timestamp > _OLDEST_SECONDS:
            self.context.log.error(f"An alert was not posted for three days, and is given up: run {run.run_id}.")
            return None
        return text


def _ended(
    context: dg.SensorEvaluationContext, kind: RunEnd, most: int, after: int | None = None
) -> Sequence[dg.EventLogRecord]:
    """The events of runs that ended in this way: the first ones ``after`` a storage id, else the newest ones."""
    events = dg.RunStatusChangeRecordsFilter(kind, after_storage_id=after)
    return context.instance.fetch_run_status_changes(events, limit=most, ascending=after is not None).records


def _positions(cursor: str, webhooks: Sequence[Webhook]) -> dict[str, int]:
    # Dagster's own run status sensors keep "record_id", which earlier releases left here.
    stored: dict[str, Any] = json.loads(cursor)
    known = stored.get("addresses", {})
    return {webhook.digest: int(known.get(webhook.digest, stored["record_id"])) for webhook in webhooks}


def _cursor(positions: Mapping[str, int], newest: int) -> str:
    # An address that comes in place of one that took nothing any more begins with what that one missed.
    return json.dumps({"record_id": min(positions.values(), default=newest), "addresses": positions})


def _is_of_this_location(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    """As Dagster's own run status sensors have it: a deployment can hold other code locations."""
    location, repository = (
        context.code_location_origin,
        run.remote_job_origin and run.remote_job_origin.repository_origin,
    )
    ours = (location.location_name if location else None, context.repository_name)
    theirs = (repository.code_location_origin.location_name, repository.repository_name) if repository else (None, None)
    return ours == theirs


def _failed_run(
    context: dg.SensorEvaluationContext, run: dg.DagsterRun, event: dg.DagsterEvent, ui_url: str | None
) -> str:
    failures = context.instance.get_records_for_run(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in failures]
    causes = [(_step_name(each), _cause(each)) for each in events if each] or [("the run", event.message or "failed")]
    return message(run, "failed", [*causes, *_checks_that_failed(context, run)], ui_url)


def _failed_checks(
    context: dg.SensorEvaluationContext, run: dg.DagsterRun, event: dg.DagsterEvent, ui_url: str | None
) -> str | None:
    del event
    failed = _checks_that_failed(context, run)
    return message(run, "went through with failed checks", failed, ui_url) if failed else None


def _checks_that_failed(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> list[tuple[str, str]]:
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    found = []
    for record in context.instance.get_records_for_run(run.run_id, of_type=kind).records:
        event = record.event_log_entry.dagster_event
        evaluation = event.asset_check_evaluation_data if event else None
        # A warning is for the check's page: a field that Toast has added would else be news every week.
        if evaluation is not None and not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
            name = f"{evaluation.asset_key.to_user_string()} / {evaluation.check_name}"
            found.append((name, evaluation.description or "failed"))
    return found


def _step_name(event: dg.DagsterEvent) -> str:
    return event.step_key or "a step"


def _cause(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    return f"{data.error.cls_name} (see the run's log)" if data.error else "failed (see the run's log)"


def _shortened(cause: str) -> str:
    text = " ".join(cause.split())
    return text if len(text) <= _LONGEST_CAUSE else f"{text[:_LONGEST_CAUSE]} …"
