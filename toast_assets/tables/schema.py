"""All tables, in the order in which people read them: their columns, what these hold, and where Toast has it."""

from __future__ import annotations

from functools import partial

from toast_assets.store.order_store import NAMES_TABLE, RESTAURANTS_TABLE, STATUS_TABLE
from toast_assets.tables.columns import Column, Kind, Lookup, Table
from toast_assets.toast.configuration import ENTITIES

text = partial(Column, Kind.TEXT)
money = partial(Column, Kind.MONEY)
quantity = partial(Column, Kind.QUANTITY)
instant = partial(Column, Kind.INSTANT)
local = partial(Column, Kind.LOCAL)
day = partial(Column, Kind.DAY)
flag = partial(Column, Kind.FLAG)
count = partial(Column, Kind.COUNT)
coordinate = partial(Column, Kind.COORDINATE)


def named(
    name: str, kind: str, guid: str, description: str, path: str = "", own: str = "", what: str = "name"
) -> Column:
    """A column with what Toast's configuration says of the thing of a ``kind`` whose GUID is in the column ``guid``;
    where that is unknown the attribute at ``path``, which is Toast's field ``own``, else null."""
    toast = f"config: {ENTITIES[kind]}.{what}" + (f", {own}" if own else "")
    return Column(Kind.TEXT, name, description, path, toast=toast, lookup=Lookup(kind, guid, what))


def entity(name: str, description: str, path: str, kind: str = "") -> tuple[Column, Column]:
    """The columns for the GUID at ``path`` of a thing that Toast's configuration names, and for its name; without a
    ``kind`` it is of the kind ``name``."""
    guid = f"{name}_guid"
    of_name = named(f"{name}_name", kind or name, guid, "Its name in Toast's configuration.")
    return text(guid, description, f"{path}.guid"), of_name


# fmt: off
# A column is one line where it fits.
_RESTAURANT = text("restaurant_guid", "The restaurant. Toast's orders do not say it; it is the one that was asked for.",
    given="")
_ORDER = text("order_guid", "The order.", given="guid")
_CHECK = text("check_guid", "The check (bill) within the order.", given="checks[].guid")
_BUSINESS_DATE = day("business_date",
    "The order's business date on the restaurant's calendar; a day ends at its closeout hour, 04:00 by default.",
    given="businessDate")
_ORDER_MODIFIED = instant("order_modified_at",
    "When the order was last modified: the newest row of an order, over all weeks, is its current state.",
    given="modifiedDate")
_COUNTS = flag("counts", "False when the order or the check is voided or deleted: such rows are no sales.",
    given="voided, deleted, checks[].voided, checks[].deleted")
_ORIGIN = (_RESTAURANT, _ORDER, _BUSINESS_DATE, _ORDER_MODIFIED)
_TOTALS = (
    money("item_sales",
        "Items before discounts, without tax; without voided and deleted ones, gift cards and deferred revenue.",
        given="checks[].selections[].preDiscountPrice"),
    money("service_charge_amount", "Service charges that are neither gratuities nor donations, without tax.",
        given="checks[].appliedServiceCharges[].chargeAmount"),
    money("gross_sales", "Toast's gross sales: item_sales + service_charge_amount.",
        given="checks[].selections[].preDiscountPrice, checks[].appliedServiceCharges[].chargeAmount"),
    money("discount_amount", "Non-tax discounts on items, modifiers and checks that count; discountAmount where "
        "nonTaxDiscountAmount is null.", given="appliedDiscounts[].nonTaxDiscountAmount"),
    money("net_sales", "Net sales before refunds, as Toast's recipe for the Orders API: gross_sales - discount_amount.",
        given="checks[].selections[].preDiscountPrice and discounts, checks[].appliedServiceCharges[].chargeAmount"),
    money("sales_refund_amount", "Refunds of items and service charges that are sales, without tax, and of custom "
        "amounts in full.",
        given="refundDetails.refundAmount of items and service charges, checks[].payments[].refund.refundAmount"),
    money("tax_refund_amount", "Refunds of the tax on them.", given="refundDetails.taxRefundAmount"),
    money("tip_refund_amount", "Refunds of tips.", given="checks[].payments[].refund.tipRefundAmount"),
    money("net_sales_after_refunds", "Net sales in Toast Web: net_sales - sales_refund_amount.",
        given="as net_sales and sales_refund_amount"),
    money("waste_amount", "Gross price of what was wasted; all other amounts of such an order are 0.",
        given="excessFood, checks[].selections[].preDiscountPrice"),
    money("deferred_amount", "Gift cards, deposits and other deferred revenue sold; no part of sales.",
        given="checks[].selections[].preDiscountPrice"),
    money("refund_amount", "Refunds of payments, without tips, with tax; check totals never change on a refund.",
        given="checks[].payments[].refund.refundAmount"),
    money("gratuity_amount", "Service charges that are a gratuity; no part of sales.",
        given="checks[].appliedServiceCharges[].chargeAmount"),
    money("donation_amount", "Service charges that are a donation (FUNDRAISING_CAMPAIGN); no part of sales.",
        given="checks[].appliedServiceCharges[].chargeAmount"),
    money("tax_amount", "Tax of what counts, 0 where nothing counts.", given="checks[].taxAmount"),
    money("tip_amount", "Tips on payments taken.", given="checks[].payments[].tipAmount"),
    money("payment_amount",
        "Payments taken, without tips and before refunds; voided, denied and failed payments are none.",
        given="checks[].payments[].amount"),
)

