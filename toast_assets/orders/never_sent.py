"""The fields of an order that leave for nobody: one list, used where orders are sent and where a guest is removed."""

from __future__ import annotations

# Fields that are never sent, at any depth, as regular expressions of whole names.
# Who paid, and with what: PCI DSS counts the first six and last four digits (Toast: payments, gift cards,
# pre-authorisations). A gift card's object goes as a whole: it names its buyer and whom it is for.
PAYER_FIELDS = (
    *("first[0-9]+(Card)?Digits", "last[0-9]+(Card)?Digits", "cardPaymentId", "networkTransactionIdentifier"),
    *("[cC]ard[hH]older.*", "cardNumber", "giftCardInfo", "giftCardSelectionInfo", "purchaser.*", "appliedPreauthInfo"),
)
# Who delivered: the rest of ``deliveryServiceInfo``, such as the provider's name, stays.
DRIVER_FIELDS = ("driver.*",)
# Amperity recognises personal data by field name and would take an employee for a customer.
EMPLOYEE_FIELDS = ("server", "openedBy", "approver", "voidUser", "voidApprover", "deliveryEmployee")
NEVER_SENT = (*PAYER_FIELDS, *DRIVER_FIELDS, *EMPLOYEE_FIELDS)
