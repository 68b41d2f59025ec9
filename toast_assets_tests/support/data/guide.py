"""An invented order in the shape of the Amperity guide's example payload, which is not Toast's.

Amounts are whole numbers, the dining option is ``dining``, the number ``orderNumber``, references carry names, the
restaurant is inside the order, the address is nested in ``deliveryInfo``, and no GUID is a UUID.
"""

from __future__ import annotations

from toast_assets_tests.support.data.invented import Json


def guide_order() -> Json:
    """A delivery of one item with a modifier, paid by card."""
    return {
        "guid": "guide-order-zz1",
        "entityType": "Order",
        "externalId": None,
        "orderNumber": "777",
        "openedDate": "2025-09-19T14:30:00.000Z",
        "closedDate": "2025-09-19T14:45:00.000Z",
        "modifiedDate": "2025-09-19T14:45:00.000Z",
        "promisedDate": "2025-09-19T14:45:00.000Z",
        "businessDate": 20250919,
        "channelGuid": "guide-channel",
        "source": "ONLINE",
        "duration": 900,
        "dining": {"guid": "guide-dining", "entityType": "DiningOption", "behavior": "DELIVERY"},
        "restaurant": {"guid": "guide-restaurant", "entityType": "Restaurant", "locationName": "High Street"},
        "revenueCenter": {"guid": "guide-centre", "entityType": "RevenueCenter", "name": "Online"},
        "server": {
            "guid": "guide-server",
            "entityType": "Employee",
            "firstName": "Edna",
            "lastName": "Employee",
            "email": "edna@staff.example",
        },
        "table": {"guid": "guide-table", "entityType": "Table", "name": "Table 3"},
        "checks": [_check()],
        "appliedDiscounts": [],
        "discountAmount": 0,
        "netAmount": 1700,
        "taxAmount": 153,
        "totalAmount": 1853,
        "closed": True,
        "voided": False,
        "voidDate": None,
        "voidBusinessDate": None,
        "approvalStatus": "APPROVED",
        "deliveryInfo": {
            "address": {
                "address1": "1 Example Road",
                "address2": None,
                "city": "Sampleton",
                "state": "MA",
                "zipCode": "01234",
                "country": "US",
                "latitude": 42.1,
                "longitude": -71.2,
            },
            "deliveryDate": "2025-09-19T15:15:00.000Z",
            "deliveryCharge": 0,
            "deliveryInstructions": "Second door",
        },
    }


def _check() -> Json:
    return {
        "guid": "guide-check",
        "entityType": "Check",
        "displayNumber": "1",
        "selections": [_selection("guide-item", "Flatbread", 1500, [_selection("guide-extra", "Olives", 200)])],
        "customer": {
            "guid": "guide-guest",
            "entityType": "Customer",
            "firstName": "Greta",
            "lastName": "Guest",
            "email": "greta.guest@example.com",
            "phone": "+1-617-555-0100",
        },
        "payments": [
            {
                "guid": "guide-payment",
                "entityType": "Payment",
                "paidDate": "2025-09-19T14:42:00.000Z",
                "paidBusinessDate": 20250919,
                "type": "CREDIT",
                "amount": 1853,
                "tipAmount": 300,
                "amountTendered": 1853,
                "cardEntryMode": "KEYED",
                "last4Digits": "4242",
                "cardType": "VISA",
            }
        ],
        "appliedDiscounts": [],
        "taxAmount": 153,
        "totalAmount": 1853,
        "paymentStatus": "PAID",
    }


def _selection(guid: str, name: str, price: int, modifiers: list[Json] | None = None) -> Json:
    made: Json = {
        "guid": guid,
        "entityType": "Selection",
        "item": {"guid": f"{guid}-menu", "entityType": "MenuItem", "name": name, "plu": "PLU1"},
        "itemGroup": {"guid": "guide-group", "entityType": "MenuGroup", "name": "Flatbreads"},
        "quantity": 1,
        "unitOfMeasure": "NONE",
        "selectionType": "NONE",
        "preDiscountPrice": price,
        "price": price,
        "tax": 9,
    }
    return made if modifiers is None else made | {"deferred": False, "voided": False, "modifiers": modifiers}
