"""``toast-assets probe``: the report in two forms, exit codes, and no login too many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from toast_assets.cli import main
from toast_assets.cli import probe as command
from toast_assets.probe import access, run
from toast_assets.probe.answers import Answer, confirmed, refuted
from toast_assets.probe.questions import QUESTIONS
from toast_assets.probe.report import Probed
from toast_assets.sandbox import Assumption, Restaurant, Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.toast import known_logins
from toast_assets.toast.known_logins import last_login, note_login
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week, WeekCalendar, iso_ms
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.support.services.clients import UNLIMITED, SkippedTime
from toast_assets_tests.support.stores.pulls import pull

GUID = "aaaaaaaa-0000-4000-8000-000000000001"
ENVIRONMENT = {
    "TOAST_API_URL": "https://toast.example",
    "TOAST_CLIENT_ID": "the-client",
    "TOAST_CLIENT_SECRET": "hush",
    "TOAST_RESTAURANT_GUID": GUID,
}
FINE = dict.fromkeys(QUESTIONS, confirmed("seen"))


class Asked:
    """Stands in for the run of a probe, and keeps what it was given; ``answers`` are those of one restaurant."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = FINE
        self.calls: list[tuple[ToastSettings, Sequence[str], Sequence[str]]] = []

    async def __call__(
        self, settings: ToastSettings, calendar: WeekCalendar, *, restaurants: Sequence[str], weeks: Sequence[str]
    ) -> tuple[list[Probed], list[str]]:
        """What ``run.probe`` answers."""
        assert calendar == WeekCalendar()
        self.calls.append((settings, restaurants, weeks))
        return [Probed(self.answers, 77)], ["2025-09-15"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Toast's variables alone, and no earlier login."""
    monkeypatch.setattr(known_logins, "gettempdir", lambda: str(tmp_path))
    monkeypatch.delenv("S3_BUCKET_NAME", raising=False)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    stand_in = Asked()
    monkeypatch.setattr(command, "ask", stand_in)
    return stand_in


def probe(*options: str) -> Result:
    return CliRunner().invoke(main, ["probe", *options])


def test_people_read_markdown(asked: Asked) -> None:
    result = probe()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("# What toast-assets assumes about Toast\n")
    assert result.stdout.endswith("\n34 confirmed, 0 refuted, 0 unseen.\n")
    [(settings, restaurants, weeks)] = asked.calls
    assert (settings.restaurant_guids, restaurants, weeks) == ((GUID,), (), ())


def test_machines_read_json(asked: Asked) -> None:
    content = json.loads(probe("--json").stdout)
    assert (content["requests"], content["weeks"], len(content["questions"])) == ([77], ["2025-09-15"], 34)
    assert "changes" not in content


def test_something_refuted_ends_with_a_1(asked: Asked) -> None:
    asked.answers = FINE | {"gzip": refuted("a reply was packed")}
    result = probe()
    assert result.exit_code == 1
    assert f"  - What toast-assets does: {QUESTIONS['gzip'].otherwise}\n" in result.stdout


def test_restaurants_and_weeks_are_those_that_are_named(asked: Asked) -> None:
    probe("--restaurant", "one", "--restaurant", "two", "--week", "2025-09-08", "--week", "2025-09-15")
    [(_, restaurants, weeks)] = asked.calls
    assert (restaurants, weeks) == (("one", "two"), ("2025-09-08", "2025-09-15"))


def test_a_named_restaurant_is_enough_without_the_variable(asked: Asked, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("TOAST_RESTAURANT_GUID")
    assert probe("--restaurant", "one").exit_code == 0
    assert asked.calls
    assert "TOAST_RESTAURANT_GUID" in probe().output


def test_changes_since_an_earlier_report_are_shown(asked: Asked, tmp_path: Path) -> None:
    earlier = tmp_path / "report.json"
    earlier.write_text(probe("--json").stdout)
    asked.answers = FINE | {"gzip": refuted("a reply was packed")}
    assert "\n- gzip: confirmed → refuted\n" in probe("--compare", str(earlier)).stdout
    assert json.loads(probe("--compare", str(earlier), "--json").stdout)["changes"] == ["gzip: confirmed → refuted"]
    asked.answers = FINE
    assert "## Changes since the earlier report\n\n- None.\n" in probe("--compare", str(earlier)).stdout
    earlier.write_text('{"questions": []}')
    assert len(json.loads(probe("--compare", str(earlier), "--json").stdout)["changes"]) == 34


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"exit_code": 0, "findings": []}'])
def test_a_file_that_is_no_report_is_refused_before_anything_is_asked(
    asked: Asked, tmp_path: Path, content: str
) -> None:
    (tmp_path / "report.json").write_text(content)
    result = probe("--compare", str(tmp_path / "report.json"))
    assert (result.exit_code, asked.calls) == (2, [])
    assert "report.json cannot be read as a report of toast-assets probe --json." in result.stderr
    assert probe("--compare", str(tmp_path / "missing.json")).exit_code == 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--restaurant", "not a guid"], "TOAST_RESTAURANT_GUID"),
        (["--week", "2025-09-16"], "weeks begin on a Monday"),
        (["--week", "2099-01-05"], "has not closed yet"),
        ([f"--restaurant={number}" for number in range(4)], "at most 3 restaurants"),
        ([f"--week=2025-09-{day:02d}" for day in (1, 8, 15)], "2 weeks"),
    ],
)
def test_wrong_input_ends_with_a_2_and_costs_no_login(options: list[str], reason: str) -> None:
    result = probe(*options)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert last_login(ToastSettings.parse(ENVIRONMENT)) is None


