"""Misbehaviour on order: what to break, for which calls, how often. Deterministic: counted in calls, never in time.

A fault matches calls by service path, target and page; the calls it matches are counted from the moment it is armed,
and it fires on the ``first``-th to ``last``-th of them (``last=None``: for ever), on every ``every``-th.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

if TYPE_CHECKING:
    from toast_assets.sandbox.service import Call

PATHS = (
    *("login", "orders", "order list", "order", "payment list", "payment", "restaurants", "configuration"),
    *("stream", "token", "notice", "control"),
)

# When in a call a fault acts: before or instead of any check of the service, inside ``ordersBulk`` on a request that
# passed every check, or on a reply of success.
Phase = Literal["before", "data", "after"]


class Kind(StrEnum):
    """What goes wrong."""

    # Instead of an answer, or before it.
    STATUS = "status"  # An error ``status``: bare, with ``retry_after`` or the reset header, or a gateway's ``html``.
    REVOKE = "revoke"  # Every token issued so far is worthless from this call on: it ends in a 401.
    RESET = "reset"  # The connection is reset before the request is looked at.
    NEVER = "never"  # No answer until the client goes away.
    HTML = "html"  # A gateway answers 200 with a page of HTML; the service never sees the request.
    EMPTY_BODY = "empty_body"  # The same with nothing.
    OBJECT = "object"  # The same with a JSON object of the gateway's own.
    SLOW = "slow"  # The answer takes ``seconds`` longer.
    HOOK = "hook"  # ``action`` is called before the service answers: edits of the data while a pull runs.
    # Pages of ordersBulk.
    EMPTY_PAGE = "empty_page"  # ``[]`` without a next link, although there are orders.
    SHORT_PAGE = "short_page"  # ``keep`` orders (default: half a page) and a next link; the next page continues there.
    REPEATED_PAGE = "repeated_page"  # The previous page of the same restaurant once more.
    STRAY_ORDER = "stray_order"  # The page's first order was modified at the window's end: outside of the window.
    # What happens to a reply of success.
    RESET_AFTER = "reset_after"  # The connection is reset after the service did what was asked.
    CUT_TRANSFER = "cut_transfer"  # Half of the body arrives, then the connection ends: Content-Length promised more.
    CUT_JSON = "cut_json"  # Half of the body, with a Content-Length that fits.
    HOOK_AFTER = "hook_after"  # ``action`` is called after the service answered, before the reply leaves.


_PHASES: dict[Kind, Phase] = {
    **dict.fromkeys((Kind.EMPTY_PAGE, Kind.SHORT_PAGE, Kind.REPEATED_PAGE, Kind.STRAY_ORDER), "data"),
    **dict.fromkeys((Kind.RESET_AFTER, Kind.CUT_TRANSFER, Kind.CUT_JSON, Kind.HOOK_AFTER), "after"),
}


class FaultSettings(msgspec.Struct, forbid_unknown_fields=True):
    """What of a fault can be given as JSON."""

    kind: Kind
    path: str  # Which calls: one of ``PATHS``.
    target: str | None = None  # Only for this restaurant GUID (Toast) or stream id (Amperity).
    page: int | None = None  # Only for this page of ``ordersBulk``.
    first: Annotated[int, msgspec.Meta(ge=1)] = 1
    last: int | None = 1
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    retry_after: int | None = None
    reset_header: bool = False
    html: bool = False
    seconds: float = 0.0
    keep: int | None = None


class Fault(FaultSettings):
    """One armed fault. ``matched`` and ``fired`` count its calls."""

    containing: bytes | None = None  # Only for requests whose body contains these bytes: one record, for instance.
    action: Callable[[Call], object] | None = None  # Called in the server's thread.
    matched: int = 0
    fired: int = 0

    def fires(self, call: Call, phase: Phase) -> bool:
        """Counts ``call`` if this fault concerns it; whether the fault fires on it."""
        if (
            self.path != call.path
            or _PHASES.get(self.kind, "before") != phase
            or self.target not in (None, call.target)
            or (self.page is not None and str(self.page) != call.request.query_params.get("page", "1"))
            or (self.containing is not None and self.containing not in call.body)
        ):
            return False
        self.matched += 1
        end = sys.maxsize if self.last is None else self.last + 1
        fired = self.matched in range(self.first, end, self.every)
        self.fired += fired
        return fired

    def described(self) -> dict[str, Any]:
        """Its settings and how often it fired, for the status page and its JSON."""
        return {name: getattr(self, name) for name in (*FaultSettings.__struct_fields__, "matched", "fired")}


class Faults:
    """The faults ``armed`` at one sandbox, by any thread; they count in the server's."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []

    def arm(self, kind: Kind | str, path: str, **settings: Any) -> Fault:
        """Arms ``Fault(kind, path, **settings)`` and returns it: its ``fired`` counts on.

        Raises:
            ValueError: there is no such kind or path.
            TypeError: there is no such setting.
        """
        if path not in PATHS:
            raise ValueError(f"There is no path kind {path!r}; there are {', '.join(PATHS)}.")
        fault = Fault(Kind(kind), path, **settings)
        self.armed.append(fault)
        return fault

    def clear(self) -> None:
        self.armed.clear()

    def take(self, call: Call, phase: Phase) -> list[Fault]:
        """Counts ``call`` with every fault of this phase that it concerns; those that fire, first armed first."""
        return [fault for fault in list(self.armed) if fault.fires(call, phase)]
