"""Settings: every problem at once, by the variable's name, and never a secret."""

from datetime import timedelta

import pytest

from toast_assets.amperity.settings import AmperitySettings, FeedSettings
from toast_assets.errors import SettingsError
from toast_assets.settings import CalendarSettings, NetworkSettings, RetentionSettings, SensorSettings, Settings
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings
from toast_assets.variables import Variables, known_variables

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


def test_the_path_of_the_api_url_is_ignored() -> None:
    settings = ToastSettings.parse({**TOAST, "TOAST_API_URL": "HTTPS://ws-api.toasttab.com/orders/v2/orders?x=1"})
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


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("two words", "holds a space or another character"),
        ("caf\u00e9", "holds a space or another character"),
        ("line\nfeed", "holds a line feed as character 5"),
        ("k3y\u200b", "holds the invisible character ZERO WIDTH SPACE (U+200B) as character 4"),
        ("nul\0", "holds NUL as character 4"),
        ("'k3y'", "is in quotation marks"),
        ("Bearer k3y", "begins with 'Bearer'; write the token alone"),
    ],
)
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str, problem: str) -> None:
    text = problems(AmperitySettings, **{**AMPERITY, "AMPERITY_API_KEY": key})
    assert f"AMPERITY_API_KEY {problem}" in text
    assert key not in text
    assert "k3y" not in text


@pytest.mark.parametrize("name", ["guid", "modifiedDate", "customer_id"])
def test_what_tells_records_and_versions_apart_cannot_be_redacted(name: str) -> None:
    values = {**AMPERITY, "AMPERITY_REDACT": f"email=drop, {name} = drop"}
    assert f"holds '{name}'" in problems(AmperitySettings, **values)


def test_a_port_that_is_none_is_refused() -> None:
    assert "AMPERITY_API_URL" in problems(AmperitySettings, **{**AMPERITY, "AMPERITY_API_URL": "http://host:99999"})


NUMBERS = {
    "TOAST_REQUESTS_PER_SECOND": "a number from 0.001 to 1000000 such as 5",
    "TOAST_TOTAL_REQUESTS_PER_SECOND": "a number from 0.001 to 1000000",
    "TOAST_HISTORICAL_SPACING_SECONDS": "a number from 0 to 3600 such as 5",
    "TOAST_CONCURRENT_RESTAURANTS": "a whole number from 1 to 500 such as 10",
    "TOAST_TIMEOUT_SECONDS": "a number above 0 and at most 3600 such as 60",
    "TOAST_WEEK_HOUR": "a whole number from 0 to 23 such as 4",
    "TOAST_SETTLING_SECONDS": "a number from 0 to 2678400 such as 900",
    "RETENTION_RAW_DAYS": "a whole number from 1 to 36500",
    "RETENTION_EXPORT_DAYS": "a whole number from 1 to 36500",
    "AMPERITY_REQUESTS_PER_SECOND": "a number from 0.001 to 1000000 such as 1000",
    "AMPERITY_TIMEOUT_SECONDS": "a number above 0 and at most 3600 such as 30",
    "AMPERITY_WORKFLOW_TIMEOUT_SECONDS": "a number from 0 to 604800 such as 3600",
    "AMPERITY_MAX_REJECT_SHARE": "a number from 0 to 1 such as 0.01",
    "AMPERITY_MAX_RECORD_BYTES": "a whole number from 1 to 1000000000 such as 1000000",
}
KINDS = (ToastSettings, CalendarSettings, RetentionSettings, AmperitySettings)


@pytest.mark.parametrize("value", ["fast", "5,0", "60s", "1e12", "inf", "nan", "-1", "9" * 5000])
def test_each_number_says_in_one_line_what_it_holds_and_what_to_write(value: str) -> None:
    short = value if len(value) < 9 else "9" * 60 + "…"
    found = []
    for kind in KINDS:
        values = {name: value for name in NUMBERS if name in kind.variables()}
        found += problems(kind, **TOAST, **AMPERITY, **values).splitlines()[1:-1]
    for name, wanted in NUMBERS.items():
        (line,) = [line for line in found if f" {name} " in line]
        assert line.startswith(f"  - {name} holds '{short}', which is ")
        assert line.endswith(f"; write {wanted}")


def test_a_choice_and_an_empty_list_say_what_to_write() -> None:
    text = problems(StoreSettings, S3_BUCKET_NAME="bucket", S3_SSE="rot13")
    assert "S3_SSE holds 'rot13', which is none of the values that it can have; write AES256 or aws:kms" in text
    text = problems(AmperitySettings, **AMPERITY, AMPERITY_DELIVERY="Stream")
    assert "AMPERITY_DELIVERY holds 'Stream'; the methods are stream, s3_pull and notify" in text
    assert "AMPERITY_DELIVERY holds nothing but separators" in problems(
        AmperitySettings, **AMPERITY, AMPERITY_DELIVERY=", ,"
    )


def test_a_delivery_method_that_is_listed_twice_is_used_once() -> None:
    values = {**AMPERITY, "AMPERITY_DELIVERY": "stream,\n s3_pull,stream"}
    assert AmperitySettings.parse(values).methods == ("stream", "s3_pull")


