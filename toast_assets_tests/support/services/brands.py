"""Projects with several brands, loaded as Dagster loads them, on a sandbox for each brand."""

from __future__ import annotations

import re
import textwrap
import uuid
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

from toast_assets.sandbox import Sandbox
from toast_assets_tests.support.services.clients import UNLIMITED, s3_client

PROJECT = """\
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{module}"
"""
DEFINITIONS = """\
from pathlib import Path

import dagster as dg

defs = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""


def write_brands(folder: Path, brands: Mapping[str, str]) -> str:
    """Write a project with a component for each brand, and give the name of its module; ``brands`` are the attributes
    in YAML by folder."""
    module = f"brands_{uuid.uuid4().hex}"
    definitions = folder / module / "defs"
    definitions.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(module=module), encoding="utf-8")
    (folder / module / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")
    for package in (folder / module, definitions):
        (package / "__init__.py").touch()
    for name, attributes in brands.items():
        (definitions / name).mkdir()
        text = f"type: toast_assets.ToastToAmperity\nattributes:\n{textwrap.indent(attributes.strip(), '  ')}\n"
        (definitions / name / "defs.yaml").write_text(text if attributes else text.splitlines()[0], encoding="utf-8")
    return module


def load_brands(folder: Path, patch: pytest.MonkeyPatch, brands: Mapping[str, str]) -> dg.Definitions:
    """The definitions of such a project."""
    write_brands(folder, brands)
    patch.syspath_prepend(str(folder))
    return dg.load_from_defs_folder(path_within_project=folder)


def variables_of(sandboxes: Mapping[str, Sandbox]) -> dict[str, str]:
    """The variables of brands with these prefixes, each with a sandbox and a bucket of its own. They share the address
    of S3; any sandbox of a process serves the buckets of all."""
    variables: dict[str, str] = {}
    for prefix, sandbox in sandboxes.items():
        own = sandbox.environment() | {"TOAST_CENSUS": "off", "TOAST_REQUESTS_PER_SECOND": UNLIMITED}
        variables |= {name if name.startswith("AWS_") else f"{prefix}{name}": value for name, value in own.items()}
    return variables


def own_orders_alone_arrived(brand: str, sandbox: Sandbox) -> None:
    """Assert that a brand's orders, each once, and nothing else is at its Amperity and in its bucket."""
    (guid,) = sandbox.restaurant_guids
    sent = [str(record.guid) for record in sandbox.amperity.accepted]
    assert sent
    assert len(sent) == len(set(sent))
    assert set(sent) <= {order.guid for order in sandbox.toast.orders[guid].newest.values()}
    assert {name for key, _ in sandbox.objects() for name in re.findall("restaurant=([0-9a-f-]+)", key)} == {guid}
    note = s3_client(sandbox).get_object(Bucket=sandbox.bucket, Key="toast-orders/brand.json")["Body"].read()
    assert f'"{brand}"'.encode() in note
