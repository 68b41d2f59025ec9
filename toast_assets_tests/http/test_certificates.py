"""Whose certificates are believed, by the usual variables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from toast_assets.errors import SettingsError
from toast_assets.http.network import s3_ca_file, tls_context
from toast_assets_tests.http.conftest import CERTIFICATES

FILES = tuple(name for name in CERTIFICATES if name not in ("SSL_CERT_DIR", "SSLKEYLOGFILE"))


@pytest.mark.parametrize("variable", FILES)
@pytest.mark.parametrize(
    ("name", "problem"),
    [("gone.pem", "cannot be read"), ("", "a folder"), ("empty", "empty"), ("text", "no certificates")],
)
def test_a_file_that_is_no_use_is_named_with_its_variable_for_all_services(
    variable: str, name: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("no certificate")
    monkeypatch.setenv(variable, str(tmp_path / name))
    for reader in (tls_context, s3_ca_file):
        with pytest.raises(SettingsError, match=f"{variable} names {tmp_path / name}, which .*{problem}"):
            reader()


def test_what_cannot_be_written_is_named_although_a_library_looks_at_it_while_it_is_imported() -> None:
    code = (
        "from toast_assets.errors import SettingsError\n"
        "try: import toast_assets.amperity.client\n"
        "except SettingsError as error: print(error.problems[0])"
    )
    environment = {"PATH": "", "PYTHONPATH": os.pathsep.join(sys.path), "SSLKEYLOGFILE": "/no/such/keys"}
    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert reply.stdout.startswith("SSLKEYLOGFILE names a file that cannot be written")


def test_a_folder_that_is_gone_and_keys_that_cannot_be_logged_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", "/no/such/keys")
    with pytest.raises(SettingsError, match="SSLKEYLOGFILE names a file that cannot be written"):
        tls_context()
    monkeypatch.setenv("SSL_CERT_DIR", "/no/such")
    with pytest.raises(SettingsError, match="SSL_CERT_DIR names /no/such, which is no folder"):
        tls_context()
