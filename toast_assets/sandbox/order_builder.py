"""One invented order as Toast sends it: the order, its checks, selections, payments and guests.

Shapes and field names follow Toast's orders API [doc][seen]; the sums are consistent within one order (prices of
a selection include its modifiers, tax is 7 %: judgement). Every shape that a pipeline has to survive occurs in a
week of some hundreds of orders: voids at four levels, refunds in both places, gift cards sold and used, guests who are
missing, null or only a GUID, and so on (``SHAPES``).
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec

from toast_assets.week import from_epoch_ms

Json = dict[str, Any]
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

_MINUTE_MS = 60_000
# The restaurant's business day ends at 4:00 local time.
_DAY_ENDS = 4
_GIFT_CARDS = (("gift_card_sold", 0.005, "TOAST_CARD_SELL"), ("gift_card_reload", 0.003, "TOAST_CARD_RELOAD"))

# An order as JSON and back: decimals keep their digits (``12.10``), whole amounts are given as integers.
encode = msgspec.json.Encoder(decimal_format="number").encode
decode = msgspec.json.Decoder(Json, float_hook=Decimal).decode

# Toast's objects with all their fields in Toast's order, each with its usual value.
BLANKS: dict[str, Json] = decode(Path(__file__).with_name("blanks.json").read_bytes())
# Names and prices in cents. Nothing invented can reach a person: e-mail addresses end in example.com, telephone numbers
# begin with 555.
MENU: Json = decode(Path(__file__).with_name("menu.json").read_bytes())
_BY_WEIGHT = next(dish for dish in MENU["dishes"] if "by weight" in dish)
# Every table, and the service area that it belongs to.
TABLES: Json = {table: area for area, tables in MENU["service areas"].items() for table in tables}
_DELIVERY_FEE = int(MENU["service charges"]["Delivery Fee"]["amount"] * 100)
# One order in forty is made for each odd shape; more happen by chance. Some shapes need a dining option.
SHAPES: dict[str, str | None] = MENU["shapes"]


def money(cents: int) -> int | Decimal:
    """Cents as Toast writes dollars: with two digits, or as an integer when whole [seen]."""
    return cents // 100 if cents % 100 == 0 else Decimal(cents).scaleb(-2)


def toast_time(epoch_ms: int, suffix: str = "+0000") -> str:
    """Milliseconds since 1970 (UTC) as Toast writes times: ``2025-09-19T14:30:00.000+0000``."""
    return f"{from_epoch_ms(epoch_ms):%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}{suffix}"


def as_guid(digits: str) -> str:
    """A GUID of thirty hexadecimal digits."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-{digits[18:]}"


def reference(restaurant_guid: str, kind: str, name: str) -> Json:
    """How orders name what a restaurant owns (an employee, a table): by a GUID, never by ``name`` [doc]."""
    return {"guid": as_guid(_digest(f"{kind}:{name}", 9) + _digest(restaurant_guid, 6)), "entityType": kind}


class Parts:
    """What the parts of an order have in common: chance, ids, and times relative to its last modification.

    An order is placed by its id of twelve hexadecimal digits, its restaurant, its last modification in milliseconds
    since 1970 (UTC), and the restaurant's offset from UTC in hours. Offsets of times count from the last modification,
    in milliseconds.
    """

    def __init__(self, rng: Random, order_id: str, restaurant_guid: str, modified_ms: int, utc_offset: int) -> None:
        self.rng = rng
        self.suffix = "+0000"
        self._order_id = order_id
        self._reference = partial(reference, restaurant_guid)
        self._modified_ms = modified_ms
        self._utc_offset = utc_offset

    def _guid(self) -> str:
        return as_guid(f"{self.rng.getrandbits(72):018x}{self._order_id}")

    def _part(self, kind: str) -> Json:
        """One of Toast's objects with a GUID of its own."""
        return BLANKS[kind] | {"guid": self._guid()}

    def _employee(self) -> Json:
        return self._reference("RestaurantUser", str(self.rng.randrange(12)))

    def _time(self, offset_ms: int) -> str:
        return toast_time(self._modified_ms + offset_ms, self.suffix)

    def _business_time(self, offset_ms: int) -> datetime:
        """The local time less the hours that belong to the business day before."""
        return from_epoch_ms(self._modified_ms + offset_ms + (self._utc_offset - _DAY_ENDS) * HOUR_MS)

    def _business_date(self, offset_ms: int) -> int:
        return int(f"{self._business_time(offset_ms):%Y%m%d}")

    def _void_fields(self, voided: bool) -> Json:
        return {
            "voided": voided,
            "voidDate": self._time(0) if voided else None,
            "voidBusinessDate": self._business_date(0) if voided else None,
        }

    def _void_info(self) -> Json:
        """Who voided a payment, when, and why."""
        staff = {"voidUser": self._employee(), "voidApprover": self._employee()}
        dates = {"voidDate": self._time(0), "voidBusinessDate": self._business_date(0)}
        return staff | dates | {"voidReason": self._reference("VoidReason", self.rng.choice(MENU["void reasons"]))}

    def _refund(self, cents: int) -> Json:
        """The first of the two places for refunds [doc]."""
        return {
            "refundAmount": money(cents),
            "tipRefundAmount": 0,
            "refundDate": self._time(0),
            "refundBusinessDate": self._business_date(0),
            "refundTransaction": self._part("refund transaction"),
        }