def test_of_a_restaurant_in_two_spellings_the_first_counts_and_the_double_is_known() -> None:
    settings = ToastSettings.parse({**TOAST, "TOAST_RESTAURANT_GUID": "B-1, a-1,\nb-1 ,A-1,c-1,"})
    assert settings.restaurant_guids == ("B-1", "a-1", "c-1")
    assert settings.doubled_restaurants == ("B-1", "a-1")
    assert ToastSettings.parse({**TOAST, "TOAST_RESTAURANT_GUID": "*"}).doubled_restaurants == ()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("a-1;b-1", "holds 'a-1;b-1'; separate GUIDs with commas"),
        ("a-1 b-1", "holds 'a-1 b-1'; separate GUIDs with commas"),
        ("a-1\nb-1,c-1", "holds 'a-1\\nb-1'; separate GUIDs with commas"),
        ("'a-1'", "is in quotation marks"),
        ('"a-1","b-1"', "is in quotation marks"),
        ("a-1\u200b,b-1", "ZERO WIDTH SPACE"),
        ("{a-1}", "holds '{a-1}', which is not a GUID"),
        ("a-1,*", "mixes '*' with other items"),
    ],
)
def test_a_list_of_restaurants_in_another_form_is_refused_with_the_fix(value: str, problem: str) -> None:
    assert problem in problems(ToastSettings, **{**TOAST, "TOAST_RESTAURANT_GUID": value})


@pytest.mark.parametrize(
    "value",
    [
        "socktown",
        "SockTown",
        "socktown.amperity.com",
        "https://socktown.amperity.com",
        "HTTPS://Socktown.Amperity.com/app",
    ],
)
def test_a_tenant_is_one_label_and_is_found_in_its_host_and_url(value: str) -> None:
    settings = AmperitySettings.parse({**AMPERITY, "AMPERITY_TENANT_ID": value})
    assert (settings.tenant_id, settings.origin) == ("socktown", "https://socktown.amperity.com")


@pytest.mark.parametrize(
    "value",
    [
        *(
            "socktown:443",
            "socktown.example.com",
            "a.b.amperity.com",
            "amperity.com",
            ".amperity.com",
            "https://socktown",
        ),
        *(
            "-socktown",
            "socktown_",
            "xn--a",
            "sock town",
            "s\u00f6ck",
            "x" * 64,
            "https://u:s3cret@socktown.amperity.com",
        ),
    ],
)
def test_what_is_no_tenant_is_refused_with_the_fix(value: str) -> None:
    text = problems(AmperitySettings, **{**AMPERITY, "AMPERITY_TENANT_ID": value})
    assert "AMPERITY_TENANT_ID is no tenant; write the part before .amperity.com alone" in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ws-api.toasttab.com", "is not an http(s) URL"),
        ("https://", "is not an http(s) URL"),
        ("https://host:99999", "names the port 99999"),
        ("https://host:0", "names the port 0"),
        ("https://host:s3cret", "its host or its port cannot be read"),
        ("https://[::1", "its host or its port cannot be read"),
        ("https://user:s3cret@host.example", "holds a user name or a password"),
        ("https://user:s3#cret@host.example", "cannot be read"),
        ("https://exa mple.com", "holds a blank"),
        ("https://a..b", "names the host 'a..b', which is no host name"),
        ("https://xn--a.example", "its host or its port cannot be read"),
        ("https://1.2.3", "names the host '1.2.3', which is no host name"),
        ("https://host\u200b.example", "ZERO WIDTH SPACE"),
        ('"https://host.example"', "is in quotation marks"),
    ],
)
@pytest.mark.parametrize("name", ["TOAST_API_URL", "AMPERITY_API_URL", "AMPERITY_CONTROL_URL"])
def test_an_address_that_no_request_could_reach_is_refused_and_not_repeated(name: str, url: str, problem: str) -> None:
    kind, values = (ToastSettings, TOAST) if name == "TOAST_API_URL" else (AmperitySettings, AMPERITY)
    text = problems(kind, **values, **{name: url})
    (line,) = text.splitlines()[1:-1]
    assert line.startswith(f"  - {name} ")
    assert problem in line
    assert "s3cret" not in text


@pytest.mark.parametrize("url", ["https://[::1]:9443", "https://xn--mnchen-3ya.example", "https://10.0.0.1"])
def test_addresses_and_international_names_are_hosts(url: str) -> None:
    assert ToastSettings.parse({**TOAST, "TOAST_API_URL": url}).api_url == url
    assert ToastSettings.parse({**TOAST, "TOAST_API_URL": "https://m\u00fcnchen.example"}).api_url.startswith(
        "https://xn--"
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("arn:aws:s3:us-east-1:111122223333:accesspoint/orders", "is an ARN; write the bucket's name"),
        ("s3://orders/toast", "is a URL; write the bucket's name, and what follows it into S3_PREFIX"),
        ("orders/", "write the bucket's name alone"),
        *(
            (odd, "which no bucket is called: names are 3 to 63")
            for odd in ("Orders", "or..ders", "-orders", "or", "my_bucket")
        ),
        ("192.168.1.1", "and are no IP address"),
        ("x" * 64, "which no bucket is called"),
    ],
)
def test_what_is_no_buckets_name_is_refused_with_the_fix(name: str, problem: str) -> None:
    text = problems(StoreSettings, S3_BUCKET_NAME=name)
    assert text.splitlines()[1].startswith("  - S3_BUCKET_NAME ")
    assert problem in text


