"""Objects that cannot be read: damaged, or written by somebody else. One error for all the ways in which that shows."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pyarrow as pa

from toast_assets.errors import StoreError

# What msgspec, pyarrow, gzip and a cast raise for bytes that are not what they expect; ValueError includes
# UnicodeDecodeError. An OSError is one of these only without a number, else it is the machine's.
_UNREADABLE = (msgspec.DecodeError, pa.ArrowException, ValueError, KeyError, TypeError, EOFError, RecursionError)


@contextmanager
def readable(uri: str, hint: str) -> Iterator[None]:
    """Turn whatever decoding the object at ``uri`` raises into one error that names it; ``hint`` is the way out.

    The error says of which kind the fault is and quotes nothing, because an object may hold guests' data.

    Raises:
        StoreError: the object cannot be read.
    """
    try:
        yield
    except MemoryError:
        # pyarrow's is also one of its own errors.
        raise
    except (*_UNREADABLE, zlib.error) as error:
        raise _unreadable(uri, error, hint) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreadable(uri, error, hint) from error


def _unreadable(uri: str, error: Exception, hint: str) -> StoreError:
    return StoreError(f"{uri} cannot be read ({type(error).__name__}): it is damaged, or another object.", hint=hint)
