"""The order itself: one template per shape that Toast is known to send.

Every shape that a pipeline has to survive occurs in a week of some hundreds of orders: voids at four levels, refunds
in both places, gift cards sold and used, guests who are missing, null or only a GUID, and so on (``SHAPES``).
"""

from __future__ import annotations

from random import Random

from toast_assets.sandbox import menu
from toast_assets.sandbox.checks import TAX_PERCENT, Json, Maker, money
from toast_assets.sandbox.templates import HOUR_MS, Template, business_token

# One in forty of the pool is made for each odd shape; more happen by chance.
SHAPES = [
    "void_order",
    "void_check",
    "void_selection",
    "void_payment",
    "refund_full",
    "refund_partial",
    "refund_selection",
    "deleted",
    "test_mode",
    "excess_food",
    "gift_card_sold",
    "gift_card_reload",
    "gift_card_used",
    "item_discount",
    "check_discount",
    "gratuity",
    "service_charge",
    "delivery",
    "takeout",
    "curbside",
    "split_checks",
    "customer_null",
    "customer_guid_only",
    "customer_without_guid",
    "deep_modifiers",
    "fractional",
    "special_request",
    "no_selections",
    "late_tip",
    "zulu",
    "tax_without_guid",
    "open_check",
    "scheduled",
    "unknown_fields",
]
_CYCLE = 40
_MINUTE_MS = 60_000


def order_template(rng: Random, number: int) -> Template:
    """The ``number``-th order of a pool; its number decides the shape it is made for."""
    place = number % _CYCLE
    shape = SHAPES[place] if place < len(SHAPES) else "plain"
    maker = Maker(rng, shape, zulu=_is_zulu(rng, shape))
    opened_ms = -rng.randrange(15, 110) * _MINUTE_MS - rng.randrange(_MINUTE_MS)
    if maker.chance("late_tip", 0.06):
        opened_ms -= rng.randrange(3, 9) * HOUR_MS
    if shape in ("refund_full", "refund_partial"):
        opened_ms -= rng.randrange(1, 4) * 24 * HOUR_MS
    return Template.of(_order(maker, opened_ms), opened_ms)


def _is_zulu(rng: Random, shape: str) -> bool:
    """Whether an order's times end in ``Z`` instead of ``+0000``: a few do [seen]."""
    return shape == "zulu" or rng.random() < 0.01


def _order(maker: Maker, opened_ms: int) -> Json:
    rng = maker.rng
    dining = _dining(maker)
    voided = maker.chance("void_order", 0.01)
    deleted = maker.chance("deleted", 0.005)
    dine_in = dining == "Dine In"
    paid_ms = opened_ms // 10
    checks = [_check(maker, number + 1, dining, opened_ms, paid_ms, voided) for number in range(_checks(maker))]
    closed = all(check["paymentStatus"] == "CLOSED" for check in checks)
    order: Json = {
        "guid": maker.guid(),
        "entityType": "Order",
        "externalId": None,
        "openedDate": maker.time(opened_ms),
        "createdDate": maker.time(opened_ms),
        "modifiedDate": maker.time(0),
        "promisedDate": maker.time(2 * HOUR_MS) if maker.chance("scheduled", 0.03) else None,
        "estimatedFulfillmentDate": maker.time(opened_ms + 20 * _MINUTE_MS) if not dine_in else None,
        "closedDate": maker.time(paid_ms) if closed else None,
        "paidDate": maker.time(paid_ms) if closed else None,
        # What an order that is not deleted carries here differs between orders [seen].
        "deletedDate": maker.time(0) if deleted else rng.choice((None, "1970-01-01T00:00:00.000+0000")),
        "deleted": deleted,
        **maker.void_fields(0 if voided else None),
        "businessDate": business_token(opened_ms),
        "channelGuid": None,
        "source": "In Store" if dine_in else rng.choice(("Online", "API", "Kiosk", "Caller Id")),
        "duration": (paid_ms - opened_ms) // 1000,
        "displayNumber": str(rng.randrange(1, 400)),
        "numberOfGuests": rng.randrange(1, 7) if dine_in else 0,
        **_place(maker, dining),
        "approvalStatus": "APPROVED",
        "createdInTestMode": maker.chance("test_mode", 0.003),
        "excessFood": maker.chance("excess_food", 0.003),
        "initialDate": None,
        "createdDevice": {"id": f"terminal-{rng.randrange(4)}"},
        "lastModifiedDevice": {"id": f"terminal-{rng.randrange(4)}"},
        "deliveryInfo": _delivery(maker) if dining == "Delivery" else None,
        "curbsidePickupInfo": _curbside(maker) if dining == "Curbside" else None,
        "deliveryServiceInfo": None,
        "marketplaceFacilitatorTaxInfo": None,
        "appliedPackagingInfo": None,
        "pricingFeatures": ["TAXESV2"],
        "checks": checks,
    }
    if maker.chance("unknown_fields", 0.01):
        order["kitchenPacing"] = {"lane": "grill", "score": 0.5, "notes": ["fülle", None]}
    return order


def _place(maker: Maker, dining: str) -> Json:
    """Where the order was made: nearly every reference can be null [seen]."""
    dine_in = dining == "Dine In"
    return {
        "diningOption": maker.reference("DiningOption", dining),
        "table": maker.reference("Table", str(maker.rng.randrange(30))) if dine_in else None,
        "serviceArea": maker.reference("ServiceArea", "Main Room") if dine_in else None,
        "restaurantService": maker.reference("RestaurantService", "Dinner"),
        "revenueCenter": maker.reference("RevenueCenter", dining) if maker.rng.random() < 0.8 else None,
        "server": maker.employee() if dine_in else None,
        "requiredPrepTime": None if dine_in else "PT20M",
    }


