"""The parts of an invented order below the order itself: selections, payments, guests, checks.

Shapes and field names follow Toast's orders API [doc][seen]; the sums are consistent within one order (prices of
a selection include its modifiers, tax is 7 %: judgement). Times and ids are the tokens of ``templates``.
"""

from __future__ import annotations

from decimal import Decimal
from hashlib import blake2b
from random import Random
from typing import Any

from toast_assets.sandbox import menu
from toast_assets.sandbox.templates import ORDER_ID, RESTAURANT_ID, business_token, time_token

Json = dict[str, Any]
TAX_PERCENT = 7


def money(cents: int) -> int | Decimal:
    """Cents as Toast writes dollars: with two digits, or as an integer when whole [seen]."""
    return cents // 100 if cents % 100 == 0 else Decimal(cents).scaleb(-2)


def _head(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-4{digits[12:15]}-a{digits[15:18]}-"


class Maker:
    """Makes the parts of one order; what an order is to have is asked with ``shape``, the rest is chance."""

    def __init__(self, rng: Random, shape: str, *, zulu: bool) -> None:
        self.rng = rng
        self.shape = shape
        self.zulu = zulu

    def chance(self, shape: str, probability: float) -> bool:
        """Whether this order has ``shape``: always when it was made for it, else with the probability."""
        # The dice are rolled in both cases, so that the rest of the order does not depend on the answer.
        return self.rng.random() < probability or self.shape == shape

    def guid(self) -> str:
        """A new GUID of the order's own: unique to the order once its id is filled in."""
        return f"{_head(f'{self.rng.getrandbits(72):018x}')}{ORDER_ID}"

    def reference(self, kind: str, name: str) -> Json:
        """A reference to something the restaurant owns (an employee, a table): a GUID, never a name [doc]."""
        head = _head(blake2b(f"{kind}:{name}".encode(), digest_size=9).hexdigest())
        return {"guid": f"{head}{RESTAURANT_ID}", "entityType": kind}

    def employee(self) -> Json:
        """A reference to one of the restaurant's dozen employees."""
        return self.reference("RestaurantUser", str(self.rng.randrange(12)))

    def time(self, offset_ms: int) -> str:
        """The time ``offset_ms`` after the order's last modification."""
        return time_token(offset_ms, zulu=self.zulu)

    def void_fields(self, offset_ms: int | None) -> Json:
        """The three fields that say whether and when something was voided."""
        voided = offset_ms is not None
        return {
            "voided": voided,
            "voidDate": self.time(offset_ms) if offset_ms is not None else None,
            "voidBusinessDate": business_token(offset_ms) if offset_ms is not None else None,
        }

    def taxes(self, cents: int) -> list[Json]:
        """The taxes on ``cents``; now and then the rate has no GUID [seen]."""
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
        return [tax]

    def discount(self, cents: int, percent: int, name: str) -> Json:
        """A discount of ``percent`` on ``cents``."""
        return {
            "guid": self.guid(),
            "entityType": "AppliedCustomDiscount",
            "externalId": None,
            "name": name,
            "discountAmount": money(cents * percent // 100),
            "nonTaxDiscountAmount": money(cents * percent // 100),
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

    def modifier(self, choice: menu.Modifier, depth: int) -> tuple[Json, int]:
        """A choice as a selection, and its price in cents with those below it."""
        nested: list[Json] = []
        cents = choice.cents
        if choice.modifiers and (depth < 3) and (self.shape == "deep_modifiers" or self.rng.random() < 0.4):
            # The deepest branch first: a dish made for depth shows all of it.
            below = max(choice.modifiers, key=lambda child: len(child.modifiers))
            child, more = self.modifier(below, depth + 1)
            nested, cents = [child], cents + more
        line = {
            "guid": self.guid(),
            "entityType": "MenuItemSelection",
            "item": {
                **self.reference("MenuItem", choice.name),
                "multiLocationId": _multi_location_id(choice.name),
            },
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

    def selection(self, opened_ms: int, voided_ms: int | None) -> tuple[Json, int]:
        """A dish as ordered, and what it adds to the check in cents (nothing when voided)."""
        dish = menu.DISHES[5] if self.shape == "fractional" else self.rng.choice(menu.DISHES)
        if self.shape == "deep_modifiers":
            dish = menu.DISHES[0]
        quantity: int | Decimal = self.rng.choices((1, 2, 3), (8, 2, 1))[0]
        if dish.by_weight:
            quantity = Decimal(self.rng.randrange(25, 300)).scaleb(-2)
        wanted = min(len(dish.modifiers), self.rng.choice((0, 0, 1, 1, 2)))
        if self.shape == "deep_modifiers":
            wanted = len(dish.modifiers)
        chosen = [self.modifier(choice, 1) for choice in self.rng.sample(dish.modifiers, wanted)]
        unit = dish.cents + sum(cents for _, cents in chosen)
        gross = int(unit * quantity)
        name, percent = self.rng.choice(menu.DISCOUNTS)
        discounts = [self.discount(gross, percent, name)] if self.chance("item_discount", 0.05) else []
        net = gross - (gross * percent // 100 if discounts else 0)
        line = self._line(dish.name, quantity, gross, net) | self.void_fields(voided_ms)
        line |= {
            "item": {
                **self.reference("MenuItem", dish.name),
                "multiLocationId": _multi_location_id(dish.name),
            },
            "itemGroup": {
                **self.reference("MenuGroup", dish.group),
                "multiLocationId": _multi_location_id(dish.group),
            },
            "salesCategory": self.reference("SalesCategory", dish.category),
            "unitOfMeasure": "LB" if dish.by_weight else "NONE",
            "createdDate": self.time(opened_ms),
            "modifiedDate": self.time(opened_ms),
            "voidReason": self.reference("VoidReason", menu.VOID_REASONS[0]) if voided_ms is not None else None,
            "appliedDiscounts": discounts,
            "appliedTaxes": self.taxes(net),
            "modifiers": [choice for choice, _ in chosen],
            "refundDetails": self.refund_details(net) if self.chance("refund_selection", 0.01) else None,
        }
        return line, 0 if voided_ms is not None else net

    def _line(self, name: str, quantity: int | Decimal, gross: int, net: int) -> Json:
        return {
            "guid": self.guid(),
            "entityType": "MenuItemSelection",
            "externalId": None,
            "item": None,
            "itemGroup": None,
            "optionGroup": None,
            "preModifier": None,
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
        """A gift card sold or reloaded: deferred, without item and group, untaxed [doc]; and its price in cents."""
        cents = self.rng.choice((2500, 5000, 11100))
        line = self._line("eGift Card", 1, cents, cents)
        return line | {"selectionType": kind, "deferred": True, "tax": 0}, cents

    def special_request(self) -> tuple[Json, int]:
        """A request typed by hand: a line without an item [doc], free of charge."""
        line = self._line(self.rng.choice(menu.REQUESTS), 1, 0, 0)
        return line | {"selectionType": "SPECIAL_REQUEST", "tax": 0}, 0

    def refund_details(self, cents: int) -> Json:
        """A refund of a line or a service charge: the second of the two places for refunds [doc]."""
        return {
            "refundAmount": money(cents),
            "taxRefundAmount": money(cents * TAX_PERCENT // 100),
            "refundTransaction": {"guid": self.guid(), "entityType": "RefundTransaction"},
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

    def customer(self) -> Json:
        """An invented guest: the name is made up, the e-mail cannot be delivered, the telephone is a 555 number."""
        first, last = self.rng.choice(menu.FIRST_NAMES), self.rng.choice(menu.LAST_NAMES)
        number = self.rng.randrange(10_000)
        return {
            "guid": self.guid(),
            "entityType": "Customer",
            "firstName": first,
            "lastName": last,
            "phone": f"555555{number:04d}",
            "phoneCountryCode": "1",
            "email": f"guest{number}@example.com",
        }

    def payment(self, cents: int, tip: int, paid_ms: int) -> Json:
        """A payment of ``cents`` and a tip, with what can befall it: voided, refunded, by gift card, by cash."""
        kind = self.rng.choices(("CREDIT", "CASH", "OTHER"), (80, 17, 3))[0]
        kind = "GIFTCARD" if self.chance("gift_card_used", 0.02) else kind
        full, partial = self.chance("refund_full", 0.01), self.chance("refund_partial", 0.01)
        refund_cents = cents if full else cents // 2 if partial else 0
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
            "paidDate": self.time(paid_ms),
            "paidBusinessDate": business_token(paid_ms),
            "paymentStatus": "VOIDED" if voided else ("CAPTURED" if card else None),
            "voidInfo": self.void_info(0) if voided else None,
            "refundStatus": "FULL" if full else "PARTIAL" if partial else "NONE",
            "refund": self.refund(refund_cents) if refund_cents else None,
            "cardType": self.rng.choice(menu.CARD_TYPES) if card else None,
            "cardEntryMode": self.rng.choice(("EMV_CHIP_SIGN", "ONLINE", "TOKENIZED")) if card else None,
            "last4Digits": f"{self.rng.randrange(10_000):04d}" if card else None,
            "first6Digits": f"99{self.rng.randrange(10_000):04d}" if card else None,
            "cardPaymentId": f"card-{self.rng.getrandbits(48):012x}" if card else None,
            "networkTransactionIdentifier": f"net-{self.rng.getrandbits(40):010x}" if card else None,
            "isProcessedOffline": False,
            "originalProcessingFee": money(cents * 25 // 1000 + 15) if card else None,
            "mcaRepaymentAmount": None,
            "tenderTransactionGuid": self.guid() if card else None,
            "orderGuid": None,
            "checkGuid": None,
            "cashDrawer": self.reference("CashDrawer", "1") if kind == "CASH" else None,
            "otherPayment": self.reference("AlternatePaymentType", "House") if kind == "OTHER" else None,
            "createdDevice": {"id": f"terminal-{self.rng.randrange(4)}"},
            "lastModifiedDevice": {"id": f"terminal-{self.rng.randrange(4)}"},
            "server": self.employee(),
        }

    def void_info(self, offset_ms: int) -> Json:
        """Who voided a payment, who approved it, when and why: employees by GUID only."""
        return {
            "voidUser": self.employee(),
            "voidApprover": self.employee(),
            "voidDate": self.time(offset_ms),
            "voidBusinessDate": business_token(offset_ms),
            "voidReason": self.reference("VoidReason", self.rng.choice(menu.VOID_REASONS)),
        }

    def refund(self, cents: int) -> Json:
        """A refund of a payment: the first of the two places for refunds [doc]."""
        return {
            "refundAmount": money(cents),
            "tipRefundAmount": 0,
            "refundDate": self.time(0),
            "refundBusinessDate": business_token(0),
            "refundTransaction": {"guid": self.guid(), "entityType": "RefundTransaction"},
        }


def _multi_location_id(name: str) -> str:
    digest = blake2b(name.encode(), digest_size=6).hexdigest()
    return str(700_000_000_000_000_000 + int(digest, 16))