_ORDERS = Table(
    "orders", "One row per order, in its newest version of the week. Amounts are sums over its checks. Toast's "
    "recipe for net sales leaves out what is voided or deleted, not what was made in test mode or records wasted "
    "food: filter by created_in_test_mode and excess_food.", "", ("restaurant_guid", "order_guid"),
    (
        _RESTAURANT,
        text("restaurant_name", "The restaurant's name in Toast's configuration; null where it is unknown.", given=""),
        text("currency", "The currency of all amounts, as ISO code; null where it is unknown. Toast has it in the "
            "restaurant's configuration.", given=""),
        _ORDER, _BUSINESS_DATE,
        instant("modified_at",
            "When the order, a check or an item in it was last modified: over all weeks the newest row is current.",
            "modified_date"),
        text("external_id", "The id that an ordering partner gave the order."),
        text("display_number", "The number on the ticket; not unique.", "number"),
        instant("opened_at", "When the order was opened; for a scheduled order when it is promised.", "opened_date"),
        local("opened_at_local", "opened_at on the restaurant's clock; null where its time zone is unknown.",
            given="openedDate"),
        instant("created_at", "When Toast received the order.", "created_date"),
        instant("promised_at", "When a scheduled order is to be ready.", "promised_date"),
        instant("estimated_fulfillment_at", "When a takeout or delivery order is expected to be ready.",
            "estimated_fulfillment_date"),
        instant("paid_at", "When the order last received a payment.", "paid_date"),
        instant("closed_at", "When the last check was closed.", "closed_date"),
        flag("voided", "The whole order was voided."),
        instant("voided_at", "When it was voided.", "void_date"),
        day("void_business_date", "The business date of the void."),
        flag("deleted", "The order was deleted, such as when its checks moved elsewhere."),
        instant("deleted_at", "When it was deleted; null unless deleted, where Toast writes 1970.", "gone_date"),
        flag("created_in_test_mode", "The restaurant was in test mode."),
        flag("excess_food", "The order records wasted food, not a guest's order."),
        text("source", "How it was placed: In Store, Online, API, Kiosk, …; an open list."),
        text("marketplace", "The market place that brought the order, such as DoorDash, else its delivery service.",
            toast="thirdPartyProviderInfo, deliveryServiceInfo.providerName"),
        text("approval_status", "APPROVED, FUTURE, …; an open list."),
        count("duration_seconds", "Seconds from creation to payment.", "duration"),
        count("number_of_guests", "Guests at the table."),
        text("required_prep_time", "Preparation time as an ISO-8601 duration."),
        *entity("dining_option", "The dining option.", "served_as"),
        named("dining_behavior", "dining_option", "dining_option_guid",
            "Its kind: DINE_IN, TAKE_OUT, DELIVERY; where Toast's configuration is unknown, what the order says of it.",
            "served_as.behavior", "diningOption.behavior", "behavior"),
        *entity("revenue_center", "The revenue centre.", "revenue_center"),
        *entity("restaurant_service", "The meal: lunch, dinner, ….", "restaurant_service"),
        *entity("service_area", "The service area.", "service_area"),
        *entity("table", "The table.", "table"),
        text("server_guid", "The employee who served; never a name.", "server.guid"),
        text("channel_guid", "Reserved by Toast."),
        text("created_device_id", "The device that created the order.", "created_device.id"),
        text("modified_device_id", "The device that last modified it.", "last_modified_device.id"),
        text("delivery_address1", "Delivery: street.", "delivery_info.place.address1"),
        text("delivery_address2", "Delivery: second line.", "delivery_info.place.address2"),
        text("delivery_city", "Delivery: city.", "delivery_info.place.city"),
        text("delivery_state", "Delivery: state, two letters.", "delivery_info.place.state"),
        text("delivery_administrative_area", "Delivery: region, where there is no state.",
            "delivery_info.place.administrative_area"),
        text("delivery_postal_code", "Delivery: postal code, text.", "delivery_info.place.zip_code"),
        text("delivery_country", "Delivery: country.", "delivery_info.place.country"),
        coordinate("delivery_latitude", "Delivery: latitude.", "delivery_info.place.latitude"),
        coordinate("delivery_longitude", "Delivery: longitude.", "delivery_info.place.longitude"),
        text("delivery_notes", "The guest's notes for the delivery.", "delivery_info.instructions"),
        text("delivery_status", "PENDING, IN_PROGRESS, PICKED_UP, DELIVERED; an open list.",
            "delivery_info.delivery_state"),
        instant("dispatched_at", "When it left for delivery.", "delivery_info.dispatched_date"),
        instant("delivered_at", "When it was delivered.", "delivery_info.delivered_date"),
        text("delivery_employee_guid", "The employee who delivered it.", "delivery_info.delivery_employee.guid"),
        text("curbside_transport", "How a guest who waits outside can be recognised.",
            "curbside_pickup_info.transport_description"),
        text("curbside_transport_color", "The colour of that vehicle.", "curbside_pickup_info.transport_color"),
        text("curbside_notes", "The guest's notes for pick-up.", "curbside_pickup_info.notes"),
        count("check_count", "Checks, voided and deleted ones included.", given="checks[]"),
        *_TOTALS,
    ),
)

