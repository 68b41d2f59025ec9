"""The fields of Toast's orders: the recorded schema (``known_fields.json``), and those that leave for nobody."""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec

# Fields that are never sent, at any depth, as regular expressions of whole names.
# Who paid, and with what: PCI DSS counts the first six and last four digits (Toast: payments, gift cards,
# pre-authorisations). A gift card's object goes as a whole: it names its buyer and its recipient.
PAYER_FIELDS = (
    *("first[0-9]+(Card)?Digits", "last[0-9]+(Card)?Digits", "cardPaymentId", "networkTransactionIdentifier"),
    *("[cC]ard[hH]older.*", "cardNumber", "giftCardInfo", "giftCardSelectionInfo", "purchaser.*", "appliedPreauthInfo"),
)
# Who delivered: the rest of ``deliveryServiceInfo``, such as the provider's name, stays.
DRIVER_FIELDS = ("driver.*",)
# Amperity recognises personal data by field name and would take an employee for a customer.
EMPLOYEE_FIELDS = ("server", "openedBy", "approver", "voidUser", "voidApprover", "deliveryEmployee")
NEVER_SENT = (*PAYER_FIELDS, *DRIVER_FIELDS, *EMPLOYEE_FIELDS)


class KnownFields(msgspec.Struct, frozen=True):
    """A recorded schema: all ``fields``, the ``values`` of enums, and what keys and amounts need ``always``."""

    about: str
    always: tuple[str, ...]
    fields: frozenset[str]
    values: dict[str, frozenset[str]]


@cache
def known_fields() -> KnownFields:
    """The recorded schema that comes with the package."""
    data = resources.files("toast_assets.orders").joinpath("known_fields.json").read_bytes()
    return msgspec.json.decode(data, type=KnownFields)
