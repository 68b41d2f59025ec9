"""The orders of a restaurant's week that cannot be read, kept byte for byte and once: one line of JSON each (gzip)."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from toast_assets.orders.raw import UnreadableOrder
from toast_assets.orders.raw_file import UnreadableFileError

_COMPRESSION = 6


class UnreadableLine(msgspec.Struct, frozen=True):
    """One such order: the window of modified times that Toast returned it for (ISO-8601 in UTC, ``window_end``
    exclusive), why it cannot be read, and its GUID where that can be."""

    order_guid: str | None
    restaurant_guid: str
    window_start: str
    window_end: str
    reason: str
    body_sha256: str
    body_base64: str

    @property
    def body(self) -> bytes:
        return base64.b64decode(self.body_base64)

    def without_body(self) -> UnreadableLine:
        """The line without the order's bytes, because they name a forgotten guest and cannot be edited. Their hash
        stays: by it the order is known when it comes again."""
        reason = self.reason if not self.body_base64 else f"{self.reason}; its bytes named a forgotten guest"
        return msgspec.structs.replace(self, reason=reason, body_base64="")


class UnreadableFile:
    """What one pull found, in the local file at ``path``, each order with the first reply that had it. The bytes of one
    that ``names_forgotten`` guests are not kept."""

    def __init__(self, path: Path, restaurant_guid: str, names_forgotten: Callable[[bytes], bool]) -> None:
        self.path = path
        self._restaurant_guid = restaurant_guid
        self._names_forgotten = names_forgotten
        self._known: set[str] = set()

    def __len__(self) -> int:
        return len(self._known)

    def add(self, orders: Iterable[UnreadableOrder], window_start: str, window_end: str) -> None:
        """Keep ``orders``, which Toast returned for a window (ISO-8601 in UTC)."""
        for order in orders:
            if order.sha256 in self._known:
                continue
            self._known.add(order.sha256)
            body = base64.b64encode(order.body).decode()
            where = (self._restaurant_guid, window_start, window_end)
            line = UnreadableLine(order.guid, *where, order.reason, order.sha256, body)
            with self.path.open("ab") as file:
                file.write(_encoded(line.without_body() if self._names_forgotten(order.body) else line))


def merge_lines(stored: Path | None, found: Path, target: Path) -> tuple[int, int]:
    """Write into ``target`` the lines that are ``stored`` (gzip), and those ``found`` (plain) with other bytes; how
    many lines it has, and how many of them are new. An UnreadableFileError where what is stored cannot be read."""
    known: set[str] = set()
    before = 0

    def both() -> Iterator[UnreadableLine]:
        nonlocal before
        for line in read_lines(stored) if stored else ():
            known.add(line.body_sha256)
            yield line
        before = len(known)
        with found.open("rb") as lines:
            for line in map(_decode, lines):
                if line.body_sha256 not in known:
                    known.add(line.body_sha256)
                    yield line

    write_lines(target, both())
    return len(known), len(known) - before


def write_lines(target: Path, lines: Iterable[UnreadableLine]) -> None:
    """Write ``lines`` into ``target`` (gzip); equal lines give equal bytes."""
    with target.open("wb") as file, gzip.GzipFile("", "wb", _COMPRESSION, file, mtime=0) as member:
        member.writelines(map(_encoded, lines))


def read_lines(path: Path) -> Iterator[UnreadableLine]:
    """The lines of a stored file (gzip), or an UnreadableFileError."""
    try:
        with gzip.open(path) as lines:
            yield from map(_decode, lines)
    except (gzip.BadGzipFile, zlib.error, EOFError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableFileError(f"it is damaged ({type(error).__name__})") from error


_decode = msgspec.json.Decoder(UnreadableLine).decode


def _encoded(line: UnreadableLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"
