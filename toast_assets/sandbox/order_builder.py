"""One invented order as Toast sends it: the order, its checks, selections, payments and guests.

Shapes and field names follow Toast's orders API [doc][seen]; the sums are consistent within one order (prices of
a selection include its modifiers, tax is 7 %: judgement). Every shape that a pipeline has to survive occurs in a
week of some hundreds of orders: voids at four levels, refunds in both places, gift cards sold and used, guests who are
missing, null or only a GUID, and so on (``SHAPES``).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import Any

import msgspec

from toast_assets.sandbox import menu
from toast_assets.week import from_epoch_ms

Json = dict[str, Any]
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
TAX_PERCENT = 7

# One order in forty is made for each odd shape; more happen by chance.
SHAPES = (
    *("void_order", "void_check", "void_selection", "void_payment", "refund_full", "refund_partial"),
    *("refund_selection", "deleted", "test_mode", "excess_food", "gift_card_sold", "gift_card_reload"),
    *("gift_card_used", "item_discount", "check_discount", "gratuity", "service_charge", "delivery", "takeout"),
    *("curbside", "split_checks", "customer_null", "customer_guid_only", "customer_without_guid", "deep_modifiers"),
    *("fractional", "special_request", "no_selections", "late_tip", "zulu", "tax_without_guid", "open_check"),
    *("scheduled", "unknown_fields"),
)
_CYCLE = 40
_MINUTE_MS = 60_000
_DINING_OF_SHAPE = {
    "delivery": "Delivery",
    "takeout": "Take Out",
    "curbside": "Curbside",
    "split_checks": "Take Out",
    "customer_null": "Take Out",
    "customer_guid_only": "Take Out",
    "customer_without_guid": "Take Out",
    "gratuity": "Dine In",
}
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(Json, float_hook=Decimal)


def encode(order: Json) -> bytes:
    """An order as JSON; decimals keep their digits (``12.10``), whole amounts are given as integers."""
    return _ENCODER.encode(order)


def decode(order: bytes) -> Json:
    """The inverse of ``encode``: numbers with a point become decimals that keep their digits."""
    return _DECODER.decode(order)


def money(cents: int) -> int | Decimal:
    """Cents as Toast writes dollars: with two digits, or as an integer when whole [seen]."""
    return cents // 100 if cents % 100 == 0 else Decimal(cents).scaleb(-2)


@lru_cache(maxsize=1024)
def toast_time(epoch_ms: int, suffix: str = "+0000") -> str:
    """Milliseconds since 1970 (UTC) as Toast writes times: ``2025-09-19T14:30:00.000+0000``."""
    return f"{from_epoch_ms(epoch_ms):%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}{suffix}"


@dataclass(frozen=True)
class Placement:
    """Which order of which restaurant is built: ids of twelve hexadecimal digits, its last modification in
    milliseconds since 1970 (UTC), and the restaurant's offset from UTC in hours."""

    order_id: str
    restaurant_id: str
    modified_ms: int
    utc_offset: int


