"""What the order store does to a bucket, on a real S3 server that is not Amazon's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import ABSENT, Bucket, Version
from toast_assets_tests.support.services.ceph import ACCESS_KEY, SECRET_KEY, ceph

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = Any


def connect(url: str, access: str = ACCESS_KEY, secret: str = SECRET_KEY) -> S3Client:
    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1"
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ceph() as url:
        connect(url).create_bucket(Bucket="orders")
        yield url


def writers(bucket: Bucket, key: str, replaces: Version) -> int:
    """How many of eight writers at once succeed in replacing one version."""

    def write(number: int) -> int:
        try:
            bucket.write(key, b"%d" % number, replaces=replaces)
        except StoreConflictError:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(write, range(8)))


def test_of_several_writers_one_wins_on_new_and_on_changed_objects(url: str) -> None:
    bucket = Bucket(connect(url), "orders")
    assert writers(bucket, "race", ABSENT) == 1
    _, version = bucket.read("race") or (b"", ABSENT)
    newer = bucket.write("race", b"next", replaces=version)
    with pytest.raises(StoreConflictError):
        bucket.write("race", b"late", replaces=version)
    assert writers(bucket, "race", newer) == 1


def test_metadata_listing_and_removal_are_those_of_s3(url: str) -> None:
    bucket = Bucket(connect(url), "orders")
    bucket.write("list/b", b"12", Metadata={"sha256": "x", "total_orders": "5"}, ContentEncoding="gzip")
    bucket.write("list/a", b"")
    info = bucket.info("list/b")
    assert info is not None
    assert (info.size, info.metadata["sha256"]) == (2, "x")
    # Ceph turns the underscore of the guide's name into a hyphen; readers accept both.
    assert "5" in (info.metadata.get("total_orders"), info.metadata.get("total-orders"))
    assert list(bucket.keys("list/")) == ["list/a", "list/b"]
    bucket.delete("list/a")
    assert bucket.read("list/a") is None


def test_a_multipart_object_appears_only_when_it_is_complete(url: str) -> None:
    client = connect(url)
    bucket = Bucket(client, "orders")
    upload = client.create_multipart_upload(Bucket="orders", Key="parts")["UploadId"]
    part = client.upload_part(Bucket="orders", Key="parts", UploadId=upload, PartNumber=1, Body=b"a" * (5 << 20))
    assert bucket.info("parts") is None
    parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(Bucket="orders", Key="parts", UploadId=upload, MultipartUpload=parts)
    info = bucket.info("parts")
    assert info is not None
    assert info.size == 5 << 20


def test_refused_credentials_and_missing_buckets_are_told_as_such(url: str) -> None:
    wrong = Bucket(connect(url, secret="wrong"), "orders")
    with pytest.raises(StoreError, match="SignatureDoesNotMatch"):
        wrong.check()
    with pytest.raises(StoreError, match="Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        wrong.write("key", b"")
    with pytest.raises(StoreError, match="InvalidAccessKeyId"):
        Bucket(connect(url, access="nobody"), "orders").read("key")
    with pytest.raises(StoreError, match="does not exist"):
        Bucket(connect(url), "no-such-bucket").check()
