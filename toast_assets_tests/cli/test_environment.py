"""Commands on the sandbox see the sandbox's variables and nothing of the caller's that concerns the pipeline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toast_assets.cli.environment import only, sandbox_config, sandbox_environment
from toast_assets.sandbox import Sandbox
from toast_assets.variables import known_variables
from toast_assets_tests.cli.conftest import MISLEADING


def test_nothing_of_the_callers_reaches_the_pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in MISLEADING.items():
        monkeypatch.setenv(name, value)
    with Sandbox(sandbox_config()) as sandbox:
        environment = sandbox_environment(sandbox, tmp_path)
        wanted = sandbox.environment()
    assert environment.items() >= wanted.items()
    assert not set(MISLEADING.values()) & set(environment.values())
    assert environment["DAGSTER_HOME"] == str(tmp_path)
    assert environment["AWS_CONFIG_FILE"] == os.devnull
    assert environment["PATH"] == os.environ["PATH"]


OURS = sorted(known_variables())
REAL = (
    *OURS,
    *(name.lower() for name in OURS),
    # One deployment can serve several brands.
    *(f"BRAND_A_{name}" for name in OURS),
    *(f"brand_a_{name}_file".lower() for name in OURS),
    *("TOAST_CLIENT_SECRET_FILE", "AMPERITY_UNHEARD_OF", "S3_OTHER", "RETENTION_OTHER", "ALERT_OTHER"),
    *("AWS_PROFILE", "AWS_CA_BUNDLE", "aws_role_arn", "AWS_ENDPOINT_URL", "DAGSTER_HOME", "DAGSTER_GRPC_MAX_RX_BYTES"),
    *("HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "FTP_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
ORDINARY = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "TZ",
    "TERM",
    "USER",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "PYTHONWARNINGS",
)


def test_no_variable_of_a_production_environment_reaches_the_pipeline(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in REAL:
        monkeypatch.setenv(name, f"real {name}")
    for name in ORDINARY:
        monkeypatch.setenv(name, f"ordinary {name}")
    environment = sandbox_environment(sandbox, tmp_path)
    assert {name for name, value in environment.items() if value.startswith("real ")} == set()
    assert {name for name, value in environment.items() if value.startswith("ordinary ")} == set(ORDINARY)


def test_the_callers_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOAST_CLIENT_ID", "real")
    before = dict(os.environ)
    with only({"TOAST_CLIENT_SECRET": "other"}):
        assert dict(os.environ) == {"TOAST_CLIENT_SECRET": "other"}
    assert dict(os.environ) == before


def test_options_make_a_brand_of_any_size() -> None:
    config = sandbox_config(9300, seed=7, restaurants=3, orders=5, latency=0.1)
    assert [each.orders_per_week for each in config.restaurants] == [5, 5, 5]
    assert (config.port, config.seed, config.latency_seconds, config.rate_limits) == (9300, 7, 0.1, True)


def test_by_default_three_restaurants_trade_on_free_ports() -> None:
    config = sandbox_config()
    assert sum(not each.state for each in config.restaurants) == 3
    assert config.port == 0