_CHECKS = Table(
    "checks", "One row per check. amount, tax_amount and total_amount are Toast's own and stay as they were on a "
    "void; the sums from net_sales on are 0 where the check does not count, payments and refunds excepted.",
    "checks[]", ("restaurant_guid", "order_guid", "check_guid"),
    (
        *_ORIGIN,
        text("check_guid", "The check.", "guid"),
        count("position", "The check's place in the order, from 0.", given="checks[]"),
        _COUNTS,
        text("external_id", "The id that an ordering partner gave the check."),
        text("display_number", "The number on the bill; not unique."),
        instant("created_at", "When Toast received the check.", "created_date"),
        instant("opened_at", "When the check was opened.", "opened_date"),
        instant("closed_at", "When the check was last closed.", "closed_date"),
        instant("paid_at", "When the check last received a payment.", "paid_date"),
        instant("modified_at", "When the check was last modified.", "modified_date"),
        flag("voided", "The check was voided."),
        instant("voided_at", "When it was voided.", "void_date"),
        day("void_business_date", "The business date of the void."),
        flag("deleted", "The check was deleted."),
        text("payment_status", "OPEN, PAID, CLOSED; an open list."),
        text("tab_name", "The name on the tab, often a guest's."),
        flag("tax_exempt", "No tax is due."),
        count("duration_seconds", "Seconds from creation to payment.", "duration"),
        money("amount", "Toast's amount: after discounts, with service charges that are no gratuity, without tax."),
        money("tax_amount", "Toast's tax on items and service charges."),
        money("total_amount",
            "Toast's total: amount and tax, in many bodies also gratuities and tips. Never changed by a refund."),
        money("service_charge_refund_amount", "Refunds of service charges, without tax.",
            given="checks[].appliedServiceCharges[].refundDetails.refundAmount"),
        money("service_charge_tax_refund_amount", "Refunds of the tax on service charges.",
            given="checks[].appliedServiceCharges[].refundDetails.taxRefundAmount"),
        text("opened_by_guid", "The employee who opened the check; never a name.", "opened_by.guid"),
        text("created_device_id", "The device that created the check.", "created_device.id"),
        text("modified_device_id", "The device that last modified it.", "last_modified_device.id"),
        text("customer_guid", "The guest, where Toast names one.", "customer.guid"),
        text("loyalty_vendor", "The loyalty programme.", "applied_loyalty_info.vendor"),
        text("loyalty_identifier", "The guest's account there.", "applied_loyalty_info.loyalty_identifier"),
        *(column for column in _TOTALS if column.name != "tax_amount"),
    ),
)

