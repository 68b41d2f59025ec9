"""The orders of a restaurant's week that cannot be read, kept byte for byte and once: one line of JSON each (gzip)."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import msgspec

from toast_assets.orders.raw import UnreadableOrder, version_of
from toast_assets.orders.raw_file import UnreadableFileError


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


def add_unreadable(
    path: Path,
    orders: Iterable[UnreadableOrder],
    where: tuple[str, str, str],
    names_forgotten: Callable[[str], bool],
) -> None:
    """Append the lines of ``orders`` to the local file at ``path``; ``where`` Toast returned them: restaurant, start
    and end of the window. The bytes of those whose text ``names_forgotten`` guests are not kept."""
    for order in orders:
        body = base64.b64encode(order.body).decode()
        line = UnreadableLine(order.guid, *where, order.reason, version_of(order.body), body)
        write_lines(path, [line.without_body() if names_forgotten(order.body.decode(errors="replace")) else line], "ab")


def merge_lines(stored: Path | None, found: Path, target: Path) -> tuple[int, int]:
    """Write into ``target`` the lines that are ``stored``, and the first ``found`` line of other bytes each; how many
    lines it has, and how many of them are new. An UnreadableFileError where what is stored cannot be read."""
    before = sum(1 for _ in read_lines(stored)) if stored else 0
    known: set[str] = set()

    def unseen(path: Path) -> Iterator[UnreadableLine]:
        for line in read_lines(path):
            if line.body_sha256 not in known:
                known.add(line.body_sha256)
                yield line

    write_lines(target, chain(unseen(stored) if stored else (), unseen(found)))
    return len(known), len(known) - before


def write_lines(target: Path, lines: Iterable[UnreadableLine], mode: str = "wb") -> None:
    """Write ``lines`` into ``target`` (gzip); equal lines give equal bytes."""
    with target.open(mode) as file, gzip.GzipFile("", mode, compresslevel=6, fileobj=file, mtime=0) as member:
        member.writelines(msgspec.json.encode(line) + b"\n" for line in lines)


def read_lines(path: Path) -> Iterator[UnreadableLine]:
    """The lines of a stored file (gzip), or an UnreadableFileError."""
    try:
        with gzip.open(path) as lines:
            yield from map(msgspec.json.Decoder(UnreadableLine).decode, lines)
    except (gzip.BadGzipFile, zlib.error, EOFError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableFileError(f"it is damaged ({type(error).__name__})") from error
