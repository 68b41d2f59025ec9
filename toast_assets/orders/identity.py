"""Who a guest is: the key under which tables and feeds know the same guest, the one form in which GUIDs, e-mails and
phones are compared, and which of them are forgotten.

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
from hashlib import sha256

from toast_assets.errors import NoGuestError
from toast_assets.orders.model import Customer, Order
from toast_assets.week import iso_ms

# The form of a guest's key that was derived from an e-mail or a phone.
DERIVED_KEY = re.compile(r"[0-9a-f]{64}")
_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")
_NOT_DIGITS = re.compile(r"[^0-9]")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# A number ends at a letter, as in "x12" or "ext. 12", and at what separates an extension.
_NUMBER = re.compile(r"[+(]*[0-9](?:[0-9]|[^\w#;,])*")
# What most people, and North Americans, dial before a country; elsewhere a city's number can begin with 011.
_DIALLED_ABROAD = re.compile("(?:00|011)(?=[1-9][0-9]{8})")
_PHONE = re.compile(r"[+(]{0,2}[0-9][0-9 ().\-/]{5,20}(?:(?:x|ext\.?|#|;ext=) ?[0-9]{1,6})?", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"[^<>]*<([^<>]+)>")
_SCHEME = re.compile(r"(?:mailto|tel|urn:uuid):", re.IGNORECASE)
_AROUND = " \t\"'<>{}[],;"
_MOST_CHARACTERS = 100
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-")


def guest_key(customer: Customer | None) -> str | None:
    """Toast's GUID of the guest; else the SHA-256 (hex) of the normalised e-mail, else of the phone; else ``None``."""
    if customer is None:
        return None
    if customer.guid:
        return customer.guid
    contact = normal_email(customer.email) or normal_phone(customer.phone, customer.phone_country_code)
    return sha256(contact.encode()).hexdigest() if contact else None


def email_key(email: str | None, salt: bytes = b"") -> str | None:
    """The SHA-256 (hex) of the normalised e-mail, keyed by ``salt`` (HMAC) where there is one; ``None`` for what is no
    address. People who can guess an e-mail can test the guess where there is no salt."""
    address = normal_email(email)
    if address is None:
        return None
    return hmac.digest(salt, address.encode(), "sha256").hex() if salt else sha256(address.encode()).hexdigest()


def order_customer(order: Order) -> Customer | None:
    """The one guest of an order: of its first check that is neither voided nor deleted and has one with a key;
    else of its first check that has one."""
    named = [check for check in order.checks or () if guest_key(check.customer) is not None]
    first = next((check for check in named if not check.is_gone), named[0] if named else None)
    return first.customer if first is not None else None


def normal_email(text: str | None) -> str | None:
    """Trimmed and in lower case; ``None`` for what is no address."""
    email = text.strip().lower() if text else ""
    return email if _EMAIL.fullmatch(email) else None


def normal_phone(text: str | None, country_code: str | None = None) -> str | None:
    """Ten digits for a North American number; ``+`` and all digits for another; ``None`` for what is no number.

    ``617.555.0111 x12`` is ``6175550111``, ``086 123 4567`` with the code 353 is ``+353861234567``. A country in the
    text itself wins over ``country_code``. Extensions are left out. A number of one repeated digit is a placeholder
    that many guests would share, and is none.
    """
    written = found[0] if (found := _NUMBER.search(text or "")) else ""
    # In +44 (0)20 7946 0958 the zero is dialled within the country only.
    digits = _NOT_DIGITS.sub("", written.replace("(0)", ""))
    if len(digits) < 7 or len(set(digits)) == 1:
        return None
    code = _NOT_DIGITS.sub("", country_code or "").lstrip("0") or "1"
    if "+" in written:
        number = digits
    elif (abroad := _DIALLED_ABROAD.match(digits)) and (code == "1" or abroad[0] == "00"):
        number = digits[abroad.end() :]
    elif code == "1":
        number = f"1{digits}" if len(digits) == 10 else digits
    else:
        # A number within a country hardly ever has eleven digits: then the first ones are the country's.
        number = digits if len(digits) > 10 and digits.startswith(code) else code + digits.lstrip("0")
    if not 7 <= len(number) <= 15:
        return None
    return number[1:] if len(number) == 11 and number[0] == "1" else f"+{number}"


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
    lines = ", ".join(map(str, sorted(wrong)))
    return NoGuestError(
        f"No guest's GUID, e-mail or phone in line {lines} ({fine} are fine); nothing was changed.",
        hint="Give one a line: Toast's GUID of the guest, an e-mail, or a phone of 7 to 15 digits"
        " (+ and the country's code outside of North America). A GUID that is no UUID has to be stored in the bucket.",
    )


def earliest(*times: object) -> str | None:
    """The earliest of an order's times, as Toast writes them; None where there is none, or one is no time."""
    try:
        return min((time for time in times if isinstance(time, str)), key=_moment)
    except ValueError:
        return None


def _moment(time: str) -> datetime:
    moment = datetime.fromisoformat(time)
    return moment.replace(tzinfo=moment.tzinfo or UTC)


@dataclass(frozen=True)
class Forgotten:
    """Who is forgotten: salted digests of traits, and since when each is (ISO-8601, UTC). They do not say which of them
    belong together, and cannot be reversed. ``open`` is the certificate of a run that was cut off, if there is one."""

    salt: bytes
    since: Mapping[str, str]
    open: str | None = None

    def digest(self, trait: str) -> str:
        """The digest of a trait: HMAC-SHA-256, cut to 128 bits, hexadecimal."""
        return hmac.digest(self.salt, trait.encode(), "sha256").hex()[:32]

    def knows(self, trait: str, opened: str | None = None) -> bool:
        """Whether the trait is forgotten in an order ``opened`` then (as Toast writes times), or at an unknown time: a
        guest who comes back later is a new guest."""
        since = self.since.get(self.digest(trait))
        if since is None or opened is None:
            return since is not None
        return _moment(opened) <= datetime.fromisoformat(since)

    def knows_guest(self, key: str, email: str | None, phone: str | None, seen: datetime) -> bool:
        """Whether the guest with Amperity's key is forgotten in an order of then."""
        found = [key_trait(key), *traits(email=email, phone=phone)] if self.since else []
        return any(self.knows(trait, iso_ms(seen)) for trait in found)

    def with_traits(self, traits: Iterable[str], now: datetime, certificate: str | None) -> Forgotten:
        """The same and ``traits``, forgotten ``now``, under a ``certificate`` that is open."""
        since = dict(self.since) | {self.digest(trait): iso_ms(now) for trait in traits}
        return Forgotten(self.salt, since, certificate)
