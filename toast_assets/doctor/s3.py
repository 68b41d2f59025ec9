"""The bucket: what the pipeline does with it, tried on one object that is removed again, and how it is protected."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from toast_assets.doctor.findings import Area, Finding
from toast_assets.doctor.services import clock_skew
from toast_assets.errors import StoreError
from toast_assets.store.bucket import Bucket
from toast_assets.store.guards import check_conditions, exposure
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

S3 = Area("S3")
_POLICY = "Compare the role's policy with deploy/aws/pipeline-policy.json."
_NO_DEFAULT = "ServerSideEncryptionConfigurationNotFoundError"
_SETTINGS = ("encryption", "versioning", "clock")
_CONTENT = b"toast-assets doctor"


def check_s3(client: S3Client, settings: StoreSettings) -> Iterator[Finding]:
    """All lines about the bucket."""
    try:
        store = OrderStore.of(client, settings)
        store.bucket.check()
    except StoreError as error:
        yield S3.failed("bucket", error)
        return
    name, prefix = settings.bucket, settings.prefix
    probe = f"{prefix}doctor/{uuid.uuid4()}"
    yield S3.ok("bucket", f"s3://{name}/{prefix}")
    for what, check in (
        ("list", lambda: next(store.bucket.keys(prefix), None)),
        ("put", lambda: store.bucket.write(probe, _CONTENT)),
        ("get", lambda: store.bucket.read(probe)),
        ("conditional writes", lambda: check_conditions(store.bucket, probe)),
        ("multipart", lambda: _multipart(client, store.bucket, probe)),
        ("delete", lambda: _remove(store.bucket, probe)),
        ("encryption", lambda: _encryption(client, settings)),
        ("public access", lambda: _public(client, name)),
        ("versioning", lambda: _versioning(client, name)),
        (
            "clock",
            lambda: clock_skew(S3, client.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPHeaders"].get("date")),
        ),
    ):
        try:
            found = check()
        except StoreError as error:
            yield S3.failed(what, error, _POLICY)
        except (ClientError, BotoCoreError) as error:
            # A setting that these credentials may not ask for, or that this S3 does not know, does no harm.
            yield S3.unknown(what, _said(error)) if what in _SETTINGS else S3.failed(what, _said(error), _POLICY)
        else:
            yield found if isinstance(found, Finding) else S3.ok(what)


def _multipart(client: S3Client, bucket: Bucket, key: str) -> None:
    """An upload in parts, encrypted as everything is; aborted if it fails, so that no part stays."""
    upload = client.create_multipart_upload(Bucket=bucket.name, Key=key, **bucket.encryption)["UploadId"]
    which: Any = {"Bucket": bucket.name, "Key": key, "UploadId": upload}
    try:
        tag = client.upload_part(**which, PartNumber=1, Body=_CONTENT)["ETag"]
        client.complete_multipart_upload(**which, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})
    except BaseException as error:
        try:
            client.abort_multipart_upload(**which)
        except (ClientError, BotoCoreError) as left:
            raise StoreError(
                f"It failed half-way ({_said(error)}) and could not be aborted ({_said(left)}): parts of"
                f" {bucket.uri(key)} are stored, and paid for.",
                hint=f"Allow s3:AbortMultipartUpload (deploy/aws/doctor-policy.json), then: aws s3api"
                f" abort-multipart-upload --bucket {bucket.name} --key {key} --upload-id {upload}",
                code="STORE-ACCESS",
            ) from error
        raise


def _said(error: BaseException) -> str:
    if isinstance(error, ClientError):
        return f"S3 answered {error.response.get('Error', {}).get('Code')}"
    return f"the call ended with {type(error).__name__}"


def _remove(bucket: Bucket, key: str) -> None:
    bucket.delete(key)
    if bucket.info(key) is not None:
        raise StoreError("The object is still there after its removal.")


def _encryption(client: S3Client, settings: StoreSettings) -> Finding:
    if settings.sse:
        key = f" with {settings.kms_key_id}" if settings.kms_key_id else ""
        return S3.ok("encryption", f"S3_SSE={settings.sse}{key} goes with every object; put shows that it is accepted")
    try:
        rules = client.get_bucket_encryption(Bucket=settings.bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except ClientError as error:
        if _NO_DEFAULT not in _said(error):
            raise
        rules = []
    if not rules:
        return S3.warning("encryption", "the bucket has no default encryption", "Set S3_SSE=AES256 or aws:kms.")
    kinds = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for rule in rules]
    return S3.ok("encryption", f"by default {', '.join(filter(None, kinds))}")


def _public(client: S3Client, bucket: str) -> Finding:
    public, unknown = exposure(client, bucket)
    if public:
        hint = "Switch on all four settings of its block of public access; until then every run refuses to start."
        return S3.failed("public access", f"the bucket is public: {public}", hint, "STORE-PUBLIC")
    if unknown:
        return S3.unknown("public access", unknown)
    return S3.ok("public access", "not public (bucket policy and ACL checked)")


def _versioning(client: S3Client, bucket: str) -> Finding:
    if client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled":
        return S3.ok("versioning", "on: what is forgotten stays in old versions until a lifecycle rule ends them")
    return S3.ok("versioning", "off")
