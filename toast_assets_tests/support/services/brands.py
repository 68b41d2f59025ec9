"""Projects with several brands, loaded as Dagster loads them."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest

PROJECT = """\
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{module}"
"""


def load_brands(folder: Path, patch: pytest.MonkeyPatch, brands: Mapping[str, str]) -> dg.Definitions:
    """The definitions of a project with a component for each brand; ``brands`` are the attributes in YAML by folder."""
    module = f"brands_{uuid.uuid4().hex}"
    definitions = folder / module / "defs"
    definitions.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(module=module), encoding="utf-8")
    for package in (folder / module, definitions):
        (package / "__init__.py").touch()
    for name, attributes in brands.items():
        (definitions / name).mkdir()
        text = f"type: toast_assets.ToastToAmperity\nattributes:\n{textwrap.indent(attributes.strip(), '  ')}\n"
        (definitions / name / "defs.yaml").write_text(text if attributes else text.splitlines()[0], encoding="utf-8")
    patch.syspath_prepend(str(folder))
    return dg.load_from_defs_folder(path_within_project=folder)
