"""What Amperity is told to load is what is written."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from docs.make_couriers import (
    DEFAULT_PREFIX,
    FIRST_WEEK,
    LAST_WEEK,
    LOOK_BACK_DAYS,
    PATH,
    file_pattern,
    load_settings,
    render,
)
from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.feeds.privacy_requests import PRIVACY_REQUESTS
from toast_assets.amperity.feeds.schema import LAST_UPDATED, Feed
from toast_assets.settings import SensorSettings
from toast_assets.store.layout import Layout
from toast_assets.week import Week, WeekCalendar

ROOT = Path(__file__).parents[2]
# Amperity's semantic tags of transactions, as far as a feed could use them.
KNOWN = {
    *("currency", "digital-channel", "item-discount-amount", "item-list-price", "item-tax-amount", "payment-method"),
    *("product-category", "product-name", "product-subcategory"),
}
REQUIRED = {
    *("order-id", "order-datetime", "product-id", "item-quantity", "item-revenue", "order-discount-amount"),
    *("is-return", "is-cancellation", "store-id", "purchase-channel", "purchase-brand"),
}


ALL = FEEDS | {PRIVACY_REQUESTS.name: PRIVACY_REQUESTS}


def matches(pattern: str, key: str, day: date) -> bool:
    """A courier's pattern, read as Amperity does for one day: quoted text is literal, ``*`` stays in its segment."""
    parts = []
    for quoted, free in re.findall(r"'([^']*)'|([^']+)", pattern):
        text = quoted or free.replace("yyyy", f"{day:%Y}").replace("MM", f"{day:%m}").replace("dd", f"{day:%d}")
        parts.append(re.escape(text).replace(r"\*", "[^/]*"))
    return re.fullmatch("".join(parts), key) is not None


def test_the_document_is_in_step_with_the_code() -> None:
    assert (ROOT / PATH).read_text(encoding="utf-8") == render(), "python -m docs.make_couriers"


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("prefix", ["toast-orders/", "", "brand/toast/"])
def test_a_files_key_matches_its_own_pattern_and_no_other(feed: str, prefix: str) -> None:
    day = date(2025, 9, 22)
    key = Layout(prefix).feed(WeekCalendar().week("2025-09-15"), "r-1", feed)
    assert key == f"{prefix}amperity/{feed}/2025/09/22/{feed}_20250922_040000_r-1.ndjson.gz"
    assert [other for other in ALL if matches(file_pattern(prefix, other), key, day)] == [feed]
    assert not matches(file_pattern(prefix, feed), key, date(2025, 9, 23))


def test_a_privacy_requests_key_matches_its_own_pattern_and_no_other() -> None:
    day = date(2025, 10, 1)
    key = Layout(DEFAULT_PREFIX).privacy_requests(day, "20251001-ab")
    assert [other for other in ALL if matches(file_pattern(DEFAULT_PREFIX, other), key, day)] == [PRIVACY_REQUESTS.name]


def test_privacy_requests_have_amperitys_compliance_tags_and_their_key_is_matched_in_customers() -> None:
    tags = {tag: name for name, field in PRIVACY_REQUESTS.columns.items() for tag in field.tags}
    assert tags == {
        "compliance/request-id": "request_id",
        "compliance/request-type": "request_type",
        "compliance/request-strategy": "request_strategy",
        "compliance/request-email": "email",
        "compliance/request-phone": "phone",
        "compliance/request-custom-key": "customer_id",
    }
    assert FEEDS["customers"].columns["customer_id"].tags == ("compliance/custom-key",)
    section = render().partition("## `privacy_requests`")[2]
    assert "| primary key | `request_row_id` |" in section
    assert "| make available to Stitch | no" in section
    assert all(f"| `{name}` | string | `{tag}` |" in section for tag, name in tags.items())


def test_a_weekly_group_that_looks_back_as_far_as_the_page_says_reads_what_the_second_look_rewrites() -> None:
    week = WeekCalendar().week("2025-09-15")
    dropped, rewritten = week.end.date(), week.end + SensorSettings.parse({}).second_look_after
    runs = (week.end + timedelta(weeks=number, hours=2) for number in range(1, 10))
    reads = next(moment for moment in runs if moment > rewritten).date()
    assert dropped in {reads - timedelta(days=back) for back in range(LOOK_BACK_DAYS)}
    assert f"at least {LOOK_BACK_DAYS} days" in render()


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("week", [FIRST_WEEK, LAST_WEEK], ids=lambda week: week.key)
def test_the_days_of_the_pages_backfill_are_those_under_which_its_files_lie(feed: str, week: Week) -> None:
    key = Layout(DEFAULT_PREFIX).feed(week, "r-1", feed)
    first, last = re.findall(r"dated (\S+) to (\S+);", render())[0]
    assert matches(file_pattern(DEFAULT_PREFIX, feed), key, date.fromisoformat(first if week == FIRST_WEEK else last))


def test_nothing_else_in_the_bucket_matches_a_pattern() -> None:
    day = date(2025, 9, 22)
    for other in ("manifests/week=2025-09-15.json", "amperity/order_items/2025/09/22/sub/order_items_1.ndjson.gz"):
        assert not any(matches(file_pattern("toast-orders/", feed), f"toast-orders/{other}", day) for feed in ALL)


@pytest.mark.parametrize("feed", ALL.values(), ids=ALL)
def test_every_feed_has_one_key_and_a_last_updated_moment(feed: Feed) -> None:
    assert [name for name, field in feed.columns.items() if field.key] == [feed.key]
    assert {name: field.type for name, field in feed.columns.items()}[LAST_UPDATED] == "datetime"
    assert load_settings(feed.name)[0]["object/land-as"]["file/content-type"] == "application/x-ndjson"


def test_transactions_have_every_tag_that_amperity_requires_and_are_named_after_them() -> None:
    tags = {tag: name for name, field in FEEDS["transactions"].columns.items() for tag in field.tags}
    assert set(tags) == {f"txn-item/{tag}" for tag in REQUIRED | KNOWN} | {"fk-customer"}
    for tag, name in tags.items():
        assert name == tag.removeprefix("txn-item/").replace("-", "_")


def test_a_field_with_two_tags_shows_both() -> None:
    assert "| `loyalty_id` | string | `loy/loyalty-id`, `fk-loyalty-id` |" in render()


def test_the_fields_that_an_earlier_release_did_not_have_are_fields_now() -> None:
    table = render().partition("## Feeds loaded from an earlier release")[2].partition("\n\nIn ")[0]
    added = {
        feed: set(re.findall("`([a-z_]+)`", fields)) for feed, fields in re.findall(r"\| `(\w+)` \| (.*?) \|", table)
    }
    assert added.keys() == FEEDS.keys()
    assert all(fields and fields <= FEEDS[feed].columns.keys() for feed, fields in added.items())


def test_personal_data_is_in_customers_alone() -> None:
    personal = {"given-name", "surname", "email", "phone", "address", "address2", "city", "state", "postal"}
    personal |= {"loy/loyalty-id", "fk-loyalty-id"}
    for name, feed in FEEDS.items():
        tags = {tag for field in feed.columns.values() for tag in field.tags}
        assert (personal <= tags) if name == "customers" else not (personal & tags)


@pytest.mark.parametrize("feed", ALL.values(), ids=ALL)
def test_every_field_is_described(feed: Feed) -> None:
    assert all(field.description.endswith(".") for field in feed.columns.values())
