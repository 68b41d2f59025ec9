"""What a JWT says of itself. The signature is its issuer's to check; nothing but a report is made of it."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JWT; none for what is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        body = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(body, type=dict[str, Any])
    except (binascii.Error, ValueError):
        return {}
