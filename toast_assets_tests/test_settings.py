"""Settings: every problem at once, by the variable's name, and never a secret."""

import pytest

from toast_assets.errors import SettingsError
from toast_assets.settings import (
    AmperitySettings,
    CalendarSettings,
    FeedSettings,
    Settings,
    StoreSettings,
    ToastSettings,
)

TOAST = {"TOAST_CLIENT_ID": "id", "TOAST_CLIENT_SECRET": "s3cret", "TOAST_RESTAURANT_GUID": "a-1"}
AMPERITY = {"AMPERITY_TENANT_ID": "acme", "AMPERITY_API_KEY": "k3y", "AMPERITY_STREAM_ID": "is-orders"}


def problems(kind: type[Settings], **values: str) -> str:
    with pytest.raises(SettingsError) as caught:
        kind.parse(values)
    return str(caught.value)


def test_all_that_is_missing_is_named_at_once() -> None:
    text = problems(ToastSettings)
    assert [name in text for name in TOAST] == [True] * 3


def test_what_is_missing_is_named_even_where_something_else_is_malformed() -> None:
    text = problems(AmperitySettings, AMPERITY_API_URL="ftp://x", AMPERITY_DELIVERY="stream,pigeon")
    for part in ("AMPERITY_API_URL", "'pigeon'", "AMPERITY_TENANT_ID", "AMPERITY_API_KEY", "AMPERITY_STREAM_ID"):
        assert part in text


def test_an_empty_value_counts_as_not_set() -> None:
    assert "TOAST_CLIENT_ID is not set" in problems(ToastSettings, **{**TOAST, "TOAST_CLIENT_ID": " "})


def test_the_path_of_the_api_url_is_ignored_and_so_are_credentials_in_it() -> None:
    settings = ToastSettings.parse({**TOAST, "TOAST_API_URL": "https://u:p@ws-api.toasttab.com/orders/v2/orders"})
    assert settings.api_url == "https://ws-api.toasttab.com"


@pytest.mark.parametrize(("value", "guids"), [("a", ("a",)), (" a , b,a ", ("a", "b")), ("*", ("*",))])
def test_restaurants_are_one_several_or_all(value: str, guids: tuple[str, ...]) -> None:
    assert ToastSettings.parse({**TOAST, "TOAST_RESTAURANT_GUID": value}).restaurant_guids == guids


@pytest.mark.parametrize("value", ["a/b", "*,a", "a b", ",", "../a"])
def test_what_is_no_guid_is_refused_because_it_becomes_part_of_a_key(value: str) -> None:
    assert "TOAST_RESTAURANT_GUID" in problems(ToastSettings, **{**TOAST, "TOAST_RESTAURANT_GUID": value})


@pytest.mark.parametrize("value", ["0", "-1", "fast", "inf", "nan"])
def test_a_rate_is_a_positive_number(value: str) -> None:
    assert "TOAST_REQUESTS_PER_SECOND" in problems(ToastSettings, **{**TOAST, "TOAST_REQUESTS_PER_SECOND": value})


@pytest.mark.parametrize(("prefix", "kept"), [("toast-orders", "toast-orders/"), ("/a/b/", "a/b/"), ("/", "")])
def test_a_prefix_ends_with_one_slash_and_begins_with_none(prefix: str, kept: str) -> None:
    assert StoreSettings.parse({"S3_BUCKET_NAME": "bucket", "S3_PREFIX": prefix}).prefix == kept


def test_a_key_is_refused_without_the_encryption_that_uses_it() -> None:
    assert "only S3_SSE=aws:kms uses" in problems(StoreSettings, S3_BUCKET_NAME="bucket", S3_KMS_KEY_ID="k")
    assert "S3_SSE" in problems(StoreSettings, S3_BUCKET_NAME="bucket", S3_SSE="rot13")


def test_the_tenant_is_the_first_label_of_amperitys_host() -> None:
    url = "https://socktown.amperity.com/api/v1/streaming"
    values = {**AMPERITY, "AMPERITY_API_URL": url}
    del values["AMPERITY_TENANT_ID"]
    settings = AmperitySettings.parse(values)
    assert (settings.tenant_id, settings.origin) == ("socktown", "https://socktown.amperity.com")


def test_without_a_url_the_tenant_makes_it() -> None:
    assert AmperitySettings.parse(AMPERITY).origin == "https://acme.amperity.com"


def test_a_stream_id_of_another_form_is_refused_because_amperity_would_drop_every_record() -> None:
    assert "begin with 'is-'" in problems(AmperitySettings, **{**AMPERITY, "AMPERITY_STREAM_ID": "orders"})


def test_notify_needs_its_url_and_no_stream() -> None:
    values = {**AMPERITY, "AMPERITY_DELIVERY": "notify"}
    del values["AMPERITY_STREAM_ID"]
    text = problems(AmperitySettings, **values)
    assert "AMPERITY_API_URL" in text
    assert "AMPERITY_STREAM_ID" not in text


def test_a_client_id_without_its_secret_is_refused() -> None:
    assert "only AMPERITY_CLIENT_ID is set" in problems(AmperitySettings, **{**AMPERITY, "AMPERITY_CLIENT_ID": "c"})


