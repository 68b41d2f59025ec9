"""A real PostgreSQL server on a loopback port, for as long as a ``with`` block lasts."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from toast_assets_tests.support.services.compose import Process, listens
from toast_assets_tests.support.services.ports import free_port

_DEBIAN = Path("/usr/lib/postgresql")
# PostgreSQL refuses to run as root; the package brings this user.
_USER = "postgres"


def programs() -> Path:
    """The folder of the newest installed server's programs; skips the test where there is none."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install --yes postgresql")
    return found[-1].parent


@contextmanager
def postgres(*, user: str, password: str, database: str) -> Iterator[int]:
    """Its port. What the server writes lies in a temporary folder of its own: pytest's are closed to other users."""
    bin_folder, port = programs(), free_port()
    runs_as = _USER if os.getuid() == 0 else None
    with (
        tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name,
        _serve(bin_folder, Path(name), port, runs_as, user, password, database),
    ):
        yield port


@contextmanager
def _serve(
    bin_folder: Path, folder: Path, port: int, runs_as: str | None, user: str, password: str, database: str
) -> Iterator[None]:
    secret, data = folder / "password", folder / "data"
    secret.write_text(password)
    if runs_as:
        for path in (folder, secret):
            shutil.chown(path, runs_as)
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PGPASSWORD": password}

    def run(*command: str) -> None:
        subprocess.run(  # noqa: S603 - programs of the package
            command, check=True, capture_output=True, user=runs_as, env=environment, cwd=folder, timeout=600
        )

    run(
        str(bin_folder / "initdb"), f"--pgdata={data}", f"--username={user}", f"--pwfile={secret}",
        "--auth=scram-sha-256", "--no-sync", "--no-instructions", "--encoding=UTF8",
    )  # fmt: skip
    options = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
    settings = [f"--{name}={value}" for name, value in options.items()]
    command = [str(bin_folder / "postgres"), "-D", str(data), *settings]
    log = folder / "postgres.log"
    with Process(command, environment, folder, log, user=runs_as) as server:
        server.wait_until(lambda: listens(port))
        run(
            str(bin_folder / "createdb"), "--host=127.0.0.1", f"--port={port}", f"--username={user}", database
        )  # fmt: skip
        yield
