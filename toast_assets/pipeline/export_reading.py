"""Reads an export back as a stranger would: does it unpack, is it whole, what is in it?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import msgspec
from isal import igzip, igzip_lib

from toast_assets.orders.raw import readable
from toast_assets.pipeline.export import ExportMetadata

T = TypeVar("T")

_HEAD, _TAIL = b'{"orders":[', b'],"metadata":'
_BUFFER_BYTES = 1 << 18
# The stub of isal does not say that its error is one.
_DAMAGE = cast(tuple[type[Exception], ...], (OSError, EOFError, igzip_lib.IsalError))
_read_order = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_metadata = msgspec.json.Decoder(ExportMetadata).decode


class UnreadableExportError(ValueError):
    """The file is no export; the message says where it breaks and never quotes an order."""


@dataclass(frozen=True)
class ExportContent:
    """Orders in an export, the hash over them as ``orders_sha256`` is defined, and what its envelope says."""

    orders: int
    sha256: str
    metadata: ExportMetadata


def read_export(path: Path) -> ExportContent:
    """What is in the gzipped export at ``path``, with one order in memory at a time.

    Raises:
        UnreadableExportError: it does not unpack, or is not the envelope of an export.
    """
    return _unpacked(path, _read_lines) or _unpacked(path, _read_objects)


def _unpacked(path: Path, read: Callable[[Iterator[bytes]], T]) -> T:
    try:
        with cast(BinaryIO, igzip.IGzipFile(str(path), "rb")) as file:  # type: ignore[no-untyped-call]
            # Lines out of a larger buffer than the file's own: unpacking in small portions takes longer.
            return read(iter(BufferedReader(cast(RawIOBase, file), _BUFFER_BYTES)))
    except _DAMAGE as error:
        raise UnreadableExportError(f"it does not unpack ({type(error).__name__})") from None


def _read_lines(lines: Iterator[bytes]) -> ExportContent | None:
    """The content where each order has a line to itself, as nearly all have, and the hash in the envelope proves that;
    None where it does not, which says nothing against the export."""
    digest, orders, goes_on = hashlib.sha256(), 0, True
    if next(lines, b"").rstrip() != _HEAD:
        return None
    for line in lines:
        if line.startswith(_TAIL):
            break
        if not (goes_on and line.startswith(b"{") and line.endswith((b"},\n", b"}\n"))):
            return None
        goes_on = line.endswith(b",\n")
        digest.update(line[:-2] + b"\n" if goes_on else line)
        orders += 1
    else:
        return None
    try:
        content = ExportContent(orders, digest.hexdigest(), _envelope(line))
    except UnreadableExportError:
        return None
    claimed = (content.metadata.total_orders, content.metadata.orders_sha256)
    ended = next(lines, None) is None and goes_on == (not orders)
    return content if ended and claimed == (content.orders, content.sha256) else None


def _read_objects(lines: Iterator[bytes]) -> ExportContent:
    """The content, however many lines an order has.

    Raises:
        UnreadableExportError: it is not the envelope of an export.
    """
    if next(lines, b"").rstrip() != _HEAD:
        raise UnreadableExportError("it does not begin like an export")
    digest, orders, pending, goes_on = hashlib.sha256(), 0, b"", True
    for line in lines:
        if not pending and line.startswith(_TAIL):
            if orders and goes_on:
                raise UnreadableExportError("a comma follows its last order")
            # To the very end: only there the checksum of the whole file is compared.
            if next(lines, None) is not None:
                raise UnreadableExportError("something follows its metadata")
            return ExportContent(orders, digest.hexdigest(), _envelope(line))
        pending += line
        order = pending.removesuffix(b"\n").removesuffix(b",")
        # An order that Toast sent in several lines is complete once it is an object by itself, and not before.
        if not _is_object(order):
            continue
        if not goes_on:
            raise UnreadableExportError(f"no comma follows order {orders}")
        goes_on = pending.endswith(b",\n")
        digest.update(order + b"\n")
        orders, pending = orders + 1, b""
    raise UnreadableExportError(f"it ends after {orders} orders, without its metadata")


def _is_object(text: bytes) -> bool:
    try:
        _read_order(readable(text))
    except msgspec.DecodeError:
        return False
    return True


def _envelope(tail: bytes) -> ExportMetadata:
    try:
        return _read_metadata(tail.removeprefix(_TAIL).rstrip().removesuffix(b"}"))
    except msgspec.DecodeError as error:
        raise UnreadableExportError(f"its metadata cannot be read ({error})") from None