def test_hashing_needs_a_salt() -> None:
    assert "AMPERITY_REDACT_SALT" in problems(AmperitySettings, **{**AMPERITY, "AMPERITY_REDACT": "email=hash"})


def test_a_redaction_without_a_rule_is_refused() -> None:
    assert "AMPERITY_REDACT" in problems(AmperitySettings, **{**AMPERITY, "AMPERITY_REDACT": "email"})


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ("email=drop,Phone=drop", "AMPERITY_REDACT holds 'Phone', which is no field of Toast's order"),
        ("email =drop", "did you mean email?"),
        ("email=drop,", "AMPERITY_REDACT holds ''"),
        (".=drop", "AMPERITY_REDACT holds '.'"),
        ("email=hash=drop", "AMPERITY_REDACT holds 'email' without =drop or =hash"),
        ("email=drop,email=hash", "AMPERITY_REDACT holds email=drop and email=hash, which contradict each other"),
        ("email=drop,checks.customer.email=hash", "which contradict each other"),
        ("checks.customer.guid=drop", "by which Amperity tells records and their versions apart"),
    ],
)
def test_a_privacy_rule_that_would_not_do_what_it_says_is_refused(rules: str, problem: str) -> None:
    values = {**AMPERITY, "AMPERITY_REDACT": rules, "AMPERITY_REDACT_SALT": "salt"}
    assert problem in problems(AmperitySettings, **values)
    feeds = {name: value for name, value in values.items() if name in ("AMPERITY_REDACT", "AMPERITY_REDACT_SALT")}
    assert problem in problems(FeedSettings, **feeds, AMPERITY_BRAND="brand")


def test_the_first_week_has_to_begin_on_a_first_day() -> None:
    assert "2025-01-07 is a Tuesday" in problems(CalendarSettings, TOAST_START_DATE="2025-01-07")


def test_another_weekday_moves_the_default_first_week_to_it() -> None:
    calendar = CalendarSettings.parse({"TOAST_WEEK_WEEKDAY": "Wednesday"}).calendar()
    assert calendar.first.isoformat() == "2025-01-08"


def test_an_unknown_zone_hour_or_day_is_refused() -> None:
    text = problems(CalendarSettings, TOAST_WEEK_TIMEZONE="Mars/Base", TOAST_WEEK_HOUR="24", TOAST_WEEK_WEEKDAY="Mo")
    for name in ("TOAST_WEEK_TIMEZONE", "TOAST_WEEK_HOUR", "TOAST_WEEK_WEEKDAY"):
        assert name in text


def test_neither_settings_nor_their_errors_show_a_secret() -> None:
    assert "s3cret" not in repr(ToastSettings.parse(TOAST))
    assert "k3y" not in repr(AmperitySettings.parse(AMPERITY))
    assert "s3cret" not in problems(ToastSettings, **{**TOAST, "TOAST_REQUESTS_PER_SECOND": "x"})
    assert "k3y" not in problems(AmperitySettings, **{**AMPERITY, "AMPERITY_STREAM_ID": "x"})


def test_feed_streams_are_off_unless_named_and_have_to_be_stream_ids_of_their_own() -> None:
    settings = AmperitySettings.parse(AMPERITY)
    assert (settings.order_items_stream_id, settings.customers_stream_id) == (None, None)
    odd = {"AMPERITY_ORDER_ITEMS_STREAM_ID": "items", "AMPERITY_CUSTOMERS_STREAM_ID": "guests"}
    text = problems(AmperitySettings, **AMPERITY, **odd)
    assert all(f"{name} is not a stream id" in text for name in odd)
    same = {"AMPERITY_CUSTOMERS_STREAM_ID": AMPERITY["AMPERITY_STREAM_ID"]}
    assert "AMPERITY_STREAM_ID, AMPERITY_CUSTOMERS_STREAM_ID are not all different" in problems(
        AmperitySettings, **AMPERITY, **same
    )


def test_the_url_of_notices_is_kept_to_the_letter() -> None:
    url = "https://hooks.example.com/a//b/?key=1&x=/"
    assert AmperitySettings.parse({**AMPERITY, "AMPERITY_API_URL": url}).api_url == url


@pytest.mark.parametrize("key", ["two words", "line\nfeed", "caf\u00e9"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    text = problems(AmperitySettings, **{**AMPERITY, "AMPERITY_API_KEY": key})
    assert "AMPERITY_API_KEY holds a space or another character" in text
    assert key not in text


@pytest.mark.parametrize("name", ["guid", "modifiedDate", "customer_id"])
def test_what_tells_records_and_versions_apart_cannot_be_redacted(name: str) -> None:
    values = {**AMPERITY, "AMPERITY_REDACT": f"email=drop, {name} = drop"}
    assert f"holds '{name}'" in problems(AmperitySettings, **values)


def test_a_port_that_is_none_is_refused() -> None:
    assert "AMPERITY_API_URL" in problems(AmperitySettings, **{**AMPERITY, "AMPERITY_API_URL": "http://host:99999"})
