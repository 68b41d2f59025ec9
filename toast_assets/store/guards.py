"""What a bucket must be before guests' orders are stored in it: closed to the public, and on an S3 that compares before
it writes. One that does not lets two runs of a week overwrite each other's orders."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import ABSENT, Bucket
from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import SDK_FAULTS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# What S3 answers where nothing is set.
_NOT_SET = frozenset({"NoSuchPublicAccessBlockConfiguration", "NoSuchBucketPolicy"})
_EVERYBODY = ("/groups/global/AllUsers", "/groups/global/AuthenticatedUsers")
_CONTENT = b"toast-assets looks whether this S3 compares before it writes"
# The ETag of an object that nobody wrote: an S3 that writes over it has not compared anything.
_ANOTHER = '"00000000000000000000000000000000"'
# Endpoints and buckets that this process has looked at.
_compare: set[tuple[str, str]] = set()


def exposure(client: S3Client, bucket: str) -> tuple[str, str]:
    """Why ``bucket`` is open to everybody, by its policy or by its access control list; its own block of public access
    outweighs both. Empty where it is not, as far as these credentials may ask and this S3 implements it: the second
    text says what stays unknown, and why."""
    unknown: list[str] = []

    def asked(question: str, ask: Callable[..., Any], key: str) -> Any:
        try:
            return ask(Bucket=bucket).get(key, {})
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code not in _NOT_SET:
                unknown.append(f"{question} answered {code}")
        except SDK_FAULTS as error:
            unknown.append(f"{question} failed ({type(error).__name__})")
        return {}

    block = asked("GetPublicAccessBlock", client.get_public_access_block, "PublicAccessBlockConfiguration")
    if not block.get("RestrictPublicBuckets"):
        status = asked("GetBucketPolicyStatus", client.get_bucket_policy_status, "PolicyStatus")
        if status.get("IsPublic"):
            return "its policy lets everybody in", ""
    if not block.get("IgnorePublicAcls"):
        grants = asked("GetBucketAcl", client.get_bucket_acl, "Grants")
        if any(grant.get("Grantee", {}).get("URI", "").endswith(_EVERYBODY) for grant in grants):
            return "its access control list lets everybody in", ""
    return "", "; ".join(unknown)


def refuse_public(bucket: Bucket) -> None:
    """Raise a StoreError where the bucket is open to everybody, as far as its credentials may ask."""
    reason, _ = exposure(bucket.client, bucket.name)
    if reason:
        raise StoreError(
            f"The bucket {bucket.name} is public ({reason}): guests' data must not be stored in it.",
            hint="Switch on all four settings of its block of public access.",
            code="STORE-PUBLIC",
        )


def refuse_unconditional(store: OrderStore) -> None:
    """Raise a StoreError where the store's S3 does not compare before it writes, or these credentials may not write or
    remove. Tried once per bucket and process by a few writes of one small object, which is removed again."""
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
    store.bucket.delete(key)
    _compare.add(bucket)


def check_conditions(bucket: Bucket, key: str) -> None:
    """Raise a StoreError where this S3 ignores one of the conditions that the store relies on, or these credentials may
    not write. The object at ``key`` stays."""
    version = bucket.write(key, _CONTENT)
    for header, replaces in (("If-None-Match", ABSENT), ("If-Match", _ANOTHER)):
        try:
            bucket.write(key, _CONTENT, replaces=replaces)
        except StoreConflictError:
            continue
        raise StoreError(
            f"This S3 ignores conditions ({header}): two runs of one week could overwrite each other's orders.",
            hint="Use Amazon S3 or a current MinIO or Ceph.",
            code="STORE-CONDITIONS",
        )
    bucket.write(key, _CONTENT, replaces=version)
