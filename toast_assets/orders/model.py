"""A Toast order as types: the fields that the tables and feeds use, in snake_case (``openedDate`` is ``opened_date``).

Enums are plain strings because Toast calls them open; ``checks.drift`` reports new fields. Money is ``Decimal`` in
currency units (8.99), read from the JSON's digits. Timestamps stay text and business dates integers (``20250919``).

The example payload of Amperity's guide is read, too: ``dining`` for ``diningOption``, ``orderNumber`` for
``displayNumber``, a nested ``deliveryInfo.address``, names inside references. Employees' names are never read.
"""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Annotated

import msgspec

# Toast: prepaid value and payments on account are no sale of the day, whatever `deferred` says.
GIFT_CARD_TYPES = frozenset({"TOAST_CARD_SELL", "TOAST_CARD_RELOAD"})
NO_REVENUE_TYPES = GIFT_CARD_TYPES | {"HOUSE_ACCOUNT_PAY_BALANCE"}
# Fields that are never sent, at any depth, as regular expressions of whole names.
# Who paid, and with what: PCI DSS counts the first six and last four digits (Toast: payments, gift cards,
# pre-authorisations). A gift card's object goes as a whole: it names its buyer and its recipient.
PAYER_FIELDS = (
    *("first[0-9]+(Card)?Digits", "last[0-9]+(Card)?Digits", "cardPaymentId", "networkTransactionIdentifier"),
    *("[cC]ard[hH]older.*", "cardNumber", "giftCardInfo", "giftCardSelectionInfo", "purchaser.*", "appliedPreauthInfo"),
)
# And who delivered (the rest of ``deliveryServiceInfo``, such as the provider's name, stays), and employees: Amperity
# recognises personal data by field name and would take one for a customer.
STAFF_FIELDS = ("driver.*", "server", "openedBy", "approver", "voidUser", "voidApprover", "deliveryEmployee")
NEVER_SENT = (*PAYER_FIELDS, *STAFF_FIELDS)
# Tables hold counts in 32 bits.
_Count = Annotated[int, msgspec.Meta(ge=-(2**31) + 1, le=2**31 - 1)]


# The structs hold no cycles, so the garbage collector need not visit the millions that a week makes; tuples rather
# than lists, because an empty tuple costs nothing and most are empty.
class _Toast(msgspec.Struct, rename="camel", frozen=True, gc=False): ...


class _Voidable(_Toast, frozen=True):
    voided: bool | None = None
    deleted: bool | None = None

    @property
    def is_gone(self) -> bool:
        """Voided or deleted; Toast deletes an order whose checks were moved into another one."""
        return bool(self.voided or self.deleted)


class Reference(_Toast, frozen=True):
    """A reference to something configured in Toast, or to an employee: the GUID alone."""

    guid: str | None = None


class MenuItem(_Toast, frozen=True):
    """A reference to an item of the menu; only the guide's example fills in ``name`` and ``plu``."""

    guid: str | None = None
    multi_location_id: str | None = None
    name: str | None = None
    plu: str | None = None


class DiningOption(_Toast, frozen=True):
    """How the order is served; ``behavior`` (``DELIVERY``, ``DINE_IN``, …) may be absent."""

    guid: str | None = None
    behavior: str | None = None


class Device(_Toast, frozen=True):
    id: str | None = None


class Address(_Toast, frozen=True):
    """Where a delivery goes, in the nested form of the guide's example."""

    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    state: str | None = None
    administrative_area: str | None = None
    zip_code: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class DeliveryInfo(Address, frozen=True):
    """Where and how a delivery goes: flat in real orders."""

    address: Address | None = None
    notes: str | None = None
    delivery_instructions: str | None = None
    delivery_state: str | None = None
    delivered_date: str | None = None
    dispatched_date: str | None = None
    delivery_employee: Reference | None = None

    @property
    def place(self) -> Address:
        """The address, whether it is flat (Toast) or nested (the guide's example)."""
        return self if self.address is None else self.address

    @property
    def instructions(self) -> str | None:
        return self.notes if self.notes is not None else self.delivery_instructions


class DeliveryService(_Toast, frozen=True):
    """Who delivers for the restaurant. The driver is not read at all."""

    provider_name: str | None = None


class ThirdParty(_Toast, frozen=True):
    """The market place that brought an order. Toast names the field and says nothing of what is in it."""

    provider_name: str | None = None
    provider: str | None = None
    name: str | None = None


class CurbsidePickup(_Toast, frozen=True):
    transport_description: str | None = None
    transport_color: str | None = None
    notes: str | None = None


class Customer(_Toast, frozen=True):
    """A guest; every field may be null, ``guid`` included. Toast has them mainly on takeout and delivery."""

    guid: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None
    phone_country_code: str | None = None


class LoyaltyDetails(_Toast, frozen=True):
    vendor: str | None = None
    reference_id: str | None = None


