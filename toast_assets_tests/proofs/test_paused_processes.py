"""Two processes do one week: the first is stopped right before a write, the second does all of it with newer orders,
the first goes on. The newest content is everywhere, whichever write it was.

``--full`` does so with the command and for every kind of object.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from toast_assets.delivery.ledger import SEGMENT
from toast_assets.export.write import export_week
from toast_assets.pull.week import WeekPull
from toast_assets.sandbox import Kind, Sandbox, invent_restaurants
from toast_assets.store.bucket import Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_orders import refresh_current_orders
from toast_assets.toast.client import ToastClient
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.faults.killed import exit_code, processes
from toast_assets_tests.support.faults.s3_proxy import PATIENCE_SECONDS, Held, holding_s3
from toast_assets_tests.support.services.clients import UNLIMITED, order_store
from toast_assets_tests.support.services.toast_orders import edit, late_arrivals, put_bytes
from toast_assets_tests.support.stores.deliveries import accepted, open_segments, rejects
from toast_assets_tests.support.stores.pulls import LOG, check_complete, true_versions

WEEK_KEY = "2025-09-15"
FORGET = "from toast_assets.cli import main; main()"
# Every object that a run writes, by a part of its key. Those of `forget` follow below.
KINDS = (
    *("/raw/", "/manifests/", "/toast-orders_", "/calendar.json", "/inspections/", "/unreadable/"),
    *("/tables/orders/", "/tables/order_items/", "/tables/current_orders/restaurant=", "/tables/current_orders/_state"),
    *("/amperity/transactions/", "/amperity/order_items/", "/amperity/customers/"),
    *("/open/", f"/deliveries/week={WEEK_KEY}/restaurant=", "/rejects/"),
    *("/rejects/open.json", "/status/"),
)


@pytest.fixture
def sandbox(start_sandbox: Callable[..., Sandbox], part: str) -> Sandbox:
    """One restaurant: a small one, unless receipts have to be stored before the delivery ends."""
    return start_sandbox(restaurants=invent_restaurants(1, 2 * SEGMENT if part == "/open/" else 30))


def newer(sandbox: Sandbox, week: Week) -> None:
    """An order is edited, and one arrives late."""
    (guid,) = sandbox.restaurant_guids
    first = sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)[0].guid
    edit(sandbox.toast.orders[guid], first, week.end_ms - 5)
    late_arrivals(sandbox.toast.orders[guid], week.start, week.end, 1)


def week_without_delivery(environment: dict[str, str]) -> None:
    """Pull, export, tables and current orders, as a run does them."""
    os.environ.update(environment)
    week = WeekCalendar().week(WEEK_KEY)
    store = OrderStore(Bucket(boto3.client("s3"), environment["S3_BUCKET_NAME"]), environment["S3_PREFIX"])

    async def pull() -> None:
        names = [field.alias for field in ToastSettings.model_fields.values() if field.alias]
        settings = ToastSettings.parse({name: environment.get(name) for name in names})
        async with ToastClient(settings) as toast:
            await WeekPull(week, toast, store, refresh=True, log=LOG).run()

    asyncio.run(pull())
    export_week(week, store, LOG)
    build_tables(week, store, LOG)
    refresh_current_orders(store, LOG)


def quiet_week_without_delivery(environment: dict[str, str]) -> None:
    """The same in a process whose errors nobody reads: one that finds newer content may end with an error."""
    logging.disable(logging.CRITICAL)
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    week_without_delivery(environment)


@pytest.mark.parametrize("part", ["/manifests/", "/toast-orders_", "/tables/orders/", "/tables/current_orders/_state"])
def test_a_process_that_was_stopped_puts_nothing_older_over_what_is_newer(
    sandbox: Sandbox, store: OrderStore, week: Week, part: str
) -> None:
    environment = sandbox.environment() | {"TOAST_REQUESTS_PER_SECOND": UNLIMITED}
    held = Held("PUT", part)
    with holding_s3(sandbox.s3_url, held) as url:
        first = processes.Process(
            target=quiet_week_without_delivery, args=(environment | {"AWS_ENDPOINT_URL_S3": url},)
        )
        first.start()
        assert held.reached.wait(PATIENCE_SECONDS)
        newer(sandbox, week)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            week_without_delivery(environment)
        held.go_on()
        assert exit_code(first) in (0, 1)
    check_complete(sandbox, week)
    check_tables(sandbox, store, week)


def check_tables(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    """The tables of the week and of all weeks hold the newest version of each order."""
    (guid,) = sandbox.restaurant_guids
    truth = {order: modified for order, (modified, _) in true_versions(sandbox, week, guid).items()}
    for table, part in (("orders", week.key), ("current_orders", None)):
        frame = store.load_table(table, part, columns=["order_guid", "modified_at"])
        found = zip(frame["order_guid"], frame["modified_at"], strict=True)
        assert {order: round(modified.timestamp() * 1000) for order, modified in found} == truth, table
    report = refresh_current_orders(store, LOG)
    assert (report.weeks, report.state.orders) == ((), len(truth))


# The command, for every kind of object

_REFRESH = json.dumps({"ops": {"raw_toast_orders": {"config": {"refresh": True}}}})


class Commands:
    """Runs of the command on one sandbox."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self._folder, self._runs = sandbox, folder, 0

    def start(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """A process with a Dagster instance of its own, as two machines have."""
        self._runs += 1
        home = self._folder / str(self._runs)
        home.mkdir()
        (home / "dagster.yaml").touch()
        environment = (
            os.environ
            | self.sandbox.environment()
            | {
                "DAGSTER_HOME": str(home),
                "TOAST_REQUESTS_PER_SECOND": UNLIMITED,
                "AMPERITY_DELIVERY": "stream,s3_pull",
                "AMPERITY_MAX_REJECT_SHARE": "1",
            }
        )
        return subprocess.Popen(  # noqa: S603 - this package's own commands
            [sys.executable, *command],
            env=environment | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def week(self, **variables: str) -> subprocess.Popen[str]:
        """All assets of the week. Toast is asked again also where a stopped run left its orders without a manifest."""
        command = ("-m", "dagster", "asset", "materialize", "-m", "toast_assets.definitions", "--select", "*")
        return self.start(*command, "--partition", WEEK_KEY, "--config-json", _REFRESH, **variables)

    @contextmanager
    def stopped(self, part: str, start: Callable[..., subprocess.Popen[str]]) -> Iterator[None]:
        """A process that is stopped before its write of ``part`` until the block ends; it ends by no signal."""
        held = Held("PUT", part)
        with holding_s3(self.sandbox.s3_url, held) as url, start(AWS_ENDPOINT_URL_S3=url) as process:
            try:
                while not held.reached.wait(0.1):
                    assert process.poll() is None, process.communicate()[0][-4000:]
                yield
                held.go_on()
                said, _ = process.communicate(timeout=PATIENCE_SECONDS)
                assert process.returncode in (0, 1), said[-4000:]
            finally:
                process.kill()


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for success."""
    with process:
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said[-4000:]


@pytest.mark.full
@pytest.mark.parametrize("part", KINDS)
def test_a_run_that_was_stopped_before_any_write_leaves_the_newest_content_everywhere(
    sandbox: Sandbox, store: OrderStore, week: Week, tmp_path: Path, part: str
) -> None:
    (guid,) = sandbox.restaurant_guids
    commands = Commands(sandbox, tmp_path)
    refused = sandbox.toast.orders[guid].between(week.start_ms, week.end_ms)[3].guid
    sandbox.faults.arm(Kind.STATUS, "stream", status=400, containing=refused.encode(), last=None)
    if part == "/unreadable/":
        put_bytes(sandbox.toast.orders[guid], "odd", week.start_ms + 5, b'{"modifiedDate":"yesterday"}')
    with commands.stopped(part, commands.week):
        newer(sandbox, week)
        if part == "/unreadable/":
            put_bytes(sandbox.toast.orders[guid], "odder", week.start_ms + 6, b'{"guid":5}')
        finish(commands.week())
    if part == "/unreadable/":
        found = store.bucket.read(f"{store.layout.prefix}unreadable/week={week.key}/restaurant={guid}.ndjson.gz")
        assert found is not None
        sandbox.toast.orders[guid].newest.pop("odd", None)
        sandbox.toast.orders[guid].newest.pop("odder", None)
    check_complete(sandbox, week)
    check_tables(sandbox, store, week)
    assert [reject["order_guid"] for reject in rejects(sandbox, week)] == [refused]
    assert not open_segments(sandbox, week)
    # Whatever a run brings now, it changes nothing, and nothing is sent.
    before, sent = content(sandbox), len(accepted(sandbox))
    finish(commands.week())
    after = content(sandbox)
    assert {key for key in before | after if before.get(key) != after.get(key)} == set()
    assert len(accepted(sandbox)) == sent


def content(sandbox: Sandbox) -> dict[str, bytes]:
    """All objects but the rejects, each of which is tried again and noted with its time."""
    bucket = order_store(sandbox).bucket
    found = {key: bucket.read(key) for key in bucket.keys("") if "/rejects/" not in key and "/deliveries/" not in key}
    return {key: item[0] for key, item in found.items() if item is not None}


@pytest.mark.full
@pytest.mark.parametrize("part", ["/privacy/forgotten.json", "/privacy/certificates/", "/raw/", "/toast-orders_"])
def test_two_guests_are_forgotten_at_once(sandbox: Sandbox, store: OrderStore, tmp_path: Path, part: str) -> None:
    commands = Commands(sandbox, tmp_path)
    finish(commands.week())
    emails = sorted(
        {str(email) for email in store.load_table("customers", WEEK_KEY)["email"] if isinstance(email, str)}
    )
    one, two = emails[:2]

    def forget(email: str, **variables: str) -> subprocess.Popen[str]:
        return commands.start("-c", FORGET, "forget", "--yes", "--allow-unknown", email, **variables)

    with commands.stopped(part, lambda **variables: forget(one, **variables)):
        finish(forget(two))
    # The one that was stopped may have ended with the request to repeat it.
    finish(forget(one))
    finish(commands.week())
    left = set(store.load_table("customers", WEEK_KEY)["email"])
    assert not {one, two} & left
    assert len(list(store.bucket.keys(f"{store.layout.privacy}certificates/"))) >= 2
