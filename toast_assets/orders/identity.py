"""A guest's GUID, e-mail and phone, each in the one form in which they are compared, and which are forgotten.

A trait is a short text: ``g:`` and Toast's GUID of the guest in lower case, ``e:`` and the e-mail, trimmed and in lower
case, ``p:`` and the phone's digits; for orders, checks and Amperity's keys of guests ``o:``, ``c:`` and ``k:``.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from toast_assets.errors import ToastAssetsError
from toast_assets.orders.guests import normal_email, normal_phone
from toast_assets.week import iso_ms

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_PHONE = re.compile(r"[+(]{0,2}[0-9][0-9 ().\-/]{5,20}")
_IN_BRACKETS = re.compile(r"[^<>]*<([^<>]+)>")
_SCHEME = re.compile(r"(?:mailto|tel|urn:uuid):", re.IGNORECASE)
_AROUND = " \t\"'<>{}[],;"
_MOST_CHARACTERS = 100
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")


class NoGuestError(ToastAssetsError):
    """A line that names no guest. The message does not repeat it."""


def traits(guid: object = None, email: object = None, phone: object = None, country_code: object = None) -> list[str]:
    """The traits of a guest as Toast has them; what is no GUID, e-mail or phone gives none."""
    found = [f"g:{guid.strip().lower()}"] if isinstance(guid, str) and guid.strip() else []
    if isinstance(email, str) and (address := normal_email(email)):
        found.append(f"e:{address}")
    if isinstance(phone, str):
        number = normal_phone(phone, country_code if isinstance(country_code, str) else None)
        found += [f"p:{number}"] if number else []
    return found


def key_trait(key: str) -> str:
    """The trait of the key under which Amperity knows a guest: a GUID, which is compared without case, or a hash."""
    return f"k:{key.lower()}"


def given_trait(text: str) -> str | None:
    """The trait in a line that somebody typed or copied: ``Ann <ANN@example.org>``, ``mailto:…``, ``tel:…``,
    ``{GUID}``; None where there is none. A GUID need not be a UUID: whether it is one, the bucket says (``doubtful``).
    """
    text = unicodedata.normalize("NFKC", text).translate(_DASHES).strip(_AROUND + "\r\n\ufeff")
    if (inside := _IN_BRACKETS.fullmatch(text + ">")) is not None:
        text = inside[1]
    text = _SCHEME.sub("", text, count=1).strip(_AROUND)
    if _PHONE.fullmatch(text):
        found = traits(phone=text)
    elif "@" in text:
        found = traits(email=text)
    else:
        found = traits(guid=text) if len(text) <= _MOST_CHARACTERS and not re.search(r"\s", text) else []
    return found[0] if found else None


def doubtful(trait: str) -> bool:
    """Whether a trait counts only if the bucket knows it: a GUID that is no UUID."""
    return trait.startswith("g:") and not _UUID.fullmatch(trait[2:])


def given_traits(lines: Iterable[str]) -> dict[str, int]:
    """The traits in ``lines``, each with the number of its line, from 1; a NoGuestError where a line holds none, or all
    are empty."""
    found: dict[str, int] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        if (trait := given_trait(line)) is not None:
            found.setdefault(trait, number)
        elif line.strip():
            wrong.append(number)
    if wrong:
        raise refused(wrong, found)
    if not found:
        raise NoGuestError("No guest was named.", hint="Give a GUID, an e-mail or a phone.")
    return found


def refused(wrong: Collection[int], given: Mapping[str, int]) -> NoGuestError:
    """The error for lines that name no guest; ``given`` are the traits of all lines."""
    fine = len(set(given.values()) - set(wrong))
    lines = f"Line {min(wrong)} is" if len(wrong) == 1 else f"Lines {', '.join(map(str, sorted(wrong)))} are"
    others = f"{fine} other{' is' if fine == 1 else 's are'} fine"
    return NoGuestError(
        f"{lines} no guest's GUID, e-mail or phone ({others}); nothing was changed.",
        hint="Give one a line: Toast's GUID of the guest, an e-mail, or a phone of 7 to 15 digits"
        " (+ and the country's code outside of North America). A GUID that is no UUID has to be stored in the bucket.",
    )


@dataclass(frozen=True)
class Forgotten:
    """Who is forgotten: salted digests of traits, and since when each is (ISO-8601, UTC). They do not say which of them
    belong together, and cannot be reversed. ``open`` is the certificate of a run that was cut off, if there is one."""

    salt: bytes
    since: Mapping[str, str]
    open: str | None = None

    def __bool__(self) -> bool:
        return bool(self.since)

    def digest(self, trait: str) -> str:
        """The digest of a trait: HMAC-SHA-256, cut to 128 bits, hexadecimal."""
        return hmac.digest(self.salt, trait.encode(), "sha256").hex()[:32]

    def knows(self, trait: str, opened: str | None = None) -> bool:
        """Whether the trait is forgotten in an order ``opened`` then (as Toast writes times), or at an unknown time: a
        guest who comes back later is a new guest."""
        since = self.since.get(self.digest(trait))
        if since is None or opened is None:
            return since is not None
        try:
            moment = datetime.fromisoformat(opened)
        except ValueError:
            return True
        return moment.replace(tzinfo=moment.tzinfo or UTC) <= datetime.fromisoformat(since)

    def with_traits(self, traits: Iterable[str], now: datetime, certificate: str | None) -> Forgotten:
        """The same and ``traits``, forgotten ``now``, under a ``certificate`` that is open."""
        since = dict(self.since) | {self.digest(trait): iso_ms(now) for trait in traits}
        return Forgotten(self.salt, since, certificate)
