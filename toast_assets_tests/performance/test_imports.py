"""What a run imports, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What a run never needs, and what takes a while to load: the sandbox and its servers, the pictures, test tools.
NEEDLESS = ("toast_assets.sandbox", "moto", "flask", "starlette", "uvicorn", "matplotlib", "dagster_webserver", "dlt")


def test_loading_the_definitions_imports_nothing_that_a_run_does_not_need() -> None:
    code = f"import sys, toast_assets.definitions; print([name for name in {NEEDLESS} if name in sys.modules])"

    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert reply.stdout.strip() == "[]"


# An environment in which nobody looks for a variable of the pipeline.
SEALED = """
import importlib, os, pkgutil
from toast_assets.variables import PREFIXES, known_variables

class Sealed(dict):
    def seen(self, name):
        if isinstance(name, str) and (name.startswith(PREFIXES) or name in known_variables()):
            raise AssertionError(f"{name} was read at an import")
        return name
    def __getitem__(self, name): return super().__getitem__(self.seen(name))
    def __contains__(self, name): return super().__contains__(self.seen(name))
    def get(self, name, default=None): return super().get(self.seen(name), default)

import toast_assets
names = [one.name for one in pkgutil.walk_packages(toast_assets.__path__, "toast_assets.")]
os.environ = Sealed(os.environ)
for name in names:
    if name != "toast_assets.definitions" and not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
{then}
"""


@pytest.mark.parametrize(("then", "status"), [("", 0), ("import toast_assets.definitions", 1)])
def test_only_the_definitions_read_the_environment_when_they_are_imported(then: str, status: int) -> None:
    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", SEALED.replace("{then}", then)], check=False, capture_output=True, text=True
    )

    assert int(reply.stdout) > 100, reply.stderr
    assert reply.returncode == status, reply.stderr
    assert ("was read at an import" in reply.stderr) is bool(status)


def test_the_bucket_s_keys_are_known_without_loading_the_package() -> None:
    code = "import sys, toast_assets.store.layout; print([name for name in sys.modules if 'toast_assets' in name])"

    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert len(reply.stdout.split(",")) <= 4, reply.stdout
