"""What is old enough goes, unless Amperity does not have it yet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from toast_assets.cli import main
from toast_assets.errors import SettingsError
from toast_assets.index.orders import read_state
from toast_assets.privacy.retention import Retained, Retention
from toast_assets.sandbox import Sandbox
from toast_assets.settings import RetentionSettings
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.stores.deliveries import amperity_settings, deliver
from toast_assets_tests.support.stores.guests import content, fill, weeks

RAW, EXPORT, LEDGER = "RETENTION_RAW_DAYS", "RETENTION_EXPORT_DAYS", "RETENTION_LEDGER_DAYS"


@pytest.fixture
async def delivered(sandbox: Sandbox, store: OrderStore) -> list[Week]:
    """Three weeks, of which the second was not delivered."""
    found = weeks(3)
    for number, week in enumerate(found):
        fill(store, week, [], derived=True)
        if number != 1:
            await deliver(sandbox, week)
    return found


def retain(
    sandbox: Sandbox, store: OrderStore, last: Week, days: float, variables: dict[str, str], *, dry_run: bool = False
) -> Retained:
    settings = RetentionSettings.parse(variables)
    now = last.end + timedelta(days=days)
    return Retention(store, settings, amperity_settings(sandbox), now, dry_run).run()


def test_nothing_goes_while_nothing_is_set(sandbox: Sandbox, store: OrderStore, delivered: list[Week]) -> None:
    before = content(store)
    assert retain(sandbox, store, delivered[2], 4000, {}) == Retained({}, {}, [])
    assert content(store) == before


def test_a_week_goes_when_it_is_old_and_was_delivered(
    sandbox: Sandbox, store: OrderStore, delivered: list[Week]
) -> None:
    before = content(store)
    planned = retain(sandbox, store, delivered[0], 31, {RAW: "30"}, dry_run=True)
    assert {key: body for key, body in content(store).items() if "/inspections/" not in key} == before
    result = retain(sandbox, store, delivered[0], 31, {RAW: "30"})
    assert planned == result
    assert set(result.removed) == set(map(str, (store.layout.raw(delivered[0], f"place-{n}") for n in (1, 2))))
    assert before.keys() - content(store).keys() == set(result.removed)
    state = read_state(store, "place-1")
    assert state is not None
    assert (state.expired, state.months != ()) == ((delivered[0].key,), True)


def test_orders_that_cannot_be_read_go_with_the_raw_orders(
    sandbox: Sandbox, store: OrderStore, delivered: list[Week]
) -> None:
    kept = store.layout.unreadable(delivered[0], "place-1")
    backup = f"{store.layout.unreadable_folder(delivered[0])}backup.txt"
    for key in (kept, backup):
        store.bucket.write(key, b"whatever")
    assert kept not in retain(sandbox, store, delivered[0], 31, {EXPORT: "30"}).removed
    assert kept in retain(sandbox, store, delivered[0], 31, {RAW: "30"}).removed
    assert backup in content(store)


def test_a_week_that_was_not_delivered_stays_and_is_named(
    sandbox: Sandbox, store: OrderStore, delivered: list[Week]
) -> None:
    everything = {RAW: "30", EXPORT: "30", LEDGER: "60"}
    result = retain(sandbox, store, delivered[2], 31, everything)
    assert list(result.kept) == [delivered[1].key]
    assert "0 of 3 stream records accepted" in result.kept[delivered[1].key]
    assert len(result.removed) == 2 * 2 * (1 + 1 + 3)
    left = [key for key in content(store) if delivered[1].key in key and "/raw/" in key]
    assert len(left) == 2


def test_receipts_go_after_what_they_are_receipts_of(
    sandbox: Sandbox, store: OrderStore, delivered: list[Week]
) -> None:
    everything = {RAW: "30", EXPORT: "30", LEDGER: "60"}
    retain(sandbox, store, delivered[0], 45, everything)
    ledgers = set(store.bucket.keys(store.layout.deliveries(delivered[0])))
    assert len(ledgers) == 2
    assert set(retain(sandbox, store, delivered[0], 61, everything).removed) == ledgers
    assert retain(sandbox, store, delivered[0], 62, everything).removed == {}


@pytest.mark.parametrize("wrong", [{LEDGER: "9"}, {RAW: "9", EXPORT: "9", LEDGER: "8"}, {RAW: "0"}, {RAW: "soon"}])
def test_settings_by_which_something_would_be_sent_again_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="RETENTION_"):
        RetentionSettings.parse(wrong)


@pytest.fixture
def command(
    sandbox: Sandbox, delivered: list[Week], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[str]]]:
    """Runs the command; what it ends with, and the last lines of what it says."""
    for name, value in (sandbox.environment() | {RAW: "1"}).items():
        monkeypatch.setenv(name, value)

    def run(*options: str, answer: str | None = None) -> tuple[int, list[str]]:
        if answer is not None:
            terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
            monkeypatch.setattr("toast_assets.cli.stores.sys", terminal)
        reply = CliRunner().invoke(main, ["retention", *options], input=answer)
        return reply.exit_code, reply.output.splitlines()

    return run


def raw_files(store: OrderStore) -> list[str]:
    return [key for key in content(store) if "/raw/" in key]


def test_without_a_terminal_the_command_refuses_unless_told_not_to_ask(
    store: OrderStore, command: Callable[..., tuple[int, list[str]]]
) -> None:
    code, said = command()
    assert code == 2
    assert "there is no terminal. Nothing was changed" in said[-1]
    assert len(raw_files(store)) == 6


def test_a_dry_run_lists_keys_with_their_weeks_and_bytes_and_removes_nothing(
    store: OrderStore, delivered: list[Week], command: Callable[..., tuple[int, list[str]]]
) -> None:
    due = [key for key in raw_files(store) if delivered[1].key not in key]
    size = sum(len(content(store)[key]) for key in due)
    code, said = command("--dry-run", "--yes")
    assert code == 0
    assert [line.split()[-1] for line in said if line.startswith("would go")] == due
    assert said[-1] == f"4 objects of 2 weeks would go, {size:,} bytes; weeks kept: 1."
    assert len(raw_files(store)) == 6


def test_at_a_terminal_the_command_asks_and_removes_only_after_a_yes(
    store: OrderStore, command: Callable[..., tuple[int, list[str]]]
) -> None:
    code, said = command(answer="n\n")
    assert code == 1
    assert "4 objects of 2 weeks would go" in said[-3]
    assert len(raw_files(store)) == 6
    code, said = command(answer="y\n")
    assert code == 0
    assert said[-1].startswith("4 objects of 2 weeks removed")
    assert len(raw_files(store)) == 2


def test_the_command_says_what_went_and_what_stays(
    delivered: list[Week], command: Callable[..., tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = command("--yes")
    assert code == 0
    assert any(line.startswith(f"kept      week {delivered[1].key}: ") for line in said)
    assert said[-1].startswith("4 objects of 2 weeks removed")
    monkeypatch.setenv(RAW, "soon")
    assert command("--yes")[0] == 2
    monkeypatch.delenv(RAW)
    assert "everything is kept" in command()[1][-1]
