"""What the tests of the probe share."""

from __future__ import annotations

import pytest

from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.probe.probing import FixedTime, Probing


@pytest.fixture
def probing(start_sandbox: StartSandbox) -> Probing:
    """Starts sandboxes and probes them."""
    return Probing(start_sandbox, FixedTime())
