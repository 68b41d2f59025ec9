"""What S3 answers, and what the AWS SDK, the system and the network raise: each as one sentence with a way out.

S3's own sentence, which names the permission, key or policy at fault, is kept; credentials are taken out of all texts.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
from botocore import exceptions as sdk
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from toast_assets.errors import SettingsError, StoreConflictError, StoreError, ToastAssetsError
from toast_assets.http.network import find_proxy
from toast_assets.http.own_secrets import without_secrets
from toast_assets.machine import causes, machine_problem

if TYPE_CHECKING:
    from toast_assets.http.causes import Cause

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_CONFLICT = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "OperationAborted"})
_FILES = "AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE; by default ~/.aws/config and ~/.aws/credentials"


class MissingObjectError(StoreError):
    """There is no such object; never leaves ``store``."""


# What S3 answers.
@dataclass(frozen=True)
class _Kind:
    """A kind of refusal, which S3's ``code``, else its ``sentence`` (patterns), else the status tells; ``text`` ends
    the sentence "S3 …"."""

    text: str
    hint: str
    code: str = ""
    statuses: tuple[int, ...] = ()
    sentence: str = ""


_RENEW = "Renew the credentials (a new session token, aws sso login, or a role for the run)"
_REFUSED = _Kind(
    "refused access to {where}",
    "Check the credentials and that their policy allows {permission} (README, Production set-up).",
    statuses=(401, 403),
)
_REFUSED_BECAUSE = _Kind("refused access to {where}", "Allow what S3 names (README, Production set-up).")
_BARE_400 = _Kind(
    "answered without a reason; mostly it means that the session token is expired or invalid",
    f"{_RENEW}; else check AWS_DEFAULT_REGION and AWS_ENDPOINT_URL_S3.",
)
_OTHER = _Kind("answered an error for {where}", "Check AWS_ENDPOINT_URL_S3, the bucket, and what S3 says.")
# The first that fits counts: the throttling of KMS is no fault of the key.
_KINDS = (
    _REFUSED,
    _Kind(
        "does not accept the credentials any more: the session token is expired or invalid",
        f"{_RENEW}, then run again.",
        "ExpiredToken|InvalidToken|TokenRefreshRequired|InvalidClientTokenId|UnrecognizedClient",
    ),
    _Kind(
        "does not know this access key, or the secret does not belong to it",
        "Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or the profile of AWS_PROFILE), and that"
        " AWS_ENDPOINT_URL_S3 and the region are those of the service that issued them.",
        "InvalidAccessKeyId|SignatureDoesNotMatch",
    ),
    _Kind(
        "refuses the request because this machine's clock is wrong",
        "Set the clock (NTP): S3 accepts a difference of a quarter of an hour.",
        "RequestTimeTooSkewed|RequestExpired|RequestInTheFuture",
    ),
    _Kind(
        "has moved {where} to an archive",
        "Restore the object, and exempt the prefix from the lifecycle rule that archives objects.",
        "InvalidObjectState|ObjectNotInActiveTier",
    ),
    _Kind(
        "protects {where} by Object Lock: it may be neither overwritten nor removed before its retention ends",
        "Take the default retention off the bucket, or use a bucket without Object Lock: every run replaces objects.",
        "ObjectLock",
        sentence=r"object.?lock|\bWORM\b|legal.?hold",
    ),
    _Kind(
        "is overloaded or down, several attempts in a row",
        "Run again later; nothing is lost. If it lasts, look at the service's status page.",
        "SlowDown|Throttl|ServiceUnavailable|InternalError|RequestTimeout|RequestLimitExceeded|TooManyRequests"
        "|BandwidthLimitExceeded|Busy",
        (408, 429, 500, 502, 503, 504),
    ),
    _Kind(
        "could not use the encryption key for {where}",
        "Check the key (S3_KMS_KEY_ID, else the bucket's default): it must be enabled and in the bucket's region, and"
        " the run's role must be allowed kms:GenerateDataKey and kms:Decrypt (deploy/aws/kms-policy.json).",
        "KMS",
        sentence=r"\bkms:",
    ),
    _Kind(
        "has no room left for {where}",
        "Make room, or raise the quota of the bucket or of the service's disks.",
        "Quota|StorageFull|InsufficientStorage",
        (507,),
    ),
    _Kind(
        "says that the bucket {bucket} is in another region, or behind another address",
        "Set AWS_DEFAULT_REGION (or the profile's region) to the bucket's region, and check AWS_ENDPOINT_URL_S3 (https"
        " or http).",
        "AuthorizationHeaderMalformed|PermanentRedirect|TemporaryRedirect|IllegalLocationConstraint|IncorrectEndpoint"
        "|InvalidRegion",
        (301, 302, 307, 308),
    ),
    _Kind(
        "does not serve this AWS account",
        "Ask whoever administers the AWS account: S3 is suspended or not signed up for.",
        "AllAccessDisabled|AccountProblem|NotSignedUp|OptInRequired",
    ),
    _Kind(
        "does not accept an object as large as {where}",
        "One upload may have 5 GB on Amazon S3; elsewhere raise the limit of the service or of the proxy before it.",
        "EntityTooLarge|MaxMessageLengthExceeded",
        (413,),
    ),
    _Kind(
        "received something else than what was sent to {where}",
        "Run again. If it lasts, look for a proxy that changes requests; an S3 that does not know today's checksums"
        " needs AWS_REQUEST_CHECKSUM_CALCULATION=when_required.",
        "BadDigest|InvalidDigest|IncompleteBody|MissingContentLength|SHA256Mismatch|ChecksumMismatch|BadChecksum",
    ),
    _Kind(
        "does not support this request",
        "Check AWS_ENDPOINT_URL_S3; use Amazon S3 or a current MinIO or Ceph.",
        "MethodNotAllowed|NotImplemented",
        (405, 501),
    ),
    _Kind("does not accept the bucket's name {bucket}", "Check S3_BUCKET_NAME.", "InvalidBucketName"),
    _Kind(
        "answered a condition that was never sent for {where}",
        "Check AWS_ENDPOINT_URL_S3 and the proxies and gateways before it, then run again.",
        statuses=(409, 412),
    ),
)


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
        return StoreError(
            f"The bucket {bucket} does not exist.", hint="Check S3_BUCKET_NAME; the pipeline never creates a bucket."
        )
    if missing:
        return MissingObjectError(f"There is no {where}.")
    if conditional and (code in _CONFLICT or (not code and status in (409, 412))):
        return StoreConflictError(f"{where} was written by somebody else in the meantime.")
    kind = _kind(status, code, sentence)
    text, hint = (each.format(where=where, bucket=bucket, permission=permission) for each in (kind.text, kind.hint))
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


def _kind(status: int, code: str, sentence: str) -> _Kind:
    by_code = (kind for kind in _KINDS if kind.code and re.search(kind.code, code, re.IGNORECASE))
    said = sentence if status in (400, 403) else ""
    by_sentence = (kind for kind in _KINDS if kind.sentence and re.search(kind.sentence, said, re.IGNORECASE))
    if kind := next(by_code, None) or next(by_sentence, None):
        return kind
    if status == 400 and not code:
        return _BARE_400
    if status == 403 and len(sentence) > len("Access Denied"):
        # S3 names what is missing, and it need not be the permission that the request itself needs.
        return _REFUSED_BECAUSE
    return next((kind for kind in _KINDS if status in kind.statuses), _OTHER)


# What the AWS SDK, the system and the network raise.
SDK_FAULTS = (
    sdk.BotoCoreError,
    ResponseParserError,
    # Of files and variables that the SDK reads without checking them, and of replies that are none of S3's.
    OSError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    RecursionError,
)
"""Everything that botocore is known to raise besides what S3 answers."""

_PROXY_STATUS = re.compile(r"Tunnel connection failed: ([1-5][0-9]{2})\b")
_NO_S3 = "Check AWS_ENDPOINT_URL_S3: what answers there may be another service, or a proxy's own page."
# The sentence, in which {text} is what the raised error says and {what} could not be done, and the way out.
_FAULTS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
    (
        (sdk.NoCredentialsError,),
        "No AWS credentials were found.",
        "Give the run a role, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    ),
    (
        (sdk.PartialCredentialsError,),
        "The AWS credentials are incomplete: {text}.",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, both in the same place.",
    ),
    (
        (sdk.ProfileNotFound,),
        "{text}.",
        f"Check AWS_PROFILE and the AWS SDK's files ({_FILES}).",
    ),
    (
        (sdk.ConfigParseError, sdk.ConfigNotFound),
        "A configuration file of the AWS SDK cannot be read: {text}.",
        f"Check its form, [profile NAME] and lines such as region = us-east-1 ({_FILES}).",
    ),
    (
        (sdk.SSOError, sdk.LoginError, sdk.TokenRetrievalError, sdk.NoAuthTokenError),
        "The AWS session is not logged in, or its login has expired: {text}.",
        "Log in again (aws sso login, with --profile where AWS_PROFILE is set), then run again.",
    ),
    (
        (sdk.CredentialRetrievalError, sdk.MetadataRetrievalError, sdk.UnknownCredentialError),
        "The AWS credentials could not be fetched: {text}.",
        "Check what issues them: the role of the task (AWS_CONTAINER_CREDENTIALS_FULL_URI) or pod"
        f" (AWS_WEB_IDENTITY_TOKEN_FILE), or credential_process in the AWS SDK's files ({_FILES}).",
    ),
    (
        (sdk.InvalidRegionError, sdk.BaseEndpointResolverError, sdk.UnknownRegionError),
        "The AWS region is missing or malformed: {text}.",
        "Set AWS_DEFAULT_REGION (or the profile's region) to the bucket's region, such as us-east-1, without quotes.",
    ),
    ((sdk.InvalidProxiesConfigError,), "The proxy for S3 is malformed: {text}.", "Check HTTPS_PROXY."),
    ((sdk.ParamValidationError,), "The AWS SDK refuses the request: {text}.", "Check S3_BUCKET_NAME and S3_PREFIX."),
    (
        # botocore asks the bucket for its region, gets the same answer, asks for its region, …
        (RecursionError,),
        "S3 says that the bucket is in another region or behind another address, and does not say where (301).",
        "Set AWS_DEFAULT_REGION (or the profile's region) to the bucket's region, and check AWS_ENDPOINT_URL_S3.",
    ),
    (
        (sdk.BotoCoreError, ValueError),
        "The AWS SDK cannot be used as it is configured: {text}.",
        f"Check {{variables}} and the AWS SDK's files ({_FILES}).",
    ),
    ((ResponseParserError,), "{what}: what answers is not S3, or its reply was cut short.", _NO_S3),
    ((BaseException,), "{what}: the answer is none of S3's ({kind}).", _NO_S3),
)


def sdk_problem(error: BaseException, what: str) -> ToastAssetsError:
    """The typed error for one of ``SDK_FAULTS``; ``what`` begins its sentence where a host could not be reached."""
    if problem := machine_problem(error):
        return problem
    if isinstance(error, sdk.ConnectionError | sdk.HTTPClientError):
        if any(isinstance(each, ValueError) and "header" in str(each) for each in causes(error)):
            hint = f"Check {', '.join(CREDENTIALS)}, or the profile: a line feed or blank may have been copied along."
            return StoreError(f"{what}: a credential holds a character that no request can carry.", hint=hint)
        cause = connection_cause(error)
        host = urlsplit(str(error.kwargs.get("endpoint_url") or "")).netloc.rpartition("@")[2]
        return StoreError(f"{what}{f' at {host}' if host else ''}: {cause.text}.", hint=cause.hint)
    if isinstance(error, OSError) and error.filename:
        # A file or program that the SDK reads or starts; the variables that name it are found by their values.
        variables = [name for name, value in os.environ.items() if value == str(error.filename) and name != "_"]
        place = " and ".join(variables) or f"the AWS SDK's files ({_FILES})"
        hint = f"Check {place}: it must exist, and this user must be able to read it."
        return StoreError(f"The AWS SDK cannot use {error.filename} ({error.strerror}).", hint=hint)
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        hint = "Check AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile's: write https://HOST or https://HOST:PORT."
        return StoreError("S3's endpoint is no URL.", hint=hint)
    text, hint = next((text, hint) for kinds, text, hint in _FAULTS if isinstance(error, kinds))
    said = without_credentials(str(error))
    text = text.format(text=said.rstrip(" .:"), what=what, kind=type(error).__name__)
    # The variables of the AWS SDK whose value the text quotes.
    values = {name: value for name, value in os.environ.items() if name.startswith("AWS_") and name not in CREDENTIALS}
    quoted = [name for name, value in values.items() if len(value) > 1 and value in said]
    return StoreError(text, hint=hint.format(variables=" and ".join(quoted) or "the AWS_… variables"))


def connection_cause(error: sdk.ConnectionError | sdk.HTTPClientError) -> Cause:
    """Why a request got no answer."""
    from toast_assets.http.causes import Cause, cause_of, proxy_refusal  # loads the other services' clients

    setting, inner = "AWS_ENDPOINT_URL_S3", error.kwargs.get("error")
    url = str(error.kwargs.get("endpoint_url") or "")
    proxy = None
    with suppress(SettingsError):
        proxy = find_proxy(url) if url else None
    variable = proxy.variable if proxy else None
    if isinstance(error, sdk.ProxyConnectionError):
        variable = variable or "HTTPS_PROXY"
        if refused := _PROXY_STATUS.search(str(inner)):
            return proxy_refusal(int(refused[1]), variable)
    elif isinstance(error, sdk.ConnectTimeoutError | sdk.ReadTimeoutError):
        return Cause("it did not answer in time", f"Check {setting}, the network and the firewall.")
    return cause_of(inner or error, setting, variable)


# Credentials in texts and variables.
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
        raise StoreError(text, hint=hint) from error