_ORDER_ITEMS = Table(
    "order_items", "One row per item (depth 0) and per modifier below it, to any depth. An item's prices include its "
    "modifiers': add up prices at depth 0 only, or net_sales over all rows.", "checks[].selections[]",
    ("restaurant_guid", "order_guid", "selection_guid"),
    (
        *_ORIGIN, _CHECK,
        text("selection_guid", "The item or modifier as ordered.", "guid"),
        text("parent_selection_guid", "The item or modifier that this modifier belongs to; null for an item.",
            given="checks[].selections[].guid"),
        count("depth", "0 for an item, 1 for its modifiers, 2 for theirs, ….", given="modifiers[]"),
        count("position", "The place among its siblings, from 0.", given="checks[].selections[]"),
        _COUNTS,
        text("display_name", "What the guest read, the item's name.", "name",
            toast="checks[].selections[].displayName"),
        text("item_guid", "The menu item; null for gift cards and special requests.", "item.guid"),
        named("item_name", "menu_item", "item_guid",
            "Its newest name in Toast's configuration; display_name is what it was called then."),
        text("item_multi_location_id", "The menu item's key across all restaurants of the group.",
            "item.multi_location_id"),
        *entity("item_group", "The menu group it was ordered from.", "item_group", "menu_group"),
        text("option_group_guid", "The modifier group, for a modifier.", "option_group.guid"),
        text("pre_modifier_guid", "The pre-modifier, such as NO or EXTRA.", "pre_modifier.guid"),
        *entity("sales_category", "The sales category.", "sales_category"),
        *entity("dining_option", "The item's own dining option.", "dining_option"),
        text("plu", "The price look-up code.", "lookup_code"),
        text("selection_type",
            "NONE or null for a menu item; OPEN_ITEM, SPECIAL_REQUEST, TOAST_CARD_SELL, …; an open list."),
        quantity("quantity", "The quantity; fractional when weighed or split."),
        text("unit_of_measure", "NONE, LB, OZ, KG, …; an open list."),
        count("seat_number", "The seat; 0 shared, -1 not chosen."),
        money("pre_discount_price", "Gross price for the whole quantity, with modifiers, without tax."),
        money("price",
            "Net price for the whole quantity, with modifiers, after discounts, without tax, as Toast says."),
        money("tax", "Tax on this row."),
        money("receipt_line_price", "Price of one, without modifiers."),
        money("discount_amount", "Non-tax discounts on this very row.",
            given="checks[].selections[].appliedDiscounts[].nonTaxDiscountAmount"),
        money("check_discount_amount", "The item's share of the discounts on its check: by Toast's price of each item "
            "where these prices explain the discounts to the cent, else in proportion to the prices; 0 for modifiers.",
            given="checks[].selections[].price, checks[].appliedDiscounts[].nonTaxDiscountAmount"),
        money("net_sales", "This row's part of net sales: pre_discount_price - discount_amount - check_discount_amount "
            "for an item that counts and is a sale, without its deferred modifiers and its modifiers' discounts; 0 for "
            "every other item, and for modifiers, whose price is in their item's. Add it up over all rows.",
            given="checks[].selections[].preDiscountPrice"),
        text("tax_inclusion", "INCLUDED, NOT_INCLUDED, INHERITED; an open list."),
        text("option_group_pricing_mode", "How the modifier group changes the item's price; an open list."),
        text("fulfillment_status", "NEW, HOLD, SENT, READY; an open list."),
        flag("is_gift_card", "A gift card sold or topped up.", given="checks[].selections[].selectionType"),
        flag("deferred", "Deferred revenue, such as a gift card: no sale of the day."),
        flag("voided", "This item or modifier was voided."),
        instant("voided_at", "When it was voided.", "void_date"),
        day("void_business_date", "The business date of the void."),
        text("void_reason_guid", "Why it was voided.", "void_reason.guid"),
        named("void_reason_name", "void_reason", "void_reason_guid", "The reason in Toast's configuration."),
        flag("deleted", "This item or modifier was deleted."),
        instant("created_at", "When it was ordered.", "created_date"),
        local("created_at_local", "created_at on the restaurant's clock; null where its time zone is unknown.",
            given="checks[].selections[].createdDate"),
        instant("modified_at", "When it was last modified.", "modified_date"),
        money("refund_amount", "Refunded of this row, without tax; an item's includes its modifiers'.",
            "refund_details.refund_amount"),
        money("tax_refund_amount", "Refunded tax.", "refund_details.tax_refund_amount"),
        text("refund_transaction_guid", "What was refunded together.", "refund_details.refund_transaction.guid"),
    ),
)

