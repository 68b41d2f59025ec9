"""The table ``customers``: one row per check that names a guest."""

from __future__ import annotations

from toast_assets.tables.arrays import Kind
from toast_assets.tables.columns import Column, Table
from toast_assets.tables.common import CHECK, COUNTS, ORIGIN

CUSTOMERS = Table(
    "customers",
    "One row per check that names a guest; checks of one order can name several. Toast leaves guests out entirely "
    "where the credential lacks the scope guest.pi:read.",
    "checks[].customer",
    ("restaurant_guid", "order_guid", "check_guid"),
    (
        *ORIGIN,
        CHECK,
        COUNTS,
        Column(
            "customer_key",
            Kind.TEXT,
            "The guest's GUID, else the SHA-256 of the normalised e-mail, else of the phone, else null: one key per "
            "guest, the same as in what is sent to Amperity.",
            toast="checks[].customer.guid, email, phone",
        ),
        Column("customer_guid", Kind.TEXT, "The guest in Toast.", "guid"),
        Column("first_name", Kind.TEXT, "Given name.", "first_name"),
        Column("last_name", Kind.TEXT, "Surname.", "last_name"),
        Column("email", Kind.TEXT, "E-mail as Toast has it.", "email"),
        Column("phone", Kind.TEXT, "Phone as Toast has it.", "phone"),
        Column("phone_country_code", Kind.TEXT, "The phone's country code.", "phone_country_code"),
    ),
)
