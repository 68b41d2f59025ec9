"""Ledger files out of the bucket, with an error that names the file where one cannot be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from toast_assets.delivery.ledger import decode_ledger, encode_ledger, fold
from toast_assets.store.bucket import Bucket, Replacement, StoredObject
from toast_assets.store.order_store import PARQUET
from toast_assets.store.s3_errors import readable


def read_ledger(bucket: Bucket, key: str) -> pa.Table | None:
    """The ledger's rows, or None where there is no such object.

    Raises:
        StoreError: it cannot be read, or the bucket is missing or refuses access.
    """
    found = bucket.read(key)
    return None if found is None else decoded(bucket, key, found[0])


def decoded(bucket: Bucket, key: str, body: bytes) -> pa.Table:
    """The rows of a ledger's ``body``, which was read from ``key``.

    Raises:
        StoreError: it cannot be read.
    """
    hint = "Restore an earlier version of the object; without it everything it stands for is sent again."
    with readable(bucket.uri(key), hint):
        return decode_ledger(body)


def fold_into(bucket: Bucket, key: str, receipts: Sequence[pa.Table]) -> None:
    """Fold ``receipts`` into the ledger that is stored under ``key`` by now.

    Raises:
        StoreConflictError: other runs kept writing it.
        StoreError: it cannot be read, or the bucket is missing or refuses access.
    """

    def change(stored: StoredObject | None, target: Path) -> Replacement:
        del target
        known = decoded(bucket, key, stored.path.read_bytes()) if stored else None
        return Replacement(encode_ledger(fold(known, receipts)), {"ContentType": PARQUET})

    bucket.update(key, change)
