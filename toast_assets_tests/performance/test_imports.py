"""What a run imports, and what it does not."""

from __future__ import annotations

import subprocess
import sys

# What a run never needs, and what takes a while to load: the sandbox and its servers, the pictures, test tools.
NEEDLESS = ("toast_assets.sandbox", "moto", "flask", "starlette", "uvicorn", "matplotlib", "dagster_webserver", "dlt")


def test_loading_the_definitions_imports_nothing_that_a_run_does_not_need() -> None:
    code = f"import sys, toast_assets.definitions; print([name for name in {NEEDLESS} if name in sys.modules])"

    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert reply.stdout.strip() == "[]"


def test_garbage_is_collected_again_once_the_definitions_are_loaded() -> None:
    code = "import gc, toast_assets.definitions; print(gc.isenabled(), gc.get_freeze_count() > 100_000)"

    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert reply.stdout.strip() == "True True"


def test_the_bucket_s_keys_are_known_without_loading_the_package() -> None:
    code = "import sys, toast_assets.store.layout; print([name for name in sys.modules if 'toast_assets' in name])"

    reply = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert len(reply.stdout.split(",")) <= 4, reply.stdout
