"""Orders that are odd in every way that we could think of, and what has to become of each.

Each is one element of a page of Toast's, as bytes, because many of them no encoder would make.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from toast_assets.orders.times import format_time, parse_time_ms
from toast_assets_tests.support.data.invented import MODIFIED, Json, check, customer, encode, order, payment, selection

GUEST = "odd.guest@secret.example"
"""The e-mail of every odd order's guest: it must stand in no log and in nothing that Dagster keeps."""
CARD_DIGITS = ("734512", "9731", "8264")
"""Digits of cards that must not be sent, however they are written."""
TWIN = "00000000-7777-4000-8000-000000000000"
"""An order's GUID that several restaurants have."""


class Fate(Enum):
    """What becomes of an order, as far as one reading is right."""

    WHOLE = "stored, exported, sent, in the tables"
    REJECTED = "stored, exported, sent, and named by the tables instead of being in them"
    REFUSED = "stored, exported, and among the rejects instead of being sent"
    UNREADABLE = "kept apart, with the reason: it has no GUID, no time or is no JSON in UTF-8"
    NAMED = "kept whole or apart; sent or a reject; in the tables or named by them"


@dataclass(frozen=True)
class OddOrder:
    """``guid`` is None where none can be read; Toast has the order at the modified time ``at`` (milliseconds, UTC)."""

    name: str
    body: bytes
    fate: Fate
    guid: str | None = None
    at: int = 0


def odd_orders(restaurant: str) -> list[OddOrder]:
    """One order of each kind, with GUIDs that only this restaurant has (but for ``TWIN``)."""
    found = [
        *_field_names(),
        *_nesting(),
        *_numbers(),
        *_flags(),
        *_optional_fields(),
        *_required_fields(),
        *_guids(restaurant),
        *_times(),
        *_restaurants(),
        *_texts(),
    ]
    named = [odd if odd.guid is None else _named(odd, restaurant) for odd in found]
    return [_moved(odd, parse_time_ms(MODIFIED) + number * 60_000) for number, odd in enumerate(named)]


def _moved(odd: OddOrder, at: int) -> OddOrder:
    return replace(odd, at=at, body=odd.body.replace(MODIFIED.encode(), format_time(at).encode()))


def _named(odd: OddOrder, restaurant: str) -> OddOrder:
    """Where an order has the GUID of its name, the restaurant's becomes a part of it."""
    if odd.guid != odd.name:
        return odd
    guid = f"{restaurant[:8]} {odd.name}"
    old, new = (b'"guid":%s,"entityType":"Order"' % _text(one) for one in (odd.name, guid))
    assert odd.body.count(old) == 1, odd.name
    return replace(odd, body=odd.body.replace(old, new), guid=guid)


def _order(*bills: Json, name: str, **fields: Any) -> bytes:
    bill = check(guest=customer(GUEST), payments=[payment(last4Digits=CARD_DIGITS[1])])
    return encode({**order(*(bills or [bill])), "guid": name, **fields})[0]


def _plain(name: str, fate: Fate, *bills: Json, **fields: Any) -> OddOrder:
    return OddOrder(name, _order(*bills, name=name, **fields), fate, name)


def _with(name: str, fate: Fate, members: bytes) -> OddOrder:
    """An order with more members, written as they are."""
    return OddOrder(name, _order(name=name)[:-1] + b"," + members + b"}", fate, name)


def _text(value: str) -> bytes:
    return encode(value)[0]  # type: ignore[arg-type]


def _replaced(name: str, fate: Fate, old: bytes, new: bytes, *, guid: str | None = None) -> OddOrder:
    """An order in which one member is written in another way."""
    body = _order(name=name)
    assert old in body, name
    return OddOrder(name, body.replace(old, new, 1), fate, guid)


