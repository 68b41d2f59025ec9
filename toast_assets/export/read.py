"""Reads an export back as a stranger would: does it unpack, is it whole, what is in it?

An export has a line that begins it, its orders, each followed by a comma and a line feed, and a line with its metadata.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
from isal import igzip, igzip_lib

from toast_assets.export.write import HEAD, TAIL, ExportMetadata
from toast_assets.markdown import plain
from toast_assets.orders.scanner import decode
from toast_assets.store.manifest import PullRecord
from toast_assets.week import Week

# The stub of isal does not say that its error is one.
_DAMAGE = cast(tuple[type[Exception], ...], (OSError, EOFError, igzip_lib.IsalError))


class UnreadableExportError(ValueError):
    """The file is no export; the message says where it breaks and never quotes an order."""


@dataclass(frozen=True)
class ExportContent:
    """Orders in an export, the hash over them as ``orders_sha256`` is defined, and what its envelope says."""

    orders: int
    sha256: str
    metadata: ExportMetadata


def read_export(path: Path) -> ExportContent:
    """What is in the gzipped export at ``path``, with one order in memory at a time. Raises UnreadableExportError where
    it does not unpack, or is not the envelope of an export."""
    try:
        with cast(BinaryIO, igzip.IGzipFile(str(path), "rb")) as lines:  # type: ignore[no-untyped-call]
            return _content(lines)
    except _DAMAGE as error:
        raise UnreadableExportError(f"it does not unpack ({type(error).__name__})") from None


def _content(lines: BinaryIO) -> ExportContent:
    if next(lines, b"").rstrip() != HEAD:
        raise UnreadableExportError("it does not begin like an export")
    digest, orders, pending, goes_on = hashlib.sha256(), 0, b"", True
    for line in lines:
        if not pending and line.startswith(TAIL):
            if orders and goes_on:
                raise UnreadableExportError("a comma follows its last order")
            # To the very end: only there the checksum of the whole file is compared.
            if next(lines, None) is not None:
                raise UnreadableExportError("something follows its metadata")
            try:
                metadata = decode(line.removeprefix(TAIL).rstrip().removesuffix(b"}"), ExportMetadata)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise UnreadableExportError(f"its metadata cannot be read ({type(error).__name__})") from None
            return ExportContent(orders, digest.hexdigest(), metadata)
        pending += line
        order = pending.removesuffix(b"\n").removesuffix(b",")
        # An order that Toast sent in several lines is complete once it is an object by itself, and not before.
        if not is_object(order):
            continue
        if not goes_on:
            raise UnreadableExportError(f"no comma follows order {orders}")
        goes_on = pending.endswith(b",\n")
        digest.update(order + b"\n")
        orders, pending = orders + 1, b""
    raise UnreadableExportError(f"it ends after {orders} orders, without its metadata")


def export_problem(path: Path, week: Week, guid: str, pull: PullRecord) -> tuple[str | None, int]:
    """Why the export at ``path`` must not leave, or None where it unpacks and holds the orders that the manifest
    describes; and how many orders it holds."""
    try:
        content = read_export(path)
    except UnreadableExportError as error:
        return f"cannot be read: {error}", 0
    said, problem = content.metadata, None
    held, claimed = (content.orders, content.sha256), (said.total_orders, said.orders_sha256)
    if not held == claimed == (pull.orders, pull.orders_sha256):
        problem = f"holds {content.orders} orders, says {said.total_orders}, and not the {pull.orders} that are stored"
    elif (said.restaurant_guid, said.partition) != (guid, week.key):
        problem = f"says that it is of {plain(said.restaurant_guid)} in {plain(said.partition)}"
    return problem, content.orders


def is_object(text: bytes) -> bool:
    """Whether ``text`` is a JSON object by itself, nested however deep."""
    if not text.rstrip().endswith(b"}"):
        return False
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        decode(text, dict[str, msgspec.Raw])
        return True
    return False
