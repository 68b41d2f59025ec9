"""aiohttp, which makes its TLS contexts when it is imported: what the environment spoils is a sentence here, too."""

from __future__ import annotations

from toast_assets.errors import SettingsError

try:
    import aiohttp
    from httpx_aiohttp import AiohttpTransport
except OSError as error:
    # The standard library opens the file for TLS keys with every context.
    raise SettingsError([f"SSLKEYLOGFILE names a file that cannot be written ({error.strerror or error})"]) from None

__all__ = ["AiohttpTransport", "aiohttp"]
