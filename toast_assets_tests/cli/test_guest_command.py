"""``toast-assets guest``: into a file that nobody else may read, and never onto the screen."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from toast_assets.cli import main
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.stores.guests import EMAIL, GUID, SECRETS, content, fill, namings


@pytest.fixture(autouse=True)
def environment(sandbox: Sandbox, store: OrderStore, week: Week) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        fill(store, week, namings(), derived=False)
        yield


def run(*arguments: str, stdin: str = "") -> Result:
    reply = CliRunner().invoke(main, ["guest", *arguments], input=stdin)
    assert not [secret for secret in SECRETS if secret in reply.output]
    return reply


@pytest.mark.parametrize("way", ["argument", "option", "file", "stdin"])
def test_the_guest_may_be_named_in_any_way_and_goes_into_a_file_of_its_owner(
    store: OrderStore, tmp_path: Path, way: str
) -> None:
    (tmp_path / "request.txt").write_text(f"{EMAIL}\n{GUID}\n")
    ways = {"argument": [GUID], "option": ["--email", EMAIL], "file": ["--file", str(tmp_path / "request.txt")]}
    before, output = content(store), tmp_path / "guest.json"
    reply = run(*ways.get(way, ()), "--output", str(output), stdin=EMAIL if way == "stdin" else "")
    assert reply.exit_code == 0, reply.output
    assert "6 orders, 4 mentions" in reply.output
    assert f"Written: {output}" in reply.output
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert len(msgspec.json.decode(output.read_bytes())["orders"]) == 6
    assert content(store) == before


def test_a_file_that_is_there_is_replaced_only_with_force_and_is_its_owners_then(tmp_path: Path) -> None:
    output = tmp_path / "guest.json"
    output.write_text("mine")
    output.chmod(0o644)
    reply = run(EMAIL, "--output", str(output))
    assert (reply.exit_code, output.read_text()) == (2, "mine")
    assert "--force" in reply.output
    assert run(EMAIL, "--output", str(output), "--force").exit_code == 0
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["guest.json"]


@pytest.mark.parametrize("screen", ["-", "/dev/stdout", "/dev/tty", "/dev/null", "."])
def test_a_screen_is_no_file(screen: str) -> None:
    for more in ([], ["--force"]):
        reply = run(EMAIL, "--output", screen, *more)
        assert reply.exit_code == 2
        assert "is no file" in reply.output


def test_a_link_is_followed_nowhere(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    assert run(EMAIL, "--output", str(tmp_path / "link"), "--force").exit_code == 2


def test_a_folder_that_is_not_there_is_named_before_anything_is_read(tmp_path: Path) -> None:
    reply = run(EMAIL, "--output", str(tmp_path / "none" / "guest.json"))
    assert reply.exit_code == 2
    assert "Nothing can be written into the folder" in reply.output


def test_nobody_ends_with_1_and_nonsense_with_2_and_there_is_no_file(tmp_path: Path) -> None:
    output = tmp_path / "guest.json"
    unknown = run("nobody@example.org", "--output", str(output))
    assert (unknown.exit_code, unknown.output.startswith("Error: Nothing in this bucket")) == (1, True)
    for nonsense in ("Janelle Roe", ""):
        assert run("--output", str(output), stdin=nonsense).exit_code == 2
    assert run(EMAIL).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_object_is_named(store: OrderStore, tmp_path: Path) -> None:
    store.bucket.write(store.layout.prefix + "mine.txt", EMAIL.encode())
    reply = run(EMAIL, "--output", str(tmp_path / "guest.json"))
    assert reply.exit_code == 0
    assert "mine.txt holds the guest and is not in the file" in reply.output
