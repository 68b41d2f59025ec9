"""The guest index: the newest of each field, whatever comes first, and a row that grows newer with every change."""

from __future__ import annotations

import itertools
import logging
import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toast_assets.index import guests as module
from toast_assets.index.guests import GUEST_SCHEMA, Guest, WeekGuests
from toast_assets.machine import machine_problem
from toast_assets.orders.raw_file import row_groups
from toast_assets.store.order_store import OrderStore

LOG = logging.getLogger("toast_assets.test")
UNKNOWN: dict[str, Any] = dict.fromkeys(Guest._fields)
ADDRESS = ("address", "address2", "city", "state", "postal", "country")
BOSTON = {"address": "12 Elm Street", "address2": "Floor 3", "city": "Boston"}


def seen(at_ms: int, customer_id: str = "g", **known: str) -> Guest:
    return Guest(**UNKNOWN | {"customer_id": customer_id, "time_zone": "UTC", "revised_ms": at_ms} | known)


class Index:
    """An index in a local file; ``rows`` by customer id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "index.parquet"
        self.changes: list[bool] = []

    def merge(self, *sightings: Guest, newer_ms: int = 0) -> dict[str, Guest]:
        """Merges a week; what is known of its guests then."""
        (self.folder / "week").unlink(missing_ok=True)
        guests = WeekGuests(self.folder / "week")
        guests.add("place", sightings)
        groups: Iterable[pa.Table] = row_groups(self.path) if self.path.exists() else ()
        self.changes.append(guests.merge(groups, self.folder / "merged", newer_ms))
        (self.folder / "merged").rename(self.path)
        return {guest.customer_id: guest for some in guests.of_restaurant("place") for guest in some}

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {row["customer_id"]: row for row in pq.read_table(self.path).to_pylist()}


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path)


@pytest.fixture
def new_index(tmp_path: Path) -> Iterator[Index]:
    """Another index for each ``next``."""

    def made() -> Iterator[Index]:
        for number in itertools.count():
            folder = tmp_path / str(number)
            folder.mkdir()
            yield Index(folder)

    return made()


def fields(guest: Guest) -> dict[str, Any]:
    """What is known, less what only says when."""
    return {name: value for name, value in guest._asdict().items() if name != "revised_ms"}


def test_each_field_is_the_newest_that_is_known_and_an_address_is_one_field(index: Index) -> None:
    index.merge(seen(10, given_name="Ada", email="ada@example.com", **BOSTON))
    index.merge(seen(20, given_name="Adah", phone="6175550123"))
    known = index.merge(seen(30, surname="Lovelace", city="Salem"))["g"]
    assert known == seen(
        30, given_name="Adah", surname="Lovelace", email="ada@example.com", phone="6175550123", city="Salem"
    )


def test_a_loyalty_account_stays_and_is_as_good_as_a_name(index: Index) -> None:
    index.merge(seen(10, loyalty_id="617-555-0188"))
    index.merge(seen(30, loyalty_id="gold"), seen(20, loyalty_id="silver"))
    known = index.merge(seen(40, given_name="Ada"))["g"]
    assert known == seen(40, given_name="Ada", loyalty_id="gold")


def test_an_older_order_adds_what_is_not_known_and_makes_the_row_a_millisecond_newer(index: Index) -> None:
    index.merge(seen(20, given_name="Ada"))
    assert index.merge(seen(10, given_name="Old", email="ada@example.com"))["g"] == seen(
        21, given_name="Ada", email="ada@example.com"
    )
    assert index.merge(seen(5, phone="6175550123"))["g"].revised_ms == 22
    assert index.merge(seen(30, given_name="Ada"))["g"].revised_ms == 30


def test_what_says_nothing_new_changes_nothing(index: Index) -> None:
    first = seen(20, given_name="Ada", email="ada@example.com")
    known = index.merge(first)
    before = index.path.read_bytes()
    assert index.merge(first, seen(10, given_name="Old"), seen(40)) == known
    assert index.changes == [True, False]
    assert index.path.read_bytes() == before


def test_a_guest_known_by_guid_alone_is_a_row_of_the_week_and_not_of_the_index(index: Index) -> None:
    assert index.merge(seen(10)) == {"g": Guest(**UNKNOWN | {"customer_id": "g"})}
    assert index.rows == {}


def test_of_one_moment_the_greater_value_stays_whichever_comes_first(new_index: Iterator[Index]) -> None:
    one, other = seen(10, given_name="Ada", **BOSTON), seen(10, given_name="Zoe", city="Salem", address="1 Ash Road")
    for sequence in itertools.permutations([one, other]):
        index = next(new_index)
        for sighting in sequence:
            known = index.merge(sighting)["g"]
        assert fields(known) == fields(seen(10, given_name="Zoe", **BOSTON))
    assert fields(next(new_index).merge(one, other)["g"]) == fields(known)


def test_the_time_zone_is_that_of_the_newest_order_that_says_anything(index: Index) -> None:
    index.merge(seen(10, given_name="Ada", time_zone="America/New_York"))
    index.merge(seen(30, time_zone="Europe/Dublin"))
    assert (
        index.merge(seen(20, email="ada@example.com", time_zone="America/Chicago"))["g"].time_zone == "America/Chicago"
    )
    assert index.merge(seen(15, phone="6175550123", time_zone="Asia/Tokyo"))["g"].time_zone == "America/Chicago"


def test_guests_of_a_rebuilt_index_are_newer_than_all_revisions_of_the_lost_one(index: Index) -> None:
    assert index.merge(seen(10, given_name="Ada"), newer_ms=1000)["g"].revised_ms == 1010
    assert index.merge(seen(10, given_name="Ada"))["g"].revised_ms == 1010


def test_a_row_group_whose_guests_were_all_forgotten_is_passed_over(index: Index) -> None:
    with pq.ParquetWriter(index.path, GUEST_SCHEMA) as writer:
        writer.write_table(GUEST_SCHEMA.empty_table())
    assert [group.num_rows for group in row_groups(index.path)] == [0]
    assert index.merge(seen(10, given_name="Ada"))["g"] == seen(10, given_name="Ada")


def test_a_full_disk_is_said_as_of_any_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guests, connect = WeekGuests(tmp_path / "week"), sqlite3.connect

    def full(*arguments: Any, **options: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*arguments, **options)
        database.execute("PRAGMA max_page_count = 8")
        return database

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(OSError, match="No space left") as raised:
        guests.add("place", [seen(number, given_name="A" * 1000) for number in range(100)])
    assert "no room left" in str(machine_problem(raised.value))


def some_sightings(chance: random.Random, guests: int, count: int) -> list[Guest]:
    """Orders of few guests at few moments, so that fields and moments meet."""
    names = [name for name in Guest._fields if name not in ("customer_id", "time_zone", "revised_ms")]
    return [
        seen(
            chance.randrange(1, 12),
            f"g{chance.randrange(guests)}",
            **{name: chance.choice("abc") for name in names if chance.random() < 0.2},
        )
        for _ in range(count)
    ]


def truth(sightings: Sequence[Guest], customer_id: str) -> dict[str, Any]:
    """The newest known fields, in plain Python."""
    mine = [one for one in sightings if one.customer_id == customer_id]
    found = UNKNOWN | {"customer_id": customer_id}
    for names in (("given_name",), ("surname",), ("email",), ("phone",), ("loyalty_id",), ADDRESS):
        known = [(one.revised_ms or 0, *(getattr(one, name) or "" for name in names)) for one in mine]
        newest = max((one for one in known if any(one[1:])), default=None)
        if newest is not None:
            found |= dict(zip(names, (text or None for text in newest[1:]), strict=True))
    known_at = [one for one in mine if any(one[1:-2])]
    found["time_zone"] = "UTC" if known_at else None
    del found["revised_ms"]
    return found


@pytest.mark.parametrize("seed", range(20))
def test_weeks_in_any_sequence_with_repeats_and_cut_anywhere_give_the_same_guests(
    seed: int, new_index: Iterator[Index], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Amperity holds by upsert is the truth after every delivery, too, also when files are loaded again."""
    chance = random.Random(seed)
    monkeypatch.setattr(module, "_ROW_GROUP_ROWS", chance.choice([1, 2, 3, 100]))
    weeks = [some_sightings(chance, guests=6, count=chance.randrange(1, 12)) for _ in range(5)]
    index, held, files = next(new_index), dict[str, Guest](), list[dict[str, Guest]]()
    delivered: list[Guest] = []
    for number in [*chance.sample(range(5), 5), *chance.choices(range(5), k=4)]:
        files.append(index.merge(*weeks[number]))
        delivered += weeks[number]
        for file in [files[-1], *chance.choices(files, k=3)]:
            for key, guest in file.items():
                if key not in held or (guest.revised_ms or 0) >= (held[key].revised_ms or 0):
                    held[key] = guest
        assert {key: fields(guest) for key, guest in held.items()} == {
            key: truth(delivered, key) for key in {one.customer_id for one in delivered}
        }
    assert list(index.rows) == sorted(index.rows)
    assert all(0 < group.num_rows < 2 * module._ROW_GROUP_ROWS for group in row_groups(index.path))
    at_once = next(new_index).merge(*itertools.chain(*weeks))
    assert {key: fields(guest) for key, guest in at_once.items()} == {key: fields(held[key]) for key in held}