class OrderBuilder:
    """Builds the ``number``-th kind of order of a seed: the number decides the shape, the rest is the seed's chance.

    Equal seeds and numbers give equal orders but for what ``Placement`` says. Offsets count from the order's last
    modification, in milliseconds.
    """

    def __init__(self, seed: int, number: int, placement: Placement) -> None:
        self.rng = rng = Random(f"{seed}:{number}")
        self.placement = placement
        position = number % _CYCLE
        self.shape = SHAPES[position] if position < len(SHAPES) else "plain"
        # A few orders have times that end in Z [seen].
        self.suffix = "Z" if self.shape == "zulu" or rng.random() < 0.01 else "+0000"
        self.opened_ms = -rng.randrange(15, 110) * _MINUTE_MS - rng.randrange(_MINUTE_MS)
        if self.chance("late_tip", 0.06):
            self.opened_ms -= rng.randrange(3, 9) * HOUR_MS
        if self.shape in ("refund_full", "refund_partial"):
            self.opened_ms -= rng.randrange(1, 4) * DAY_MS
        self.paid_ms = self.opened_ms // 10
        by_chance = rng.choices(menu.DINING_OPTIONS, (58, 24, 15, 3))[0]
        self.dining = _DINING_OF_SHAPE.get(self.shape, by_chance)

    def chance(self, shape: str, probability: float) -> bool:
        """Whether this order has ``shape``: always when it was made for it, else with the probability."""
        # The dice are rolled in both cases, so that the rest of the order does not depend on the answer.
        return self.rng.random() < probability or self.shape == shape

    def order(self) -> Json:
        """The whole order."""
        rng, opened, paid = self.rng, self.time(self.opened_ms), self.time(self.paid_ms)
        voided, deleted = self.chance("void_order", 0.01), self.chance("deleted", 0.005)
        dine_in = self.dining == "Dine In"
        checks = [self.check(number + 1, voided) for number in range(2 if self.chance("split_checks", 0.08) else 1)]
        closed = all(check["paymentStatus"] == "CLOSED" for check in checks)
        order: Json = {
            "guid": self.guid(),
            "entityType": "Order",
            "externalId": None,
            "openedDate": opened,
            "createdDate": opened,
            "modifiedDate": self.time(0),
            "promisedDate": self.time(2 * HOUR_MS) if self.chance("scheduled", 0.03) else None,
            "estimatedFulfillmentDate": None if dine_in else self.time(self.opened_ms + 20 * _MINUTE_MS),
            "closedDate": paid if closed else None,
            "paidDate": paid if closed else None,
            # What an order that is not deleted carries here differs between orders [seen].
            "deletedDate": self.time(0) if deleted else rng.choice((None, "1970-01-01T00:00:00.000+0000")),
            "deleted": deleted,
            **self.void_fields(voided),
            "businessDate": self.business_date(self.opened_ms),
            "channelGuid": None,
            "source": "In Store" if dine_in else rng.choice(("Online", "API", "Kiosk", "Caller Id")),
            "duration": (self.paid_ms - self.opened_ms) // 1000,
            "displayNumber": str(rng.randrange(1, 400)),
            "numberOfGuests": rng.randrange(1, 7) if dine_in else 0,
            # Nearly every reference can be null [seen].
            "diningOption": self.reference("DiningOption", self.dining),
            "table": self.reference("Table", str(rng.randrange(30))) if dine_in else None,
            "serviceArea": self.reference("ServiceArea", "Main Room") if dine_in else None,
            "restaurantService": self.reference("RestaurantService", "Dinner"),
            "revenueCenter": self.reference("RevenueCenter", self.dining) if rng.random() < 0.8 else None,
            "server": self.employee() if dine_in else None,
            "requiredPrepTime": None if dine_in else "PT20M",
            "approvalStatus": "APPROVED",
            "createdInTestMode": self.chance("test_mode", 0.003),
            "excessFood": self.chance("excess_food", 0.003),
            "initialDate": None,
            **self.devices(),
            "deliveryInfo": self.delivery() if self.dining == "Delivery" else None,
            "curbsidePickupInfo": self.curbside() if self.dining == "Curbside" else None,
            **dict.fromkeys(("deliveryServiceInfo", "marketplaceFacilitatorTaxInfo", "appliedPackagingInfo")),
            "pricingFeatures": ["TAXESV2"],
            "checks": checks,
        }
        if self.chance("unknown_fields", 0.01):
            order["kitchenPacing"] = {"lane": "grill", "score": 0.5, "notes": ["fülle", None]}
        return order

    # Ids, references and times

    def guid(self) -> str:
        """A new GUID that no other order has."""
        return f"{_guid_head(f'{self.rng.getrandbits(72):018x}')}{self.placement.order_id}"

    def reference(self, kind: str, name: str) -> Json:
        """A reference to something the restaurant owns (an employee, a table): a GUID, never a name [doc]."""
        return {"guid": f"{_reference_head(kind, name)}{self.placement.restaurant_id}", "entityType": kind}

    def item(self, kind: str, name: str) -> Json:
        """A reference to a part of the menu, which has an id across locations."""
        digest = blake2b(name.encode(), digest_size=6).hexdigest()
        return {**self.reference(kind, name), "multiLocationId": str(700_000_000_000_000_000 + int(digest, 16))}

    def employee(self) -> Json:
        """A reference to one of the restaurant's dozen employees."""
        return self.reference("RestaurantUser", str(self.rng.randrange(12)))

    def devices(self) -> Json:
        """The terminals that created and last modified something."""
        return {name: {"id": f"terminal-{self.rng.randrange(4)}"} for name in ("createdDevice", "lastModifiedDevice")}

    def time(self, offset_ms: int) -> str:
        """A time in the order's own notation."""
        return toast_time(self.placement.modified_ms + offset_ms, self.suffix)

    def business_date(self, offset_ms: int) -> int:
        """The restaurant's business day as Toast writes it, ``20250919``: it ends at 4:00 local time."""
        local_ms = self.placement.modified_ms + offset_ms + (self.placement.utc_offset - 4) * HOUR_MS
        return int(f"{from_epoch_ms(local_ms):%Y%m%d}")

    def void_fields(self, voided: bool) -> Json:
        """The three fields that say whether and when something was voided."""
        return {
            "voided": voided,
            "voidDate": self.time(0) if voided else None,
            "voidBusinessDate": self.business_date(0) if voided else None,
        }

    # Checks

    def check(self, number: int, order_voided: bool) -> Json:
        """One check: its selections, charges, discounts, payment and guest."""
        rng, opened, dine_in = self.rng, self.time(self.opened_ms), self.dining == "Dine In"
        voided = order_voided or self.chance("void_check", 0.01)
        lines = self.lines(voided)
        subtotal = sum(cents for _, cents in lines)
        name, percent = rng.choice(menu.DISCOUNTS)
        discounts = [self.discount(subtotal, percent, name)] if self.chance("check_discount", 0.05) else []
        charges, fees, gratuities = [], 0, 0
        if self.dining == "Delivery" or self.shape == "service_charge":
            fees = 399
            charges.append(self.service_charge(fees, gratuity=False))
        if dine_in and self.chance("gratuity", 0.06):
            gratuities = subtotal * 18 // 100
            charges.append(self.service_charge(gratuities, gratuity=True))
        amount = subtotal + fees - (subtotal * percent // 100 if discounts else 0)
        tax = subtotal * TAX_PERCENT // 100
        unpaid = self.chance("open_check", 0.01) or not lines
        total = amount + tax + gratuities
        check: Json = {
            "guid": self.guid(),
            "entityType": "Check",
            "externalId": None,
            "displayNumber": str(number),
            "openedDate": opened,
            "createdDate": opened,
            "modifiedDate": self.time(0),
            "deletedDate": None,
            "deleted": False,
            "taxExempt": False,
            "openedBy": self.employee(),
            "appliedLoyaltyInfo": None,
            "appliedPreauthInfo": None,
            "closedDate": None if unpaid else self.time(self.paid_ms),
            "paidDate": None if unpaid else self.time(self.paid_ms),
            **self.void_fields(voided),
            "tabName": rng.choice(menu.TAB_NAMES) if dine_in and rng.random() < 0.4 else None,
            "amount": money(amount),
            "taxAmount": money(tax),
            "totalAmount": money(total),
            "paymentStatus": "OPEN" if unpaid else "CLOSED",
            "duration": (self.paid_ms - self.opened_ms) // 1000,
            "selections": [line for line, _ in lines],
            "payments": [] if unpaid else [self.payment(total, amount // 5)],
            "appliedDiscounts": discounts,
            "appliedServiceCharges": charges,
        }
        return check | self.customer_field()

    def discount(self, cents: int, percent: int, name: str) -> Json:
        """A discount of ``percent`` on ``cents``."""
        amount = money(cents * percent // 100)
        return {
            "guid": self.guid(),
            "entityType": "AppliedCustomDiscount",
            "externalId": None,
            "name": name,
            "discountAmount": amount,
            "nonTaxDiscountAmount": amount,
            "discount": self.reference("Discount", name),
            "discountPercent": percent,
            "discountType": "PERCENT",
            "processingState": "APPLIED",
            "appliedDiscountReason": None,
            "approver": self.employee() if percent == 50 else None,
            "comboItems": [],
            "triggers": [],
            "appliedPromoCode": None,
        }

    def service_charge(self, cents: int, *, gratuity: bool) -> Json:
        """A service charge of ``cents``; a gratuity is one too."""
        name = "Auto Gratuity" if gratuity else "Delivery Fee"
        return {
            "guid": self.guid(),
            "entityType": "AppliedServiceCharge",
            "externalId": None,
            "name": name,
            "chargeAmount": money(cents),
            "chargeType": "PERCENT" if gratuity else "FIXED",
            "serviceCharge": self.reference("ServiceCharge", name),
            "percent": 18 if gratuity else None,
            "gratuity": gratuity,
            "delivery": not gratuity,
            "takeout": False,
            "dineIn": gratuity,
            "taxable": False,
            "appliedTaxes": [],
            "serviceChargeCalculation": "PRE_DISCOUNT",
            "refundDetails": None,
        }

    # Selections, each with what it adds to the check in cents

    def lines(self, voided: bool) -> list[tuple[Json, int]]:
        """A check's selections; a voided one adds nothing to the check."""
        if self.shape == "no_selections":
            return []
        lines = [self.selection(voided) for _ in range(self.rng.choice((1, 1, 1, 2)))]
        if self.chance("void_selection", 0.03):
            lines.append(self.selection(voided=True))
        if self.chance("gift_card_sold", 0.005):
            lines.append(self.gift_card("TOAST_CARD_SELL"))
        if self.chance("gift_card_reload", 0.003):
            lines.append(self.gift_card("TOAST_CARD_RELOAD"))
        if self.chance("special_request", 0.03):
            # A request typed by hand: a line without an item [doc], free of charge.
            request = self.line(self.rng.choice(menu.REQUESTS), 1, 0, 0)
            lines.append((request | {"selectionType": "SPECIAL_REQUEST", "tax": 0}, 0))
        return lines

    def selection(self, voided: bool) -> tuple[Json, int]:
        """A dish as ordered."""
        rng, opened = self.rng, self.time(self.opened_ms)
        dish = menu.DISHES[5] if self.shape == "fractional" else rng.choice(menu.DISHES)
        if self.shape == "deep_modifiers":
            dish = menu.DISHES[0]
        quantity: int | Decimal = rng.choices((1, 2, 3), (8, 2, 1))[0]
        if dish.by_weight:
            quantity = Decimal(rng.randrange(25, 300)).scaleb(-2)
        wanted = min(len(dish.modifiers), rng.choice((0, 0, 1, 1, 2)))
        if self.shape == "deep_modifiers":
            wanted = len(dish.modifiers)
        chosen = [self.modifier(choice, 1) for choice in rng.sample(dish.modifiers, wanted)]
        gross = int((dish.cents + sum(cents for _, cents in chosen)) * quantity)
        name, percent = rng.choice(menu.DISCOUNTS)
        discounts = [self.discount(gross, percent, name)] if self.chance("item_discount", 0.05) else []
        net = gross - (gross * percent // 100 if discounts else 0)
        line = self.line(dish.name, quantity, gross, net) | self.void_fields(voided)
        line |= {
            "item": self.item("MenuItem", dish.name),
            "itemGroup": self.item("MenuGroup", dish.group),
            "salesCategory": self.reference("SalesCategory", dish.category),
            "unitOfMeasure": "LB" if dish.by_weight else "NONE",
            "createdDate": opened,
            "modifiedDate": opened,
            "voidReason": self.reference("VoidReason", menu.VOID_REASONS[0]) if voided else None,
            "appliedDiscounts": discounts,
            "appliedTaxes": [self.tax(net)],
            "modifiers": [choice for choice, _ in chosen],
            "refundDetails": None,
        }
        if self.chance("refund_selection", 0.01):
            # The second of the two places for refunds [doc].
            line["refundDetails"] = {
                "refundAmount": money(net),
                "taxRefundAmount": money(net * TAX_PERCENT // 100),
                "refundTransaction": {"guid": self.guid(), "entityType": "RefundTransaction"},
            }
        return line, 0 if voided else net

    def modifier(self, choice: menu.Modifier, depth: int) -> tuple[Json, int]:
        """A choice on a dish, with a choice below it now and then."""
        nested: list[Json] = []
        cents = choice.cents
        if choice.modifiers and depth < 3 and (self.shape == "deep_modifiers" or self.rng.random() < 0.4):
            # The deepest branch first: a dish made for depth shows all of it.
            below = max(choice.modifiers, key=lambda child: len(child.modifiers))
            child, more = self.modifier(below, depth + 1)
            nested, cents = [child], cents + more
        line = {
            "guid": self.guid(),
            "entityType": "MenuItemSelection",
            "item": self.item("MenuItem", choice.name),
            "optionGroup": self.reference("OptionGroup", f"choices {depth}"),
            "preModifier": None,
            "displayName": choice.name,
            "quantity": 1,
            "selectionType": "NONE",
            "deferred": False,
            "price": money(cents),
            "preDiscountPrice": money(cents),
            "voided": False,
            "modifiers": nested,
        }
        return line, cents

    def line(self, name: str, quantity: int | Decimal, gross: int, net: int) -> Json:
        """What every selection has."""
        return {
            "guid": self.guid(),
            "entityType": "MenuItemSelection",
            **dict.fromkeys(("externalId", "item", "itemGroup", "optionGroup", "preModifier")),
            "displayName": name,
            "quantity": quantity,
            "unitOfMeasure": "NONE",
            "selectionType": "NONE",
            "deferred": False,
            "seatNumber": self.rng.randrange(5),
            "fulfillmentStatus": "SENT",
            "price": money(net),
            "preDiscountPrice": money(gross),
            "receiptLinePrice": money(gross),
            "tax": money(net * TAX_PERCENT // 100),
            "taxInclusion": "NOT_INCLUDED",
            "voided": False,
            "voidReason": None,
            "salesCategory": None,
            "appliedDiscounts": [],
            "appliedTaxes": [],
            "modifiers": [],
            "refundDetails": None,
            "toastGiftCard": None,
        }

    def gift_card(self, kind: str) -> tuple[Json, int]:
        """A gift card sold or reloaded: deferred, without item and group, untaxed [doc]."""
        cents = self.rng.choice((2500, 5000, 11100))
        line = self.line("eGift Card", 1, cents, cents)
        return line | {"selectionType": kind, "deferred": True, "tax": 0}, cents

    def tax(self, cents: int) -> Json:
        """The tax on ``cents``; now and then it has no GUID [seen]."""
        tax: Json = {
            "guid": self.guid(),
            "entityType": "AppliedTaxRate",
            "taxRate": self.reference("TaxRate", "state"),
            "name": "State Tax",
            "rate": Decimal("0.07"),
            "taxAmount": money(cents * TAX_PERCENT // 100),
            "type": "PERCENT",
        }
        if self.chance("tax_without_guid", 0.02):
            del tax["guid"]
        return tax

    # Payments

    def payment(self, cents: int, tip: int) -> Json:
        """A payment of ``cents`` and a tip, with what can befall it: voided, refunded, by gift card, by cash."""
        rng = self.rng
        kind = rng.choices(("CREDIT", "CASH", "OTHER"), (80, 17, 3))[0]
        kind = "GIFTCARD" if self.chance("gift_card_used", 0.02) else kind
        full, partial = self.chance("refund_full", 0.01), self.chance("refund_partial", 0.01)
        refund = cents if full else cents // 2 if partial else 0
        voided = self.chance("void_payment", 0.01)
        card = kind == "CREDIT"
        return {
            "guid": self.guid(),
            "entityType": "OrderPayment",
            "externalId": None,
            "type": kind,
            "amount": money(cents),
            "tipAmount": money(tip if card else 0),
            "amountTendered": money(cents if card else -(-cents // 500) * 500),
            "paidDate": self.time(self.paid_ms),
            "paidBusinessDate": self.business_date(self.paid_ms),
            "paymentStatus": "VOIDED" if voided else ("CAPTURED" if card else None),
            "voidInfo": self.void_info() if voided else None,
            "refundStatus": "FULL" if full else "PARTIAL" if partial else "NONE",
            "refund": self.refund(refund) if refund else None,
            "cardType": rng.choice(menu.CARD_TYPES) if card else None,
            "cardEntryMode": rng.choice(("EMV_CHIP_SIGN", "ONLINE", "TOKENIZED")) if card else None,
            "last4Digits": f"{rng.randrange(10_000):04d}" if card else None,
            "first6Digits": f"99{rng.randrange(10_000):04d}" if card else None,
            "cardPaymentId": f"card-{rng.getrandbits(48):012x}" if card else None,
            "networkTransactionIdentifier": f"net-{rng.getrandbits(40):010x}" if card else None,
            "isProcessedOffline": False,
            "originalProcessingFee": money(cents * 25 // 1000 + 15) if card else None,
            "mcaRepaymentAmount": None,
            "tenderTransactionGuid": self.guid() if card else None,
            "orderGuid": None,
            "checkGuid": None,
            "cashDrawer": self.reference("CashDrawer", "1") if kind == "CASH" else None,
            "otherPayment": self.reference("AlternatePaymentType", "House") if kind == "OTHER" else None,
            **self.devices(),
            "server": self.employee(),
        }

    def void_info(self) -> Json:
        """Who voided a payment, who approved it, when and why: employees by GUID only."""
        return {
            "voidUser": self.employee(),
            "voidApprover": self.employee(),
            "voidDate": self.time(0),
            "voidBusinessDate": self.business_date(0),
            "voidReason": self.reference("VoidReason", self.rng.choice(menu.VOID_REASONS)),
        }

    def refund(self, cents: int) -> Json:
        """A refund of a payment: the first of the two places for refunds [doc]."""
        return {
            "refundAmount": money(cents),
            "tipRefundAmount": 0,
            "refundDate": self.time(0),
            "refundBusinessDate": self.business_date(0),
            "refundTransaction": {"guid": self.guid(), "entityType": "RefundTransaction"},
        }

    # Guests: invented names, e-mail addresses that cannot be delivered, 555 numbers

    def customer_field(self) -> Json:
        """Guests are known mainly on takeout and delivery; else the field is absent or null [doc][seen]."""
        first, last = self.rng.choice(menu.FIRST_NAMES), self.rng.choice(menu.LAST_NAMES)
        number = self.rng.randrange(10_000)
        customer = {
            "guid": self.guid(),
            "entityType": "Customer",
            "firstName": first,
            "lastName": last,
            "phone": f"555555{number:04d}",
            "phoneCountryCode": "1",
            "email": f"guest{number}@example.com",
        }
        match self.shape:
            case "customer_null":
                return {"customer": None}
            case "customer_guid_only":
                return {"customer": {"guid": customer["guid"]}}
            case "customer_without_guid":
                del customer["guid"]
                return {"customer": customer}
            case _ if self.dining != "Dine In" or self.rng.random() < 0.1:
                return {"customer": customer}
            case _:
                return {"customer": None} if self.rng.random() < 0.5 else {}

    def delivery(self) -> Json:
        """Where an order was delivered to, and by which employee."""
        rng = self.rng
        city, state, zip_code = rng.choice(menu.CITIES)
        return {
            "address1": f"{rng.randrange(1, 400)} {rng.choice(menu.STREETS)}",
            "address2": rng.choice((None, "Apt 4B")),
            "city": city,
            "state": state,
            "administrativeArea": state,
            "zipCode": zip_code,
            "country": "US",
            "latitude": 0,
            "longitude": 0,
            "notes": rng.choice((None, "Ring twice, s’il vous plaît")),
            "deliveredDate": None,
            "dispatchedDate": None,
            "deliveryEmployee": self.employee(),
            "deliveryState": "DELIVERED",
        }

    def curbside(self) -> Json:
        """The car to look for."""
        car = {"transportColor": "green", "transportDescription": "hatchback", "notes": None}
        return car | {"guid": self.guid()}


@lru_cache(maxsize=1024)
def _reference_head(kind: str, name: str) -> str:
    return _guid_head(blake2b(f"{kind}:{name}".encode(), digest_size=9).hexdigest())


def _guid_head(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-"
