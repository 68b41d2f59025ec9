"""The feed ``customers``: one row per guest of a week, with the newest that all weeks say of each."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from toast_assets.amperity.feeds.schema import Feed, Row, moment, text
from toast_assets.amperity.feeds.shared_columns import modified_times
from toast_assets.index.guests import Guest
from toast_assets.orders.times import zone
from toast_assets.week import from_epoch_ms

# A row that knows a guest's GUID alone: older than any other, so that by upsert it never replaces what is known.
NOTHING_KNOWN_AT = "1970-01-01 00:00:00.000"


class CustomerRow(Row, frozen=True):
    """A guest."""

    customer_id: Annotated[str, text("Toast's GUID, else the SHA-256 (hex) of email, else of phone.", key=True)]
    fk_customer: Annotated[str, text("The same, as in transactions and order_items.")]
    given_name: Annotated[str | None, text("First name.")]
    surname: Annotated[str | None, text("Last name.")]
    email: Annotated[str | None, text("E-mail, trimmed and in lower case; null when it is none.")]
    phone: Annotated[str | None, text("Ten digits for North America, else + and all digits; null when it is none.")]
    email_key: Annotated[str | None, text("SHA-256 (hex) of email, keyed by AMPERITY_REDACT_SALT where that is set.")]
    loyalty_id: Annotated[str | None, text("The loyalty account on the newest check that names the guest with one.")]
    address: Annotated[str | None, text("Street of the newest delivery.")]
    address2: Annotated[str | None, text("Second line of that address.")]
    city: Annotated[str | None, text("City of that address.")]
    state: Annotated[str | None, text("State of that address, else its region.")]
    postal: Annotated[str | None, text("Postal code of that address, as text.")]
    country: Annotated[str | None, text("Country of that address.")]
    modified_at: Annotated[
        str, moment("When the newest order that says more than a GUID was modified, in UTC, or later; else 1970.")
    ]
    modified_at_local: Annotated[str, moment("The same on the clock of that order's restaurant.")]


_PERSON = ("given_name", "surname", "email", "phone")
# Amperity: loyalty profiles are unique by Amperity ID where one field has both.
_LOYALTY = ("loy/loyalty-id", "fk-loyalty-id")
_ADDRESS = ("address", "address2", "city", "state", "postal", "country")
CUSTOMERS = Feed(
    "customers",
    "One row per guest of the week, also of voided orders, with the newest that all weeks say of each.",
    CustomerRow,
    "Identity resolution: the only feed with personal data.",
    {name: (name.replace("_", "-"),) for name in ("fk_customer", *_PERSON, *_ADDRESS)}
    | {"loyalty_id": _LOYALTY, "modified_at": ("update-dt",)}
    # What ``privacy_requests`` is matched with.
    | {"customer_id": ("compliance/custom-key",)},
)


def customer_row(guest: Guest) -> CustomerRow:
    """A guest's row; ``email_key`` is added where the privacy rules are applied (``Redaction.apply_to_row``)."""
    times = {"modified_at": NOTHING_KNOWN_AT, "modified_at_local": NOTHING_KNOWN_AT}
    if guest.revised_ms is not None:
        times = modified_times(from_epoch_ms(guest.revised_ms), zone(guest.time_zone) or ZoneInfo("UTC"))
    known = {name: getattr(guest, name) for name in ("customer_id", *_PERSON, "loyalty_id", *_ADDRESS)}
    return CustomerRow(fk_customer=guest.customer_id, email_key=None, **known, **times)