def _field_names() -> Iterator[OddOrder]:
    names = {
        "a GUID": "6f1c2a7e-0d3b-4b5e-9a51-0c6f2f3e7d11",
        "a hyphen": "odd-name",
        "a blank": "State tax",
        "an emoji": "🍕",
        "nothing": "",
        "a NUL": "a\0b",
        "a dunder": "__dict__",
        "a slot": "__weakref__",
        "a keyword": "class",
        "a dot": "a.b",
        "brackets": "a[0]",
        "a line feed": "a\nb|c",
        "markup": "<img src=x onerror=alert(1)>",
        "right to left": "\u202egpj.exe",
        "a separator": "a\u2028b",
        "a guest": GUEST,
        "100 kB": "n" * 100_000,
    }
    for title, name in names.items():
        yield _with(f"field named {title}", Fate.WHOLE, b'"loyalty":{%s:{%s:1}}' % (_text(name), _text(name)))
    for title, name in (("e-mail", "guest-{}@secret.example"), ("GUID", "6f1c2a7e-0d3b-4b5e-9a51-{:012x}")):
        keys = b",".join(b"%s:%d" % (_text(name.format(number)), number) for number in range(200))
        yield _with(f"map keyed by {title}", Fate.WHOLE, b'"points":{%s}' % keys)


def _nesting() -> Iterator[OddOrder]:
    for depth in (900, 1_500, 5_000):
        yield _with(f"arrays nested {depth} deep", Fate.NAMED, b'"x":' + b"[" * depth + b"]" * depth)
    yield _with("objects nested 1500 deep", Fate.NAMED, b'"x":' + b'{"a":' * 1_500 + b"1" + b"}" * 1_500)
    for depth in (300, 600):
        item = b'{"guid":"m","price":1,"quantity":1,"modifiers":[' * depth + b"]}" * depth
        yield _with(f"modifiers {depth} deep", Fate.NAMED, b'"checks":[{"guid":"c","selections":[%s]}]' % item)


def _numbers() -> Iterator[OddOrder]:
    prices = {
        "1e-9999999": Fate.REJECTED,
        "1e-99999999": Fate.REJECTED,
        "1e999": Fate.REJECTED,
        "1e999999999": Fate.REJECTED,
        "9" * 5_000: Fate.REJECTED,
        "-0.0": Fate.WHOLE,
        "0.1e1": Fate.WHOLE,
        "NaN": Fate.UNREADABLE,
        "Infinity": Fate.UNREADABLE,
    }
    for price, fate in prices.items():
        name = f"price {price[:12]}"
        body = _order(check(selection("41.5")), name=name).replace(
            b'"preDiscountPrice":41.5', b'"preDiscountPrice":%s' % price.encode()
        )
        yield OddOrder(name, body, fate, name)
        yield _with(
            f"unknown {price[:12]}",
            fate if fate is Fate.UNREADABLE else Fate.WHOLE,
            b'"x":%s' % price.encode(),
        )
    body = _order(check(selection("41.5", quantity="7")), name="quantity 1e300")
    yield OddOrder(
        "quantity 1e300", body.replace(b'"quantity":7', b'"quantity":1e300'), Fate.REJECTED, "quantity 1e300"
    )


def _flags() -> Iterator[OddOrder]:
    for name, value in (("true", "true"), ("yes", "yes"), ("1", 1)):
        yield _plain(f"voided {name!r}", Fate.REJECTED, voided=value)
    yield _plain("deleted 'false'", Fate.REJECTED, deleted="false")
    yield _plain("check voided 'true'", Fate.REJECTED, check(voided="true"))


def _optional_fields() -> Iterator[OddOrder]:
    odd: dict[str, Any] = {
        "displayNumber": 12,
        "source": {"name": "In Store", "by": GUEST},
        "numberOfGuests": "two",
        "duration": [5],
        "approvalStatus": 3,
        "table": "five",
        "server": [],
        "diningOption": 7,
        "deliveryInfo": "none",
    }
    for name, value in odd.items():
        yield _plain(f"{name} odd", Fate.WHOLE, **{name: value})
    yield _plain("check number odd", Fate.WHOLE, check(displayNumber=12))
    yield _plain("customer an array", Fate.WHOLE, check(customer=[{"email": GUEST}]))
    yield _plain("customer a text", Fate.WHOLE, check(customer=GUEST))
    yield _plain("item's name an object", Fate.WHOLE, check(selection(displayName={"en": "Soup"})))
    yield _plain("card type a number", Fate.WHOLE, check(payments=[payment(cardType=4)]))


