"""Ledger files out of the bucket, with an error that names the file where one cannot be read."""

from __future__ import annotations

import pyarrow as pa

from toast_assets.amperity.ledger import decode_ledger
from toast_assets.errors import StoreError
from toast_assets.store.bucket import Bucket, Version


def read_ledger(bucket: Bucket, key: str) -> pa.Table | None:
    """The ledger's rows, or None where there is no such object.

    Raises:
        StoreError: it cannot be read, or the bucket is missing or refuses access.
    """
    found = bucket.read(key)
    return None if found is None else decoded(bucket, key, found[0])


def read_versioned(bucket: Bucket, key: str) -> tuple[pa.Table, Version] | None:
    """As ``read_ledger``, with the version that was read."""
    found = bucket.read(key)
    return None if found is None else (decoded(bucket, key, found[0]), found[1])


def decoded(bucket: Bucket, key: str, body: bytes) -> pa.Table:
    """The rows of a ledger's ``body``, which was read from ``key``.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return decode_ledger(body)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"The delivery ledger {bucket.uri(key)} cannot be read ({type(error).__name__}).",
            hint="Restore an earlier version of the object; without it everything it stands for is sent again.",
        ) from error
