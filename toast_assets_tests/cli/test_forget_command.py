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
from toast_assets_tests.support.stores.guests import EMAIL, GUID, SECRETS, content, fill, holding, namings, requests


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


YES = "--yes"


@pytest.mark.parametrize("option", ["--email", "positional", "file", "stdin"])
def test_the_guest_may_be_named_in_any_way(store: OrderStore, tmp_path: Path, option: str) -> None:
    (tmp_path / "guest").write_text(f"{EMAIL}\n{GUID}\n")
    arguments = {
        "--email": ("--email", EMAIL),
        "positional": (GUID,),
        "file": ("--file", str(tmp_path / "guest")),
        "stdin": (),
    }
    reply = run(YES, *arguments[option], stdin=EMAIL if option == "stdin" else "")
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
    reply = run(YES)
    assert (reply.exit_code, reply.output) == (
        2,
        "Error: No guest was named. Give a GUID, an e-mail or a phone. [GUEST]\n",
    )


@pytest.mark.parametrize("stdin", ["", "n\n", f"{EMAIL}\n"])
def test_without_a_terminal_nothing_is_done_unless_it_is_confirmed(store: OrderStore, stdin: str) -> None:
    before = content(store)
    for arguments in ([EMAIL], []):
        reply = run(*arguments, stdin=stdin)
        assert reply.exit_code == 2
        assert "there is no terminal. Nothing was changed" in reply.output
    assert content(store) == before


@pytest.mark.parametrize("nonsense", ["not-an-email", "jane.roe@example", "Janelle Roe", "12"])
def test_what_is_nobodys_is_refused_by_its_line_and_changes_nothing(store: OrderStore, nonsense: str) -> None:
    before = content(store)
    for more in ([], ["--dry-run"], ["--allow-unknown"]):
        reply = run(YES, *more, stdin=f"{EMAIL}\n{nonsense}\n")
        assert reply.exit_code == 2
        assert "No guest's GUID, e-mail or phone in line 2 (1 are fine)" in reply.output
        assert nonsense not in reply.output
    assert content(store) == before


def test_a_guest_who_is_not_found_ends_with_1_and_no_certificate_unless_that_is_allowed(store: OrderStore) -> None:
    before = content(store)
    unknown = "0d3c6a52-7c3d-4e8f-9a10-4d2c6b7e8f01"
    reply = run(YES, unknown)
    assert reply.exit_code == 1
    assert "Nothing in this bucket names the guest" in reply.output
    assert content(store) == before
    reply = run(YES, "--allow-unknown", unknown)
    assert reply.exit_code == 0
    assert "Certificate: " in reply.output


def test_privacy_rules_that_cannot_be_read_end_the_command(store: OrderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(store)
    monkeypatch.setenv("AMPERITY_REDACT", "Email=drop")
    reply = run(YES, EMAIL)
    assert reply.exit_code == 2
    assert "did you mean email?" in reply.output
    assert content(store) == before


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(b"\xff\xd8")
    assert run(YES, "--file", str(tmp_path / "none")).exit_code == 2
    assert "no text in UTF-8" in run(YES, "--file", str(tmp_path / "picture")).output


def test_an_object_that_is_nobodys_ends_with_a_1(store: OrderStore) -> None:
    store.bucket.write(store.layout.prefix + "mine.txt", EMAIL.encode())
    reply = run(YES, EMAIL)
    assert reply.exit_code == 1
    assert "mine.txt holds the guest" in reply.output


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ("stream", ("Amperity: to be requested, 5 rows in ", "Amperity has to be asked")),
        ("s3_pull,notify", ("Amperity: requested, 5 rows in ", "The courier of the feed privacy_requests loads")),
    ],
)
def test_the_output_says_whether_amperity_is_asked_and_by_which_file(
    store: OrderStore, monkeypatch: pytest.MonkeyPatch, methods: str, said: tuple[str, str]
) -> None:
    monkeypatch.setenv("AMPERITY_DELIVERY", methods)
    planned = run("--dry-run", EMAIL)
    assert "Amperity: 5 rows would be written to toast-orders/amperity/privacy_requests/" in planned.output
    assert said[1] in planned.output
    assert requests(store) == {}
    reply = run(YES, EMAIL)
    (key,) = requests(store)
    assert all(text in reply.output for text in (*said, key))


def test_a_delivery_method_that_is_none_ends_the_command(store: OrderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(store)
    monkeypatch.setenv("AMPERITY_DELIVERY", "pigeon")
    reply = run(YES, EMAIL)
    assert (reply.exit_code, content(store)) == (2, before)
    assert "AMPERITY_DELIVERY" in reply.output
