"""The S3 client: how it is made, and one sentence for each fault of the AWS SDK's variables, files and network."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError, ProxyConnectionError, SSLError

from toast_assets.errors import MachineError, SettingsError, StoreError, ToastAssetsError
from toast_assets.store.bucket import Bucket
from toast_assets.store.client import s3_client
from toast_assets.store.s3_errors import sdk_problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
NOWHERE = "http://127.0.0.1:9"
CONFIGS = {
    "unparsable": "[default\nregion = us-east-1\n",
    "process": "[default]\ncredential_process = /bin/false\n",
    "missing-process": "[default]\ncredential_process = /no/such/tool\n",
    "sso": "[default]\nsso_start_url = https://x.awsapps.com/start\nsso_region = us-east-1\n"
    "sso_account_id = 111122223333\nsso_role_name = r\n",
    "source": "[default]\nrole_arn = arn:aws:iam::111122223333:role/x\nsource_profile = missing\n",
    "half": "[default]\naws_access_key_id = AKIAEXAMPLE\n",
}
ROLE = "arn:aws:iam::111122223333:role/x"


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_") or "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, r"No AWS credentials.*AWS_PROFILE.* \[STORE-CREDENTIALS\]$"),
        ({"AWS_PROFILE": "nope"}, r"nope.*Check AWS_PROFILE"),
        (KEYS | {"AWS_ENDPOINT_URL_S3": "minio:9000"}, r"is no URL.*AWS_ENDPOINT_URL_S3.* \[STORE-ENDPOINT\]$"),
        (KEYS | {"AWS_ENDPOINT_URL_S3": NOWHERE}, "127.0.0.1:9: nobody listens there.*AWS_ENDPOINT_URL_S3"),
        ({"AWS_CONFIG_FILE": "unparsable"}, "cannot be used as it is configured.*unparsable.*AWS_CONFIG_FILE"),
        ({"AWS_CONFIG_FILE": "process"}, r"could not be fetched.*credential_process.* \[STORE-CREDENTIALS\]$"),
        ({"AWS_CONFIG_FILE": "missing-process"}, r"cannot use /no/such/tool.*AWS_CONFIG_FILE.* \[STORE-SDK\]$"),
        ({"AWS_CONFIG_FILE": "sso"}, "not logged in.*aws sso login"),
        ({"AWS_CONFIG_FILE": "source"}, 'source_profile "missing".*AWS_CONFIG_FILE'),
        ({"AWS_SHARED_CREDENTIALS_FILE": "half"}, "incomplete.*AWS_SECRET_ACCESS_KEY"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such", "AWS_ROLE_ARN": ROLE}, "/no/such .*AWS_WEB_IDENTITY_TOKEN_FILE"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/", "AWS_ROLE_ARN": ROLE}, "cannot use / .*AWS_WEB_IDENTITY_TOKEN_FILE"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{NOWHERE}/c"}, "could not be fetched.*AWS_CONTAINER_CREDENTIALS"),
        (
            KEYS | {"AWS_DEFAULT_REGION": "US East"},
            r"region is missing or malformed.*AWS_DEFAULT_REGION.* \[STORE-ENDPOINT\]$",
        ),
        (
            KEYS | {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE\n"},
            r"AWS_ACCESS_KEY_ID cannot be sent.*line feed.* \[STORE-CREDENTIALS\]$",
        ),
        (KEYS | {"AWS_SESSION_TOKEN": '"quoted"'}, "AWS_SESSION_TOKEN cannot be sent.*a quote"),
        (KEYS | {"AWS_MAX_ATTEMPTS": "many"}, r"'many'.*AWS_MAX_ATTEMPTS.* \[STORE-SDK\]$"),
        (KEYS | {"AWS_REQUEST_CHECKSUM_CALCULATION": "never"}, "never.*AWS_REQUEST_CHECKSUM_CALCULATION"),
        (KEYS | {"AWS_CA_BUNDLE": "/no/such.pem"}, "AWS_CA_BUNDLE names /no/such.pem"),
        (KEYS | {"HTTPS_PROXY": NOWHERE}, "nobody listens there .*through the proxy of HTTPS_PROXY"),
        (KEYS | {"HTTPS_PROXY": "socks5://127.0.0.1:9"}, r"HTTPS_PROXY names a SOCKS proxy.* \[SETTINGS\]$"),
    ],
)
def test_each_fault_of_the_configuration_is_one_sentence_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    for name, value in environment.items():
        if value in CONFIGS:
            (tmp_path / value).write_text(CONFIGS[value])
        monkeypatch.setenv(name, str(tmp_path / value) if value in CONFIGS else value)
    # DOTALL: settings are listed on lines of their own.
    with pytest.raises((StoreError, SettingsError), match=f"(?s){words}") as failed:
        Bucket(s3_client(), "orders-bucket").check()
    assert failed.value.__suppress_context__ or failed.value.__context__ is None
    assert failed.value.hint


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            EndpointConnectionError(endpoint_url="https://s3.test/x", error=socket.gaierror(socket.EAI_NONAME, "?")),
            r"at s3\.test: its name is not known.*AWS_ENDPOINT_URL_S3.* \[STORE-UNREACHABLE\]$",
        ),
        (
            SSLError(endpoint_url="https://s3.test/x", error=ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]")),
            r"at s3\.test: ",
        ),
        (
            ProxyConnectionError(proxy_url="?", error=OSError("Tunnel connection failed: 407 Login Required")),
            "the proxy asks for a login.*HTTPS_PROXY",
        ),
        (RecursionError(), r"another region.*AWS_DEFAULT_REGION.* \[STORE-ENDPOINT\]$"),
        (KeyError("ETag"), r"none of S3's .*AWS_ENDPOINT_URL_S3.* \[STORE-ENDPOINT\]$"),
    ],
)
def test_what_the_network_and_odd_replies_raise_is_one_sentence(error: Exception, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        raise sdk_problem(error, "S3 could not be reached")


def test_a_machine_without_free_descriptors_is_not_taken_for_a_network_fault() -> None:
    error = EndpointConnectionError(endpoint_url="https://s3.test/", error=OSError(24, "Too many open files"))
    assert isinstance(sdk_problem(error, "S3 could not be reached"), MachineError)


def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    error: Any = EndpointConnectionError(endpoint_url="https://s3.test/", error=ValueError("Invalid header value b'S'"))
    problem: ToastAssetsError = sdk_problem(error, "S3 could not be reached")
    assert "b'S'" not in str(problem)
    assert "credentials" in problem.hint


def test_calls_are_tried_five_times_and_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_MAX_ATTEMPTS")
    config: Any = s3_client().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert (config.connect_timeout, config.read_timeout) == (10, 60)
    config = s3_client(attempts=2, region_name="eu-west-1").meta.config
    assert (config.retries["total_max_attempts"], config.region_name) == (2, "eu-west-1")


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_an_empty_profile_is_none_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    config = "[profile other]\naws_access_key_id = AKIAOTHER\naws_secret_access_key = x\nregion = eu-west-1\n"
    (tmp_path / "config").write_text(config + config.replace("other", "own").replace("OTHER", "OWN"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv(variable, "other")
    assert access_key(s3_client()) == "AKIAOTHER"
    assert access_key(s3_client(profile="own")) == "AKIAOWN"
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    assert access_key(s3_client(profile="")) == "AKIAEXAMPLE"
    monkeypatch.setenv(variable, "no-such-profile")
    assert access_key(s3_client(profile="")) == "AKIAEXAMPLE"


def access_key(client: S3Client) -> str:
    """Of the credentials with which a client signs its requests."""
    return str(client._request_signer._credentials.access_key)  # type: ignore[attr-defined]
