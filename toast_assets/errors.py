"""Every error this package raises on purpose, in one family. No message holds a secret or a guest's data."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OWN = re.compile(r" for restaurant [\w-]+| \([^()]*request id [^()]*\)")


class ToastAssetsError(Exception):
    """What failed and where (``message``), and the way out (``hint``)."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        separator = "" if message.endswith("\n") else " "
        super().__init__(f"{message}{separator}{hint}".strip())


class SettingsError(ToastAssetsError):
    """Settings that are missing or malformed: all of them at once, each with the variable's name."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        count = f"{len(self.problems)} setting{'s' if len(self.problems) > 1 else ''}"
        super().__init__(
            f"{count} missing or malformed:{lines}\n",
            hint="Set the variables in the environment of the run (README, Production set-up).",
        )


class WeekError(ToastAssetsError):
    """A partition key that names no week, or a week that has not closed yet."""


class NoGuestError(ToastAssetsError):
    """What was given names no guest. The message does not repeat it."""


class CalendarError(ToastAssetsError):
    """The settings of the calendar would move the boundaries of weeks that are stored."""


class StoreError(ToastAssetsError):
    """The bucket is missing, refuses access, or holds an object that cannot be read."""


class DamagedObjectError(StoreError):
    """An object does not hold what was stored, or is none of this package's; it concerns one restaurant or week."""


class StoreConflictError(StoreError):
    """Somebody else wrote the object between reading and writing it; read again and merge again."""


class MachineError(ToastAssetsError):
    """The machine of the run has no room for temporary files, open files, memory or threads left."""


class TransientError(ToastAssetsError):
    """One failed attempt that is worth repeating.

    ``throttled`` is true for a 429; ``retry_after`` is what the server asked for, in seconds, or None. ``attempts``
    bounds how often the call is made in all, where that is less than the usual number.
    """

    def __init__(
        self,
        message: str,
        *,
        throttled: bool = False,
        retry_after: float | None = None,
        attempts: int | None = None,
        hint: str = "",
    ) -> None:
        self.throttled = throttled
        self.retry_after = retry_after
        self.attempts = attempts
        super().__init__(message, hint=hint)


class ToastError(ToastAssetsError):
    """Anything that went wrong between this package and Toast."""

    @property
    def reason(self) -> str:
        """Its text without what differs from restaurant to restaurant and from run to run."""
        return _OWN.sub("", str(self))


class ToastLoginError(ToastError):
    """Toast refused the credentials, or the login service stayed down."""


class ToastRefusedError(ToastError):
    """Toast refused a request for good (400, 401 after a new login, 403, 404, 422)."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        self.status = status
        super().__init__(message, hint=hint)


class ToastUnreachableError(ToastError):
    """Toast cannot be reached, by a cause that does not pass by itself: a certificate, an address, a proxy's login."""


class ToastTransientError(TransientError, ToastError):
    """One failed attempt that is worth repeating: a 429, a 5xx, a time-out, a broken connection."""


class ToastReplyError(ToastTransientError):
    """A reply with status 200 that proves nothing: not JSON, not an array, an order outside its window."""


class ToastIncompleteError(ToastError):
    """A restaurant's week could not be proved complete within the retry budget."""


class UnrepresentableError(ToastAssetsError):
    """A value of one record that the declared type cannot hold; that record is rejected and the others go on."""


class ExportError(ToastAssetsError):
    """An export is missing, or does not belong to the raw orders that are stored."""


class AmperityError(ToastAssetsError):
    """Anything that went wrong between this package and Amperity."""


class AmperityRefusedError(AmperityError):
    """Amperity refused the delivery as a whole (401, 403, 405, 411): a setting is wrong."""


class AmperityUnreachableError(AmperityError):
    """Amperity cannot be reached, by a cause that does not pass by itself, so no record would arrive."""


class AmperityTransientError(TransientError, AmperityError):
    """One failed attempt that is worth repeating: 429, 500, 503, 504, a time-out, a broken connection."""


class AlertError(ToastAssetsError):
    """A webhook did not take an alert."""