class TestStored:
    """The index in a bucket."""

    @pytest.fixture
    def week_guests(self, tmp_path: Path) -> WeekGuests:
        guests = WeekGuests(tmp_path / "week")
        guests.add("place", [seen(20, given_name="Ada")])
        return guests

    def rows(self, store: OrderStore, folder: Path) -> list[dict[str, Any]]:
        stored = store.bucket.fetch(store.layout.guest_index(), folder / "stored")
        assert stored is not None
        return list(pq.read_table(stored.path).to_pylist())

    def test_a_run_that_stores_meanwhile_loses_nothing(
        self, store: OrderStore, week_guests: WeekGuests, tmp_path: Path
    ) -> None:
        other = WeekGuests(tmp_path / "other")
        other.add("place", [seen(10, email="ada@example.com")])

        def meanwhile() -> bool:
            other.update_index(store, lambda: False, LOG)
            return False

        week_guests.update_index(store, meanwhile, LOG)
        (row,) = self.rows(store, tmp_path)
        assert (row["given_name"], row["email"], row["revised_ms"]) == ("Ada", "ada@example.com", 20)
        ((known,),) = week_guests.of_restaurant("place")
        assert (known.email, known.revised_ms) == ("ada@example.com", 20)

    def test_without_saving_the_bucket_stays_as_it_is(
        self, store: OrderStore, week_guests: WeekGuests, tmp_path: Path
    ) -> None:
        week_guests.update_index(store, lambda: False, LOG, save=False)
        ((known,),) = week_guests.of_restaurant("place")
        assert known.given_name == "Ada"
        assert store.bucket.info(store.layout.guest_index()) is None

    @pytest.mark.parametrize("loyal", [True, False])
    def test_the_index_of_an_earlier_release_keeps_what_it_has_and_takes_in_what_other_weeks_say(
        self, store: OrderStore, week_guests: WeekGuests, loyal: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        earlier = WeekGuests(tmp_path / "earlier")
        earlier.add("", [seen(10, email="ada@example.com"), seen(10, "gone", email="bo@example.com")])
        earlier.merge((), tmp_path / "index", 7)
        rows = pq.read_table(tmp_path / "index").drop_columns(["loyalty_id", "loyalty_id_ms"])
        pq.write_table(rows, tmp_path / "index")
        store.bucket.write(store.layout.guest_index(), tmp_path / "index")
        histories = list[bool]()

        def add_history() -> bool:
            histories.append(True)
            account = {"loyalty_id": "gold"} if loyal else {}
            week_guests.add("", [seen(5, given_name="Older", **account), seen(5, "new", surname="Roe", **account)])
            return True

        for _ in range(2):
            week_guests.update_index(store, add_history, LOG)
        found = {row["customer_id"]: row for row in self.rows(store, tmp_path)}
        assert histories == [True]
        assert list(found["g"]) == GUEST_SCHEMA.names
        account = "gold" if loyal else None
        assert {name: found["g"][name] for name in ("given_name", "email", "loyalty_id", "revised_ms")} == {
            **{"given_name": "Ada", "email": "ada@example.com", "loyalty_id": account, "revised_ms": 20}
        }
        assert (found["gone"]["email"], found["gone"]["revised_ms"]) == ("bo@example.com", 17)
        assert (found["new"]["surname"], found["new"]["loyalty_id"], found["new"]["revised_ms"]) == ("Roe", account, 5)
        assert not caplog.records

    @pytest.mark.parametrize("damage", ["cut", "bits", "columns", "nothing of ours"])
    def test_an_index_that_cannot_be_read_is_made_of_all_weeks(
        self,
        store: OrderStore,
        week_guests: WeekGuests,
        damage: str,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        pq.write_table(GUEST_SCHEMA.empty_table().drop_columns("phone"), tmp_path / "columns")
        week_guests.update_index(store, lambda: False, LOG)
        found = store.bucket.read(store.layout.guest_index())
        assert found is not None
        whole = bytearray(found[0])
        whole[8] ^= 0xFF
        body = {
            "cut": found[0][:-20],
            "bits": bytes(whole),
            "columns": (tmp_path / "columns").read_bytes(),
            "nothing of ours": b"",
        }[damage]
        store.bucket.write(store.layout.guest_index(), body)

        def add_history() -> bool:
            week_guests.add("", [seen(10, email="ada@example.com"), seen(10, "other", email="bo@example.com")])
            return True

        week_guests.update_index(store, add_history, LOG)
        assert [row["customer_id"] for row in self.rows(store, tmp_path)] == ["g", "other"]
        ((known,),) = week_guests.of_restaurant("place")
        assert known == seen(1020, given_name="Ada", email="ada@example.com")
        assert "made again of all stored weeks" in caplog.text
