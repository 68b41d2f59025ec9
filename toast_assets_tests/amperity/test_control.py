"""The control plane's replies, page by page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from toast_assets.amperity.client import Load
from toast_assets.errors import AmperityError, AmperityTransientError
from toast_assets.http.retry import RetryPolicy
from toast_assets_tests.support.services.scripted_amperity import ScriptedAmperity
from toast_assets_tests.support.services.virtual_time import run_virtual

STARTED = datetime(2025, 9, 22, 5, tzinfo=UTC)


def job(workflow: str, state: str = "succeeded", **counts: int) -> dict[str, Any]:
    return {"id": "isj-1", "workflow_id": workflow, "tables": [{"table_name": "orders", "state": state, **counts}]}


def asked(amperity: ScriptedAmperity) -> Load:
    async def main() -> Load:
        async with amperity.client(retry=RetryPolicy(attempts=2)) as client:
            return await client.load("wf-1", STARTED, STARTED + timedelta(hours=1))

    return run_virtual(main())


def test_all_pages_are_read_and_only_this_runs_jobs_count() -> None:
    pages = {
        None: {"data": [job("wf-0"), job("wf-1", read=5, inserted=3)], "next_token": "two"},
        "two": {"data": [job("wf-1", read=4, updated=4)], "next_token": ""},
    }
    amperity = ScriptedAmperity(
        records=lambda _n, request: httpx.Response(200, json=pages[request.url.params.get("next_token")])
    )
    load = asked(amperity)
    assert [(table.read, table.inserted, table.updated) for table in load.tables] == [(5, 3, None), (4, None, 4)]
    assert load.loaded
    first = amperity.asked[0]
    assert dict(first.url.params) == {
        "created_from": "2025-09-22T05:00:00.000Z",
        "created_to": "2025-09-22T06:00:00.000Z",
    }
    assert str(first.url).startswith("https://app.amperity.com/api/ingest/jobs?")
    headers = ("Amperity-Tenant", "api-version", "Authorization")
    assert [first.headers[name] for name in headers] == ["acme", "2024-04-01", "Bearer first-key"]


@pytest.mark.parametrize(
    ("states", "ended", "loaded"),
    [
        ((), False, False),
        (("running",), False, False),
        (("Succeeded", "running"), False, False),
        (("succeeded", "COMPLETED"), True, True),
        (("succeeded", "failed"), True, False),
        (("Stopped",), True, False),
    ],
)
def test_a_load_has_ended_when_all_jobs_have_and_is_loaded_when_all_ended_well(
    states: tuple[str, ...], ended: bool, loaded: bool
) -> None:
    amperity = ScriptedAmperity(
        records=lambda _n, _r: httpx.Response(200, json={"data": [job("wf-1", state) for state in states]})
    )
    load = asked(amperity)
    assert (load.ended, load.loaded) == (ended, loaded)


def test_reading_is_repeated_after_a_fault() -> None:
    amperity = ScriptedAmperity(
        records=lambda number, _r: httpx.Response(503) if number == 1 else httpx.Response(200, json={"data": []})
    )
    assert not asked(amperity).tables
    assert len(amperity.asked) == 2


def test_a_start_is_asked_for_once_whatever_happens() -> None:
    amperity = ScriptedAmperity(records=lambda _n, _r: httpx.Response(503))

    async def main() -> str:
        async with amperity.client() as client:
            return await client.start_workflow("cg-1", STARTED.date(), STARTED.date() + timedelta(days=1))

    with pytest.raises(AmperityTransientError, match=r"503.* \[AMPERITY-UNAVAILABLE\]$"):
        run_virtual(main())
    assert len(amperity.asked) == 1


def test_a_reply_that_cannot_be_read_names_the_setting() -> None:
    amperity = ScriptedAmperity(records=lambda _n, _r: httpx.Response(200, text="<html>"))
    with pytest.raises(AmperityError, match=r"AMPERITY_CONTROL_URL.* \[AMPERITY-CONTROL\]$"):
        asked(amperity)