def test_a_prefix_leaves_room_for_the_rest_of_a_key() -> None:
    assert "S3_PREFIX is longer than 700 bytes" in problems(StoreSettings, S3_BUCKET_NAME="bucket", S3_PREFIX="x" * 701)


def test_the_brand_of_the_feeds_is_the_tenant_and_never_required_by_itself() -> None:
    assert FeedSettings.parse({"AMPERITY_TENANT_ID": "acme"}).purchase_brand == "acme"
    assert FeedSettings.parse({"AMPERITY_API_URL": "https://acme.amperity.com"}).purchase_brand == "acme"
    assert FeedSettings.parse({"AMPERITY_BRAND": "Harbor"}).purchase_brand == "Harbor"
    assert "AMPERITY_BRAND" not in problems(FeedSettings)
    assert "AMPERITY_TENANT_ID is not set" in problems(FeedSettings)


@pytest.mark.parametrize("value", ["0001-01-03", "2009-12-28", "2101-01-03", "9999-12-27"])
def test_a_first_week_at_the_ends_of_time_is_refused(value: str) -> None:
    assert f"TOAST_START_DATE holds {value}; the first week lies in the years 2010 to 2100" in problems(
        CalendarSettings, TOAST_START_DATE=value
    )


def test_a_misspelt_time_zone_is_told_with_the_nearest() -> None:
    text = problems(CalendarSettings, TOAST_WEEK_TIMEZONE="america/new_york")
    assert "holds 'america/new_york', which is no IANA time zone; write America/New_York" in text


def test_receipts_never_go_before_what_they_are_receipts_of_however_the_days_are_written() -> None:
    days = {"RETENTION_RAW_DAYS": "30.0", "RETENTION_EXPORT_DAYS": "1_0", "RETENTION_LEDGER_DAYS": "29"}
    assert "RETENTION_LEDGER_DAYS is less than" in problems(RetentionSettings, **days)


@pytest.mark.parametrize("value", ["http://minio", "minio:9000", "*.internal", "a;b"])
def test_hosts_for_plain_http_are_names_alone(value: str) -> None:
    assert f"ALLOW_HTTP_HOSTS holds '{value}'; write names of hosts alone" in problems(
        NetworkSettings, ALLOW_HTTP_HOSTS=f"sandbox, {value}"
    )


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("TOAST_STARTDATE", "TOAST_START_DATE"),
        ("AMPERITY_STREAMID", "AMPERITY_STREAM_ID"),
        ("S3_BUCKET", "S3_BUCKET_NAME"),
        ("RETENTION_RAW", "RETENTION_RAW_DAYS"),
        ("toast_client_id", "TOAST_CLIENT_ID"),
    ],
)
def test_a_misspelt_variable_is_pointed_out_with_the_nearest(name: str, nearest: str) -> None:
    assert Variables().misspelt(dict.fromkeys([name, *known_variables()], "")) == [
        f"{name} is no variable of this pipeline; the nearest is {nearest}"
    ]


def test_a_variable_that_is_like_none_is_pointed_out_and_those_of_others_are_not() -> None:
    assert Variables().misspelt({"S3_ENDPOINT": ""}) == ["S3_ENDPOINT is no variable of this pipeline"]
    others = ["PATH", "AWS_PROFILE", "TOAST_ASSETS_MEMORY", "TOAST_CLIENT_SECRET_FILE", "TOAST_UI_PORT_3000_TCP_ADDR"]
    assert Variables().misspelt(dict.fromkeys([*others, "TOAST_UI_SERVICE_HOST", "TOAST_UI_PORT"], "")) == []


def test_a_second_look_comes_after_the_first_one() -> None:
    assert SensorSettings.parse({}).second_look_after == timedelta(hours=72)
    assert SensorSettings.parse({"TOAST_SECOND_LOOK_HOURS": "0.5"}).second_look_after == timedelta(minutes=30)
    for hours, settling in (("0.25", "900"), ("72", "259200"), ("0.2", "")):
        values = {"TOAST_SECOND_LOOK_HOURS": hours, "TOAST_SETTLING_SECONDS": settling}
        with pytest.raises(SettingsError) as caught:
            SensorSettings.parse(values)
        assert caught.value.problems == ("TOAST_SECOND_LOOK_HOURS is not longer than TOAST_SETTLING_SECONDS",)
    with pytest.raises(SettingsError, match="TOAST_SECOND_LOOK_HOURS"):
        SensorSettings.parse({"TOAST_SECOND_LOOK_HOURS": "soon"})
