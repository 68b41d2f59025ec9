"""All environment variables of the product, and those that look like one but are unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from toast_assets.amperity.settings import AmperitySettings, FeedSettings
from toast_assets.settings import AlertSettings, CalendarSettings, NetworkSettings, RetentionSettings, Settings
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings

# How the names of our variables begin.
PREFIXES = ("TOAST_", "AMPERITY_", "S3_", "RETENTION_", "ALERT_")
# Not settings: what deploy/ reads, files with secrets (deploy/with-secrets), and what Kubernetes says of a service.
_OTHERS = re.compile(r"^TOAST_ASSETS_|_FILE$|_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP)|$)")

KINDS: tuple[type[Settings], ...] = (
    *(NetworkSettings, CalendarSettings, ToastSettings, StoreSettings),
    *(AmperitySettings, FeedSettings, RetentionSettings, AlertSettings),
)


def misspelt_variables(names: Iterable[str]) -> list[str]:
    """A line for each variable that looks like one of ours but is unknown, with the nearest known one."""
    known = sorted(known_variables())
    lines = []
    for name in sorted(set(names) - set(known)):
        capitals = name.upper()
        if not capitals.startswith(PREFIXES) or _OTHERS.search(capitals):
            continue
        near = get_close_matches(capitals, known, n=1, cutoff=0.7)
        lines.append(f"{name} is no variable of this pipeline" + (f"; the nearest is {near[0]}" if near else ""))
    return lines


def known_variables() -> frozenset[str]:
    """Every variable that a setting has."""
    return frozenset(name for kind in KINDS for name in kind.variables())
