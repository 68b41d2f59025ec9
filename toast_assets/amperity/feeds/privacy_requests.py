"""The feed ``privacy_requests``: what ``toast-assets forget`` asks Amperity to delete. It belongs to no week."""

from __future__ import annotations

from typing import Annotated

from toast_assets.amperity.feeds.schema import Feed, Row, moment, text


class PrivacyRequestRow(Row, frozen=True):
    """One e-mail, phone or key by which Amperity knows a guest."""

    request_row_id: Annotated[str, text("Hash (hex) of the request and of what the row holds.", key=True)]
    request_id: Annotated[str, text("The request: day and a salted hash. All rows of one run have the same.")]
    request_type: Annotated[str, text("Always delete.")]
    request_strategy: Annotated[
        str,
        text(
            "connected_pii for an e-mail or a phone; exact for a key, and for an e-mail or a phone that more than four"
            " guests share."
        ),
    ]
    email: Annotated[str | None, text("An e-mail of the guest, as in customers.")]
    phone: Annotated[str | None, text("A phone of the guest, as in customers.")]
    customer_id: Annotated[str | None, text("A key of the guest, as in customers; GUIDs are in lower case.")]
    modified_at: Annotated[str, moment("When forget was run, in UTC.")]


PRIVACY_REQUESTS = Feed(
    "privacy_requests",
    "One row per e-mail, phone or key of a guest who was forgotten. Each row has one of the three.",
    PrivacyRequestRow,
    "The inbound table of Amperity's privacy rights workflow.",
    {name: (f"compliance/{name.replace('_', '-')}",) for name in ("request_id", "request_type", "request_strategy")}
    | {
        "email": ("compliance/request-email",),
        "phone": ("compliance/request-phone",),
        "customer_id": ("compliance/request-custom-key",),
    },
)
