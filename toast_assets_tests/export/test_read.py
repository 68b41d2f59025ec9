"""Reading an export back: what it holds, or where it breaks."""

from __future__ import annotations

import gzip
import hashlib
import logging
from pathlib import Path

import msgspec
import pytest

from toast_assets.export.read import ExportContent, UnreadableExportError, read_export
from toast_assets.export.write import ExportMetadata, export_week
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import encode, order
from toast_assets_tests.support.stores.stored_weeks import store_week

PRETTY = b'{"guid":"pretty","modifiedDate":"2025-09-15T05:00:00.000Z",\n "checks": [\n{"guid": "c"},\n\n{}\n]\n}'


@pytest.fixture
def exported(store: OrderStore, week: Week, tmp_path: Path) -> Path:
    """An export of three orders, one of which Toast sent in several lines."""
    store_week(store, week, {"here": [*encode(order(), order()), PRETTY]})
    export_week(week, store, logging.getLogger(__name__))
    store.bucket.fetch(store.layout.export(week, "here"), tmp_path / "export")
    return tmp_path / "export"


def test_count_and_hash_are_those_of_the_stored_orders(exported: Path, store: OrderStore, week: Week) -> None:
    content = read_export(exported)
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    pull = manifest.stored["here"]
    assert (content.orders, content.sha256) == (3, pull.orders_sha256)
    assert (content.metadata.total_orders, content.metadata.partition) == (3, "2025-09-15")


ONE, TWO, SPREAD, NESTED = b'{"guid":"1"}', b'{"guid":"2"}', b'{"guid":\n"3"}', b'{"a":[{\n},\n{}\n],"metadata":{\n}}'
DEEP = b'{"guid":"deep",\n"x":' + b"[" * 5_000 + b"]" * 5_000 + b"\n}"


@pytest.mark.parametrize(
    "orders",
    [
        [ONE, TWO],
        [ONE, SPREAD, TWO],
        [NESTED, ONE],
        [ONE, DEEP, TWO],
        [ONE, NESTED],
        [ONE + b" ", TWO],
        [b" " + ONE, TWO],
        [b'{"guid":"half \\ud83d of a pair"}', ONE],
        [ONE.replace(b"1", b"1" * 50_000)] * 20,
        [ONE] * 9 + [b"{" + b",\n".join(b'"%d":"%s"' % (line, b"x" * 50_000) for line in range(20)) + b"}", TWO],
    ],
)
@pytest.mark.parametrize("claims_the_truth", [True, False])
def test_orders_are_told_apart_whatever_their_lines(
    tmp_path: Path, orders: list[bytes], claims_the_truth: bool
) -> None:
    expected = hashlib.sha256(b"".join(order + b"\n" for order in orders)).hexdigest()
    claimed = (len(orders), expected) if claims_the_truth else (0, "")
    content = read_text(tmp_path, b",\n".join(orders) + b"\n", *claimed)
    assert (content.orders, content.sha256) == (len(orders), expected)
    assert (content.metadata.total_orders, content.metadata.orders_sha256) == claimed


def read_text(folder: Path, between: bytes, orders: int, sha256: str) -> ExportContent:
    """What is read out of an export with these bytes between its brackets, whose metadata claims these orders."""
    metadata = ExportMetadata("", "", "", orders, "here", "2025-09-15", sha256)
    text = b'{"orders":[\n' + between + b'],"metadata":' + msgspec.json.encode(metadata) + b"}\n"
    (folder / "export").write_bytes(gzip.compress(text))
    return read_export(folder / "export")


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (ONE + b"\n" + TWO + b"\n", "no comma follows order 1"),
        (ONE + b",\n" + TWO + b",\n", "a comma follows its last order"),
        (ONE + b",,\n" + TWO + b"\n", "ends after 0 orders"),
    ],
)
def test_a_hash_that_agrees_does_not_make_up_for_what_separates_orders(
    tmp_path: Path, between: bytes, message: str
) -> None:
    sha256 = hashlib.sha256(ONE + b"\n" + TWO + b"\n").hexdigest()
    with pytest.raises(UnreadableExportError, match=message):
        read_text(tmp_path, between, 2, sha256)


@pytest.mark.parametrize(
    "odd", [b'{"\xff":1}', b"{" + b'"a":{' * 5_000 + b"}", b'{"guid":"1"},5', b"5", b'"{"', b'{"guid":"1"} {}']
)
def test_what_is_no_order_is_none_between_orders(tmp_path: Path, odd: bytes) -> None:
    (tmp_path / "export").write_bytes(gzip.compress(b'{"orders":[\n' + ONE + b",\n" + odd + b'\n],"metadata":{}}\n'))
    with pytest.raises(UnreadableExportError, match="ends after 1 orders"):
        read_export(tmp_path / "export")


def test_an_empty_export_is_one(store: OrderStore, week: Week, tmp_path: Path) -> None:
    store_week(store, week, {"here": []})
    export_week(week, store, logging.getLogger(__name__))
    store.bucket.fetch(store.layout.export(week, "here"), tmp_path / "export")
    assert read_export(tmp_path / "export").orders == 0


def test_a_file_that_was_cut_off_does_not_unpack(exported: Path) -> None:
    exported.write_bytes(exported.read_bytes()[:-40])
    with pytest.raises(UnreadableExportError, match="does not unpack"):
        read_export(exported)


def test_no_flipped_byte_goes_unnoticed(exported: Path) -> None:
    whole = exported.read_bytes()
    for place in range(20, len(whole), 23):
        exported.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(UnreadableExportError):
            read_export(exported)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "does not begin"),
        (b'{"orders":[\n{"guid":"a"},\n', "ends after 1 orders"),
        (b'{"orders":[\n{"guid":"a"\n],"metadata":{}}\n', "ends after 0 orders"),
        (b'{"orders":[\n],"metadata":{}}\n', "metadata cannot be read"),
        (b'{"orders":[\n],"metadata":{"fetch_date":"\xff"}}\n', "metadata cannot be read"),
        (b'{"orders":[\n],"metadata":' + b"[" * 5_000, "metadata cannot be read"),
        (b'{"orders":[\n],"metadata":{}}\nmore', "something follows"),
    ],
)
def test_what_is_no_export_says_where_it_breaks(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "export"
    path.write_bytes(gzip.compress(text))
    with pytest.raises(UnreadableExportError, match=message):
        read_export(path)
