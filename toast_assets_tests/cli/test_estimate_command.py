"""``toast-assets estimate``: a table for people, JSON for machines, and one sentence where it cannot be done."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from click.testing import CliRunner, Result

from toast_assets.cli.app import main
from toast_assets.sandbox import Sandbox
from toast_assets.week import Week
from toast_assets_tests.support.stores.pulls import pull

_CREDENTIALS = (
    "TOAST_CLIENT_ID",
    "TOAST_CLIENT_SECRET",
    "AMPERITY_API_KEY",
    "AMPERITY_TENANT_ID",
    "AMPERITY_STREAM_ID",
)


@pytest.fixture(autouse=True)
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of the sandbox, less the credentials of both services."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    for name in _CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def estimate(first: str, last: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["estimate", "--from", first, "--to", last, *options])


def test_weeks_that_are_alike_share_a_line_and_the_total_is_told(
    sandbox: Sandbox, week: Week, environment: pytest.MonkeyPatch
) -> None:
    asyncio.run(pull(sandbox, week))
    environment.setenv("TOAST_HISTORICAL_SPACING_SECONDS", "60")
    result = estimate("2025-09-01", week.key)
    assert result.exit_code == 0, result.output
    head, new, whole = (re.split(r"  +", line.strip()) for line in result.output.splitlines()[:3])
    assert head == ["weeks", "state", "restaurants", "requests", "orders", "time", "spacing (s)", "by"]
    assert new[:3] == ["2025-09-01 to 2025-09-08", "not pulled yet", "3"]
    assert new[-2:] == ["60.0", week.key]
    assert whole[:3] == [week.key, "stored whole", "3"]
    assert whole[-1] == "its last pull"
    assert re.search(r"^In all about \d+ requests for [\d,]+ orders\.$", result.output, re.MULTILINE)
    assert re.search(r"^About \d+ min: the pulls, one after the other, take \d+ min;", result.output, re.MULTILINE)
    assert "stored whole are pulled again" in result.output


def test_an_assumption_is_called_one(sandbox: Sandbox) -> None:
    result = estimate("2025-09-01", "2025-09-08")
    assert "No measurement yet: 1,000 orders and 15 requests per restaurant" in result.output
    assert "pulled again" not in result.output


def test_for_machines_there_is_json_with_a_line_for_each_week(sandbox: Sandbox, week: Week) -> None:
    asyncio.run(pull(sandbox, week))
    found = json.loads(estimate("2025-09-08", week.key, "--json", "--no-refresh").stdout)
    new, whole = found["weeks"]
    assert (new["partition"], new["state"], new["restaurants_by"]) == ("2025-09-08", "nothing", {"other_week": 3})
    assert new["measured_in"] == [week.key]
    assert (whole["state"], whole["restaurants"], whole["requests"]) == ("whole", 0, 0)
    assert found["requests"] == new["requests"]
    assert found["seconds"] >= found["pull_seconds"] > 0


def test_a_week_of_which_nothing_is_asked_says_so(sandbox: Sandbox, week: Week) -> None:
    asyncio.run(pull(sandbox, week))
    assert "nothing to ask" in estimate(week.key, week.key, "--no-refresh").output
    assert "nothing to ask" not in estimate(week.key, week.key).output


@pytest.mark.parametrize(
    ("first", "last", "reason"),
    [
        ("2025-09-02", "2025-09-08", "weeks begin on a Monday"),
        ("2025-09-08", "2025-09-01", "--from 2025-09-01 --to 2025-09-08"),
    ],
)
def test_a_range_that_is_none_is_one_sentence(first: str, last: str, reason: str) -> None:
    result = estimate(first, last)
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert reason in result.output


def test_a_star_without_stored_weeks_names_the_way_out(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOAST_RESTAURANT_GUID", "*")
    result = estimate("2025-09-01", "2025-09-08")
    assert result.exit_code == 1
    assert "name the restaurants in TOAST_RESTAURANT_GUID" in result.output


def test_all_missing_and_malformed_variables_are_named_at_once(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("TOAST_RESTAURANT_GUID")
    environment.delenv("S3_BUCKET_NAME")
    environment.setenv("AMPERITY_REQUESTS_PER_SECOND", "many")
    environment.setenv("TOAST_WEEK_HOUR", "25")
    result = estimate("2025-09-01", "2025-09-08")
    assert result.exit_code == 2
    named = set(re.findall(r"[A-Z0-9]+_[A-Z0-9_]+", result.output))
    assert named == {"TOAST_RESTAURANT_GUID", "S3_BUCKET_NAME", "AMPERITY_REQUESTS_PER_SECOND", "TOAST_WEEK_HOUR"}
