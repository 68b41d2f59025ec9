"""What a sandbox held comes back in the next one, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox, SandboxConfig, invent_restaurants, kept
from toast_assets.week import WeekCalendar
from toast_assets_tests.support.services.clients import s3_client

CONFIG = SandboxConfig(restaurants=invent_restaurants(1, 30), rate_limits=False)
(RESTAURANT,) = CONFIG.restaurants
WEEK, NEXT_WEEK = (WeekCalendar().week(key) for key in ("2025-09-15", "2025-09-22"))
KEY = "toast-orders/raw/week=2025-09-15/a b.parquet"


@contextmanager
def used_sandbox(folder: Path) -> Iterator[tuple[Sandbox, Any]]:
    """A sandbox that was called at all three services, with a client for its bucket, before and after it was saved."""
    with Sandbox(CONFIG) as sandbox:
        client = s3_client(sandbox)
        client.put_object(
            Bucket=sandbox.bucket,
            Key=KEY,
            Body=b"PAR1",
            ContentType="application/json",
            ContentEncoding="gzip",
            Metadata={"total_orders": "3"},
        )
        for stream, guid in ((CONFIG.streams[0], "1"), (CONFIG.streams[0], "1"), ("is-unknown", "2")):
            send(sandbox, stream, guid)
        send(sandbox, CONFIG.streams[0], "3", key="wrong")
        httpx.get(f"{sandbox.toast_url}/orders/v2/ordersBulk", trust_env=False)
        orders = sandbox.toast.orders[RESTAURANT.guid]
        orders.served |= {order.guid for order in orders.between(WEEK.start_ms, WEEK.end_ms)}
        orders.between(NEXT_WEEK.start_ms, NEXT_WEEK.end_ms)
        kept.save(sandbox, folder)
        yield sandbox, client


def send(sandbox: Sandbox, stream: str, guid: str, key: str = CONFIG.amperity_api_key) -> None:
    httpx.post(
        f"{sandbox.amperity_url}/stream/v0/data/{stream}",
        json={"guid": guid, "restaurantGuid": RESTAURANT.guid, "modifiedDate": "x"},
        headers={"X-Amperity-Tenant": CONFIG.tenant, "Authorization": f"Bearer {key}"},
        trust_env=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a sandbox that has ended."""
    with used_sandbox(tmp_path):
        pass
    return tmp_path


def test_objects_are_files_that_people_can_open(folder: Path) -> None:
    assert (folder / "bucket" / KEY).read_bytes() == b"PAR1"


def test_objects_come_back_with_their_headers_and_amperitys_books_with_them(tmp_path: Path) -> None:
    with used_sandbox(tmp_path) as (before, client):
        there = client.head_object(Bucket=before.bucket, Key=KEY)
    with Sandbox(CONFIG) as sandbox:
        assert kept.load(sandbox, tmp_path) is None
        here = s3_client(sandbox).head_object(Bucket=sandbox.bucket, Key=KEY)
        for name in ("ETag", "ContentType", "ContentEncoding", "Metadata", "ContentLength"):
            assert here[name] == there[name]
        assert [record.guid for record in sandbox.amperity.accepted] == ["1", "1"]
        assert [record.stream_id for record in sandbox.amperity.dropped] == ["is-unknown"]
        assert [entry.status for entry in sandbox.amperity.refused] == [401]
        assert sandbox.toast.log.entries == before.toast.log.entries != []
        assert sandbox.amperity.sent_again == 1


def test_an_object_that_came_in_parts_keeps_its_tag(tmp_path: Path) -> None:
    with Sandbox(CONFIG) as before:
        client: Any = s3_client(before)
        which = {"Bucket": before.bucket, "Key": "large"}
        which["UploadId"] = client.create_multipart_upload(**which)["UploadId"]
        part = client.upload_part(**which, PartNumber=1, Body=b"x")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
        tag = client.complete_multipart_upload(**which, MultipartUpload=parts)["ETag"]
        kept.save(before, tmp_path)
    with Sandbox(CONFIG) as sandbox:
        kept.load(sandbox, tmp_path)
        assert s3_client(sandbox).head_object(Bucket=sandbox.bucket, Key="large")["ETag"] == tag


def test_orders_that_changed_late_stay_changed(tmp_path: Path) -> None:
    with used_sandbox(tmp_path) as (before, _):
        changed = before.toast.orders[RESTAURANT.guid]
    assert len(changed.between(WEEK.start_ms, WEEK.end_ms)) < RESTAURANT.orders_per_week
    with Sandbox(CONFIG) as sandbox:
        kept.load(sandbox, tmp_path)
        orders = sandbox.toast.orders[RESTAURANT.guid]
        assert {guid: order.json for guid, order in orders.newest.items()} == {
            guid: order.json for guid, order in changed.newest.items()
        }
        assert orders.served == changed.served


def remove_object(folder: Path) -> None:
    (folder / "bucket" / KEY).unlink()


def cut_off(folder: Path) -> None:
    rest = folder / "sandbox.json"
    rest.write_bytes(rest.read_bytes()[:-9])


def remove_rest(folder: Path) -> None:
    (folder / "sandbox.json").unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove_object, "a b.parquet is missing"),
        (cut_off, "cannot be read"),
        (remove_rest, "did not come to its end"),
    ],
)
def test_what_is_not_whole_is_not_taken(folder: Path, damage: Callable[[Path], None], reason: str) -> None:
    damage(folder)
    with Sandbox(CONFIG) as sandbox:
        assert reason in str(kept.load(sandbox, folder))
        assert sandbox.objects() == []
        assert sandbox.amperity.accepted == []


@pytest.mark.parametrize(
    "other",
    [SandboxConfig(seed=2, restaurants=CONFIG.restaurants), SandboxConfig(restaurants=invent_restaurants(2, 30))],
)
def test_another_seed_or_brand_takes_nothing(folder: Path, other: SandboxConfig) -> None:
    with Sandbox(other) as sandbox:
        assert "another seed" in str(kept.load(sandbox, folder))
        assert sandbox.objects() == []


def test_data_are_taken_once_so_that_a_killed_sandbox_leaves_no_old_ones(folder: Path) -> None:
    for reason in (None, "The last command did not come to its end"):
        with Sandbox(CONFIG) as sandbox:
            assert kept.load(sandbox, folder) == reason


def test_a_second_save_leaves_nothing_of_the_first(folder: Path) -> None:
    with Sandbox(CONFIG) as sandbox:
        kept.load(sandbox, folder)
        s3_client(sandbox).delete_object(Bucket=sandbox.bucket, Key=KEY)
        s3_client(sandbox).put_object(Bucket=sandbox.bucket, Key="new", Body=b"1")
        kept.save(sandbox, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sorted(files) == [folder / "bucket" / "new", folder / "sandbox.json"]


@pytest.mark.parametrize("keys", [("../outside",), ("a", "a/b")])
def test_a_key_that_cannot_be_a_file_is_named_and_nothing_counts_as_kept(folder: Path, keys: tuple[str, ...]) -> None:
    with Sandbox(CONFIG) as sandbox:
        kept.load(sandbox, folder)
        for key in keys:
            sandbox.s3.put(key, b"1", {})
        with pytest.raises(ToastAssetsError, match="is not kept"):
            kept.save(sandbox, folder)
        assert not (folder.parent / "outside").exists()
    with Sandbox(CONFIG) as sandbox:
        assert kept.load(sandbox, folder)
