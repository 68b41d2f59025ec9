"""Loopback ports for servers that cannot choose one themselves.

A port that was free a moment ago may be somebody else's by the time a server listens on it: the system gives such
ports to any connection, and other tests look for ports as well. These lie below those that Linux gives to connections,
and stay this process's own, by a lock on a file, until it ends.
"""

from __future__ import annotations

import fcntl
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TextIO

_FIRST, _LAST = 11_000, 31_000
_locks: list[TextIO] = []


def free_port() -> int:
    """A free port that no other test gets."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of ``count`` neighbouring ports of that kind."""
    folder = Path(tempfile.gettempdir()) / "toast-assets-test-ports"
    folder.mkdir(exist_ok=True, mode=0o777)
    for first in range(_FIRST, _LAST, count):
        taken = [lock for port in range(first, first + count) if (lock := _lock(folder, port))]
        if len(taken) == count:
            _locks.extend(taken)
            return first
        for lock in taken:
            lock.close()
    raise RuntimeError("No port is free.")


def _lock(folder: Path, port: int) -> TextIO | None:
    lock = (folder / str(port)).open("w")
    with suppress(OSError), socket.socket() as probe:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        probe.bind(("127.0.0.1", port))
        return lock
    lock.close()
    return None
