"""Whether an S3 compares before it writes. One that does not lets two runs of a week overwrite each other's orders."""

from __future__ import annotations

import uuid
from contextlib import suppress

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import ABSENT, Bucket, Version
from toast_assets.store.order_store import OrderStore

_CONTENT = b"toast-assets looks whether this S3 compares before it writes"
# The ETag of an object that nobody wrote: an S3 that writes over it has not compared anything.
_ANOTHER = Version('"00000000000000000000000000000000"')
# Endpoints and buckets that this process has looked at.
_compare: set[tuple[str, str]] = set()


def refuse_unconditional(store: OrderStore) -> None:
    """Make sure that the store's S3 compares before it writes, once per bucket and process: by a few writes of one
    small object below the prefix, which is removed again.

    Raises:
        StoreError: it does not, or these credentials may not write, or not remove.
    """
    bucket = (store.bucket.endpoint, store.bucket.name)
    if bucket in _compare:
        return
    key = f"{store.layout.prefix}doctor/{uuid.uuid4()}"
    try:
        check_conditions(store.bucket, key)
    except StoreError:
        # The first reason is the one to act on.
        with suppress(StoreError):
            store.bucket.delete(key)
        raise
    try:
        store.bucket.delete(key)
    except StoreError as error:
        text = "which was written to try this S3, cannot be removed and stays"
        raise StoreError(f"{store.bucket.uri(key)}, {text}: {error.message}", hint=error.hint) from None
    _compare.add(bucket)


def check_conditions(bucket: Bucket, key: str) -> None:
    """Try both conditions that the store relies on with an object at ``key``, which stays: what must be refused is,
    and what may be written is.

    Raises:
        StoreError: this S3 ignores one of them, or these credentials may not write.
    """
    version = bucket.write(key, _CONTENT)
    for header, replaces in (("If-None-Match", ABSENT), ("If-Match", _ANOTHER)):
        try:
            bucket.write(key, _CONTENT, replaces=replaces)
        except StoreConflictError:
            continue
        raise StoreError(
            f"This S3 ignores conditions ({header}): two runs of one week could overwrite each other's orders.",
            hint="Use Amazon S3 or a current MinIO or Ceph.",
        )
    bucket.write(key, _CONTENT, replaces=version)
