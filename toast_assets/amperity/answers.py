"""What Amperity's answers mean: for the one record, for the whole delivery, for another attempt (Streaming API)."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
import msgspec

from toast_assets.errors import AmperityError, AmperityRefusedError, AmperityTransientError
from toast_assets.http.bodies import UnreadableBodyError, decode
from toast_assets.http.own_secrets import without_secrets
from toast_assets.http.retry import retry_after_seconds

ACCEPTED = 202
"""A stream's success: accepted, not yet loaded. Everything else is none, 200 included."""
NOTICED = 200
"""Success of a notice, by the guide; 202 is none."""
# These concern the one record; what is neither this nor worth repeating concerns them all.
RECORD_REFUSED = frozenset({400, 413, 422})
_TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})

_HINTS = {
    401: "Check AMPERITY_API_KEY, it may have expired; with AMPERITY_CLIENT_ID and AMPERITY_CLIENT_SECRET it is"
    " renewed by itself.",
    403: "Check AMPERITY_TENANT_ID, and that the key has Streaming Ingest Write Access.",
    404: "Check AMPERITY_API_URL and AMPERITY_STREAM_ID.",
    405: "Check AMPERITY_API_URL.",
    411: "A proxy seems to remove Content-Length; check AMPERITY_API_URL.",
}
_OTHER_HINT = "Check AMPERITY_API_URL: this is not how Amperity answers."
_LONGEST_EXPLANATION = 200


class _Explanation(msgspec.Struct):
    message: str


def hint_for(status: int) -> str:
    """Which setting to look at after an answer that no repetition mends."""
    return _HINTS.get(status, _OTHER_HINT)


def raise_unless_decided(response: httpx.Response, success: int, where: str, tenant: str, told: float | None) -> None:
    """Pass ``success`` and what concerns the one record; ``told`` is the ``Retry-After`` in seconds, if any.

    Raises:
        AmperityTransientError: another attempt may succeed.
        AmperityRefusedError: no record would pass; a setting is wrong.
    """
    status = response.status_code
    if status == success or status in RECORD_REFUSED:
        return
    raise_if_transient(response, where, told)
    what = f"Amperity answered {status} to {where}"
    if success == ACCEPTED and response.is_success:
        # A gateway's page in place of an answer to a record: sending it again does no harm, its request id is the
        # same. A notice has no such safety.
        raise AmperityTransientError(f"{what}.", hint=_OTHER_HINT)
    raise AmperityRefusedError(f"{what} for tenant {tenant}.", hint=hint_for(status))


def raise_if_transient(response: httpx.Response, where: str, told: float | None) -> None:
    """Raise ``AmperityTransientError`` where another attempt may succeed."""
    status = response.status_code
    if status in _TRANSIENT or status > 500:
        raise AmperityTransientError(
            f"Amperity answered {status} to {where}.",
            throttled=status == 429,
            retry_after=told,
            hint="Amperity may be down: materialize amperity_delivery again later.",
        )


def told_to_wait(response: httpx.Response, now: float, longest: float, where: str) -> float | None:
    """The seconds of ``Retry-After``, or None; ``now`` in Unix seconds.

    Raises:
        AmperityError: they are more than ``longest``; no run should sit that out.
    """
    told = retry_after_seconds(response.headers.get("Retry-After"), now)
    if told is not None and told > longest and response.status_code in _TRANSIENT:
        raise AmperityError(
            f"Amperity answered {response.status_code} to {where} and asks to wait {told:.0f} s.",
            hint="Materialize amperity_delivery again after that; what was not answered is sent then.",
        )
    return told


def explanation(response: httpx.Response, secrets: Iterable[str]) -> str:
    """What Amperity says about a refused record, for the rejects only: it may quote the record, but no ``secrets``."""
    try:
        text = decode(response.content, _Explanation).message
    except UnreadableBodyError:
        return ""
    return without_secrets(" ".join(text.split()), secrets)[:_LONGEST_EXPLANATION]