def _checks(maker: Maker) -> int:
    return 2 if maker.chance("split_checks", 0.08) else 1


def _dining(maker: Maker) -> str:
    forced = {
        "delivery": "Delivery",
        "takeout": "Take Out",
        "curbside": "Curbside",
        "split_checks": "Take Out",
        "customer_null": "Take Out",
        "customer_guid_only": "Take Out",
        "customer_without_guid": "Take Out",
        "gratuity": "Dine In",
    }
    by_chance = maker.rng.choices(menu.DINING_OPTIONS, (58, 24, 15, 3))[0]
    return forced.get(maker.shape, by_chance)


def _delivery(maker: Maker) -> Json:
    city, state, zip_code = maker.rng.choice(menu.CITIES)
    return {
        "address1": f"{maker.rng.randrange(1, 400)} {maker.rng.choice(menu.STREETS)}",
        "address2": maker.rng.choice((None, "Apt 4B")),
        "city": city,
        "state": state,
        "administrativeArea": state,
        "zipCode": zip_code,
        "country": "US",
        "latitude": 0,
        "longitude": 0,
        "notes": maker.rng.choice((None, "Ring twice, s’il vous plaît")),
        "deliveredDate": None,
        "dispatchedDate": None,
        "deliveryEmployee": maker.employee(),
        "deliveryState": "DELIVERED",
    }


def _curbside(maker: Maker) -> Json:
    return {
        "transportColor": "green",
        "transportDescription": "hatchback",
        "notes": None,
        "guid": maker.guid(),
    }


def _check(maker: Maker, number: int, dining: str, opened_ms: int, paid_ms: int, order_voided: bool) -> Json:
    rng = maker.rng
    voided = order_voided or maker.chance("void_check", 0.01)
    lines = _lines(maker, opened_ms, 0 if voided else None)
    subtotal = sum(cents for _, cents in lines)
    name, percent = rng.choice(menu.DISCOUNTS)
    discounts = [maker.discount(subtotal, percent, name)] if maker.chance("check_discount", 0.05) else []
    charges = []
    if dining == "Delivery" or maker.shape == "service_charge":
        charges.append(maker.service_charge(399, gratuity=False))
    if dining == "Dine In" and maker.chance("gratuity", 0.06):
        charges.append(maker.service_charge(subtotal * 18 // 100, gratuity=True))
    fees = sum(int(charge["chargeAmount"] * 100) for charge in charges if not charge["gratuity"])
    gratuities = sum(int(charge["chargeAmount"] * 100) for charge in charges if charge["gratuity"])
    amount = subtotal + fees - (subtotal * percent // 100 if discounts else 0)
    tax = subtotal * TAX_PERCENT // 100
    unpaid = maker.chance("open_check", 0.01) or not lines
    total = amount + tax + gratuities
    check = _opened(maker, number, opened_ms) | {
        "closedDate": None if unpaid else maker.time(paid_ms),
        "paidDate": None if unpaid else maker.time(paid_ms),
        **maker.void_fields(0 if voided else None),
        "tabName": rng.choice(menu.TAB_NAMES) if dining == "Dine In" and rng.random() < 0.4 else None,
        "amount": money(amount),
        "taxAmount": money(tax),
        "totalAmount": money(total),
        "paymentStatus": "OPEN" if unpaid else "CLOSED",
        "duration": (paid_ms - opened_ms) // 1000,
        "selections": [line for line, _ in lines],
        "payments": [] if unpaid else [maker.payment(total, amount // 5, paid_ms)],
        "appliedDiscounts": discounts,
        "appliedServiceCharges": charges,
    }
    return _with_customer(maker, check, dining)


def _opened(maker: Maker, number: int, opened_ms: int) -> Json:
    return {
        "guid": maker.guid(),
        "entityType": "Check",
        "externalId": None,
        "displayNumber": str(number),
        "openedDate": maker.time(opened_ms),
        "createdDate": maker.time(opened_ms),
        "modifiedDate": maker.time(0),
        "deletedDate": None,
        "deleted": False,
        "taxExempt": False,
        "openedBy": maker.employee(),
        "appliedLoyaltyInfo": None,
        "appliedPreauthInfo": None,
    }


def _lines(maker: Maker, opened_ms: int, voided_ms: int | None) -> list[tuple[Json, int]]:
    if maker.shape == "no_selections":
        return []
    lines = [maker.selection(opened_ms, voided_ms) for _ in range(maker.rng.choice((1, 1, 1, 2)))]
    if maker.chance("void_selection", 0.03):
        lines.append(maker.selection(opened_ms, 0))
    if maker.chance("gift_card_sold", 0.005):
        lines.append(maker.gift_card("TOAST_CARD_SELL"))
    if maker.chance("gift_card_reload", 0.003):
        lines.append(maker.gift_card("TOAST_CARD_RELOAD"))
    if maker.chance("special_request", 0.03):
        lines.append(maker.special_request())
    return lines


def _with_customer(maker: Maker, check: Json, dining: str) -> Json:
    """Guests are known mainly on takeout and delivery; else the field is absent or null [doc][seen]."""
    customer = maker.customer()
    match maker.shape:
        case "customer_null":
            check["customer"] = None
        case "customer_guid_only":
            check["customer"] = {"guid": customer["guid"]}
        case "customer_without_guid":
            del customer["guid"]
            check["customer"] = customer
        case _ if dining != "Dine In" or maker.rng.random() < 0.1:
            check["customer"] = customer
        case _ if maker.rng.random() < 0.5:
            check["customer"] = None
    return check
