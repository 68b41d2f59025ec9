"""Alerts: a failed run or a failed check is posted to a webhook (Slack-compatible), where one is configured.

A message names the asset, the week, the cause and the link. It holds no guest's data: causes are this package's own
sentences, and of any other error only its type.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import dagster as dg
import httpx
from pydantic import Field

from toast_assets.defs.resources import EnvironmentResource
from toast_assets.errors import ToastAssetsError

_PARTITION_TAG = "dagster/partition"
_TIMEOUT_SECONDS = 10.0
# A thousand restaurants with a reason each are for the check's page, not for a chat.
_LONGEST_CAUSE = 1000


class AlertError(ToastAssetsError):
    """The webhook did not take a message."""


class AlertsResource(EnvironmentResource):
    """Where alerts go; without a webhook there are none."""

    variables: ClassVar[Mapping[str, str]] = {"webhook_url": "ALERT_WEBHOOK_URL", "ui_url": "DAGSTER_UI_URL"}

    webhook_url: str | None = Field(
        default=None,
        description="Takes a POST of {text}; Slack's incoming webhooks do.",
        json_schema_extra={"dagster__is_secret": True},
    )
    ui_url: str | None = Field(default=None, description="The Dagster UI's base URL, for links to runs.")

    def post(self, text: str) -> None:
        """Send one message.

        Raises:
            AlertError: the webhook is out of reach or refuses; its address, which is a secret, is not repeated.
        """
        try:
            reply = httpx.post(self.webhook_url or "", json={"text": text}, timeout=_TIMEOUT_SECONDS)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise AlertError(
                f"The alert webhook could not be reached ({type(error).__name__}).", hint="Check ALERT_WEBHOOK_URL."
            ) from None
        if not reply.is_success:
            raise AlertError(f"The alert webhook answered {reply.status_code}.", hint="Check ALERT_WEBHOOK_URL.")


def build_alert_sensors() -> list[dg.SensorDefinition]:
    """One sensor for failed runs, one for checks that failed with severity ERROR in runs that went through."""

    @dg.run_failure_sensor(
        name="failed_run_alert_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts the asset, the week, the cause and the link of a failed run to ALERT_WEBHOOK_URL.",
    )
    def failed_run_alert_sensor(context: dg.RunFailureSensorContext, alerts: AlertsResource) -> dg.SkipReason | None:
        causes = [(_step_name(event), _cause(event)) for event in context.get_step_failure_events()]
        if not causes:
            causes = [("the run", context.failure_event.message or "failed")]
        return _post(alerts, context.dagster_run, "failed", [*causes, *_failed_checks(context)])

    @dg.run_status_sensor(
        run_status=dg.DagsterRunStatus.SUCCESS,
        name="failed_check_alert_sensor",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts failed checks of runs that went through to ALERT_WEBHOOK_URL.",
    )
    def failed_check_alert_sensor(context: dg.RunStatusSensorContext, alerts: AlertsResource) -> dg.SkipReason | None:
        failed = _failed_checks(context)
        if not failed:
            return dg.SkipReason("All checks of the run passed.")
        return _post(alerts, context.dagster_run, "went through with failed checks", failed)

    return [failed_run_alert_sensor, failed_check_alert_sensor]


def message(run: dg.DagsterRun, what: str, causes: Sequence[tuple[str, str]], ui_url: str | None) -> str:
    """The text of an alert."""
    week = run.tags.get(_PARTITION_TAG, "without a partition")
    link = f"{ui_url.rstrip('/')}/runs/{run.run_id}" if ui_url else f"run {run.run_id}"
    lines = [f"toast-assets: week {week} {what} – {link}"]
    lines += [f"• {name}: {_shortened(cause)}" for name, cause in causes]
    return "\n".join(lines)


def _post(
    alerts: AlertsResource, run: dg.DagsterRun, what: str, causes: Sequence[tuple[str, str]]
) -> dg.SkipReason | None:
    if not alerts.webhook_url:
        return dg.SkipReason("ALERT_WEBHOOK_URL is not set.")
    alerts.post(message(run, what, causes, alerts.ui_url))
    return None


def _failed_checks(context: dg.RunStatusSensorContext) -> list[tuple[str, str]]:
    records = context.instance.get_records_for_run(
        context.dagster_run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    return list(_failures(record.event_log_entry.dagster_event for record in records))


def _failures(events: Iterable[dg.DagsterEvent | None]) -> Iterable[tuple[str, str]]:
    for event in events:
        evaluation = event.asset_check_evaluation_data if event else None
        # A warning is for the check's page: a field that Toast has added would else be news every week.
        if evaluation is not None and not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR:
            name = f"{evaluation.asset_key.to_user_string()} / {evaluation.check_name}"
            yield name, evaluation.description or "failed"


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
