"""What the AWS SDK, the system and the network raise while an S3 client is made or used: each with a sentence that
names the variable, the file or the host, and the way out."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from toast_assets.errors import SettingsError, StoreError, ToastAssetsError
from toast_assets.http.network import find_proxy
from toast_assets.machine import causes, machine_problem
from toast_assets.store.credentials import VARIABLES, without_credentials

if TYPE_CHECKING:
    from toast_assets.http.causes import Cause

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
_FILES = "AWS_CONFIG_FILE, AWS_SHARED_CREDENTIALS_FILE; by default ~/.aws/config and ~/.aws/credentials"
# The sentence, in which {text} is what was raised says, and the way out.
_KINDS: tuple[tuple[tuple[type[BaseException], ...], str, str], ...] = (
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
)


def sdk_problem(error: BaseException, what: str) -> ToastAssetsError:
    """The typed error for one of ``SDK_FAULTS``; ``what`` begins its sentence where a host could not be reached."""
    problem: ToastAssetsError | None = machine_problem(error)
    if problem is None and isinstance(error, ResponseParserError):
        problem = StoreError(f"{what}: what answers is not S3, or its reply was cut short.", hint=_NO_S3)
    if problem is None and isinstance(error, sdk.ConnectionError | sdk.HTTPClientError):
        problem = _unreachable(error, what)
    if problem is None and isinstance(error, OSError) and error.filename:
        problem = _file_problem(error)
    if problem is None and isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        hint = "Check AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or the profile's: write https://HOST or https://HOST:PORT."
        problem = StoreError("S3's endpoint is no URL.", hint=hint)
    return problem or _by_kind(error, what)


def _by_kind(error: BaseException, what: str) -> StoreError:
    for kinds, text, hint in _KINDS:
        if isinstance(error, kinds):
            told = without_credentials(str(error))
            return StoreError(text.format(text=told.rstrip(" .:")), hint=hint.format(variables=_variables_in(told)))
    return StoreError(f"{what}: the answer is none of S3's ({type(error).__name__}).", hint=_NO_S3)


def _variables_in(text: str) -> str:
    """The variables of the AWS SDK whose value a text quotes."""
    values = {name: value for name, value in os.environ.items() if name.startswith("AWS_") and name not in VARIABLES}
    return (
        " and ".join(name for name, value in values.items() if len(value) > 1 and value in text)
        or "the AWS_… variables"
    )


def _file_problem(error: OSError) -> StoreError:
    """A file or program that the SDK reads or starts; the variables that name it are found by their values."""
    name = str(error.filename)
    variables = [variable for variable, value in os.environ.items() if value == name and variable != "_"]
    place = " and ".join(variables) if variables else f"the AWS SDK's files ({_FILES})"
    hint = f"Check {place}: it must exist, and this user must be able to read it."
    return StoreError(f"The AWS SDK cannot use {name} ({error.strerror}).", hint=hint)


def _unreachable(error: sdk.ConnectionError | sdk.HTTPClientError, what: str) -> StoreError:
    url = urlsplit(str(error.kwargs.get("endpoint_url") or ""))
    cause = connection_cause(error)
    if any(isinstance(each, ValueError) and "header" in str(each) for each in causes(error)):
        hint = f"Check {', '.join(VARIABLES)}, or the profile: a line feed or blank may have been copied along."
        return StoreError(f"{what}: a credential holds a character that no request can carry.", hint=hint)
    host = f" at {url.netloc.rpartition('@')[2]}" if url.netloc else ""
    return StoreError(f"{what}{host}: {cause.text}.", hint=cause.hint)


def connection_cause(error: sdk.ConnectionError | sdk.HTTPClientError) -> Cause:
    """Why a request got no answer."""
    from toast_assets.http.causes import Cause, cause_of, proxy_refusal  # loads the other services' clients

    setting, inner = "AWS_ENDPOINT_URL_S3", error.kwargs.get("error")
    url = str(error.kwargs.get("endpoint_url") or "")
    try:
        proxy = find_proxy(url) if url else None
    except SettingsError:
        proxy = None
    if isinstance(error, sdk.ProxyConnectionError):
        variable = proxy.variable if proxy else "HTTPS_PROXY"
        if refused := _PROXY_STATUS.search(str(inner)):
            return proxy_refusal(int(refused[1]), variable)
        return cause_of(inner or error, setting, variable)
    if isinstance(error, sdk.ConnectTimeoutError | sdk.ReadTimeoutError):
        return Cause("it did not answer in time", f"Check {setting}, the network and the firewall.")
    return cause_of(inner or error, setting, proxy.variable if proxy else None)
