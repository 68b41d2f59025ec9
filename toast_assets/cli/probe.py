"""``toast-assets probe``: the report as Markdown, which reads well on a terminal, or as JSON."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import click
import msgspec
from rich.console import Console

from toast_assets.errors import SettingsError, ToastAssetsError
from toast_assets.probe.answers import Verdict
from toast_assets.probe.report import compare, make_report, markdown, verdicts_in
from toast_assets.probe.run import probe as ask
from toast_assets.settings import CalendarSettings, NetworkSettings, problems_of
from toast_assets.store.manifest import json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.known_logins import last_login
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import WeekCalendar

_HOUR = timedelta(hours=1)
# A pull of the last hour that the sensor requested is one of these.
_NEWEST_WEEKS = 3


def probe(*, restaurants: Sequence[str], weeks: Sequence[str], earlier: str | None, as_json: bool, force: bool) -> int:
    """Ask Toast, print the report, and return the exit code: 1 if something is refuted. ``earlier`` is the path of a
    JSON report to compare with."""
    environment = {**os.environ, **({"TOAST_RESTAURANT_GUID": ",".join(restaurants)} if restaurants else {})}
    kinds = (NetworkSettings, CalendarSettings, ToastSettings)
    if problems := problems_of(*(partial(kind.parse, environment) for kind in kinds)):
        raise SettingsError(problems)
    settings, calendar = ToastSettings.parse(environment), CalendarSettings.parse(environment).calendar()
    try:
        before = verdicts_in(Path(earlier).read_bytes()) if earlier else None
    except (OSError, ValueError):
        raise click.UsageError(f"{earlier} cannot be read as a report of toast-assets probe --json.") from None
    console = Console(stderr=True, highlight=False)
    if not force:
        _refuse_soon_after_login(settings, calendar, console)
    with console.status("Asking Toast, one request a second: one to two minutes for each restaurant …"):
        probed, read = asyncio.run(ask(settings, calendar, restaurants=restaurants, weeks=weeks))
    report = make_report(probed, read, datetime.now(UTC))
    if before is not None:
        report = msgspec.structs.replace(report, changes=compare(before, report))
    click.echo(json_for_people(report) if as_json else markdown(report), nl=False)
    return 1 if report.totals[Verdict.REFUTED] else 0


def _refuse_soon_after_login(settings: ToastSettings, calendar: WeekCalendar, console: Console) -> None:
    now = datetime.now(UTC)
    for login, whose in _known_logins(settings, calendar, console):
        if now - login < _HOUR:
            raise click.UsageError(
                f"Toast asks for at most two logins an hour, and a probe takes two. {whose} logged in at"
                f" {login:%H:%M} UTC. Run the probe after {login + _HOUR:%H:%M} UTC, or give --force."
            )


def _known_logins(settings: ToastSettings, calendar: WeekCalendar, console: Console) -> Iterator[tuple[datetime, str]]:
    if login := last_login(settings):
        yield login, "A doctor or a probe on this machine"
    if not os.environ.get("S3_BUCKET_NAME"):
        return
    try:
        store = OrderStore.from_environment()
        # A later TOAST_START_DATE hides no pull.
        ever = replace(calendar, first=date.min)
        for key in store.pulled_weeks()[-_NEWEST_WEEKS:]:
            manifest, _ = store.load_manifest(ever.week(key))
            for pull in manifest.stored.values() if manifest else ():
                yield datetime.fromisoformat(pull.started_at), f"The pull of week {key}"
    except ToastAssetsError as error:
        console.print(f"Pulls of the last hour are not known: {error}", markup=False, soft_wrap=True)
