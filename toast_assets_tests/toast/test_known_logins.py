"""Notes of logins on this machine: one for each client, with nothing secret."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toast_assets.toast import known_logins
from toast_assets.toast.known_logins import last_login, note_login
from toast_assets.toast.settings import ToastSettings

ENVIRONMENT = {
    "TOAST_API_URL": "https://toast.example",
    "TOAST_CLIENT_ID": "the-client",
    "TOAST_CLIENT_SECRET": "hush",
    "TOAST_RESTAURANT_GUID": "one",
}
SETTINGS = ToastSettings.parse(ENVIRONMENT)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(known_logins, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def test_a_login_is_known_from_then_on(folder: Path) -> None:
    assert last_login(SETTINGS) is None
    note_login(SETTINGS)
    found = last_login(SETTINGS)
    assert found is not None
    assert abs(datetime.now(UTC) - found) < timedelta(minutes=1)
    [note] = folder.iterdir()
    os.utime(note, (0, 0))
    note_login(SETTINGS)
    again = last_login(SETTINGS)
    assert again is not None
    assert again >= found


@pytest.mark.parametrize("other", [{"TOAST_CLIENT_ID": "another"}, {"TOAST_API_URL": "https://sandbox.example"}])
def test_another_client_or_url_has_a_note_of_its_own(other: dict[str, str]) -> None:
    note_login(SETTINGS)
    assert last_login(ToastSettings.parse(ENVIRONMENT | other)) is None
    assert last_login(ToastSettings.parse(ENVIRONMENT | {"TOAST_RESTAURANT_GUID": "two"})) is not None


def test_a_note_says_nothing_of_the_client(folder: Path) -> None:
    note_login(SETTINGS)
    [note] = folder.iterdir()
    assert note.read_bytes() == b""
    assert not any(text in note.name for text in ("the-client", "hush", "toast.example"))


def test_a_folder_that_cannot_be_written_costs_only_the_note(folder: Path) -> None:
    note_login(SETTINGS)
    [note] = folder.iterdir()
    note.unlink()
    folder.rmdir()
    note_login(SETTINGS)
    assert last_login(SETTINGS) is None
