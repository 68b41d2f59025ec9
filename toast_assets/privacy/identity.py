"""Who is to be forgotten: a guest's GUID, e-mail or phone, in the one form in which they are compared.

A trait is a short text: ``g:`` and Toast's GUID of the guest, ``e:`` and the e-mail, trimmed and in lower case, ``p:``
and the phone's digits. The same forms with ``o:``, ``c:`` and ``k:`` stand for an order, a check, and the key under
which Amperity knows a guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from toast_assets.errors import ToastAssetsError
from toast_assets.tables.guests import normal_email, normal_phone

_GUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{5,99}")
_PHONE = re.compile(r"[+(]?[0-9][0-9 ().\-/]{5,20}")


class NoGuestError(ToastAssetsError):
    """What was given is no guest's GUID, e-mail or phone. The message does not repeat it."""


def traits(guid: object = None, email: object = None, phone: object = None, country_code: object = None) -> list[str]:
    """The traits of a guest as Toast has them; what is no GUID, e-mail or phone gives none."""
    found = [f"g:{guid.strip()}"] if isinstance(guid, str) and guid.strip() else []
    if isinstance(email, str) and (address := normal_email(email)):
        found.append(f"e:{address}")
    if isinstance(phone, str):
        number = normal_phone(phone, country_code if isinstance(country_code, str) else None)
        found += [f"p:{number}"] if number else []
    return found


def given_trait(text: str) -> str:
    """The trait that somebody typed in.

    Raises:
        NoGuestError: it is no GUID, e-mail or phone, or a placeholder that many guests share.
    """
    text = text.strip()
    if _PHONE.fullmatch(text):
        found = traits(phone=text)
    elif "@" in text:
        found = traits(email=text)
    else:
        found = traits(guid=text) if _GUID.fullmatch(text) else []
    if not found:
        raise NoGuestError(
            "One of the values is no guest's GUID, e-mail or phone.",
            hint="Give one a line: Toast's GUID of the guest, an e-mail, or a phone of 7 to 15 digits"
            " (+ and the country's code outside of North America).",
        )
    return found[0]


def given_traits(lines: Iterable[str]) -> frozenset[str]:
    """The traits in ``lines``, empty ones left out.

    Raises:
        NoGuestError: a line holds none, or there is no line.
    """
    found = frozenset(given_trait(line) for line in lines if line.strip())
    if not found:
        raise NoGuestError("No guest was named.", hint="Give a GUID, an e-mail or a phone.")
    return found
