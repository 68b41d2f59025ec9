"""What must not leave, at any depth; and that everything else leaves as Toast sent it, digit by digit."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.amperity.feeds.customers import CustomerRow
from toast_assets.amperity.feeds.order_items import OrderItemRow
from toast_assets.amperity.redaction import COLUMNS, Redaction, contradiction, name_problem
from toast_assets.errors import UnrepresentableError
from toast_assets.orders.model import known_fields

SALT = b"pepper"


def expected_hash(text: str) -> str:
    """What the documentation promises: HMAC-SHA-256 keyed by the salt, hexadecimal."""
    return hmac.new(SALT, text.encode(), hashlib.sha256).hexdigest()


CARDS = (
    *("first6Digits", "last4Digits", "first5CardDigits", "last4CardDigits", "cardPaymentId", "cardHolderName"),
    *("cardHolderFirstName", "cardholderLastName", "networkTransactionIdentifier", "purchaserEmail"),
    *("giftCardInfo", "giftCardSelectionInfo", "appliedPreauthInfo"),
)
DRIVERS = ("driverName", "driverPhoneNumber")
EMPLOYEES = ("server", "openedBy", "approver", "voidUser", "voidApprover", "deliveryEmployee")


@pytest.mark.parametrize("name", [*CARDS, *DRIVERS, *EMPLOYEES])
def test_cards_drivers_and_employees_are_left_out_at_any_depth(name: str) -> None:
    body = json.dumps({"a": [{"b": {name: {"guid": "1"}, "kept": 1.50}}], name: "2", "c": None}).encode()
    assert json.loads(Redaction().apply(body)) == {"a": [{"b": {"kept": 1.50}}], "c": None}


def test_a_name_that_hides_behind_an_escape_is_found() -> None:
    assert Redaction().apply(rb'{"last4\u0044igits": "1234", "kept": 1}') == b'{"kept":1}'


def test_of_a_delivery_service_only_the_driver_is_left_out() -> None:
    service = {"providerName": "Wheels", "driverName": "Dee", "driverPhoneNumber": "6175550199", "providerInfo": "x"}
    found = json.loads(Redaction().apply(json.dumps({"deliveryServiceInfo": service}).encode()))
    assert found == {"deliveryServiceInfo": {"providerName": "Wheels", "providerInfo": "x"}}


@pytest.mark.parametrize("rules", [{"last4Digits": "hash"}, {"payments": "hash"}])
def test_no_setting_lets_a_card_leave(rules: dict[str, Any]) -> None:
    assert Redaction(rules, SALT).apply(b'{"payments":[{"last4Digits":"1234"}]}') == b'{"payments":[{}]}'


def test_no_digit_is_left_where_a_key_stands_twice() -> None:
    body = b'{"last4Digits":"1234","payments":[{"last4Digits":"1234","last4Digits":"1234","tip":1}],"last4Digits":1234}'
    assert Redaction().apply(body) == b'{"payments":[{"tip":1}]}'


def test_a_body_without_such_a_field_is_not_touched() -> None:
    body = b'{ "amount": 12.10, "big": 1e400, "text": "of last4Digits", "list": [ 1.0 ] }'
    assert Redaction().apply(body) == body


def test_numbers_beside_a_dropped_field_keep_their_digits() -> None:
    assert Redaction().apply(b'{"amount":12.10,"last4Digits":"1234","tip":1e2}') == b'{"amount":12.10,"tip":1e2}'


def test_a_hash_is_hmac_sha_256_of_the_text_keyed_by_the_salt() -> None:
    redaction = Redaction({"email": "hash", "phone": "hash"}, SALT)
    found = json.loads(redaction.apply('{"email": "ann@example.com", "phone": 5551234567, "x": "ü"}'.encode()))
    assert found == {"email": expected_hash("ann@example.com"), "phone": expected_hash("5551234567"), "x": "ü"}


def test_in_objects_and_arrays_each_value_is_hashed_and_null_stays_null() -> None:
    found = json.loads(Redaction({"customer": "hash"}, SALT).apply(b'{"customer":{"a":["x",null,{"b":true}]}}'))
    assert found == {"customer": {"a": [expected_hash("x"), None, {"b": True}]}}


def test_a_rule_by_path_applies_there_alone_and_to_modifiers_at_any_depth() -> None:
    deep = {"displayName": "c", "modifiers": [{"displayName": "d"}]}
    order = {"checks": [{"displayName": "a", "selections": [{"displayName": "b", "modifiers": [deep]}]}]}
    rules = Redaction({"checks.selections.modifiers.displayName": "drop"})
    found = json.loads(rules.apply(json.dumps(order).encode()))
    kept = {"displayName": "b", "modifiers": [{"modifiers": [{}]}]}
    assert found == {"checks": [{"displayName": "a", "selections": [kept]}]}


@pytest.mark.parametrize("name", ["customer", "checks.customer"])
def test_what_is_done_to_the_customer_is_done_to_the_name_on_the_tab(name: str) -> None:
    body = b'{"checks":[{"tabName":"Ann","customer":{"email":"ann@example.com"},"amount":1.00}]}'
    assert Redaction({name: "drop"}).apply(body) == b'{"checks":[{"amount":1.00}]}'
    own = Redaction({name: "drop", "tabName": "hash"}, SALT)
    assert json.loads(own.apply(body)) == {"checks": [{"tabName": expected_hash("Ann"), "amount": 1.0}]}


LOYAL = {
    "loyaltyIdentifier": "617.555.0123",
    "maskedLoyaltyIdentifier": "***0123",
    "vendor": "TOAST",
}
OWN_RULE = "loyaltyIdentifier"


def loyalty(rules: dict[str, Any]) -> dict[str, Any]:
    """What is left of a loyalty account in a streamed order; in the row of its guest it is the same."""
    redaction = Redaction(rules, SALT)
    body = json.dumps({"checks": [{"appliedLoyaltyInfo": LOYAL}]}).encode()
    (check,) = json.loads(redaction.apply(body))["checks"]
    streamed: dict[str, Any] = check.get("appliedLoyaltyInfo") or {}
    row = redaction.apply_to_row(msgspec.structs.replace(NOBODY, loyalty_id=LOYAL["loyaltyIdentifier"]))
    assert isinstance(row, CustomerRow)
    assert row.loyalty_id == streamed.get("loyaltyIdentifier")
    return streamed


@pytest.mark.parametrize(
    "name",
    [
        *("phone", "email", "customer", "checks.customer", "checks.customer.phone", "checks.customer.email"),
        *("checks.appliedLoyaltyInfo", "appliedLoyaltyInfo"),
    ],
)
def test_what_is_done_to_phone_email_or_customer_is_done_to_the_identifier_of_a_loyalty_account(name: str) -> None:
    hashed = loyalty({name: "hash"})
    assert hashed["loyaltyIdentifier"] == expected_hash("617.555.0123")
    assert hashed["maskedLoyaltyIdentifier"] == expected_hash("***0123")
    assert set(loyalty({name: "drop"})) <= {"vendor"}


def test_of_several_rules_for_contacts_the_strictest_is_that_of_a_loyalty_account() -> None:
    assert loyalty({"phone": "hash", "email": "drop"}) == {"vendor": "TOAST"}
    assert loyalty({"phone": "drop", "checks.customer.email": "hash"}) == {"vendor": "TOAST"}
    assert loyalty({"firstName": "drop", "source": "drop"}) == LOYAL


@pytest.mark.parametrize("name", [OWN_RULE, f"checks.appliedLoyaltyInfo.{OWN_RULE}", "loyalty_id"])
def test_a_loyalty_account_with_a_rule_of_its_own_follows_that_one(name: str) -> None:
    found = loyalty({"phone": "drop", "customer": "drop", name: "hash"})
    assert found == {OWN_RULE: expected_hash("617.555.0123"), "vendor": "TOAST"}
    assert loyalty({"phone": "hash", name: "drop"}).keys() == {"maskedLoyaltyIdentifier", "vendor"}


def test_a_loyalty_account_that_is_a_number_is_hashed_as_its_digits() -> None:
    body = b'{"checks":[{"appliedLoyaltyInfo":{"loyaltyIdentifier":6175550123}}]}'
    found = json.loads(Redaction({"phone": "hash"}, SALT).apply(body))
    assert found["checks"][0]["appliedLoyaltyInfo"] == {"loyaltyIdentifier": expected_hash("6175550123")}


EMAILS = ["ann@example.com", "Ann@Example.com", " ann@example.com ", "ANN@EXAMPLE.COM"]
PHONES = ["6175550123", "(617) 555-0123", "+1 617 555 0123", "617.555.0123", 6175550123, 6175550123.0]


@pytest.mark.parametrize(
    ("name", "spellings", "normal"), [("email", EMAILS, "ann@example.com"), ("phone", PHONES, "6175550123")]
)
def test_a_contact_has_one_hash_however_it_is_spelled_and_the_same_in_streams_and_feeds(
    name: str, spellings: list[Any], normal: str
) -> None:
    redaction = Redaction({name: "hash"}, SALT)
    bodies = (json.dumps({"checks": [{"customer": {name: spelling}}]}).encode() for spelling in spellings)
    streamed = {json.loads(redaction.apply(body))["checks"][0]["customer"][name] for body in bodies}
    row = msgspec.structs.replace(NOBODY, **{name: normal})
    assert streamed == {expected_hash(normal)} == {getattr(redaction.apply_to_row(row), name)}


def test_a_phone_is_hashed_with_the_country_that_stands_beside_it() -> None:
    redaction = Redaction({"customer": "hash"}, SALT)
    beside = b'{"customer":{"phone":"020 7946 0958","phoneCountryCode":"44"}}'
    assert json.loads(redaction.apply(beside))["customer"]["phone"] == expected_hash("+442079460958")


def test_what_is_no_contact_is_hashed_trimmed_and_in_lower_case_and_other_texts_as_they_are() -> None:
    redaction = Redaction({"email": "hash", "firstName": "hash"}, SALT)
    found = json.loads(redaction.apply(b'{"email":" No Mail ","firstName":" Ann"}'))
    assert found == {"email": expected_hash("no mail"), "firstName": expected_hash(" Ann")}


NOBODY = CustomerRow(**dict.fromkeys(CustomerRow.__struct_fields__))  # type: ignore[arg-type]
LINE = OrderItemRow(**{name: name for name in OrderItemRow.__struct_fields__})  # type: ignore[arg-type]
SOMEBODY = CustomerRow(**{name: name for name in CustomerRow.__struct_fields__} | {"email": "ann@example.com"})


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        ("firstName", {"given_name"}),
        ("checks.customer.lastName", {"surname"}),
        ("given_name", {"given_name"}),
        ("checks.customer", {"given_name", "surname", "email", "email_key", "phone", "loyalty_id"}),
        ("customer", {"given_name", "surname", "email", "email_key", "phone", "loyalty_id"}),
        ("checks.customer.email", {"email", "email_key", "loyalty_id"}),
        ("phone", {"phone", "loyalty_id"}),
        ("loyalty_id", {"loyalty_id"}),
        ("maskedLoyaltyIdentifier", set()),
        ("email_key", {"email_key"}),
        ("deliveryInfo", {"address", "address2", "city", "state", "postal", "country"}),
        ("address", {"address", "address2", "city", "state", "postal", "country"}),
        ("deliveryInfo.zipCode", {"postal"}),
        ("checks.payments.houseAccount", set()),
    ],
)
def test_a_rule_holds_for_the_rows_of_feeds_too(rule: str, gone: set[str]) -> None:
    row = Redaction({rule: "drop"}).apply_to_row(SOMEBODY)
    assert {name for name in row.__struct_fields__ if getattr(row, name) is None} == gone


def test_the_key_of_an_e_mail_is_its_hash_with_the_salt_whether_or_not_the_e_mail_is_hashed_too() -> None:
    def found(redaction: Redaction, row: CustomerRow = SOMEBODY) -> tuple[str | None, str | None]:
        redacted = redaction.apply_to_row(row)
        assert isinstance(redacted, CustomerRow)
        return redacted.email, redacted.email_key

    email = "ann@example.com"
    plain, salted = hashlib.sha256(email.encode()).hexdigest(), expected_hash(email)
    assert found(Redaction()) == (email, plain)
    assert found(Redaction({}, SALT)) == (email, salted)
    assert found(Redaction({"email": "hash"}, SALT)) == (salted, salted)
    assert found(Redaction({"email": "hash"}))[1] == plain
    assert found(Redaction({}, SALT), NOBODY) == (None, None)


@pytest.mark.parametrize(
    ("rule", "gone"),
    [
        ("source", {"purchase_channel", "digital_channel"}),
        ("digital_channel", {"purchase_channel", "digital_channel"}),
        ("diningOption", {"purchase_channel"}),
        ("diningOption.behavior", {"purchase_channel"}),
        ("store_name", {"store_name"}),
        ("product_category", {"product_category"}),
        ("product_subcategory", {"product_subcategory"}),
    ],
)
def test_a_rule_for_the_source_holds_for_both_channels_and_names_can_have_rules(rule: str, gone: set[str]) -> None:
    row = Redaction({rule: "drop"}).apply_to_row(LINE)
    assert {name for name in row.__struct_fields__ if getattr(row, name) is None} == gone
    assert name_problem(rule) is None


def test_a_rule_for_a_feeds_field_holds_for_the_stream_too() -> None:
    body = b'{"checks":[{"customer":{"firstName":"Ann","phone":"1"}}],"deliveryInfo":{"zipCode":"02101","city":"B"}}'
    redacted = Redaction({"given_name": "drop", "postal": "drop"}).apply(body)
    assert json.loads(redacted) == {"checks": [{"customer": {"phone": "1"}}], "deliveryInfo": {"city": "B"}}


def test_the_fields_of_feeds_are_those_that_there_are_and_repeat_fields_of_toasts() -> None:
    assert COLUMNS.keys() <= {name for feed in FEEDS.values() for name in feed.columns}
    nested_in_the_guides_example = ".address."
    paths = {path for paths in COLUMNS.values() for path in paths if nested_in_the_guides_example not in path}
    assert paths <= set(known_fields().fields)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        *(("Email", "email"), ("EMAIL", "email"), ("e-mail", "email"), ("emial", "email"), ("email ", "email")),
        *(("first_name", "firstName"), ("Phone", "phone"), ("phones", "phone"), ("tabname", "tabName")),
        *((name, "checks.customer.email") for name in ("customer.email", "checks[].customer.email", "Customer.Email")),
        *((name, "checks.customer.email") for name in ("$.checks[*].customer.email", "checks.0.customer.email")),
        ("checks..customer.email", "checks.customer.email"),
        *(("payments.houseAccount", "checks.payments.houseAccount"), ("guestzip", "write a name such as")),
    ],
)
def test_a_name_that_names_nothing_is_refused_and_the_nearest_one_suggested(name: str, suggestion: str) -> None:
    problem = name_problem(name)
    assert problem is not None
    assert f"holds {name!r}, which is no field of Toast's order" in problem
    assert suggestion in problem


@pytest.mark.parametrize(
    "name", ["email", "checks.customer.email", "customer", "address", "given_name", "item_revenue", "last4CardDigits"]
)
def test_fields_of_toasts_and_of_feeds_are_names(name: str) -> None:
    assert name_problem(name) is None


def test_rules_that_say_different_things_of_one_field_contradict_each_other() -> None:
    assert contradiction({"email": "drop", "checks.customer.email": "hash"}) is not None
    assert contradiction({"given_name": "drop", "firstName": "hash"}) is not None
    assert (
        contradiction({"email": "drop", "phone": "hash", "customer": "drop", "checks.customer.email": "drop"}) is None
    )


def test_another_rule_or_salt_is_another_digest_and_none_of_them_tells_the_salt() -> None:
    shapes = [Redaction(), Redaction({"email": "drop"}), Redaction({"email": "hash"}), Redaction({}, SALT)]
    digests = {shape.digest for shape in shapes}
    assert len(digests) == 4
    assert Redaction({"a": "drop", "b": "hash"}).digest == Redaction({"b": "hash", "a": "drop"}).digest
    assert SALT.decode() not in "".join(digests)


def test_the_digest_changes_with_what_a_release_does_by_the_same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    def digests() -> list[str]:
        every: list[dict[str, Any]] = [{}, {"firstName": "drop"}, {"phone": "drop"}, {"customer": "hash"}]
        return [Redaction(rules).digest for rules in every]

    plain, first_name, phone, customer = digests()
    monkeypatch.setattr("toast_assets.amperity.redaction._LOYALTY", ())
    before = digests()
    assert before[:2] == [plain, first_name]
    assert phone not in before
    assert customer not in before


def test_what_cannot_be_read_must_not_leave_and_its_error_does_not_quote_it() -> None:
    with pytest.raises(UnrepresentableError) as caught:
        Redaction().apply(b'{"last4Digits": "1234"')
    assert "1234" not in str(caught.value)


@pytest.mark.parametrize("number", ["1e400", "1e99999999999999999999", "-0.0", "1.5"])
def test_a_number_that_is_no_phone_is_hashed_as_it_is(number: str) -> None:
    found = json.loads(Redaction({"phone": "hash"}, SALT).apply(b'{"phone":%b}' % number.encode()))
    assert found == {"phone": expected_hash(number)}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "email", "server", "last4Digits", 'q"\\']), inner, max_size=4)
    ),
    max_leaves=12,
)


def without(value: object) -> object:
    """The same by the definition: such fields gone, everything else as it was."""
    if isinstance(value, dict):
        return {name: without(one) for name, one in value.items() if name not in ("server", "last4Digits", "email")}
    return [without(one) for one in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=4), JSON_VALUES, max_size=4))
def test_whatever_the_record_looks_like_only_what_is_named_is_gone(record: dict[str, object]) -> None:
    redacted = Redaction({"email": "drop"}, SALT).apply(json.dumps(record).encode())
    assert json.loads(redacted) == without(record)
