"""The fixtures of ``defs/`` that run the real definitions."""

from toast_assets_tests.defs.conftest import bare_environment, instance, run_week, sandbox_environment

__all__ = ["bare_environment", "instance", "run_week", "sandbox_environment"]
