"""What S3 refuses, by kind: the way out belongs to the cause, S3's own sentence is kept, and no credential is."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.s3_errors import MissingObjectError, refusal
from toast_assets_tests.support.faults.s3_faults import refuse
from toast_assets_tests.support.services.clients import s3_client


def told(status: int, code: str, message: str = "m", *, key: str = "key", conditional: bool = False) -> StoreError:
    reply = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = ClientError(reply, "PutObject")  # type: ignore[arg-type]
    return refusal(error, "s3://bucket/key", "bucket", "s3:PutObject", key=key, conditional=conditional)


@pytest.mark.parametrize(
    ("status", "code", "words", "own"),
    [
        (400, "ExpiredToken", "renew the credentials", "STORE-CREDENTIALS"),
        (403, "ExpiredTokenException", "renew the credentials", "STORE-CREDENTIALS"),
        (400, "InvalidToken", "renew the credentials", "STORE-CREDENTIALS"),
        (400, "400", "mostly it means that the session token is expired", "STORE-CREDENTIALS"),
        (403, "InvalidAccessKeyId", "Check AWS_ACCESS_KEY_ID", "STORE-CREDENTIALS"),
        (403, "SignatureDoesNotMatch", "Check AWS_ACCESS_KEY_ID", "STORE-CREDENTIALS"),
        (403, "RequestTimeTooSkewed", "Set the clock", "MACHINE-CLOCK"),
        (403, "RequestExpired", "Set the clock", "MACHINE-CLOCK"),
        (400, "KMS.DisabledException", "S3_KMS_KEY_ID", "STORE-KMS"),
        (400, "XMinioKMSKeyNotFound", "S3_KMS_KEY_ID", "STORE-KMS"),
        (403, "InvalidObjectState", "exempt the prefix from the lifecycle rule", "STORE-ARCHIVED"),
        (503, "SlowDown", "Run again later", "STORE-UNAVAILABLE"),
        (400, "KMS.ThrottlingException", "Run again later", "STORE-UNAVAILABLE"),
        (502, "502", "Run again later", "STORE-UNAVAILABLE"),
        (500, "SomethingNew", "Run again later", "STORE-UNAVAILABLE"),
        (400, "RequestTimeout", "Run again later", "STORE-UNAVAILABLE"),
        (301, "PermanentRedirect", "AWS_DEFAULT_REGION", "STORE-ENDPOINT"),
        (400, "AuthorizationHeaderMalformed", "AWS_DEFAULT_REGION", "STORE-ENDPOINT"),
        (307, "307", "AWS_DEFAULT_REGION", "STORE-ENDPOINT"),
        (403, "AllAccessDisabled", "Ask whoever administers the AWS account", "STORE-ACCESS"),
        (403, "QuotaExceeded", "raise the quota", "STORE-FULL"),
        (507, "XMinioStorageFull", "raise the quota", "STORE-FULL"),
        (507, "507", "raise the quota", "STORE-FULL"),
        (400, "EntityTooLarge", "One upload may have 5 GB", "STORE"),
        (413, "413", "One upload may have 5 GB", "STORE"),
        (400, "BadDigest", "AWS_REQUEST_CHECKSUM_CALCULATION", "STORE"),
        (405, "MethodNotAllowed", "use Amazon S3 or a current MinIO or Ceph", "STORE"),
        (501, "501", "use Amazon S3 or a current MinIO or Ceph", "STORE"),
        (400, "InvalidBucketName", "S3_BUCKET_NAME", "STORE"),
        (412, "PreconditionFailed", "Check AWS_ENDPOINT_URL_S3, the proxies before it", "STORE"),
        (409, "OperationAborted", "Check AWS_ENDPOINT_URL_S3, the proxies before it", "STORE"),
        (403, "403", "their policy allows s3:PutObject", "STORE-ACCESS"),
        (418, "Teapot", r"\(Teapot: m\)\. Check AWS_ENDPOINT_URL_S3", "STORE"),
        (400, "ObjectLocked", "Object Lock", "STORE-LOCKED"),
    ],
)
def test_each_kind_of_refusal_has_its_own_way_out_and_code(status: int, code: str, words: str, own: str) -> None:
    error = told(status, code)
    assert str(error).endswith(f" [{own}]")
    assert type(error) is StoreError
    assert code in str(error)
    with pytest.raises(StoreError, match=words):
        raise error


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("User: u is not authorized to perform: kms:GenerateDataKey on resource: k", "S3_KMS_KEY_ID"),
        ("User: u is not authorized to perform: s3:PutObject with an explicit deny in a policy", "Allow what S3 names"),
        ("no VPC endpoint policy allows the s3:PutObject action", "Allow what S3 names"),
        ("Access Denied because object protected by object lock.", "Object Lock"),
        ("Access Denied", "their policy allows s3:PutObject"),
    ],
)
def test_what_s3_says_of_a_refusal_is_kept_and_decides_the_way_out(sentence: str, words: str) -> None:
    error = told(403, "AccessDenied", sentence)
    assert sentence.rstrip(".") in str(error)
    assert words in error.hint


def test_only_a_conditional_write_loses_a_race_and_only_an_object_is_missing() -> None:
    assert isinstance(told(412, "PreconditionFailed", conditional=True), StoreConflictError)
    assert isinstance(told(409, "ConditionalRequestConflict", conditional=True), StoreConflictError)
    assert isinstance(told(412, "412", conditional=True), StoreConflictError)
    assert isinstance(told(404, "NoSuchKey"), MissingObjectError)
    assert "The bucket bucket does not exist" in str(told(404, "404", key=""))
    assert "The bucket bucket does not exist" in str(told(404, "NoSuchBucket"))
    assert told(404, "NoSuchBucket").code == "STORE-BUCKET"


def test_what_s3_says_is_bounded_and_holds_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-ours/1234567890")
    said = f"The key AKIAABCDEFGHIJKLMNOP\nwith {'Zm9v' * 60} and a-token-of-ours/1234567890 {'is wrong ' * 200}"
    text = str(told(400, "InvalidToken", said))
    assert not [word for word in ("ABCDEFGH", "Zm9vZm9v", "a-token-of-ours") if word in text]
    assert "\n" not in text
    assert len(text) < 1000


@pytest.mark.parametrize(("status", "code"), [(400, "ExpiredToken"), (403, "RequestTimeTooSkewed")])
def test_the_reason_of_a_refusal_without_a_body_is_asked_for(sandbox: Sandbox, status: int, code: str) -> None:
    client = s3_client(sandbox)
    for operation in ("HeadBucket", "HeadObject", "ListObjectsV2"):
        refuse(client, operation, status, code)
    bucket = Bucket(client, sandbox.bucket)
    with pytest.raises(StoreError, match=code):
        bucket.check()
    with pytest.raises(StoreError, match=code):
        bucket.info("key")


def test_a_permission_for_an_object_is_not_mistaken_for_that_of_the_listing(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    for operation in ("HeadObject", "ListObjectsV2"):
        refuse(client, operation, 403, "AccessDenied", message="not authorized to perform: s3:ListBucket")
    with pytest.raises(StoreError, match="allows s3:GetObject"):
        Bucket(client, sandbox.bucket).info("key")


def test_no_error_of_s3_brings_its_cause_along(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    refuse(client, "GetObject", 400, "InvalidToken", message="AKIAABCDEFGHIJKLMNOP")
    with pytest.raises(StoreError) as failed:
        Bucket(client, sandbox.bucket).read("key")
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
