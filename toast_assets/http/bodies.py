"""Bodies of replies: never more than a bound of them, and decoded without a crash whatever they hold."""

from __future__ import annotations

import zlib
from typing import TypeVar

import httpx
import msgspec

T = TypeVar("T")

# A page has at most 100 orders, and even those of a banquet have no five megabytes each. More than this is no page,
# but a megabyte that unpacks to a gigabyte, and that must not fill the memory.
_MOST_BYTES = 512 * 1024 * 1024
ENCODINGS = "gzip"
"""What ``read_reply`` unpacks, for ``Accept-Encoding``."""
PACKED = "packed"


class UnreadableBodyError(ValueError):
    """A body that is not of the form it should have. Its text is the end of a sentence."""


class TooLargeBodyError(UnreadableBodyError):
    """A body with more bytes than any reply should have."""


async def read_reply(response: httpx.Response, request: httpx.Request, most: int = _MOST_BYTES) -> httpx.Response:
    """The reply to ``request`` with its body, unpacked; ``response`` was not read yet, and is closed afterwards. Its
    extension ``PACKED`` says whether the body was packed.

    Raises:
        UnreadableBodyError: the body is packed in a way that was not asked for, or cannot be unpacked.
        TooLargeBodyError: it has more than ``most`` bytes.
        httpx.HTTPError: the connection broke.
    """
    if response.is_stream_consumed:
        # By a transport in memory.
        response.request = request
        return response
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding in ("gzip", "x-gzip") else None
    body = bytearray()
    try:
        if unpacker is None and encoding not in ("", "identity"):
            raise UnreadableBodyError("its body is packed in a way that was not asked for")
        async for piece in response.aiter_raw():
            # A single piece can unpack to a thousand times its size.
            body += unpacker.decompress(piece, most + 1 - len(body)) if unpacker else piece
            if len(body) > most:
                raise TooLargeBodyError(f"its body has more than {most:,} bytes")
    except zlib.error:
        raise UnreadableBodyError("its body cannot be unpacked") from None
    finally:
        # A body that breaks off would otherwise keep its connection.
        await response.aclose()
    if unpacker and not unpacker.eof and body:
        raise UnreadableBodyError("its packed body broke off")
    headers = [(name, value) for name, value in response.headers.multi_items() if name != "content-encoding"]
    packed = {PACKED: unpacker is not None}
    return httpx.Response(
        response.status_code, headers=headers, content=bytes(body), request=request, extensions=packed
    )


def decode(body: bytes, form: type[T], *, strict: bool = True) -> T:
    """JSON as ``form``. Raises UnreadableBodyError where it is no JSON, is nested too deep, is no UTF-8, or has another
    form."""
    try:
        return msgspec.json.decode(body, type=form, strict=strict)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableBodyError("the body is not what it should be") from None
