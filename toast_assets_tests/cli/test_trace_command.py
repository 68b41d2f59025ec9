"""``toast-assets trace``: text for people, JSON for machines, and what the exit code says."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from toast_assets.cli.app import main
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.services.toast_orders import edit
from toast_assets_tests.support.stores.deliveries import ROW_STREAMS, deliver
from toast_assets_tests.support.stores.pulls import export, pull, true_versions


@pytest.fixture(autouse=True)
def environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of the sandbox."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def guid(sandbox: Sandbox, week: Week) -> str:
    """An order of a week that is exported."""
    asyncio.run(pull(sandbox, week))
    export(sandbox, week)
    return min(true_versions(sandbox, week, sandbox.restaurant_guids[2]))


def trace(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["trace", *arguments])


def test_an_order_that_is_delivered_exits_with_0_and_one_that_is_due_with_1(
    sandbox: Sandbox, week: Week, guid: str
) -> None:
    due = trace(guid)
    assert due.exit_code == 1, due.output
    assert f"    now          stream: 1 would send\n                 would send {guid}\n" in due.output
    assert due.output.endswith("Not complete: see above what is missing, refused or due.\n")
    asyncio.run(deliver(sandbox, week))
    done = trace(guid.upper())
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[:2] == [f"Order {guid}", f"at Café Ciénaga ({sandbox.restaurant_guids[2]})"]
    assert "    now          stream: 1 unchanged" in lines
    assert any(line.startswith("    stream: accepted, HTTP 202, 1 attempt, 20") for line in lines)
    answer = json.loads(trace(guid, "--json").output)
    assert (answer["asked"], answer["problems"], answer["not_set"]) == (guid, [], None)
    assert [one["week"] for one in answer["orders"][0]["versions"]] == [week.key]


def test_no_line_of_an_order_with_many_receipts_is_wider_than_100_columns(
    sandbox: Sandbox, week: Week, guid: str, environment: pytest.MonkeyPatch
) -> None:
    for name, value in (ROW_STREAMS | {"AMPERITY_DELIVERY": "stream,s3_pull"}).items():
        environment.setenv(name, value)
    sandbox.faults.arm("status", "stream", status=400, last=None)
    asyncio.run(deliver(sandbox, week, **ROW_STREAMS))
    result = trace(guid, "--restaurant", sandbox.restaurant_guids[2])
    assert result.exit_code == 1
    assert "stream_order_items: rejected, HTTP 400, 1 attempt" in result.output
    assert max(map(len, result.output.splitlines())) <= 100


def test_a_display_number_needs_its_day_and_its_restaurant(sandbox: Sandbox, week: Week, guid: str) -> None:
    place = sandbox.restaurant_guids[2]
    body = json.loads(true_versions(sandbox, week, place)[guid][1])
    day = f"{body['businessDate']}"
    number = ("--business-date", f"{day[:4]}-{day[4:6]}-{day[6:]}")
    found = json.loads(trace(str(body["displayNumber"]), *number, "--restaurant", place, "--json").output)
    assert guid in [one["order_guid"] for one in found["orders"]]
    assert trace(str(body["displayNumber"]), *number).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (" ",),
        ("7", "--business-date", "2025-09-31", "--restaurant", "a"),
        ("7", "--business-date", "2025-09-19", "--restaurant", "a", "--guest"),
        ("7", "--week", "last"),
    ],
)
def test_wrong_input_exits_with_2_and_asks_nothing(arguments: tuple[str, ...], environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    result = trace(*arguments)
    assert (result.exit_code, "Error: " in result.output) == (2, True)


def test_an_unknown_order_and_an_unknown_guest_exit_with_1(guid: str) -> None:
    for arguments, text in (
        (("nobody",), "Order nobody is not in any pulled week.\n"),
        (("nobody", "--guest"), "No row of the guest nobody was streamed.\n"),
    ):
        result = trace(*arguments)
        assert (result.exit_code, result.output) == (1, text)
    assert guid


def test_without_amperitys_settings_all_but_what_would_be_sent_is_shown(
    guid: str, environment: pytest.MonkeyPatch
) -> None:
    environment.delenv("AMPERITY_STREAM_ID")
    result = trace(guid)
    assert "What would be sent now is not known: AMPERITY_STREAM_ID is not set." in result.output
    assert "    export       current: toast-orders_" in result.output
    assert "would send" not in result.output


def test_an_edited_order_shows_which_fields_changed(
    sandbox: Sandbox, store: OrderStore, week: Week, guid: str, environment: pytest.MonkeyPatch
) -> None:
    place, later = sandbox.restaurant_guids[2], Week("2025-09-22", week.end, week.end + (week.end - week.start))
    edit(sandbox.toast.orders[place], guid, later.start_ms + 1)
    asyncio.run(pull(sandbox, later))
    store.bucket.delete(store.layout.week_orders(week.key))
    result = trace(guid)
    assert "  Week 2025-09-22: modified 2025-09-22T04:00:00.001Z" in result.output
    assert "    changed      " in result.output
    assert "modifiedDate (changed)" in result.output
    assert "nothing: the export is missing: materialize toast_orders_s3_export for this week" in result.output
    assert environment