class LoyaltyAccount(_Toast, frozen=True):
    vendor: str | None = None
    loyalty_identifier: str | None = None


class DiscountReason(_Toast, frozen=True):
    name: str | None = None
    comment: str | None = None
    discount_reason: Reference | None = None


class AppliedDiscount(_Toast, frozen=True):
    guid: str | None = None
    name: str | None = None
    discount: Reference | None = None
    discount_type: str | None = None
    discount_amount: Decimal | None = None
    non_tax_discount_amount: Decimal | None = None
    discount_percent: Decimal | None = None
    processing_state: str | None = None
    applied_promo_code: str | None = None
    applied_discount_reason: DiscountReason | None = None
    loyalty_details: LoyaltyDetails | None = None
    approver: Reference | None = None


class RefundDetails(_Toast, frozen=True):
    """What was refunded of one item or service charge; Toast: includes the modifiers below it, excludes tax."""

    refund_amount: Decimal | None = None
    tax_refund_amount: Decimal | None = None
    refund_transaction: Reference | None = None


class AppliedTax(_Toast, frozen=True):
    """A tax on one item or service charge. Toast: ``guid`` can be missing, so it is no key."""

    tax_rate: Reference | None = None
    name: str | None = None
    rate: Decimal | None = None
    tax_amount: Decimal | None = None
    facilitator_collect_and_remit_tax: bool | None = None


class Selection(_Voidable, frozen=True):
    """One line of a check: an item, or below an item a modifier, to any depth.

    Toast: ``pre_discount_price`` is gross and ``price`` net of all discounts, both for the whole quantity, with
    the modifiers' prices and without tax. So prices add up over items alone, never over items and modifiers.
    """

    guid: str | None = None
    display_name: str | None = None
    item: MenuItem | None = None
    item_group: Reference | None = None
    option_group: Reference | None = None
    pre_modifier: Reference | None = None
    sales_category: Reference | None = None
    dining_option: Reference | None = None
    selection_type: str | None = None
    plu: str | None = None
    quantity: Decimal | None = None
    unit_of_measure: str | None = None
    seat_number: _Count | None = None
    pre_discount_price: Decimal | None = None
    price: Decimal | None = None
    tax: Decimal | None = None
    receipt_line_price: Decimal | None = None
    option_group_pricing_mode: str | None = None
    tax_inclusion: str | None = None
    fulfillment_status: str | None = None
    deferred: bool | None = None
    void_date: str | None = None
    void_business_date: int | None = None
    void_reason: Reference | None = None
    created_date: str | None = None
    modified_date: str | None = None
    refund_details: RefundDetails | None = None
    applied_discounts: tuple[AppliedDiscount, ...] | None = None
    applied_taxes: tuple[AppliedTax, ...] | None = None
    modifiers: tuple[Selection, ...] | None = None

    @property
    def name(self) -> str | None:
        """What the guest read: Toast's ``displayName``; the guide's example has the name inside ``item``."""
        return self.display_name or (self.item.name if self.item is not None else None)

    @property
    def lookup_code(self) -> str | None:
        """The PLU code, which the guide's example has inside ``item``."""
        return self.plu or (self.item.plu if self.item is not None else None)

    @property
    def is_gift_card(self) -> bool:
        """A gift card sold or topped up. Toast: ``item`` is null then, and ``deferred`` set."""
        return self.selection_type in GIFT_CARD_TYPES

    @property
    def is_deferred(self) -> bool:
        """Whether it is deferred revenue: a gift card, a deposit."""
        return bool(self.deferred) or self.is_gift_card

    @property
    def is_revenue(self) -> bool:
        """Whether Toast counts it as revenue of the day: not for gift cards and what else is deferred."""
        return not self.deferred and self.selection_type not in NO_REVENUE_TYPES

    @property
    def is_sale(self) -> bool:
        """Whether it is revenue that was neither voided nor deleted."""
        return self.is_revenue and not self.is_gone


class ServiceCharge(_Toast, frozen=True):
    guid: str | None = None
    name: str | None = None
    charge_amount: Decimal | None = None
    gratuity: bool | None = None
    service_charge_category: str | None = None
    service_charge: Reference | None = None
    applied_taxes: tuple[AppliedTax, ...] | None = None
    refund_details: RefundDetails | None = None

    @property
    def is_donation(self) -> bool:
        """Toast: leave fundraising contributions out of sales."""
        return self.service_charge_category == "FUNDRAISING_CAMPAIGN"

    @property
    def is_sale(self) -> bool:
        return not (self.gratuity or self.is_donation)


class Refund(_Toast, frozen=True):
    """Money given back on a payment; ``refund_amount`` is without the tip, with tax."""

    refund_amount: Decimal | None = None
    tip_refund_amount: Decimal | None = None
    refund_date: str | None = None
    refund_business_date: int | None = None
    refund_transaction: Reference | None = None


class VoidInfo(_Toast, frozen=True):
    void_date: str | None = None
    void_business_date: int | None = None
    void_reason: Reference | None = None