def _required_fields() -> Iterator[OddOrder]:
    yield _plain("amount a text", Fate.REJECTED, check(amount="ten"))
    item = selection(preDiscountPrice={"USD": 1})
    yield _plain("price an object", Fate.REJECTED, check() | {"selections": [item]})
    yield _plain("quantity an array", Fate.REJECTED, check(selection() | {"quantity": [1]}))
    yield _plain("tip true", Fate.REJECTED, check(payments=[payment(tipAmount=True)]))
    yield _plain("opened a number", Fate.REJECTED, openedDate=5)
    yield _plain("closed no time", Fate.REJECTED, closedDate="yesterday")
    yield _plain("business date an object", Fate.REJECTED, businessDate={"year": 2025})
    yield _plain("check's GUID a number", Fate.REJECTED, check(guid=5))
    yield _plain("checks a text", Fate.REJECTED, checks="none")
    yield _plain("checks an object", Fate.REJECTED, checks={"a": 1})
    yield _plain("a check is null", Fate.REJECTED, checks=[None])


def _guids(restaurant: str) -> Iterator[OddOrder]:
    yield OddOrder("one GUID at several restaurants", _order(name=TWIN), Fate.WHOLE, TWIN)
    for title, old_new in {
        "missing": b"",
        "null": b'"guid":null,',
        "a number": b'"guid":5,',
        "true": b'"guid":true,',
    }.items():
        name = f"guid {title}"
        yield _replaced(name, Fate.UNREADABLE, b'"guid":%s,' % _text(name), old_new)
    texts = {
        "markup": "<img src=x onerror=alert(1)>|](javascript:alert(1))",
        "right to left": "\u202egpj.exe",
        "a NUL": "a\0b",
        "a header": "a\r\nX-Evil: 1",
        "a path": "../../../../etc/passwd",
        "1 MB": "g" * 1_000_000,
    }
    for title, text in texts.items():
        guid = f"{restaurant[:8]} {text}"
        yield OddOrder(f"guid {title}", _order(name=guid), Fate.REFUSED if title == "1 MB" else Fate.WHOLE, guid)
    name = "guid half a surrogate"
    yield _replaced(name, Fate.NAMED, _text(name), rb'"%s \ud83d"' % restaurant[:8].encode())


def _times() -> Iterator[OddOrder]:
    old = b'"modifiedDate":%s' % _text(MODIFIED)
    new = {"null": b"null", "a number": b"1758307512345", "no time": b'"yesterday"', "an object": b'{"at":1}'}
    for title, value in new.items():
        name = f"modified {title}"
        body = _order(name=name)
        # The order's own is the first: checks and items, which come later, have theirs.
        yield OddOrder(name, body.replace(old, b'"modifiedDate":%s' % value, 1), Fate.UNREADABLE)
    name = "modified missing"
    yield OddOrder(name, _order(name=name).replace(old + b",", b"", 1), Fate.UNREADABLE)


def _restaurants() -> Iterator[OddOrder]:
    for title, value in (("null", b"null"), ("a number", b"7"), ("an object", b'{"guid":"q"}'), ("another", b'"x-y"')):
        yield _with(f"restaurantGuid {title}", Fate.NAMED, b'"restaurantGuid":%s' % value)
    yield _with("restaurantGuid escaped", Fate.NAMED, rb'"restaurant\u0047uid":"x-y"')
    yield _with("restaurantGUID", Fate.WHOLE, b'"restaurantGUID":"x-y"')


def _texts() -> Iterator[OddOrder]:
    yield _replaced("not UTF-8", Fate.UNREADABLE, b"Soup of the day", b"Soup \xff of the day")
    yield _replaced("a surrogate as UTF-8", Fate.UNREADABLE, b"Soup of the day", b"Soup \xed\xa0\x80")
    yield _replaced("half a surrogate", Fate.NAMED, b"Soup of the day", rb"Soup \ud83d", guid="half a surrogate")
    yield _plain("a line separator", Fate.WHOLE, check(selection(displayName="Soup\u2028of the\u2029day")))
    yield _with("2 MB", Fate.REFUSED, b'"x":"%s"' % (b"y" * 2_000_000))
    digits = CARD_DIGITS[2].encode()
    twice = b'"checks":[{"guid":"c","payments":[{"guid":"p","last4Digits":"%s","last4Digits":"%s"}]}]' % (
        digits,
        digits,
    )
    yield _with("card digits twice", Fate.NAMED, twice)
    yield _with("card digits escaped", Fate.NAMED, rb'"payments":[{"guid":"p","l\u0061st4Digits":"%s"}]' % digits)
    yield _with("card digits elsewhere", Fate.NAMED, b'"x":{"first6Digits":"%s"}' % CARD_DIGITS[0].encode())
    yield _with("voided twice", Fate.NAMED, b'"voided":true,"voided":false')
