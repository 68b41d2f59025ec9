"""What S3 answers, and what the AWS SDK, the system and the network raise: each as one sentence with a way out.

S3's own sentence, which names the permission, key or policy at fault, is kept; credentials are taken out of all texts.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
from botocore import exceptions as sdk
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from toast_assets.errors import DamagedObjectError, StoreConflictError, StoreError, ToastAssetsError
from toast_assets.http.network import find_proxy
from toast_assets.http.own_secrets import without_secrets
from toast_assets.machine import machine_problem

if TYPE_CHECKING:
    from toast_assets.http.causes import Cause

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_CONFLICT = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"})
_FILES = "the AWS SDK's files (AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE, else ~/.aws/config, ~/.aws/credentials)"


class MissingObjectError(StoreError):
    """There is no such object; never leaves ``store``."""


_RENEW = "renew the credentials (a new session token, aws sso login, or a role for the run)"
_REGION = (
    "Set AWS_DEFAULT_REGION (or the profile's region) to the bucket's region, such as us-east-1, without quotes, and"
    " check AWS_ENDPOINT_URL_S3."
)
# This package's code and the way out by the code of S3's answer (patterns). The first that fits counts: KMS may be
# throttled, too.
_WAYS_OUT = {
    "ExpiredToken|InvalidToken|TokenRefreshRequired|InvalidClientTokenId|UnrecognizedClient": (
        "STORE-CREDENTIALS",
        f"The session token is expired or invalid: {_RENEW}, then run again.",
    ),
    "InvalidAccessKeyId|SignatureDoesNotMatch": (
        "STORE-CREDENTIALS",
        "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the profile of AWS_PROFILE), and that"
        " AWS_ENDPOINT_URL_S3 and the region are those of the service that issued them.",
    ),
    "RequestTimeTooSkewed|RequestExpired|RequestInTheFuture": (
        "MACHINE-CLOCK",
        "Set the clock of this machine (NTP): S3 accepts a difference of a quarter of an hour.",
    ),
    "InvalidObjectState|ObjectNotInActiveTier": (
        "STORE-ARCHIVED",
        "The object is in an archive. Restore it, and exempt the prefix from the lifecycle rule that archives objects.",
    ),
    "ObjectLock": (
        "STORE-LOCKED",
        "Take the default retention off the bucket, or use a bucket without Object Lock: every run replaces objects.",
    ),
    "SlowDown|Throttl|ServiceUnavailable|InternalError|RequestTimeout|RequestLimitExceeded|TooManyRequests"
    "|BandwidthLimitExceeded|Busy": (
        "STORE-UNAVAILABLE",
        "S3 is overloaded or down, several attempts in a row. Run again later; nothing is lost. If it lasts, look at"
        " the service's status page.",
    ),
    "KMS": (
        "STORE-KMS",
        "Check the key (S3_KMS_KEY_ID, else the bucket's default): it must be enabled and in the bucket's region, and"
        " the run's role must be allowed kms:GenerateDataKey and kms:Decrypt (deploy/aws/kms-policy.json).",
    ),
    "Quota|StorageFull|InsufficientStorage": (
        "STORE-FULL",
        "Make room, or raise the quota of the bucket or of the service's disks.",
    ),
    "AuthorizationHeaderMalformed|PermanentRedirect|TemporaryRedirect|IllegalLocationConstraint|IncorrectEndpoint"
    "|InvalidRegion": ("STORE-ENDPOINT", _REGION),
    "AllAccessDisabled|AccountProblem|NotSignedUp|OptInRequired": (
        "STORE-ACCESS",
        "Ask whoever administers the AWS account: S3 is suspended or not signed up for.",
    ),
    "EntityTooLarge|MaxMessageLengthExceeded": (
        StoreError.code,
        "One upload may have 5 GB on Amazon S3; elsewhere raise the limit of the service or of the proxy before it.",
    ),
    "BadDigest|InvalidDigest|IncompleteBody|MissingContentLength|SHA256Mismatch|ChecksumMismatch|BadChecksum": (
        StoreError.code,
        "Run again. If it lasts, look for a proxy that changes requests; an S3 that does not know today's checksums"
        " needs AWS_REQUEST_CHECKSUM_CALCULATION=when_required.",
    ),
}
# What else stands for one of these codes: words of S3's sentence (patterns), and statuses.
_SENTENCES = {r"object.?lock|\bWORM\b|legal.?hold": "ObjectLock", r"\bkms:": "KMS"}
_STATUSES = {
    **dict.fromkeys((408, 429, 500, 502, 503, 504), "SlowDown"),
    **dict.fromkeys((301, 302, 307, 308), "PermanentRedirect"),
    **{413: "EntityTooLarge", 507: "InsufficientStorage"},
}


def is_bare(error: ClientError) -> bool:
    """Whether the answer is a refusal that says nothing but its status, as every answer to a HEAD does."""
    status, code, _ = _facts(error)
    return not code and status in (301, 307, 400, 401, 403)


def refusal(
    error: ClientError, where: str, bucket: str, permission: str, *, key: str = "", conditional: bool = False
) -> StoreError:
    """The typed error for S3's answer to a request for ``where`` (a URI) that needs ``permission``; ``key`` is empty
    for the bucket itself, and only a ``conditional`` request can lose a race."""
    status, code, sentence = _facts(error)
    missing = code in _MISSING or (status == 404 and not code)
    if code == "NoSuchBucket" or (not key and missing):
        hint = "Check S3_BUCKET_NAME; the pipeline never creates a bucket."
        return StoreError(f"The bucket {bucket} does not exist.", hint=hint, code="STORE-BUCKET")
    if missing:
        return MissingObjectError(f"There is no {where}.")
    if conditional and (code in _CONFLICT or (not code and status in (409, 412))):
        return StoreConflictError(f"{where} was written by somebody else in the meantime.")
    what = "refused access to" if status in (401, 403) else "answered an error for"
    named = ": ".join(filter(None, (code or str(status), sentence)))
    own_code, hint = _way_out(status, code, sentence, permission)
    return StoreError(f"S3 {what} {where} ({named}).", hint=hint, code=own_code)


def _facts(error: ClientError) -> tuple[int, str, str]:
    """Status, code and sentence; where there is no body, botocore puts the status in the code's place."""
    answered: Mapping[str, Any] = error.response.get("Error", {})
    code, sentence = str(answered.get("Code") or ""), without_credentials(str(answered.get("Message") or ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
    if code.isdigit():
        return status or int(code), "", ""
    return status, without_credentials(code), "" if sentence == code else sentence.rstrip(".")


def _way_out(status: int, code: str, sentence: str, permission: str) -> tuple[str, str]:
    """This package's code for S3's answer, and the hint."""
    said = sentence if status in (400, 403) else ""
    meant = (other for pattern, other in _SENTENCES.items() if re.search(pattern, said, re.IGNORECASE))
    for each in filter(None, (code, next(meant, ""), _STATUSES.get(status))):
        if found := next((way for pattern, way in _WAYS_OUT.items() if re.search(pattern, each, re.IGNORECASE)), None):
            return found
    if status == 400 and not code:
        return "STORE-CREDENTIALS", (
            f"Without a reason, mostly it means that the session token is expired or invalid: {_RENEW}; else check"
            " AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_S3."
        )
    if status == 403 and len(sentence) > len("Access Denied"):
        # S3 names what is missing, and it need not be the permission that the request itself needs.
        return "STORE-ACCESS", "Allow what S3 names (README, Production set-up)."
    if status in (401, 403):
        hint = f"Check the credentials and that their policy allows {permission} (README, Production set-up)."
        return "STORE-ACCESS", hint
    return StoreError.code, (
        "Check AWS_ENDPOINT_URL_S3, the proxies before it, S3_BUCKET_NAME, and what S3 says; use Amazon S3 or a"
        " current MinIO or Ceph."
    )


# Also of files and variables that the SDK reads without checking them, and of replies that are none of S3's.
_ODD = (OSError, ValueError, LookupError, AttributeError, TypeError, RecursionError)
SDK_FAULTS = (sdk.BotoCoreError, ResponseParserError, *_ODD)
"""What botocore is known to raise besides what S3 answers: errors of the SDK, the system and the network."""


def sdk_problem(error: BaseException, what: str) -> ToastAssetsError:
    """The typed error for one of ``SDK_FAULTS``; ``what`` begins its sentence where a host could not be reached."""
    if problem := machine_problem(error):
        return problem
    said, code = without_credentials(str(error)).rstrip(" .:"), "STORE-CREDENTIALS"
    match error:
        case sdk.ConnectionError() | sdk.HTTPClientError():
            cause = connection_cause(error)
            host = urlsplit(str(error.kwargs.get("endpoint_url") or "")).netloc.rpartition("@")[2]
            text, hint = f"{what}{f' at {host}' if host else ''}: {cause.text}.", cause.hint
            code = "STORE-UNREACHABLE"
        case OSError() if error.filename:
            # A file or program that the SDK reads or starts.
            code, text = "STORE-SDK", f"The AWS SDK cannot use {error.filename} ({error.strerror})."
            hint = f"Check {_configured(str(error.filename))}: it must exist, and this user must be able to read it."
        case ValueError() if said.startswith("Invalid endpoint"):
            code, text = "STORE-ENDPOINT", "S3's endpoint is no URL."
            hint = (
                "Check AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile's: write https://HOST or https://HOST:PORT."
            )
        case sdk.NoCredentialsError():
            text = "No AWS credentials were found."
            hint = "Give the run a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        case sdk.PartialCredentialsError():
            text = f"The AWS credentials are incomplete: {said}."
            hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, both in the same place."
        case sdk.SSOError() | sdk.LoginError() | sdk.TokenRetrievalError() | sdk.NoAuthTokenError():
            text = f"The AWS session is not logged in, or its login has expired: {said}."
            hint = "Log in again (aws sso login, with --profile where AWS_PROFILE is set), then run again."
        case sdk.CredentialRetrievalError() | sdk.MetadataRetrievalError() | sdk.UnknownCredentialError():
            text = f"The AWS credentials could not be fetched: {said}."
            hint = (
                "Check what issues them: the role of the task (AWS_CONTAINER_CREDENTIALS_FULL_URI) or pod"
                f" (AWS_WEB_IDENTITY_TOKEN_FILE), or credential_process in {_FILES}."
            )
        case sdk.InvalidRegionError() | sdk.BaseEndpointResolverError() | sdk.UnknownRegionError():
            code, hint = "STORE-ENDPOINT", _REGION
            text = f"The AWS region is missing or malformed: {said}."
        case RecursionError():
            # botocore asks the bucket for its region, gets the same answer, asks for its region, …
            text = (
                "S3 says that the bucket is in another region or behind another address, and does not say where (301)."
            )
            code, hint = "STORE-ENDPOINT", _REGION
        case sdk.BotoCoreError() | ValueError():
            code, text = "STORE-SDK", f"The AWS SDK cannot be used as it is configured: {said}."
            hint = f"Check {_configured(said)}."
        case _:
            code = "STORE-ENDPOINT"
            text = f"{what}: the answer is none of S3's ({type(error).__name__}), or was cut short."
            hint = "Check AWS_ENDPOINT_URL_S3: what answers there may be another service, or a proxy's own page."
    return StoreError(text, hint=hint, code=code)


def _configured(said: str) -> str:
    """The variables of the AWS SDK whose value an error quotes, and the SDK's files."""
    values = {name: value for name, value in os.environ.items() if name.startswith("AWS_") and name not in CREDENTIALS}
    quoted = [name for name, value in values.items() if value == said or (len(value) > 1 and value in said)]
    return f"{' and '.join(quoted) or 'the AWS_… variables'} and {_FILES}"


def connection_cause(error: sdk.ConnectionError | sdk.HTTPClientError) -> Cause:
    """Why a request got no answer."""
    from toast_assets.http.causes import cause_of  # loads the other services' clients

    url = str(error.kwargs.get("endpoint_url") or "")
    proxy = find_proxy(url) if url else None
    unknown = "HTTPS_PROXY" if isinstance(error, sdk.ProxyConnectionError) else None
    variable = proxy.variable if proxy else unknown
    return cause_of(error.kwargs.get("error") or error, "AWS_ENDPOINT_URL_S3", variable)


CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LONGEST_TEXT = 400
_KEY_ID = re.compile(r"\b(A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{4,}")
# A session token: no name, ARN or sentence is so long without a separator.
_TOKEN = re.compile(r"[A-Za-z0-9+/=]{100,}")


def without_credentials(text: str) -> str:
    """Another system's text on one line, cut after some 400 characters, without credentials of the environment, access
    key ids and what looks like a session token."""
    text = without_secrets(text, map(os.environ.get, CREDENTIALS))
    text = _TOKEN.sub("…", _KEY_ID.sub(r"\1…", " ".join(text.split())))
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


# What msgspec, pyarrow, gzip and a cast raise for bytes that are not what they expect.
_UNREADABLE = (
    *(msgspec.DecodeError, pa.ArrowException, ValueError, KeyError, TypeError, RecursionError),
    *(EOFError, OSError, zlib.error),
)


@contextmanager
def readable(uri: str, hint: str) -> Iterator[None]:
    """Turn whatever decoding the object at ``uri`` raises into a StoreError with that ``hint``. It names the object and
    the kind of the fault, and quotes nothing, because an object may hold guests' data."""
    try:
        yield
    except _UNREADABLE as error:
        # pyarrow's lack of memory is also one of its own errors; an OSError with a number is the machine's.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        text = f"{uri} cannot be read ({type(error).__name__}): it is damaged, or another object."
        raise StoreError(text, hint=hint, code=DamagedObjectError.code) from error
