"""Who a guest is: the key under which tables and feeds know the same guest, and normalised e-mail and phone."""

from __future__ import annotations

import re
from hashlib import sha256

from toast_assets.orders.model import Check, Customer, Order

_EMAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>.]+(\.[^@\s,;<>.]+)+")
_NOT_DIGITS = re.compile(r"[^0-9]")


def guest_key(customer: Customer | None) -> str | None:
    """Toast's GUID of the guest; else the SHA-256 (hex) of the normalised e-mail, else of the phone; else ``None``."""
    if customer is None:
        return None
    if customer.guid:
        return customer.guid
    contact = normal_email(customer.email) or normal_phone(customer.phone, customer.phone_country_code)
    return sha256(contact.encode()).hexdigest() if contact else None


def order_customer(order: Order) -> Customer | None:
    """The one guest of an order: of its first check that is neither voided nor deleted and has one with a key;
    else of its first check that has one."""
    named = [check for check in order.checks or () if guest_key(check.customer) is not None]
    standing = [check for check in named if not check.is_gone]
    first: Check | None = next(iter(standing or named), None)
    return first.customer if first is not None else None


def normal_email(text: str | None) -> str | None:
    """Trimmed and in lower case; ``None`` for what is no address."""
    email = text.strip().lower() if text else ""
    return email if _EMAIL.fullmatch(email) else None


def normal_phone(text: str | None, country_code: str | None = None) -> str | None:
    """Ten digits for a North American number; ``+`` and all digits for another; ``None`` for what is no number.

    A number of one repeated digit is a placeholder that many guests would share, and is none.
    """
    raw = text.strip() if text else ""
    digits = _NOT_DIGITS.sub("", raw)
    code = _NOT_DIGITS.sub("", country_code or "")
    if not 7 <= len(digits) <= 15 or len(set(digits)) == 1:
        return None
    international = raw.startswith("+")
    if len(digits) == 11 and digits[0] == "1" and (international or code in {"", "1"}):
        return digits[1:]
    if international:
        return f"+{digits}"
    return digits if code in {"", "1"} else f"+{code}{digits.lstrip('0')}"