_PAYMENTS = Table(
    "payments",
    "One row per payment. Card digits and card identifiers are personal data and are left in the raw orders.",
    "checks[].payments[]", ("restaurant_guid", "order_guid", "payment_guid"),
    (
        *_ORIGIN, _CHECK,
        text("payment_guid", "The payment.", "guid"),
        _COUNTS,
        flag("taken", "Money was taken or is about to be: not voided, denied, cancelled or failed.",
            given="checks[].payments[].paymentStatus"),
        text("type", "CASH, CREDIT, GIFTCARD, OTHER, …; an open list."),
        text("card_type", "VISA, MASTERCARD, …; an open list."),
        text("card_entry_mode", "SWIPED, KEYED, ONLINE, …; an open list."),
        text("payment_status", "CAPTURED, VOIDED, …; an open list."),
        instant("paid_at", "When it was paid.", "paid_date"),
        local("paid_at_local", "paid_at on the restaurant's clock; null where its time zone is unknown.",
            given="checks[].payments[].paidDate"),
        day("paid_business_date", "The business date of the payment."),
        money("amount", "The amount, without the tip."),
        money("tip_amount", "The tip."),
        money("amount_tendered", "What the guest handed over, without the tip."),
        money("original_processing_fee", "The processing fee, once the payment is captured."),
        money("mca_repayment_amount", "Amounts that Toast withheld."),
        text("refund_status", "NONE, PARTIAL, FULL; an open list."),
        money("refund_amount", "Refunded, without the tip, with tax.", "refund.refund_amount"),
        money("tip_refund_amount", "Refunded of the tip.", "refund.tip_refund_amount"),
        instant("refunded_at", "When it was refunded.", "refund.refund_date"),
        day("refund_business_date", "The business date of the refund, often later than the order's.",
            "refund.refund_business_date"),
        text("refund_transaction_guid", "What was refunded together.", "refund.refund_transaction.guid"),
        flag("voided", "The payment was voided: by its status, or because there is a date of the void.", "is_voided",
            toast="checks[].payments[].paymentStatus, checks[].payments[].voidInfo"),
        instant("voided_at", "When it was voided.", "void_info.void_date"),
        day("void_business_date", "The business date of the void.", "void_info.void_business_date"),
        text("void_reason_guid", "Why it was voided.", "void_info.void_reason.guid"),
        named("void_reason_name", "void_reason", "void_reason_guid", "The reason in Toast's configuration."),
        text("server_guid", "The employee who took it; never a name.", "server.guid"),
        text("cash_drawer_guid", "The cash drawer.", "cash_drawer.guid"),
        text("house_account_guid", "The house account.", "house_account.guid"),
        text("other_payment_guid", "The restaurant's own way of payment.", "other_payment.guid"),
        named("alternate_payment_name", "alternate_payment_type", "other_payment_guid",
            "Its name in Toast's configuration."),
    ),
)

