"""Every error this package raises on purpose, in one family. No message holds a secret or a guest's data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_OWN = re.compile(r" for restaurant [\w-]+| \([^()]*request id [^()]*\)")
_CODE = re.compile(r"\s\[([A-Z0-9-]+)\]$")


def without_details(text: str) -> str:
    """An error's text without what differs from restaurant to restaurant and from run to run."""
    return _OWN.sub("", text)


class ToastAssetsError(Exception):
    """What failed and where (``message``), the way out (``hint``), and the ``code`` by which docs/errors.md lists it.

    A class has a code of its own; an error for which there is something else to do is given another one. The text ends
    with the code: ``Toast answered 404 to …. Check TOAST_API_URL. [TOAST-404-RESTAURANT]``.
    """

    code = "TOAST-ASSETS"

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        self.message = message
        self.hint = hint
        self.code = code or self.code
        gap = "" if message.endswith("\n") else " "
        super().__init__(f"{message}{gap}{f'{hint} ' if hint else ''}[{self.code}]")


def split_code(text: str) -> tuple[str, str]:
    """The text of an error, as it is stored or quoted, without the code at its end; and that code, empty where there is
    none, as in texts that earlier releases stored."""
    found = _CODE.search(text)
    return (text[: found.start()], found[1]) if found else (text, "")


def quoted(texts: Iterable[str]) -> tuple[list[str], str]:
    """Texts of errors as lines of one error, and that one's code: the code that all share, which the lines then leave
    out, else ``SEVERAL-CAUSES``."""
    lines = [*texts]
    found = {split_code(line)[1] for line in lines}
    if len(found) == 1 and (shared := found.pop()):
        return [split_code(line)[0] for line in lines], shared
    return lines, "SEVERAL-CAUSES"


class SettingsError(ToastAssetsError):
    """Settings that are missing or malformed: all of them at once, each with the variable's name."""

    code = "SETTINGS"

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

    code = "WEEK"


class NoGuestError(ToastAssetsError):
    """What was given names no guest. The message does not repeat it."""

    code = "GUEST"


class CalendarError(ToastAssetsError):
    """The settings of the calendar would move the boundaries of weeks that are stored."""

    code = "CALENDAR"


class StoreError(ToastAssetsError):
    """The bucket is missing, refuses access, or holds an object that cannot be read."""

    code = "STORE"


class DamagedObjectError(StoreError):
    """An object does not hold what was stored, or is none of this package's; it concerns one restaurant or week."""

    code = "STORE-DAMAGED"


class StoreConflictError(StoreError):
    """Somebody else wrote the object between reading and writing it; read again and merge again."""

    code = "STORE-CONFLICT"


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
        code: str = "",
    ) -> None:
        self.throttled = throttled
        self.retry_after = retry_after
        self.attempts = attempts
        super().__init__(message, hint=hint, code=code)


class ToastError(ToastAssetsError):
    """Anything that went wrong between this package and Toast."""

    @property
    def reason(self) -> str:
        """Its text without what differs from restaurant to restaurant and from run to run."""
        return without_details(str(self))


class ToastLoginError(ToastError):
    """Toast refused the credentials, or the login service stayed down."""

    code = "TOAST-LOGIN"


class ToastRefusedError(ToastError):
    """Toast refused a request for good (400, 401 after a new login, 403, 404, 422)."""

    code = "TOAST-REFUSED"

    def __init__(self, message: str, *, status: int, hint: str = "", code: str = "") -> None:
        self.status = status
        super().__init__(message, hint=hint, code=code)


class ToastUnreachableError(ToastError):
    """Toast cannot be reached, by a cause that does not pass by itself: a certificate, an address, a proxy's login."""

    code = "TOAST-UNREACHABLE"


class ToastTransientError(TransientError, ToastError):
    """One failed attempt that is worth repeating: a 429, a 5xx, a time-out, a broken connection."""

    code = "TOAST-UNAVAILABLE"


class ToastReplyError(ToastTransientError):
    """A reply with status 200 that proves nothing: not JSON, not an array, an order outside its window."""

    code = "TOAST-REPLY"


class ToastIncompleteError(ToastError):
    """A restaurant's week could not be proved complete within the retry budget."""

    code = "TOAST-INCOMPLETE"


class UnrepresentableError(ToastAssetsError):
    """A value of one record that the declared type cannot hold; that record is rejected and the others go on."""


class ExportError(ToastAssetsError):
    """An export is missing, or does not belong to the raw orders that are stored."""

    code = "EXPORT"


class AmperityError(ToastAssetsError):
    """Anything that went wrong between this package and Amperity."""


class AmperityRefusedError(AmperityError):
    """Amperity refused the delivery as a whole (401, 403, 405, 411): a setting is wrong."""

    code = "AMPERITY-REFUSED"


class AmperityUnreachableError(AmperityError):
    """Amperity cannot be reached, by a cause that does not pass by itself, so no record would arrive."""

    code = "AMPERITY-UNREACHABLE"


class AmperityTransientError(TransientError, AmperityError):
    """One failed attempt that is worth repeating: 429, 500, 503, 504, a time-out, a broken connection."""

    code = "AMPERITY-UNAVAILABLE"


class AlertError(ToastAssetsError):
    """A webhook did not take an alert."""

    code = "ALERT"
