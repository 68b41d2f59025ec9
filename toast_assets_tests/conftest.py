"""Fixtures that all tests share. Every test has a sandbox of its own: real HTTP on loopback ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from toast_assets.sandbox import Sandbox, SandboxConfig
from toast_assets.store.order_store import OrderStore
from toast_assets.toast import known_logins
from toast_assets.toast.client import ToastClient
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.faults import fault_table
from toast_assets_tests.support.services.clients import order_store, toast_client

# The same examples every time: what a change breaks shows at once, and nothing fails by chance. To search further:
# pytest --hypothesis-profile=search
# How long an example takes is no result: it depends on what else the machine does.
_UNTIMED: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("repeatable", derandomize=True, **_UNTIMED)
settings.register_profile("search", derandomize=False, max_examples=1000, **_UNTIMED)
settings.load_profile("repeatable")

StartSandbox = Callable[..., Sandbox]

# Tests in which threads, tasks or processes of ours race with each other: no schedule may make them fail. To repeat
# them under load: pytest -m concurrent. Tests of whole commands, of the UI and of memory do one thing after the other.
CONCURRENT = (
    "amperity/feeds/test_files.py",
    "amperity/test_client.py",
    "cli/test_replay_rejects.py",
    "cli/test_runs.py",
    "defs/test_alerts.py",
    "delivery/test_deliver.py",
    "delivery/test_notify.py",
    "delivery/test_receipts.py",
    "proofs/test_delivery_kills.py",
    "proofs/test_fault_matrix.py",
    "proofs/test_interrupted_pulls.py",
    "proofs/test_paused_processes.py",
    "proofs/test_paused_runs.py",
    "pull/test_week.py",
    "sandbox/test_faults.py",
    "sandbox/test_server.py",
    "toast/test_client.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fault-table`` prints what the fault matrix found; ``--screenshots`` keeps what the browser saw;
    ``--chart-schema`` is what the Helm chart publishes; ``--full`` adds the tests that take minutes."""
    parser.addoption("--fault-table", action="store_true", help="print the fault matrix as a table")
    parser.addoption("--screenshots", metavar="FOLDER", help="keep a picture of each step of the browser test")
    parser.addoption("--full", action="store_true", help="run the long versions of proofs as well")
    parser.addoption("--chart-schema", metavar="FILE", help="the values.schema.json of Dagster's Helm chart")


def pytest_configure(config: pytest.Config) -> None:
    """Makes room for the rows of the fault matrix, and says what the marker means."""
    config.addinivalue_line("markers", "concurrent: threads, tasks or processes of ours race with each other")
    config.addinivalue_line("markers", "full: takes minutes, and proves in more cases what another test proves in few")
    config.stash[fault_table.KEY] = fault_table.FaultTable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests of ``CONCURRENT``, and leaves out those that only ``--full`` runs."""
    if not config.getoption("--full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix().startswith(CONCURRENT):
            item.add_marker("concurrent")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Prints the fault matrix at the very end, if it was asked for."""
    table = config.stash.get(fault_table.KEY, None)
    if table is not None and table.rows and config.getoption("--fault-table"):
        fault_table.print_table(table)


@pytest.fixture(scope="session", autouse=True)
def notes_of_logins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps notes of logins at sandboxes out of this machine's temporary directory."""
    folder = str(tmp_path_factory.mktemp("logins"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_logins, "gettempdir", lambda: folder)
        yield


@pytest.fixture
def start_sandbox() -> Iterator[StartSandbox]:
    """Starts sandboxes (settings of ``SandboxConfig``) that end with the test; limits are off unless asked for."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Sandbox:
            changed: dict[str, Any] = {"rate_limits": False} | settings
            return stack.enter_context(Sandbox(SandboxConfig(**changed)))

        yield start


@pytest.fixture
def sandbox(start_sandbox: StartSandbox) -> Sandbox:
    """Three small restaurants, no rate limits, no faults."""
    return start_sandbox()


@pytest.fixture
def store(sandbox: Sandbox) -> OrderStore:
    """The order store on the sandbox's bucket."""
    return order_store(sandbox)


@pytest.fixture
def week() -> Week:
    """A closed week in which the sandbox has orders."""
    return WeekCalendar().week("2025-09-15")


@pytest.fixture
def make_toast(sandbox: Sandbox) -> Callable[..., ToastClient]:
    """Makes clients of the sandbox that wait for nothing; keywords are environment variables."""

    def make(**changes: Any) -> ToastClient:
        return toast_client(sandbox, **changes)

    return make