_DISCOUNTS = Table(
    "discounts", "One row per applied discount, on whatever level.", "appliedDiscounts[]",
    ("restaurant_guid", "order_guid"),
    (
        *_ORIGIN,
        text("check_guid", "The check; null for a discount on the order, which only the guide's example has.",
            given="checks[].guid"),
        text("selection_guid", "The item or modifier; null for a discount on the check.",
            given="checks[].selections[].guid"),
        text("level", "order, check, item or modifier.", given=""),
        flag("counts", "It is taken off sales: false where order, check, item or what is above it is voided, deleted, "
            "deferred or wasted, and for a discount on the order.",
            given="voided, deleted, checks[].voided, checks[].deleted, checks[].selections[].voided"),
        text("applied_discount_guid", "The discount as applied.", "guid"),
        text("discount_guid", "The discount as configured.", "discount.guid"),
        named("discount_name", "discount", "discount_guid",
            "Its newest name in Toast's configuration; name is what it was called then."),
        text("name", "Its name on the check."),
        text("discount_type", "PERCENT, FIXED, OPEN_PERCENT, OPEN_FIXED, BOGO, FIXED_TOTAL; an open list."),
        quantity("discount_percent", "0 to 100, for a percentage."),
        money("discount_amount", "The whole discount."),
        money("non_tax_discount_amount", "The part that is not tax; less than the whole where prices include tax."),
        money("sales_discount_amount", "What it takes off sales: the non-tax part, the whole where that is null, 0 "
            "for a loyalty reward that was removed again. Rows with counts add up to orders.discount_amount.",
            given="appliedDiscounts[].nonTaxDiscountAmount, appliedDiscounts[].discountAmount"),
        text("processing_state", "State of a loyalty reward; an open list."),
        text("promo_code", "The promotion code.", "applied_promo_code"),
        text("reason_name", "Why it was given.", "applied_discount_reason.name"),
        text("reason_comment", "A remark on that.", "applied_discount_reason.comment"),
        text("reason_guid", "The reason as configured.", "applied_discount_reason.discount_reason.guid"),
        text("loyalty_vendor", "The loyalty programme.", "loyalty_details.vendor"),
        text("loyalty_reference", "The reward there.", "loyalty_details.reference_id"),
        text("approver_guid", "The employee who approved it; never a name.", "approver.guid"),
    ),
)

_SERVICE_CHARGES = Table(
    "service_charges", "One row per service charge on a check: fees, surcharges, gratuities, donations.",
    "checks[].appliedServiceCharges[]", ("restaurant_guid", "order_guid", "check_guid", "service_charge_id"),
    (
        *_ORIGIN, _CHECK,
        text("service_charge_id", "The service charge as applied.", "guid"),
        text("service_charge_guid", "The service charge as configured.", "service_charge.guid"),
        named("service_charge_name", "service_charge", "service_charge_guid",
            "Its name in Toast's configuration, else its name on the check.",
            "name", "checks[].appliedServiceCharges[].name"),
        text("category", "SERVICE_CHARGE, CREDIT_CARD_SURCHARGE, FUNDRAISING_CAMPAIGN, CASH_ROUNDING, …; an open list.",
            "service_charge_category"),
        money("amount", "The charge, without tax.", "charge_amount"),
        money("tax_amount", "Tax on it.", given="checks[].appliedServiceCharges[].appliedTaxes[].taxAmount"),
        flag("gratuity", "It is a gratuity, no sale."),
        _COUNTS,
        money("refund_amount", "Refunded of it, without tax.", "refund_details.refund_amount"),
        money("tax_refund_amount", "Refunded tax.", "refund_details.tax_refund_amount"),
    ),
)

_TAXES = Table(
    "taxes", "One row per tax on an item, a modifier or a service charge.", "appliedTaxes[]",
    ("restaurant_guid", "order_guid", "check_guid", "selection_guid", "service_charge_id", "tax_rate_guid"),
    (
        *_ORIGIN, _CHECK, _COUNTS,
        text("selection_guid", "The item or modifier; null for a tax on a service charge.",
            given="checks[].selections[].guid"),
        text("service_charge_id", "The service charge as applied; null for a tax on an item.",
            given="checks[].appliedServiceCharges[].guid"),
        *entity("tax_rate", "The tax rate as configured.", "tax_rate"),
        text("tax_name", "Its name on the check.", "name"),
        quantity("rate", "The rate, such as 0.0625."),
        money("tax_amount", "The tax."),
        flag("facilitator_collects", "A market place collects and remits this tax, not the restaurant.",
            "facilitator_collect_and_remit_tax"),
    ),
)

_CUSTOMERS = Table(
    "customers", "One row per check that names a guest; checks of one order can name several. Toast leaves guests "
    "out entirely where the credential lacks the scope guest.pi:read.", "checks[].customer",
    ("restaurant_guid", "order_guid", "check_guid"),
    (
        *_ORIGIN, _CHECK, _COUNTS,
        text("customer_key", "The guest's GUID, else the SHA-256 of the normalised e-mail, else of the phone, else "
            "null: the same as in what is sent to Amperity. Toast can have several GUIDs for one person.",
            given="checks[].customer.guid, email, phone"),
        text("email_key", "SHA-256 of the normalised e-mail, keyed by AMPERITY_REDACT_SALT where it is set, as in the "
            "feed; null where there is no e-mail. It joins a person's several GUIDs.",
            given="checks[].customer.email"),
        text("customer_guid", "The guest in Toast.", "guid"),
        text("first_name", "Given name."),
        text("last_name", "Surname."),
        text("email", "E-mail as Toast has it."),
        text("phone", "Phone as Toast has it."),
        text("phone_country_code", "The phone's country code."),
    ),
)

