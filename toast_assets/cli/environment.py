"""The sandbox of the commands, and their environment, which leads the pipeline to no real Toast, Amperity or bucket."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from unittest.mock import patch

from toast_assets.sandbox import Assumption, Sandbox, SandboxConfig, invent_restaurants
from toast_assets.variables import PREFIXES, known_variables

# The same in every command, so that addresses in Dagster's history stay true.
_BUCKET = "toast-orders-sandbox"
_FOREIGN = re.compile(
    # The SDKs' and Dagster's own, and a variable of ours also behind the name of a brand, or with a secret's file.
    rf"^({'|'.join(PREFIXES)}|AWS_|DAGSTER_)|({'|'.join(known_variables())})(_FILE)?$"
    # Ways through a network to real services. A sandbox is on loopback, which needs no certificate.
    r"|_PROXY$|^(SSL_CERT_|SSLKEYLOGFILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE)",
    re.IGNORECASE,
)


def sandbox_config(
    port: int = 0,
    *,
    seed: int = 1,
    restaurants: int | None = None,
    orders: int | None = None,
    latency: float = 0.0,
    without: Assumption | None = None,
) -> SandboxConfig:
    """A sandbox; ``orders`` are per week and restaurant, ``latency`` is in seconds, ``without`` does not hold."""
    chosen = SandboxConfig().restaurants if restaurants is None else invent_restaurants(restaurants, seed=seed)
    if orders is not None:
        chosen = tuple(replace(each, orders_per_week=orders) for each in chosen)
    return SandboxConfig(
        seed=seed, restaurants=chosen, latency_seconds=latency, port=port, bucket=_BUCKET, without=without
    )


def dagster_home(folder: Path | None = None) -> Path:
    """Where Dagster's history is, in the commands' own folder or another, with this package's ``dagster.yaml``."""
    home = (folder or Path(".toast-assets").resolve()) / "dagster_home"
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_bytes(files("toast_assets.cli").joinpath("dagster.yaml").read_bytes())
    return home


def sandbox_environment(sandbox: Sandbox, dagster_home: Path) -> dict[str, str]:
    """The caller's environment without anything that concerns the pipeline, plus the sandbox's own variables."""
    return {
        **{name: value for name, value in os.environ.items() if not _FOREIGN.search(name)},
        **sandbox.environment(),
        "DAGSTER_HOME": str(dagster_home),
        # The AWS SDK also reads files in the caller's home, which can name another endpoint.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def only(environment: Mapping[str, str]) -> AbstractContextManager[object]:
    """Makes ``environment`` this process's environment for as long as the block lasts."""
    return patch.dict(os.environ, environment, clear=True)
