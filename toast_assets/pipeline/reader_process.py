"""A second process that reads raw orders: decoding keeps one processor busy, however many threads do it.

It is Python's own start-up and this module, a third of a second, and holds one row group like any reader. Restaurants
go in and facts come out as lines of JSON; the files are those of the process that asks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar, cast

import msgspec

from toast_assets.errors import ReaderProcessError
from toast_assets.pipeline.order_facts import FactsReader, OrderFacts, RestaurantFacts

_Answer = TypeVar("_Answer")


class _Task(msgspec.Struct, frozen=True):
    restaurant_guid: str
    path: str


class ReaderProcess:
    """Reads as ``FactsReader`` does, in a process of its own, which lasts as long as the context."""

    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._command = [sys.executable, "-m", __name__, str(start_ms), str(end_ms)]

    def __enter__(self) -> Self:
        environment = os.environ | {
            # Modules are found where this process found them, whatever put them on its path.
            "PYTHONPATH": os.pathsep.join(sys.path),
            # What is freed goes back at once; Arrow's other pools keep some 20 MB, for the sake of many threads.
            "ARROW_DEFAULT_MEMORY_POOL": "system",
        }
        self._process = subprocess.Popen(  # noqa: S603 - this very module
            self._command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            # Nobody waits for the file that it may be reading.
            self._process.kill()
        # Without standard input it ends by itself.
        self._process.communicate()

    def read(self, restaurant_guid: str, path: Path) -> RestaurantFacts:
        """The facts of the orders in the raw file at ``path``.

        Raises:
            ReaderProcessError: the process has ended.
        """
        return self._asked(_Task(restaurant_guid, str(path)), RestaurantFacts)

    def facts(self) -> OrderFacts:
        """The facts of all restaurants that were read.

        Raises:
            ReaderProcessError: the process has ended.
        """
        return self._asked(None, OrderFacts)

    def _asked(self, task: _Task | None, answer: type[_Answer]) -> _Answer:
        try:
            _send(cast(IO[bytes], self._process.stdin), task)
            line = cast(IO[bytes], self._process.stdout).readline()
        except BrokenPipeError:
            line = b""
        if not line:
            raise ReaderProcessError(
                f"A process of this run that read raw orders ended with status {self._process.wait()}.",
                hint="Status -9 means that it was killed, mostly for want of memory; else the run's standard error says"
                " why. Execute the check again.",
            )
        return msgspec.json.decode(line, type=answer)


def _send(stream: IO[bytes], message: object) -> None:
    stream.write(msgspec.json.encode(message) + b"\n")
    stream.flush()


def main() -> None:
    """Answer each line of standard input on standard output."""
    start_ms, end_ms = map(int, sys.argv[1:])
    reader = FactsReader(start_ms, end_ms)
    for line in sys.stdin.buffer:
        task = msgspec.json.decode(line, type=_Task | None)
        _send(sys.stdout.buffer, reader.read(task.restaurant_guid, Path(task.path)) if task else reader.facts())


if __name__ == "__main__":
    main()