_SEEN = (
    instant("first_seen", "When a pull first read it.", given=""),
    instant("last_seen", "When a pull last read it. Toast does not return what is archived.", given=""),
)
NAMES = Table(
    NAMES_TABLE, "One row per GUID of Toast's configuration, with its newest name. A name stays when Toast archives "
    "its entity.", "", ("restaurant_guid", "kind", "guid"),
    (
        text("restaurant_guid", "The restaurant.", given=""),
        text("kind", "dining_option, revenue_center, restaurant_service, service_area, table, sales_category, "
            "menu_group, menu_item, discount, service_charge, void_reason, alternate_payment_type, tax_rate.",
            given=""),
        text("guid", "What the name is of."),
        text("name", "Its newest name."),
        text("behavior", "Of a dining option: DINE_IN, TAKE_OUT, DELIVERY; an open list."),
        *_SEEN,
    ),
)
RESTAURANTS = Table(
    RESTAURANTS_TABLE, "One row per restaurant, as Toast last described it.", "general", ("restaurant_guid",),
    (
        text("restaurant_guid", "The restaurant.", given=""),
        text("restaurant_name", "The name of the restaurant, often of the brand.", "name"),
        text("location_name", "The name of the location."),
        text("location_code", "The brand's own code of the location."),
        text("time_zone", "The IANA time zone."),
        text("currency", "The currency of all amounts, as ISO code.", "currency_code"),
        count("closeout_hour", "The local hour at which a business day ends."),
        day("first_business_date", "The first business date."),
        flag("archived", "Toast has archived the restaurant."),
        *_SEEN,
    ),
)

_text = partial(text, given="")
_count = partial(count, given="")
_instant = partial(instant, given="")
STATUS = Table(
    STATUS_TABLE, "One row per restaurant and week: whether it is stored and delivered, else why not, and what happens "
    "next. Each run refreshes it.", "", ("week", "restaurant_guid"),
    (
        day("week", "The week, by its first day.", given=""),
        _text("restaurant_guid", "The restaurant."),
        _text("restaurant_name", "Its name."),
        _text("state", "complete; incomplete (stored, but the last attempt did not end well); failed (nothing is "
            "stored); not pulled; expired (complete, and retention removed the raw orders); unreadable (the week's "
            "manifest)."),
        _text("reason", "Why it is not complete, or not delivered whole; null where all is well."),
        _text("next", "What happens next, by the sensor's rules."),
        _count("orders", "Stored orders."),
        _count("unreadable", "Orders that cannot be read, kept beside them."),
        _text("delivery", "delivered; refused (some records); partly (some records have no answer); out of date (older "
            "than the last pull); not delivered; null where nothing is stored."),
        _count("records", "Records of the last delivery, of all methods."),
        _count("delivered", "Records of it that have arrived, by this or an earlier delivery."),
        _count("rejected", "Records that Amperity refused."),
        _count("pending", "Records without an answer."),
        _count("superseded", "Records that were not sent, as a newer version had arrived."),
        _text("second_look", "done, due, overdue, or not needed: whether Toast was asked again after "
            "TOAST_SECOND_LOOK_HOURS."),
        _instant("second_look_at", "When it was done, or is due."),
        _text("census", "taken, not available, or not taken: whether Toast listed the orders of each business day."),
        _count("census_held", "Listed orders that are stored in some week."),
        _count("census_found", "Listed orders that only the census found; they are stored."),
        _count("census_pending", "Listed orders of which a week was not pulled yet."),
        _count("census_unknown", "Listed orders that cannot be fetched."),
        _instant("pulled_at", "When the last pull ended."),
        _instant("delivered_at", "When the last delivery ended."),
    ),
)

# fmt: on
_ALL = (_ORDERS, _CHECKS, _ORDER_ITEMS, _PAYMENTS, _DISCOUNTS, _SERVICE_CHARGES, _TAXES, _CUSTOMERS)
TABLES: dict[str, Table] = {table.name: table for table in _ALL}
