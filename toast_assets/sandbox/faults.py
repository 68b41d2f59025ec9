"""Misbehaviour on order: what to break, for which calls, how often. Deterministic: counted in calls, never in time.

A fault matches calls by service path, target and page; the calls it matches are counted from the moment it is armed,
and it fires on the ``first``-th to ``last``-th of them (``last=None``: for ever), on every ``every``-th.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Any, Literal

from toast_assets.sandbox.calls import Call

PATHS = ("login", "orders", "order_guids", "restaurants", "stream", "token", "notice", "control")


Phase = Literal["before", "data", "after"]
"""When in a call a fault acts: before or instead of any check of the service, inside ``ordersBulk`` on a request that
passed every check, or on a reply of success."""


class Kind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """An error ``status``, with ``retry_after`` seconds, the reset header of now, or bare; ``html``: a gateway's."""
    REVOKE = "revoke"
    """Every token issued so far is worthless from this call on: it ends in a 401."""
    RESET = "reset"
    """The connection is reset before the request is looked at."""
    NEVER = "never"
    """No answer until the client goes away."""
    HTML = "html"
    """A gateway answers 200 with a page of HTML; the service never sees the request."""
    EMPTY_BODY = "empty_body"
    """A gateway answers 200 with nothing; the service never sees the request."""
    OBJECT = "object"
    """A gateway answers 200 with a JSON object that is none of the service's; the service never sees the request."""
    SLOW = "slow"
    """The answer takes ``seconds`` longer."""
    HOOK = "hook"
    """``action`` is called before the service answers: edits of the data while a pull runs."""
    EMPTY_PAGE = "empty_page"
    """``[]`` without a next link, although there are orders."""
    SHORT_PAGE = "short_page"
    """``keep`` orders (default: half a page) and a next link; the following pages continue where it stopped."""
    REPEATED_PAGE = "repeated_page"
    """The previous page of the same restaurant once more."""
    STRAY_ORDER = "stray_order"
    """The page's first order was edited just now: its modified time is the window's end, outside of the window."""
    RESET_AFTER = "reset_after"
    """The connection is reset after the service did what was asked (Amperity: after the record was accepted)."""
    CUT_TRANSFER = "cut_transfer"
    """Half of the body arrives, then the connection ends: Content-Length promised more."""
    CUT_JSON = "cut_json"
    """Half of the body, with a Content-Length that fits."""
    HOOK_AFTER = "hook_after"
    """``action`` is called after the service answered, before the reply leaves."""


_PHASES: dict[Kind, Phase] = {
    **dict.fromkeys((Kind.EMPTY_PAGE, Kind.SHORT_PAGE, Kind.REPEATED_PAGE, Kind.STRAY_ORDER), "data"),
    **dict.fromkeys((Kind.RESET_AFTER, Kind.CUT_TRANSFER, Kind.CUT_JSON, Kind.HOOK_AFTER), "after"),
}


@dataclass
class Fault:
    """One armed fault. ``matched`` and ``fired`` count its calls.

    Args:
        kind: what goes wrong.
        path: which calls: login, orders, order_guids, restaurants, stream, token, notice, control.
        target: only for this restaurant GUID (Toast) or stream id (Amperity).
        page: only for this page of ``ordersBulk``.
        containing: only for requests whose body contains these bytes: one record, for instance.
        first, last, every: on which of the matching calls; ``last=None`` is for ever.
        status, retry_after, reset_header, html: the answer of ``Kind.STATUS``.
        seconds: of ``Kind.SLOW``.
        keep: orders on a ``Kind.SHORT_PAGE``.
        action: what ``Kind.HOOK`` calls, with the call, in the server's thread.
    """

    kind: Kind
    path: str
    target: str | None = None
    page: int | None = None
    containing: bytes | None = None
    first: int = 1
    last: int | None = 1
    every: int = 1
    status: int = 503
    retry_after: int | None = None
    reset_header: bool = False
    html: bool = False
    seconds: float = 0.0
    keep: int | None = None
    action: Callable[[Call], object] | None = None
    matched: int = field(default=0, init=False)
    fired: int = field(default=0, init=False)

    @property
    def phase(self) -> Phase:
        """When in a call this fault acts."""
        return _PHASES.get(self.kind, "before")

    def concerns(self, call: Call) -> bool:
        """Whether ``call`` is one of those that are counted."""
        return (
            self.path == call.path
            and (self.target is None or self.target == call.target)
            and (self.page is None or str(self.page) == call.request.query_params.get("page", "1"))
            and (self.containing is None or self.containing in call.body)
        )

    def count(self) -> bool:
        """Counts a matching call; whether the fault fires on it."""
        self.matched += 1
        if self.matched < self.first or (self.last is not None and self.matched > self.last):
            return False
        if (self.matched - self.first) % self.every:
            return False
        self.fired += 1
        return True

    def described(self) -> dict[str, Any]:
        """What it is and how often it fired, for the status page and its JSON."""
        when = f"{self.first}–{'∞' if self.last is None else self.last}"
        return {
            "kind": self.kind.value,
            "path": self.path,
            "target": self.target,
            "calls": when if self.every == 1 else f"{when}, every {self.every}.",
            "status": self.status if self.kind is Kind.STATUS else None,
            "matched": self.matched,
            "fired": self.fired,
        }


class Faults:
    """The armed faults of one sandbox. May be used from any thread."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = Lock()

    def arm(self, kind: Kind | str, path: str, **settings: Any) -> Fault:
        """Arms ``Fault(kind, path, **settings)`` and returns it: its ``fired`` counts on.

        Raises:
            ValueError: there is no such kind or path.
            TypeError: there is no such setting.
        """
        if path not in PATHS:
            raise ValueError(f"There is no path kind {path!r}; there are {', '.join(PATHS)}.")
        fault = Fault(Kind(kind), path, **settings)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Disarms everything."""
        with self._lock:
            self._faults.clear()

    def take(self, call: Call, phase: Phase) -> list[Fault]:
        """Counts ``call`` with every fault of this phase that it concerns; those that fire, first armed first."""
        with self._lock:
            return [fault for fault in self._faults if fault.phase is phase and fault.concerns(call) and fault.count()]

    def described(self) -> list[dict[str, Any]]:
        """All armed faults, spent ones included."""
        with self._lock:
            return [fault.described() for fault in self._faults]