class Payment(_Toast, frozen=True):
    """One payment on a check. Card numbers and identifiers are not read at all."""

    guid: str | None = None
    type: str | None = None
    amount: Decimal | None = None
    tip_amount: Decimal | None = None
    amount_tendered: Decimal | None = None
    original_processing_fee: Decimal | None = None
    mca_repayment_amount: Decimal | None = None
    card_entry_mode: str | None = None
    card_type: str | None = None
    payment_status: str | None = None
    paid_date: str | None = None
    paid_business_date: int | None = None
    refund_status: str | None = None
    refund: Refund | None = None
    void_info: VoidInfo | None = None
    server: Reference | None = None
    cash_drawer: Reference | None = None
    house_account: Reference | None = None
    other_payment: Reference | None = None

    @property
    def is_voided(self) -> bool:
        """Toast: the status says so, or there is information about the void."""
        return self.payment_status == "VOIDED" or (
            self.void_info is not None and (self.void_info.void_date or self.void_info.void_business_date) is not None
        )


class Check(_Voidable, frozen=True):
    guid: str | None = None
    external_id: str | None = None
    display_number: str | None = None
    created_date: str | None = None
    opened_date: str | None = None
    closed_date: str | None = None
    modified_date: str | None = None
    paid_date: str | None = None
    void_date: str | None = None
    void_business_date: int | None = None
    payment_status: str | None = None
    tab_name: str | None = None
    tax_exempt: bool | None = None
    duration: _Count | None = None
    amount: Decimal | None = None
    tax_amount: Decimal | None = None
    total_amount: Decimal | None = None
    opened_by: Reference | None = None
    created_device: Device | None = None
    last_modified_device: Device | None = None
    customer: Customer | None = None
    applied_loyalty_info: LoyaltyAccount | None = None
    applied_discounts: tuple[AppliedDiscount, ...] | None = None
    applied_service_charges: tuple[ServiceCharge, ...] | None = None
    selections: tuple[Selection, ...] | None = None
    payments: tuple[Payment, ...] | None = None


class Order(_Voidable, frozen=True):
    """One order. Nothing in it says which restaurant it belongs to, so that travels beside it."""

    guid: str | None = None
    external_id: str | None = None
    display_number: str | None = None
    order_number: str | None = None
    business_date: int | None = None
    opened_date: str | None = None
    created_date: str | None = None
    modified_date: str | None = None
    promised_date: str | None = None
    estimated_fulfillment_date: str | None = None
    paid_date: str | None = None
    closed_date: str | None = None
    deleted_date: str | None = None
    void_date: str | None = None
    void_business_date: int | None = None
    created_in_test_mode: bool | None = None
    excess_food: bool | None = None
    source: str | None = None
    approval_status: str | None = None
    duration: _Count | None = None
    number_of_guests: _Count | None = None
    required_prep_time: str | None = None
    channel_guid: str | None = None
    dining_option: DiningOption | None = None
    dining: DiningOption | None = None
    revenue_center: Reference | None = None
    restaurant_service: Reference | None = None
    service_area: Reference | None = None
    table: Reference | None = None
    server: Reference | None = None
    created_device: Device | None = None
    last_modified_device: Device | None = None
    delivery_info: DeliveryInfo | None = None
    delivery_service_info: DeliveryService | None = None
    third_party_provider_info: ThirdParty | str | None = None
    curbside_pickup_info: CurbsidePickup | None = None
    applied_discounts: tuple[AppliedDiscount, ...] | None = None
    checks: tuple[Check, ...] | None = None

    @property
    def number(self) -> str | None:
        """The number on the ticket, not unique; ``orderNumber`` in the guide's example."""
        return self.display_number if self.display_number is not None else self.order_number

    @property
    def served_as(self) -> DiningOption | None:
        """The dining option; ``dining`` in the guide's example."""
        return self.dining_option if self.dining_option is not None else self.dining

    @property
    def marketplace(self) -> str | None:
        """The market place that brought the order, else its delivery service."""
        third, service = self.third_party_provider_info, self.delivery_service_info
        said = (third.provider_name, third.provider, third.name) if isinstance(third, ThirdParty) else (third,)
        return next(filter(None, said), None) or (service.provider_name if service else None)

    @property
    def gone_date(self) -> str | None:
        """When the order was deleted. Toast: the date counts only with the flag, else it is null or 1970."""
        return self.deleted_date if self.deleted else None


class KnownFields(msgspec.Struct, frozen=True):
    """What Toast documents of an order: all ``fields`` by path, and the ``values`` of enums."""

    fields: frozenset[str]
    values: dict[str, frozenset[str]]


@cache
def known_fields() -> KnownFields:
    """The documented fields that come with the package: rules for privacy may name them, and checks may show them."""
    data = resources.files("toast_assets.orders").joinpath("known_fields.json").read_bytes()
    return msgspec.json.decode(data, type=KnownFields)
