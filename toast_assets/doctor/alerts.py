"""Alerts: whether their webhooks are within reach. Nothing is posted."""

from __future__ import annotations

from collections.abc import Iterator

from toast_assets.doctor.clocks import first_answer
from toast_assets.doctor.findings import Finding, failed, ok
from toast_assets.http.causes import Cause
from toast_assets.setting_values import host_of, origin
from toast_assets.settings import AlertSettings

AREA = "alerts"
_TIMEOUT_SECONDS = 10.0


def check_alerts(settings: AlertSettings) -> Iterator[Finding]:
    """A line for each webhook, by its host alone: the rest of its address is a secret."""
    for secret in settings.webhook_urls:
        url = secret.get_secret_value()
        name = f"webhook {host_of(url)}"
        answer = first_answer(origin(url), "ALERT_WEBHOOK_URL", _TIMEOUT_SECONDS)
        if isinstance(answer, Cause):
            yield failed(AREA, name, f"it was not reached: {answer.text}", answer.hint)
        else:
            yield ok(AREA, name, "it is within reach; nothing was posted")
