"""What Amperity is asked to delete: rows that match what it holds, once per request, for a month."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from toast_assets.amperity.redaction import Redaction, Rule
from toast_assets.errors import StoreError
from toast_assets.orders.identity import given_traits
from toast_assets.privacy.forget import ForgetGuest, Forgetting
from toast_assets.privacy.retention import Retention
from toast_assets.sandbox import Sandbox
from toast_assets.settings import RetentionSettings
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data import invented
from toast_assets_tests.support.stores.deliveries import amperity_settings
from toast_assets_tests.support.stores.guests import EMAIL, GUID, PHONE, content, fill, namings, requests

NOW = datetime(2025, 10, 1, 23, 30, tzinfo=UTC)
KEYS = {GUID, sha256(EMAIL.encode()).hexdigest(), sha256(PHONE.encode()).hexdigest()}
Row = dict[str, Any]


def forget(store: OrderStore, *given: str, now: datetime = NOW, **settings: Any) -> Forgetting:
    return ForgetGuest(store, given_traits(given), now=lambda: now, **settings).run()


def asked(store: OrderStore) -> list[Row]:
    """The rows of the one request in the bucket."""
    (body,) = requests(store).values()
    return [msgspec.json.decode(line) for line in gzip.decompress(body).splitlines()]


def matched(rows: list[Row]) -> dict[str, set[str]]:
    """What Amperity is asked to match, by the field."""
    return {field: {row[field] for row in rows} - {None} for field in ("email", "phone", "customer_id")}


def test_a_request_has_a_row_for_every_email_phone_and_key_of_the_guest(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    result = forget(store, GUID)
    rows = asked(store)
    assert matched(rows) == {"email": {EMAIL}, "phone": {PHONE}, "customer_id": KEYS}
    assert result.asked == len(rows) == 5
    assert [sum(row[field] is not None for field in ("email", "phone", "customer_id")) for row in rows] == [1] * 5
    assert {row["request_type"] for row in rows} == {"delete"}
    assert {row["request_strategy"]: row["customer_id"] is not None for row in rows} == {
        "connected_pii": False,
        "exact": True,
    }
    assert {row["modified_at"] for row in rows} == {"2025-10-01 23:30:00.000"}
    assert len({row["request_row_id"] for row in rows}) == 5


def test_a_request_is_dated_by_its_day_in_utc_and_named_without_the_guest(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    request = forget(store, EMAIL, now=NOW.astimezone()).certificate.amperity
    assert request is not None
    (key,) = requests(store)
    assert key == request.key == store.layout.privacy_requests(NOW.date(), request.request_id)
    assert "/amperity/privacy_requests/2025/10/01/privacy_requests_20251001-" in key
    assert {row["request_id"] for row in asked(store)} == {request.request_id}
    digests = {sha256(one.encode()).hexdigest()[:16] for one in (EMAIL, f"e:{EMAIL}", f"r:e:{EMAIL}")}
    assert not [one for one in digests if one in key]


@pytest.mark.parametrize(("methods", "state"), [(("stream",), "to be requested"), (("notify", "s3_pull"), "requested")])
def test_a_certificate_says_requested_only_where_a_courier_reads_the_request(
    store: OrderStore, week: Week, methods: tuple[str, ...], state: str
) -> None:
    fill(store, week, namings(), derived=False)
    result = forget(store, EMAIL, methods=methods)
    stored = msgspec.json.decode(content(store)[str(result.key)])["amperity"]
    assert stored["state"] == state
    assert stored["key"] in requests(store)
    assert ("Amperity has to be asked" in stored["how"]) == (state != "requested")


def test_a_repeated_request_overwrites_and_adds_what_is_known_now(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    forget(store, EMAIL)
    first = asked(store)
    # What was known before is asked again, although nothing in the bucket says it any more.
    forget(store, EMAIL, now=NOW + timedelta(minutes=5), allow_unknown=True)
    assert matched(asked(store)) == matched(first)
    assert {row["request_row_id"] for row in asked(store)} == {row["request_row_id"] for row in first}


@pytest.mark.parametrize(
    ("rules", "emails", "phones"),
    [
        ({"email": "hash", "phone": "hash"}, 1, 1),
        ({"email": "drop"}, 0, 1),
        ({"customer": "drop"}, 0, 0),
        ({"checks.customer": "hash"}, 1, 1),
    ],
)
def test_a_request_holds_what_amperity_holds_and_nothing_that_it_must_not_get(
    store: OrderStore, week: Week, rules: Mapping[str, Rule], emails: int, phones: int
) -> None:
    redaction = Redaction(rules, b"salt")
    fill(store, week, namings(), derived=False)
    forget(store, EMAIL, redaction=redaction)
    found = matched(asked(store))
    assert (len(found["email"]), len(found["phone"])) == (emails, phones)
    hidden = {"email": EMAIL, "phone": PHONE} if len(rules) > 1 or "email" not in rules else {"email": EMAIL}
    for field, value in hidden.items():
        assert found[field] <= {redaction.hashed(value)}
    derived = {redaction.hashed(key) for key in KEYS - {GUID}}
    in_orders = {redaction.hashed(GUID)} if rules == {"checks.customer": "hash"} else set()
    assert found["customer_id"] == {GUID} | derived | in_orders


def test_a_contact_of_a_whole_town_is_asked_for_without_what_is_connected_with_it(
    store: OrderStore, week: Week
) -> None:
    town = [invented.order(invented.check(guest=invented.customer(f"n{n}@example.com"))) for n in range(6)]
    fill(store, week, town, derived=False)
    forget(store, "+1 617 555 0123", "n0@example.com")
    strategies = {row["phone"] or row["email"]: row["request_strategy"] for row in asked(store)}
    assert (strategies["6175550123"], strategies["n0@example.com"]) == ("exact", "connected_pii")


def test_a_dry_run_writes_no_request_and_says_which(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    planned = forget(store, EMAIL, dry_run=True)
    assert requests(store) == {}
    assert planned.certificate.amperity is not None
    assert (planned.asked, planned.certificate.amperity.key[:34]) == (5, "toast-orders/amperity/privacy_requ")


def test_another_forget_leaves_a_request_alone_until_it_is_a_month_old(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    forget(store, EMAIL)
    kept = requests(store)
    (key,) = kept
    # The same guest: the request names them, and is no object to take them out of.
    later = forget(store, EMAIL, now=NOW + timedelta(days=30), allow_unknown=True)
    assert later.certificate.not_rewritten == ()
    assert requests(store)[key] == kept[key]
    planned = forget(store, "x@example.org", dry_run=True, allow_unknown=True, now=NOW + timedelta(days=31))
    assert planned.certificate.objects[key] == "removed, as it is older than 30 days"
    assert key in requests(store)
    done = forget(store, "x@example.org", allow_unknown=True, now=NOW + timedelta(days=31))
    assert key in done.certificate.objects
    assert key not in requests(store)
    assert len(requests(store)) == 2


def test_retention_removes_requests_that_are_a_month_old(sandbox: Sandbox, store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    forget(store, EMAIL)
    (key,) = requests(store)
    settings, amperity = RetentionSettings.parse({"RETENTION_RAW_DAYS": "4000"}), amperity_settings(sandbox)
    for days, dry_run, removed in ((30, False, set()), (31, True, {key}), (31, False, {key})):
        result = Retention(store, settings, amperity, NOW + timedelta(days=days), dry_run).run()
        assert set(result.removed) == removed
        assert (key in requests(store)) == (dry_run or not removed)


def test_a_request_that_cannot_be_read_ends_the_run_before_anything_is_changed(store: OrderStore, week: Week) -> None:
    fill(store, week, namings(), derived=False)
    store.bucket.write(store.layout.privacy_requests(NOW.date(), "x"), b"no gzip")
    before = content(store)
    with pytest.raises(StoreError, match=r"privacy_requests_x\.ndjson\.gz cannot be read"):
        forget(store, EMAIL)
    assert content(store) == before
