"""The machine in words: what the figures depend on, and nothing that names it."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

_PACKAGES = ("dagster", "dlt", "httpx", "aiohttp", "msgspec", "pyarrow", "isal")


def describe() -> str:
    """Cores, memory, processor, Python, libraries, day and load, as one Markdown paragraph."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    memory = psutil.virtual_memory().total / (1 << 30)
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores ({model}), {memory:.0f} GB of memory,"
        f" {platform.system()}, Python {platform.python_version()}, {packages}."
    )


def load() -> float:
    """The processes that wanted a core, averaged over the last minute."""
    return os.getloadavg()[0]
