"""As much of S3 as a run uses, on files in a folder: put, get, head, delete, list, and conditional writes."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

Headers = list[tuple[str, str]]


class Objects:
    """The objects of all buckets. An entity tag is a number of its own for each write; nothing is hashed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count(1)
        self._stored: dict[str, tuple[Path, int, Headers]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Keys, after ``/bucket/``, and sizes in bytes."""
        return ((path, size) for path, (_, size, _) in sorted(self._stored.items()))

    def upload(self) -> BinaryIO:
        """A file for the body of an object that comes in."""
        return (self._folder / f"{next(self._numbers)}").open("wb")

    def finish(self, file: BinaryIO, path: str, headers: dict[str, str]) -> tuple[int, Headers]:
        """The body of ``path`` is complete: store it, if the conditions in ``headers`` hold."""
        size = file.tell()
        file.close()
        body = Path(file.name)
        stored = self._stored.get(path)
        wanted = headers.get("if-match")
        if (headers.get("if-none-match") and stored) or (wanted and (stored is None or wanted != _etag(stored[0]))):
            body.unlink()
            return 412, []
        if stored:
            stored[0].unlink()
        kept = [(name, value) for name, value in headers.items() if name.startswith("x-amz-meta-")]
        self._stored[path] = (body, size, [*kept, ("ETag", _etag(body))])
        return 200, [("ETag", _etag(body))]

    def answer(
        self, method: str, path: str, query: str, headers: dict[str, str]
    ) -> tuple[int, Headers, list[bytes | memoryview], int | None]:
        """Status, headers, body and content length of a request without a body."""
        del headers
        if path.count("/") == 1 or path.endswith("/"):
            return (200, [], [self._listing(path, query)], None) if method == "GET" else (200, [], [], None)
        stored = self._stored.get(path)
        if method == "DELETE":
            if stored:
                self._stored.pop(path)[0].unlink()
            return 204, [], [], None
        if stored is None:
            return 404, [], [] if method == "HEAD" else [b"<Error><Code>NoSuchKey</Code></Error>"], None
        body, size, kept = stored
        if method == "HEAD" or not size:
            return 200, kept, [], size
        with body.open("rb") as file:
            return 200, kept, [memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))], size

    def _listing(self, path: str, query: str) -> bytes:
        bucket, prefix = path.strip("/"), parse_qs(query).get("prefix", [""])[0]
        found = [one for one in sorted(self._stored) if one.startswith(f"/{bucket}/{prefix}")]
        entries = "".join(self._entry(one, one.removeprefix(f"/{bucket}/")) for one in found)
        name = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        return f"{name}<IsTruncated>false</IsTruncated>{entries}</ListBucketResult>".encode()

    def _entry(self, path: str, key: str) -> str:
        body, size, _ = self._stored[path]
        modified = "2025-09-22T04:00:00.000Z"
        return (
            f"<Contents><Key>{escape(key)}</Key><ETag>{escape(_etag(body))}</ETag><Size>{size}</Size>"
            f"<LastModified>{modified}</LastModified></Contents>"
        )


def _etag(path: Path) -> str:
    return f'"{path.name}"'
