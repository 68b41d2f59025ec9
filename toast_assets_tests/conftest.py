"""Fixtures that all tests share. Every test has a sandbox of its own: real HTTP on loopback ports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings

from toast_assets.sandbox import Sandbox, SandboxConfig
from toast_assets.store.order_store import OrderStore
from toast_assets.toast.client import ToastClient
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support import fault_table
from toast_assets_tests.support.clients import order_store, toast_client

# The same examples every time: what a change breaks shows at once, and nothing fails by chance. To search further:
# pytest --hypothesis-profile=search
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("search", derandomize=False, max_examples=1000)
settings.load_profile("repeatable")

StartSandbox = Callable[..., Sandbox]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--fault-table`` prints what the fault matrix found; ``--screenshots`` keeps what the browser saw;
    ``--chart-schema`` is what the Helm chart publishes."""
    parser.addoption("--fault-table", action="store_true", help="print the fault matrix as a table")
    parser.addoption("--screenshots", metavar="FOLDER", help="keep a picture of each step of the browser test")
    parser.addoption("--chart-schema", metavar="FILE", help="the values.schema.json of Dagster's Helm chart")


def pytest_configure(config: pytest.Config) -> None:
    """Makes room for the rows of the fault matrix."""
    config.stash[fault_table.KEY] = fault_table.FaultTable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Prints the fault matrix at the very end, if it was asked for."""
    table = config.stash.get(fault_table.KEY, None)
    if table is not None and table.rows and config.getoption("--fault-table"):
        fault_table.print_table(table)


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
