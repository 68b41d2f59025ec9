"""``toast-assets forget``: who is meant comes by option, file or stdin; nobody is ever shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from toast_assets.cli import main
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.guests import EMAIL, GUID, SECRETS, content, fill, holding, namings


@pytest.fixture(autouse=True)
def environment(sandbox: Sandbox, store: OrderStore, week: Week) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        fill(store, week, namings(), derived=False)
        yield


def run(*arguments: str, stdin: str = "") -> Result:
    reply = CliRunner().invoke(main, ["forget", *arguments], input=stdin)
    assert not [secret for secret in SECRETS if secret in reply.output]
    return reply


@pytest.mark.parametrize("option", ["--email", "positional", "file", "stdin"])
def test_the_guest_may_be_named_in_any_way(store: OrderStore, tmp_path: Path, option: str) -> None:
    (tmp_path / "guest").write_text(f"{EMAIL}\n{GUID}\n")
    arguments = {
        "--email": ("--email", EMAIL),
        "positional": (GUID,),
        "file": ("--file", str(tmp_path / "guest")),
        "stdin": (),
    }
    reply = run(*arguments[option], stdin=EMAIL if option == "stdin" else "")
    assert reply.exit_code == 0, reply.output
    assert "3 of 5 objects rewritten" in reply.output
    assert "privacy/certificates/" in reply.output
    assert holding(store) == {}


def test_a_dry_run_changes_nothing_and_names_the_objects(store: OrderStore) -> None:
    before = content(store)
    reply = run("--dry-run", EMAIL)
    assert (reply.exit_code, content(store)) == (0, before)
    assert "raw/week=2025-09-15/restaurant=place-1.parquet" in reply.output


def test_nobody_is_an_error_in_one_sentence() -> None:
    reply = run()
    assert (reply.exit_code, reply.output) == (1, "Error: No guest was named. Give a GUID, an e-mail or a phone.\n")


def test_an_object_that_is_nobodys_ends_with_a_1(store: OrderStore) -> None:
    store.bucket.write(store.layout.prefix + "mine.txt", EMAIL.encode())
    reply = run(EMAIL)
    assert reply.exit_code == 1
    assert "mine.txt holds the guest" in reply.output
