"""AWS credentials in texts and variables: taken out of the one, looked at in the other."""

from __future__ import annotations

import os
import re

from toast_assets.http.own_secrets import without_secrets

VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LONGEST_TEXT = 400
_KEY_ID = re.compile(r"\b(A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{4,}")
# A session token: no name, ARN or sentence is so long without a separator.
_TOKEN = re.compile(r"[A-Za-z0-9+/=]{100,}")
# What a line feed, a blank or quotes that were copied along are not.
_SENDABLE = re.compile(r"[!#-&(-~]+")


def without_credentials(text: str) -> str:
    """Another system's text on one line, of some 400 characters at most, without the credentials in the environment,
    access key ids and what looks like a session token."""
    text = without_secrets(text, map(os.environ.get, VARIABLES))
    text = _TOKEN.sub("…", _KEY_ID.sub(r"\1…", " ".join(text.split())))
    text = "".join(character for character in text if character.isprintable())
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"


def malformed() -> list[str]:
    """The variables with credentials that no request can carry."""
    values = {name: os.environ.get(name, "") for name in VARIABLES}
    return [name for name, value in values.items() if value and not _SENDABLE.fullmatch(value)]