class OrderBuilder(Parts):
    """The ``number``-th kind of order of a seed: equal seeds and numbers give equal orders, but for what places them.

    The number decides the shape, the rest is the seed's chance.
    """

    def __init__(
        self, seed: int, number: int, order_id: str, restaurant_guid: str, modified_ms: int, utc_offset: int
    ) -> None:
        rng = Random(f"{seed}:{number}")
        super().__init__(rng, order_id, restaurant_guid, modified_ms, utc_offset)
        self.shape = dict(enumerate(SHAPES)).get(number % 40, "plain")
        # A few orders have times that end in Z [seen].
        self.suffix = "Z" if self.shape == "zulu" or rng.random() < 0.01 else "+0000"
        self.opened_ms = -rng.randrange(15, 110) * _MINUTE_MS - rng.randrange(_MINUTE_MS)
        if self._chance("late_tip", 0.06):
            self.opened_ms -= rng.randrange(3, 9) * HOUR_MS
        if self.shape in ("refund_full", "refund_partial"):
            self.opened_ms -= rng.randrange(1, 4) * DAY_MS
        self.paid_ms = self.opened_ms // 10
        by_chance: str = rng.choices([*MENU["dining options"]], (58, 24, 15, 3))[0]
        self.dining = SHAPES.get(self.shape) or by_chance

    def _chance(self, shape: str, probability: float) -> bool:
        # The dice are rolled in both cases, so that the rest of the order does not depend on the answer.
        return self.rng.random() < probability or self.shape == shape

    def order(self) -> Json:
        """The whole order."""
        rng, dine_in = self.rng, self.dining == "Dine In"
        voided, deleted = self._chance("void_order", 0.01), self._chance("deleted", 0.005)
        checks = [self._check(number + 1, voided) for number in range(2 if self._chance("split_checks", 0.08) else 1)]
        closed = all(check["paymentStatus"] == "CLOSED" for check in checks)
        order = self._visit("order", voided=voided, closed=closed) | {
            "promisedDate": self._time(2 * HOUR_MS) if self._chance("scheduled", 0.03) else None,
            "estimatedFulfillmentDate": None if dine_in else self._time(self.opened_ms + 20 * _MINUTE_MS),
            # What an order that is not deleted carries here differs between orders [seen].
            "deletedDate": self._time(0) if deleted else rng.choice((None, "1970-01-01T00:00:00.000+0000")),
            "deleted": deleted,
            "businessDate": self._business_date(self.opened_ms),
            "source": "In Store" if dine_in else rng.choice(("Online", "API", "Kiosk", "Caller Id")),
            "requiredPrepTime": None if dine_in else "PT20M",
            "displayNumber": str(rng.randrange(1, 400)),
            "numberOfGuests": rng.randrange(1, 7) if dine_in else 0,
            **self._whereabouts(),
            "server": self._employee() if dine_in else None,
            "createdInTestMode": self._chance("test_mode", 0.003),
            "excessFood": self._chance("excess_food", 0.003),
            **self._devices(),
            "deliveryInfo": self._delivery() if self.dining == "Delivery" else None,
            "curbsidePickupInfo": self._part("curbside") if self.dining == "Curbside" else None,
            "checks": checks,
        }
        if self._chance("unknown_fields", 0.01):
            order |= BLANKS["unknown fields"]
        if self.dining == "Delivery" and (provider := rng.choice((None, *MENU["delivery services"]))):
            # Some guests order at a market place, whose driver delivers.
            driver = {"driverName": rng.choice(MENU["first names"]), "driverPhoneNumber": "5555550100"}
            order["deliveryServiceInfo"] = self._part("delivery service") | driver | {"providerName": provider}
        return order

    def _whereabouts(self) -> Json:
        """Where and when in the restaurant. Nearly every reference can be null [seen]."""
        table, area = self.rng.choice([*TABLES.items()]) if self.dining == "Dine In" else (None, None)
        hour = self._business_time(self.opened_ms).hour + _DAY_ENDS
        service = next(name for name, end in MENU["services"] if hour < end)
        center = MENU["revenue centers"].get(area) or MENU["revenue centers"][self.dining]
        return {
            "table": table and self._reference("Table", table),
            "serviceArea": area and self._reference("ServiceArea", area),
            "diningOption": self._reference("DiningOption", self.dining),
            "restaurantService": self._reference("RestaurantService", service),
            "revenueCenter": self._reference("RevenueCenter", center) if self.rng.random() < 0.8 else None,
        }

    def _visit(self, kind: Literal["order", "check"], *, voided: bool, closed: bool) -> Json:
        """What an order and its checks have in common."""
        opened, paid = self._time(self.opened_ms), self._time(self.paid_ms) if closed else None
        times = dict.fromkeys(("openedDate", "createdDate"), opened) | dict.fromkeys(("closedDate", "paidDate"), paid)
        ends = {"modifiedDate": self._time(0), "duration": (self.paid_ms - self.opened_ms) // 1000}
        return self._part(kind) | times | self._void_fields(voided) | ends

    def _item(self, kind: str, name: str) -> Json:
        # A part of the menu has an id across locations.
        number = 700_000_000_000_000_000 + int(_digest(name, 6), 16)
        return {**self._reference(kind, name), "multiLocationId": str(number)}

    def _devices(self) -> Json:
        return {name: {"id": f"terminal-{self.rng.randrange(4)}"} for name in ("createdDevice", "lastModifiedDevice")}

    def _check(self, number: int, order_voided: bool) -> Json:
        rng, dine_in = self.rng, self.dining == "Dine In"
        voided = order_voided or self._chance("void_check", 0.01)
        lines = self._lines(voided)
        subtotal = sum(cents for _, cents in lines)
        discounts, discounted = self._discounts("check_discount", subtotal)
        fees = _DELIVERY_FEE if self.dining == "Delivery" or self.shape == "service_charge" else 0
        charges, gratuities = [self._service_charge("delivery fee", fees)] if fees else [], 0
        if dine_in and self._chance("gratuity", 0.06):
            gratuities = subtotal * 18 // 100
            charges.append(self._service_charge("gratuity", gratuities))
        amount = subtotal + fees - discounted
        tax = subtotal * 7 // 100
        unpaid = self._chance("open_check", 0.01) or not lines
        total = amount + tax + gratuities
        check = self._visit("check", voided=voided, closed=not unpaid) | {
            "displayNumber": str(number),
            "openedBy": self._employee(),
            "tabName": rng.choice(MENU["tab names"]) if dine_in and rng.random() < 0.4 else None,
            "amount": money(amount),
            "taxAmount": money(tax),
            "totalAmount": money(total),
            "paymentStatus": "OPEN" if unpaid else "CLOSED",
            "selections": [line for line, _ in lines],
            "appliedDiscounts": discounts,
            "appliedServiceCharges": charges,
            "payments": [] if unpaid else [self._payment(total, amount // 5)],
        }
        return check | self._customer_field()

    def _discounts(self, shape: str, cents: int) -> tuple[list[Json], int]:
        """The discount on ``cents``, if any, and what it takes off."""
        name, configured = self.rng.choice([*MENU["discounts"].items()])
        percent, codes = configured["percentage"], configured["promoCodes"]
        if not self._chance(shape, 0.05):
            return [], 0
        discounted = cents * percent // 100
        discount = self._part("discount") | {
            "name": name,
            "discountAmount": money(discounted),
            "nonTaxDiscountAmount": money(discounted),
            "discount": self._reference("Discount", name),
            "discountPercent": percent,
            "approver": self._employee() if percent == 50 else None,
            # Guests enter codes when they order online.
            "appliedPromoCode": codes[0]["code"] if codes and self.dining != "Dine In" else None,
        }
        return [discount], discounted

    def _service_charge(self, kind: Literal["gratuity", "delivery fee"], cents: int) -> Json:
        charge = self._part(kind)
        reference = self._reference("ServiceCharge", charge["name"])
        return charge | {"chargeAmount": money(cents), "serviceCharge": reference}

    def _lines(self, voided: bool) -> list[tuple[Json, int]]:
        """A check's selections, each with what it adds to the check in cents."""
        if self.shape == "no_selections":
            return []
        lines = [self._selection(voided) for _ in range(self.rng.choice((1, 1, 1, 2)))]
        if self._chance("void_selection", 0.03):
            lines.append(self._selection(voided=True))
        for shape, probability, kind in _GIFT_CARDS:
            if self._chance(shape, probability):
                # Deferred, without item and group, untaxed [doc].
                cents = self.rng.choice((2500, 5000, 11100))
                card = self._line("eGift Card", 1, cents, cents) | {"selectionType": kind, "deferred": True}
                lines.append((card, cents))
        if self._chance("special_request", 0.03):
            # A request typed by hand: a line without an item [doc], free of charge.
            request = self._line(self.rng.choice(MENU["requests"]), 1, 0, 0)
            lines.append((request | {"selectionType": "SPECIAL_REQUEST"}, 0))
        return lines

    def _selection(self, voided: bool) -> tuple[Json, int]:
        rng, opened, deep = self.rng, self._time(self.opened_ms), self.shape == "deep_modifiers"
        dish = _BY_WEIGHT if self.shape == "fractional" else rng.choice(MENU["dishes"])
        dish = MENU["dishes"][0] if deep else dish
        quantity: int | Decimal = rng.choices((1, 2, 3), (8, 2, 1))[0]
        if "by weight" in dish:
            quantity = Decimal(rng.randrange(25, 300)).scaleb(-2)
        possible, some = dish["modifiers"], rng.choice((0, 0, 1, 1, 2))
        wanted = len(possible) if deep else min(len(possible), some)
        chosen = [self._modifier(choice, 1) for choice in rng.sample(possible, wanted)]
        gross = int((dish["cents"] + sum(cents for _, cents in chosen)) * quantity)
        discounts, discounted = self._discounts("item_discount", gross)
        net = gross - discounted
        tax = net * 7 // 100
        line = self._line(dish["name"], quantity, gross, net) | self._void_fields(voided)
        applied = self._part("tax") | {"taxAmount": money(tax)}
        applied["taxRate"] = self._reference("TaxRate", applied["name"])
        if self._chance("tax_without_guid", 0.02):
            del applied["guid"]  # [seen]
        line |= {
            "item": self._item("MenuItem", dish["name"]),
            "itemGroup": self._item("MenuGroup", dish["group"]),
            "salesCategory": self._reference("SalesCategory", dish["category"]),
            "unitOfMeasure": "LB" if "by weight" in dish else "NONE",
            "tax": money(tax),
            "createdDate": opened,
            "modifiedDate": opened,
            "voidReason": self._reference("VoidReason", MENU["void reasons"][0]) if voided else None,
            "appliedDiscounts": discounts,
            "appliedTaxes": [applied],
            "modifiers": [choice for choice, _ in chosen],
        }
        if self._chance("refund_selection", 0.01):
            # The second of the two places for refunds [doc].
            amounts = {"refundAmount": money(net), "taxRefundAmount": money(tax)}
            line["refundDetails"] = amounts | {"refundTransaction": self._part("refund transaction")}
        return line, 0 if voided else net

    def _modifier(self, name: str, depth: int) -> tuple[Json, int]:
        nested: list[Json] = []
        cents, choices = MENU["modifiers"][name]["cents"], MENU["modifiers"][name]["modifiers"]
        if choices and depth < 3 and (self.shape == "deep_modifiers" or self.rng.random() < 0.4):
            # The deepest branch first: a dish made for depth shows all of it.
            below = max(choices, key=lambda choice: len(MENU["modifiers"][choice]["modifiers"]))
            child, more = self._modifier(below, depth + 1)
            nested, cents = [child], cents + more
        line = self._part("modifier") | {
            "item": self._item("MenuItem", name),
            "optionGroup": self._reference("OptionGroup", f"choices {depth}"),
            "displayName": name,
            "price": money(cents),
            "preDiscountPrice": money(cents),
            "modifiers": nested,
        }
        return line, cents

    def _line(self, name: str, quantity: int | Decimal, gross: int, net: int) -> Json:
        return self._part("selection") | {
            "displayName": name,
            "quantity": quantity,
            "seatNumber": self.rng.randrange(5),
            "price": money(net),
            "preDiscountPrice": money(gross),
            "receiptLinePrice": money(gross),
        }

    def _payment(self, cents: int, tip: int) -> Json:
        rng = self.rng
        kind = rng.choices(("CREDIT", "CASH", "OTHER"), (80, 17, 3))[0]
        kind = "GIFTCARD" if self._chance("gift_card_used", 0.02) else kind
        full, partial = self._chance("refund_full", 0.01), self._chance("refund_partial", 0.01)
        refund = cents if full else cents // 2 if partial else 0
        voided = self._chance("void_payment", 0.01)
        card, others = kind == "CREDIT", MENU["alternate payment types"]
        other = others[cents % len(others)]
        payment = self._part("payment") | {
            "type": kind,
            "amount": money(cents),
            "amountTendered": money(cents if card else -(-cents // 500) * 500),
            "paidDate": self._time(self.paid_ms),
            "paidBusinessDate": self._business_date(self.paid_ms),
            "paymentStatus": "VOIDED" if voided else ("CAPTURED" if card else None),
            "refundStatus": "FULL" if full else "PARTIAL" if partial else "NONE",
            "cashDrawer": self._reference("CashDrawer", "1") if kind == "CASH" else None,
            "otherPayment": self._reference("AlternatePaymentType", other) if kind == "OTHER" else None,
        }
        if voided:
            payment["voidInfo"] = self._void_info()
        if refund:
            payment["refund"] = self._refund(refund)
        if card:
            payment |= {
                "tipAmount": money(tip),
                "cardType": rng.choice(MENU["card types"]),
                "cardEntryMode": rng.choice(("EMV_CHIP_SIGN", "ONLINE", "TOKENIZED")),
                "last4Digits": f"{rng.randrange(10_000):04d}",
                "first6Digits": f"99{rng.randrange(10_000):04d}",
                "cardPaymentId": f"card-{rng.getrandbits(48):012x}",
                "networkTransactionIdentifier": f"net-{rng.getrandbits(40):010x}",
                "originalProcessingFee": money(cents * 25 // 1000 + 15),
                "tenderTransactionGuid": self._guid(),
            }
        return payment | self._devices() | {"server": self._employee()}

    def _customer_field(self) -> Json:
        """Guests are known mainly on takeout and delivery; else the field is absent or null [doc][seen]."""
        first, last = self.rng.choice(MENU["first names"]), self.rng.choice(MENU["last names"])
        number = self.rng.randrange(10_000)
        customer = self._part("customer") | {
            "firstName": first,
            "lastName": last,
            "phone": f"555555{number:04d}",
            "email": f"guest{number}@example.com",
        }
        if self.dining == "Dine In" and self.rng.random() >= 0.1:
            return {"customer": None} if self.rng.random() < 0.5 else {}
        guid, without = {"guid": customer["guid"]}, {name: customer[name] for name in customer if name != "guid"}
        odd = {"customer_null": None, "customer_guid_only": guid, "customer_without_guid": without}
        if self.shape in odd:
            return {"customer": odd[self.shape]}
        if number % 4:
            return {"customer": customer}
        account = {"loyaltyIdentifier": customer["phone"], "maskedLoyaltyIdentifier": f"xxxxxx{number:04d}"}
        applied = self._reference("AppliedLoyaltyInfo", customer["guid"])
        return {"customer": customer, "appliedLoyaltyInfo": BLANKS["loyalty"] | applied | account}

    def _delivery(self) -> Json:
        rng = self.rng
        city, state, zip_code = rng.choice(MENU["cities"])
        return BLANKS["delivery"] | {
            "address1": f"{rng.randrange(1, 400)} {rng.choice(MENU['streets'])}",
            "address2": rng.choice((None, "Apt 4B")),
            "city": city,
            "state": state,
            "administrativeArea": state,
            "zipCode": zip_code,
            "notes": rng.choice((None, "Ring twice, s’il vous plaît")),
            "deliveryEmployee": self._employee(),
        }


def _digest(text: str, size: int) -> str:
    return blake2b(text.encode(), digest_size=size).hexdigest()
