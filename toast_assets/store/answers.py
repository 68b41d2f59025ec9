"""What S3's refusals mean: each kind with a sentence and a way out.

S3's own sentence is kept: it names the permission, the key or the policy at fault, and quotes no object.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.credentials import without_credentials

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_CONFLICT = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"})


class MissingObjectError(StoreError):
    """There is no such object; never leaves ``store``."""


@dataclass(frozen=True)
class _Kind:
    """``text`` ends the sentence "S3 …"; both may name ``{where}`` (the object), ``{bucket}``, ``{permission}``."""

    text: str
    hint: str


_RENEW = _Kind(
    "does not accept the credentials any more: the session token is expired or invalid",
    "Renew the credentials (a new session token, aws sso login, or a role for the run), then run again.",
)
_BARE_400 = _Kind(
    "answered without a reason; mostly it means that the session token is expired or invalid",
    "Renew the credentials (a new session token, aws sso login, or a role for the run); else check AWS_DEFAULT_REGION"
    " and AWS_ENDPOINT_URL_S3.",
)
_KEY_PAIR = _Kind(
    "does not know this access key, or the secret does not belong to it",
    "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the profile of AWS_PROFILE), and that AWS_ENDPOINT_URL_S3"
    " and the region are those of the service that issued them.",
)
_CLOCK = _Kind(
    "refuses the request because this machine's clock is wrong",
    "Set the clock (NTP): S3 accepts a difference of a quarter of an hour.",
)
_ENCRYPTION_KEY = _Kind(
    "could not use the encryption key for {where}",
    "Check the key (S3_KMS_KEY_ID, else the bucket's default): it must be enabled and in the bucket's region, and the"
    " run's role must be allowed kms:GenerateDataKey and kms:Decrypt (deploy/aws/kms-policy.json).",
)
_ARCHIVED = _Kind(
    "has moved {where} to an archive",
    "Restore the object, and exempt the prefix from the lifecycle rule that archives objects.",
)
_LOCKED = _Kind(
    "protects {where} by Object Lock: it may be neither overwritten nor removed before its retention ends",
    "Take the default retention off the bucket, or use a bucket without Object Lock: every run replaces objects.",
)
_BUSY = _Kind(
    "is overloaded or down, several attempts in a row",
    "Run again later; nothing is lost. If it lasts, look at the service's status page.",
)
_REGION = _Kind(
    "says that the bucket {bucket} is in another region, or behind another address",
    "Set AWS_DEFAULT_REGION (or the profile's region) to the bucket's region, and check AWS_ENDPOINT_URL_S3 (https or"
    " http).",
)
_REFUSED = _Kind(
    "refused access to {where}",
    "Check the credentials and that their policy allows {permission} (README, Production set-up).",
)
_REFUSED_BECAUSE = _Kind("refused access to {where}", "Allow what S3 names (README, Production set-up).")
_ACCOUNT = _Kind(
    "does not serve this AWS account", "Ask whoever administers the AWS account: S3 is suspended or not signed up for."
)
_NO_ROOM = _Kind(
    "has no room left for {where}", "Make room, or raise the quota of the bucket or of the service's disks."
)
_TOO_LARGE = _Kind(
    "does not accept an object as large as {where}",
    "One upload may have 5 GB on Amazon S3; elsewhere raise the limit of the service or of the proxy before it.",
)
_ON_ITS_WAY = _Kind(
    "received something else than what was sent to {where}",
    "Run again. If it lasts, look for a proxy that changes requests; an S3 that does not know today's checksums needs"
    " AWS_REQUEST_CHECKSUM_CALCULATION=when_required.",
)
_UPLOAD_GONE = _Kind(
    "no longer has this upload in parts", "Run again; a lifecycle rule, or another process, has ended the upload."
)
_NOT_SUPPORTED = _Kind(
    "does not support this request", "Check AWS_ENDPOINT_URL_S3; use Amazon S3 or a current MinIO or Ceph."
)
_BUCKET_NAME = _Kind("does not accept the bucket's name {bucket}", "Check S3_BUCKET_NAME.")
_NOT_ASKED = _Kind(
    "answered a condition that was never sent for {where}",
    "Check AWS_ENDPOINT_URL_S3 and the proxies and gateways before it, then run again.",
)
_OTHER = _Kind("answered an error for {where}", "Check AWS_ENDPOINT_URL_S3, the bucket, and what S3 says.")

_BY_CODE: Mapping[str, _Kind] = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"), _RENEW),
    **dict.fromkeys(("InvalidClientTokenId", "UnrecognizedClientException"), _RENEW),
    **dict.fromkeys(("InvalidAccessKeyId", "SignatureDoesNotMatch"), _KEY_PAIR),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"), _CLOCK),
    **dict.fromkeys(("InvalidObjectState", "ObjectNotInActiveTierError"), _ARCHIVED),
    **dict.fromkeys(("ObjectLocked", "XMinioObjectLocked", "ObjectLockConfigurationNotAllowed"), _LOCKED),
    **dict.fromkeys(("SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError"), _BUSY),
    **dict.fromkeys(("RequestTimeout", "RequestLimitExceeded", "RequestThrottled", "TooManyRequests"), _BUSY),
    **dict.fromkeys(("Throttling", "ThrottlingException", "BandwidthLimitExceeded", "Busy"), _BUSY),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"), _REGION),
    **dict.fromkeys(("IllegalLocationConstraintException", "IncorrectEndpoint", "InvalidRegion"), _REGION),
    **dict.fromkeys(("AllAccessDisabled", "AccountProblem", "NotSignedUp", "OptInRequired"), _ACCOUNT),
    **dict.fromkeys(("EntityTooLarge", "MaxMessageLengthExceeded"), _TOO_LARGE),
    **dict.fromkeys(("BadDigest", "InvalidDigest", "IncompleteBody", "MissingContentLength"), _ON_ITS_WAY),
    **dict.fromkeys(("XAmzContentSHA256Mismatch", "BadChecksum", "XAmzContentChecksumMismatch"), _ON_ITS_WAY),
    **dict.fromkeys(("MethodNotAllowed", "NotImplemented"), _NOT_SUPPORTED),
    "InvalidBucketName": _BUCKET_NAME,
    "NoSuchUpload": _UPLOAD_GONE,
}
_BY_PART_OF_CODE = (
    (re.compile("throttl|slowdown", re.IGNORECASE), _BUSY),
    (re.compile("kms", re.IGNORECASE), _ENCRYPTION_KEY),
    (re.compile("quota|storagefull|insufficientstorage", re.IGNORECASE), _NO_ROOM),
)
_BY_STATUS: Mapping[int, _Kind] = {
    **dict.fromkeys((301, 302, 307, 308), _REGION),
    **dict.fromkeys((405, 501), _NOT_SUPPORTED),
    **dict.fromkeys((408, 429, 500, 502, 503, 504), _BUSY),
    **dict.fromkeys((409, 412), _NOT_ASKED),
    401: _REFUSED,
    403: _REFUSED,
    413: _TOO_LARGE,
    507: _NO_ROOM,
}
_BY_SENTENCE = (
    (re.compile(r"object.?lock|\bWORM\b|legal.?hold", re.IGNORECASE), _LOCKED),
    (re.compile(r"\bkms:", re.IGNORECASE), _ENCRYPTION_KEY),
)


def is_bare(error: ClientError) -> bool:
    """Whether the answer is a refusal that says nothing but its status, as every answer to a HEAD does."""
    status, code, _ = _facts(error)
    return not code and status in (301, 307, 400, 401, 403)


def refusal(
    error: ClientError, where: str, bucket: str, permission: str, *, key: str = "", conditional: bool = False
) -> StoreError:
    """What S3's answer means for the request for ``where`` (a URI), which needs ``permission``; ``key`` is empty where
    the bucket itself was asked for. Only where the request was ``conditional`` can it have lost a race."""
    status, code, sentence = _facts(error)
    if code == "NoSuchBucket" or (not key and _is_missing(status, code)):
        return StoreError(
            f"The bucket {bucket} does not exist.", hint="Check S3_BUCKET_NAME; the pipeline never creates a bucket."
        )
    if _is_missing(status, code):
        return MissingObjectError(f"There is no {where}.")
    if conditional and (code in _CONFLICT or (not code and status in (409, 412))):
        return StoreConflictError(f"{where} was written by somebody else in the meantime.")
    kind = _kind(status, code, sentence)
    text = kind.text.format(where=where, bucket=bucket, permission=permission)
    hint = kind.hint.format(where=where, bucket=bucket, permission=permission)
    named = f"{code or status}: {sentence}" if sentence else str(code or status)
    return StoreError(f"S3 {text} ({named}).", hint=hint)


def _facts(error: ClientError) -> tuple[int, str, str]:
    """Status, code and sentence; where there is no body, botocore puts the status in the code's place."""
    answered: Mapping[str, Any] = error.response.get("Error", {})
    code, sentence = str(answered.get("Code") or ""), without_credentials(str(answered.get("Message") or ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    if code.isdigit():
        return status or int(code), "", ""
    return status, without_credentials(code), "" if sentence == code else sentence.rstrip(".")


def _is_missing(status: int, code: str) -> bool:
    return code in MISSING or (status == 404 and not code)


def _kind(status: int, code: str, sentence: str) -> _Kind:
    if code in _BY_CODE:
        return _BY_CODE[code]
    found = next((kind for pattern, kind in _BY_PART_OF_CODE if pattern.search(code)), None)
    if found is None and status in (400, 403):
        found = next((kind for pattern, kind in _BY_SENTENCE if pattern.search(sentence)), None)
    if found is None and status == 400 and not code:
        found = _BARE_400
    if found is None and status == 403 and len(sentence) > len("Access Denied"):
        # S3 names what is missing, and it need not be the permission that the request itself needs.
        found = _REFUSED_BECAUSE
    return found or _BY_STATUS.get(status, _OTHER)