def test_within_an_hour_of_another_login_it_is_refused_unless_forced(asked: Asked) -> None:
    note_login(ToastSettings.parse(ENVIRONMENT))
    result = probe()
    assert (result.exit_code, asked.calls) == (2, [])
    after = datetime.now(UTC) + timedelta(hours=1)
    times = {f"{moment:%H:%M}" for moment in (after, after - timedelta(minutes=1))}
    assert any(f"Run the probe after {time} UTC, or give --force." in " ".join(result.stderr.split()) for time in times)
    assert probe("--force").exit_code == 0


def test_an_hour_after_a_login_it_asks(asked: Asked, environment: pytest.MonkeyPatch) -> None:
    login = datetime.now(UTC) - timedelta(minutes=60)
    environment.setattr(command, "last_login", lambda _: login)
    assert probe().exit_code == 0
    environment.setattr(command, "last_login", lambda _: login + timedelta(minutes=1))
    assert probe().exit_code == 2


def test_the_doctor_s_login_counts(asked: Asked, sandbox: Sandbox, environment: pytest.MonkeyPatch) -> None:
    for name, value in sandbox.environment().items():
        environment.setenv(name, value)
    CliRunner().invoke(main, ["doctor"])
    result = probe()
    assert (result.exit_code, asked.calls) == (2, [])
    assert "A doctor or a probe on this machine logged in at" in result.stderr


def pulled(store: OrderStore, week: Week, started: datetime) -> None:
    """Say that a stored week was pulled then."""
    manifest, version = store.load_manifest(week)
    assert manifest is not None
    records = {
        guid: msgspec.structs.replace(
            one, pull=one.pull and msgspec.structs.replace(one.pull, started_at=iso_ms(started))
        )
        for guid, one in manifest.restaurants.items()
    }
    changed = msgspec.structs.replace(manifest, restaurants=records)
    store.bucket.write(store.layout.manifest(week), msgspec.json.encode(changed), replaces=version)


def test_the_login_of_a_pull_within_the_hour_counts(
    asked: Asked, sandbox: Sandbox, store: OrderStore, week: Week, environment: pytest.MonkeyPatch
) -> None:
    asyncio.run(pull(sandbox, week))
    for name, value in sandbox.environment().items():
        environment.setenv(name, value)
    result = probe()
    assert (result.exit_code, asked.calls) == (2, [])
    assert f"The pull of week {week.key} logged in at" in result.stderr
    pulled(store, week, datetime.now(UTC) - timedelta(minutes=61))
    assert probe().exit_code == 0


def test_a_bucket_that_cannot_be_read_is_only_mentioned(
    asked: Asked, sandbox: Sandbox, environment: pytest.MonkeyPatch
) -> None:
    for name, value in (sandbox.environment() | {"S3_BUCKET_NAME": "another-bucket"}).items():
        environment.setenv(name, value)
    result = probe()
    assert (result.exit_code, len(asked.calls)) == (0, 1)
    assert result.stderr.startswith("Pulls of the last hour are not known: ")
    assert result.stdout.startswith("# What")


@pytest.fixture
def end_to_end(start_sandbox: StartSandbox, environment: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Probes a sandbox of one restaurant, in skipped time."""

    def start(*options: str, **settings: Any) -> Result:
        skipped = SkippedTime()
        place = Restaurant(GUID, "Harbor & Thistle, Pier 9", orders_per_week=80)
        sandbox = start_sandbox(restaurants=(place,), rate_limits=True, now=skipped.now, **settings)
        names = ("TOAST_API_URL", "TOAST_CLIENT_ID", "TOAST_CLIENT_SECRET", "TOAST_RESTAURANT_GUID")
        for name in names:
            environment.setenv(name, sandbox.environment()[name])
        environment.setenv("TOAST_REQUESTS_PER_SECOND", UNLIMITED)
        times: Any = {"sleep": skipped.sleep, "clock": skipped.clock, "now": skipped.now}
        environment.setattr(command, "ask", partial(run.probe, **times))
        return probe(*options)

    return start


def test_on_a_sandbox_nothing_is_refuted_and_a_second_probe_waits(end_to_end: Callable[..., Result]) -> None:
    result = end_to_end("--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["totals"]["refuted"] == 0
    assert probe("--json").exit_code == 2


def test_both_logins_are_noted_when_they_are_made(
    end_to_end: Callable[..., Result], environment: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []
    for module in (run, access):
        environment.setattr(module, "note_login", lambda _, name=module.__name__: noted.append(name))
    end_to_end()
    assert noted == [run.__name__, access.__name__]


def test_on_a_sandbox_that_breaks_an_assumption_it_is_named(end_to_end: Callable[..., Result]) -> None:
    result = end_to_end(without=Assumption.DATE_FORMATS)
    assert result.exit_code == 1
    assert [line.split("`")[1] for line in result.stdout.splitlines() if line.startswith("- ✗")] == ["date_formats"]


def test_credentials_that_toast_refuses_are_one_sentence(
    end_to_end: Callable[..., Result], environment: pytest.MonkeyPatch
) -> None:
    result = end_to_end(toast_client_secret="another", toast_client_id="another")
    assert result.exit_code == 0
    environment.setenv("TOAST_CLIENT_SECRET", "wrong")
    result = probe("--force")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Check TOAST_CLIENT_ID, TOAST_CLIENT_SECRET and TOAST_API_URL." in result.stderr
