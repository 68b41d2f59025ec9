"""The bucket: what the pipeline does with it, tried on one object that is removed again, and how it is protected."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from toast_assets.doctor.clocks import clock_skew
from toast_assets.doctor.findings import Finding, failed, ok, unknown, warning
from toast_assets.errors import StoreError
from toast_assets.store.bucket import Bucket
from toast_assets.store.conditions import check_conditions
from toast_assets.store.exposure import exposure
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = Any

AREA = "S3"
_POLICY = "Compare the role's policy with deploy/aws/pipeline-policy.json."
_NO_DEFAULT = "ServerSideEncryptionConfigurationNotFoundError"
_CONTENT = b"toast-assets doctor"


def check_s3(client: S3Client, settings: StoreSettings, now: Callable[[], float] = time.time) -> list[Finding]:
    """All lines about the bucket. ``now`` gives Unix seconds."""
    try:
        store = OrderStore.of(client, settings)
        store.bucket.check()
    except StoreError as error:
        return [failed(AREA, "bucket", error)]
    name, prefix = settings.bucket, settings.prefix
    probe = f"{prefix}doctor/{uuid.uuid4()}"
    findings = [ok(AREA, "bucket", f"s3://{name}/{prefix}")]
    for what, check in (
        ("list", lambda: next(store.bucket.keys(prefix), None)),
        ("put", lambda: store.bucket.write(probe, _CONTENT)),
        ("get", lambda: store.bucket.read(probe)),
        ("conditional writes", lambda: check_conditions(store.bucket, probe)),
        ("multipart", lambda: _multipart(client, store.bucket, probe)),
        ("delete", lambda: _removed(store.bucket, probe)),
    ):
        try:
            check()
        except StoreError as error:
            findings.append(failed(AREA, what, error, _POLICY))
        except ClientError as error:
            findings.append(failed(AREA, what, f"S3 answered {_code(error)}", _POLICY))
        except BotoCoreError as error:
            findings.append(
                failed(AREA, what, f"S3 could not be reached ({type(error).__name__})", "Check the network.")
            )
        else:
            findings.append(ok(AREA, what))
    return [
        *findings,
        _encryption(client, settings),
        _public(client, name),
        _versions(client, name),
        _clock(client, name, now()),
    ]


def _multipart(client: S3Client, bucket: Bucket, key: str) -> None:
    """An upload in parts, encrypted as everything is; given up whatever happens half-way, so that no part stays."""
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
                f"It failed half-way ({_code(error)}) and could not be given up ({_code(left)}): parts of"
                f" {bucket.uri(key)} are stored, and paid for.",
                hint=f"Allow s3:AbortMultipartUpload (deploy/aws/doctor-policy.json), then: aws s3api"
                f" abort-multipart-upload --bucket {bucket.name} --key {key} --upload-id {upload}",
            ) from error
        raise


def _code(error: BaseException) -> str:
    """What S3 answered, else what happened."""
    answered = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    return answered or type(error).__name__


def _removed(bucket: Bucket, key: str) -> None:
    bucket.delete(key)
    if bucket.info(key) is not None:
        raise StoreError("The object is still there after its removal.")


def _asked(name: str, ask: Callable[[], Any], read: Callable[[Any], Finding], absent: dict[str, Finding]) -> Finding:
    """A question about the bucket's settings; who may not ask, or asks an S3 that does not know, has done no wrong."""
    try:
        return read(ask())
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        return absent.get(code) or unknown(AREA, name, f"S3 answered {code}")
    except BotoCoreError as error:
        return unknown(AREA, name, type(error).__name__)


def _encryption(client: S3Client, settings: StoreSettings) -> Finding:
    if settings.sse:
        key = f" with {settings.kms_key_id}" if settings.kms_key_id else ""
        return ok(
            AREA, "encryption", f"S3_SSE={settings.sse}{key} goes with every object; put tells whether it is taken"
        )

    def read(reply: Any) -> Finding:
        rules = reply["ServerSideEncryptionConfiguration"]["Rules"]
        kinds = [rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "") for rule in rules]
        return ok(AREA, "encryption", f"by default {', '.join(filter(None, kinds))}")

    none = warning(AREA, "encryption", "the bucket has no default encryption", "Set S3_SSE=AES256 or aws:kms.")
    ask = lambda: client.get_bucket_encryption(Bucket=settings.bucket)  # noqa: E731
    return _asked("encryption", ask, read, {_NO_DEFAULT: none})


def _public(client: S3Client, bucket: str) -> Finding:
    found = exposure(client, bucket)
    if found.public:
        hint = "Switch on all four settings of its block of public access; until then every run refuses to start."
        return failed(AREA, "public access", f"the bucket is public: {found.reason}", hint)
    if found.unknown:
        return unknown(AREA, "public access", found.unknown)
    return ok(AREA, "public access", "neither policy nor access control list lets everybody in")


def _versions(client: S3Client, bucket: str) -> Finding:
    def read(reply: Any) -> Finding:
        if reply.get("Status") == "Enabled":
            return ok(
                AREA, "versioning", "on: what is forgotten stays in old versions until a lifecycle rule ends them"
            )
        return ok(AREA, "versioning", "off")

    return _asked("versioning", lambda: client.get_bucket_versioning(Bucket=bucket), read, {})


def _clock(client: S3Client, bucket: str, now: float) -> Finding:
    def read(reply: Any) -> Finding:
        return clock_skew(AREA, reply["ResponseMetadata"]["HTTPHeaders"].get("date"), now)

    return _asked("clock", lambda: client.head_bucket(Bucket=bucket), read, {})
