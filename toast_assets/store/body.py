"""The body of one of S3's replies: read to its end within a time that its size allows, and compared with its ETag."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError
from urllib3.exceptions import HTTPError

from toast_assets.errors import StoreError

# Each thread that downloads keeps a few times as much for as long as it lives.
_CHUNK_BYTES = 1 << 18
# The SDK's own time-out is between two bytes, so a connection that drips would never end.
_SECONDS, _SLOWEST_BYTES_PER_SECOND = 60.0, 100_000
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
BROKEN_HINT = "Run again. If it lasts, look at the network and the proxies between here and AWS_ENDPOINT_URL_S3."


class BrokenBodyError(StoreError):
    """A body that broke off or was changed on its way; to read it again may help."""


class Body:
    """The body of a reply to GetObject for the object at ``uri``."""

    def __init__(self, reply: Mapping[str, Any], uri: str, clock: Callable[[], float]) -> None:
        self._uri = uri
        self._stream = reply["Body"]
        limit = _SECONDS + reply.get("ContentLength", 0) / _SLOWEST_BYTES_PER_SECOND
        self._stream._raw_stream = _Timed(self._stream._raw_stream, clock, limit)
        # Where S3 gives a checksum, the SDK has compared it.
        found = None if any(name.startswith("Checksum") for name in reply) else _MD5.fullmatch(reply["ETag"])
        self._expected = found[1] if found and "kms" not in reply.get("ServerSideEncryption", "") else None
        self._md5 = hashlib.md5(usedforsecurity=False)

    def pieces(self) -> Iterator[bytes]:
        """All of it, in pieces as they arrive.

        Raises:
            BrokenBodyError: it broke off, was shortened or changed, or came too slowly.
        """
        try:
            for piece in self._stream.iter_chunks(_CHUNK_BYTES):
                if self._expected:
                    self._md5.update(piece)
                yield piece
        except (BotoCoreError, HTTPError, TimeoutError) as error:
            # The rest of it is not waited for.
            self._stream.close()
            reason = "it came too slowly" if isinstance(error, TimeoutError) else type(error).__name__
            raise BrokenBodyError(f"{self._uri} broke off while it was read ({reason}).", hint=BROKEN_HINT) from None

    @property
    def digest(self) -> str:
        """The MD5 of what was read, in hexadecimal; of nothing where there is nothing to compare it with."""
        return self._md5.hexdigest()

    @property
    def fits_etag(self) -> bool:
        """Whether what was read has the MD5 that the ETag names, where it names one."""
        return self._expected in (None, self.digest)


class _Timed:
    """A stream that gives what has arrived instead of waiting for all that was asked for, until its time is over."""

    def __init__(self, stream: Any, clock: Callable[[], float], seconds: float) -> None:
        self._stream, self._clock = stream, clock
        self._end = clock() + seconds

    def read(self, amount: int) -> bytes:
        """At most ``amount`` bytes; none at the end.

        Raises:
            TimeoutError: it took too long.
        """
        if self._clock() > self._end:
            raise TimeoutError
        piece: bytes = self._stream.read1(amount)
        return piece

    def close(self) -> None:
        """Give the connection up."""
        self._stream.close()
