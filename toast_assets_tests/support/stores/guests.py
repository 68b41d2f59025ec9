"""A bucket of many weeks in which one guest is named in every way that Toast knows, among strangers."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.amperity.redaction import Redaction
from toast_assets.delivery.feed_files import write_feeds
from toast_assets.export.write import export_week
from toast_assets.store.order_store import OrderStore
from toast_assets.tables.build import build_tables
from toast_assets.tables.current_orders import refresh_current_orders
from toast_assets.week import Week, WeekCalendar
from toast_assets_tests.support.data import invented
from toast_assets_tests.support.stores.stored_weeks import store_week

LOG = logging.getLogger("toast_assets.test")
PLACES = ("place-1", "place-2")
GUID = "77777777-aaaa-4bbb-8ccc-dddddddddddd"
EMAIL, PHONE = "jane.roe@example.org", "6175550188"
# Everything of the guest, as it stands in some object or other.
SECRETS = (
    *(GUID, "jane.roe@example.org", "6175550188", "(617) 555-0188", "+1 617.555.0188", "Janelle", "Roe-Quimby"),
    *("9 Hidden Lane", "Ring the blue bell", "crimson coupe", "Janelle's tab", "card-of-jane", "loyal-jane"),
)


def guest(**changes: Any) -> invented.Json:
    """The guest as a customer."""
    known = {"guid": GUID, "firstName": "Janelle", "lastName": "Roe-Quimby", "email": " Jane.Roe@Example.org "}
    return invented.customer(**{**known, "phone": "(617) 555-0188", **changes})


def namings() -> list[invented.Json]:
    """Orders that name the guest: by all, by GUID alone, by e-mail, by phone, on one check of two, in free text."""
    card = {"cardPaymentId": "card-of-jane"}
    address = {
        "address1": "9 Hidden Lane",
        "city": "Salem",
        "notes": "Ring the blue bell",
        "deliveryState": "DELIVERED",
    }
    car = {"guid": invented.guid(), "transportColor": "red", "transportDescription": "crimson coupe", "notes": None}
    loyalty = {"vendor": "TOAST", "loyaltyIdentifier": "+1 617.555.0188"}
    known = {"tabName": "Janelle's tab", "appliedLoyaltyInfo": loyalty | {"loyaltyIdentifier": "loyal-jane"}}
    named = [
        invented.check(guest=guest(), payments=[invented.payment("10.00") | card], **known),
        invented.check(guest={"guid": GUID}),
        invented.check(guest=guest(guid=None, phone=None)),
        invented.check(guest=guest(guid=None, email=None)),
    ]
    orders = [invented.order(check, deliveryInfo=address) for check in named]
    orders.append(invented.order(invented.check(guest=invented.customer("other@example.org")), named[0]))
    orders.append(invented.order(invented.check(guest=guest()), curbsidePickupInfo=car))
    orders.append(invented.order(invented.check(appliedLoyaltyInfo=loyalty)))
    orders.append(
        invented.order(invented.check(invented.selection(displayName="Cake for JANE.ROE@example.org, 12 candles")))
    )
    return orders


def weeks(count: int) -> list[Week]:
    """``count`` weeks in a row."""
    calendar = WeekCalendar()
    return [calendar.week(f"{calendar.first + timedelta(days=7 * number)}") for number in range(count)]


def fill(store: OrderStore, week: Week, named: list[invented.Json], *, derived: bool) -> None:
    """Store and export a week of strangers and ``named`` orders; with ``derived`` its tables and feeds, too."""
    modified = f"{week.start + timedelta(days=2):%Y-%m-%dT%H:%M:%S}.000+0000"
    orders: dict[str, list[bytes]] = {}
    for number, place in enumerate(PLACES):
        strangers = [
            invented.order(
                invented.check(guest=invented.customer(f"stranger{n}@example.com", phone=f"617556{n:04d}")),
                invented.check(guest=invented.customer(None, phone=None)),
            )
            for n in range(3)
        ]
        mine = named if number == 0 else []
        orders[place] = invented.encode(*({**one, "modifiedDate": modified} for one in [*strangers, *mine]))
    store_week(store, week, orders)
    export_week(week, store, LOG)
    if derived:
        derive(store, week)


def derive(store: OrderStore, week: Week) -> None:
    """The week's tables and feeds, and the current orders."""
    build_tables(week, store, LOG)
    write_feeds(week, store, "brand", Redaction(), LOG)
    refresh_current_orders(store, LOG)


def content(store: OrderStore) -> dict[str, bytes]:
    """All objects."""
    found = {key: store.bucket.read(key) for key in store.bucket.keys("")}
    return {key: one[0] for key, one in found.items() if one is not None}


def decompressed(key: str, body: bytes) -> bytes:
    """What a reader sees of an object: unpacked, Parquet's pages and statistics decoded."""
    if key.endswith(".parquet"):
        table = pq.read_table(BytesIO(body))
        return body + b"\n".join(_cells(table))
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def requests(store: OrderStore) -> dict[str, bytes]:
    """The objects by which Amperity is asked to delete guests."""
    return {key: body for key, body in content(store).items() if key.startswith(store.layout.feeds("privacy_requests"))}


def holding(store: OrderStore) -> dict[str, list[str]]:
    """The objects that hold something of the guest, and what; but for those by which Amperity is asked."""
    found = {}
    asked = requests(store)
    for key, body in content(store).items():
        if key in asked:
            continue
        text = decompressed(key, body).lower()
        if held := [secret for secret in SECRETS if secret.lower().encode() in text]:
            found[key] = held
    return found


def _cells(table: pa.Table) -> Iterator[bytes]:
    for column in table.columns:
        for value in column.to_pylist():
            yield value if isinstance(value, bytes) else str(value).encode()
