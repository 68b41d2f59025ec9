"""When commands on this machine last logged in: Toast asks for at most two logins an hour (Toast: Authentication)."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import gettempdir

from toast_assets.toast.settings import ToastSettings


def note_login(settings: ToastSettings) -> None:
    """Note that a client logs in now, for ``last_login``."""
    # Where it cannot be noted, only a reminder is missing.
    with suppress(OSError):
        _marker(settings).touch()


def last_login(settings: ToastSettings) -> datetime | None:
    """When a login of the same client was last noted (UTC); None where there is no note."""
    with suppress(OSError):
        return datetime.fromtimestamp(_marker(settings).stat().st_mtime, UTC)
    return None


def _marker(settings: ToastSettings) -> Path:
    """An empty file in the temporary directory: its time is the login's, its name a digest of URL and client id."""
    client = sha256(f"{settings.api_url}\n{settings.client_id}".encode()).hexdigest()
    return Path(gettempdir()) / f"toast-assets.login-{client[:32]}"
