"""Bodies that break off, are shortened, changed or drip: read again, and never taken for the object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from toast_assets.errors import StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets_tests.support.faults.s3_proxy import Spoil, cut, flip, shorten, spoilt
from toast_assets_tests.support.services.clients import order_store, s3_client

CONTENT = bytes(range(256)) * 40


@contextmanager
def spoilt_bucket(
    sandbox: Sandbox, spoil: Spoil, clock: Callable[[], float] = lambda: 0.0, **config: Any
) -> Iterator[tuple[Bucket, list[float]]]:
    """A bucket behind a spoiling proxy, and the pauses that it makes."""
    pauses: list[float] = []
    with spoilt(sandbox.s3_url, spoil) as url:
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="sandbox",
            aws_secret_access_key="sandbox",
            region_name="us-east-1",
            config=Config(**config),
        )
        yield Bucket(client, sandbox.bucket, sleep=pauses.append, clock=clock), pauses


@pytest.mark.parametrize("spoil", [cut, shorten, flip])
@pytest.mark.parametrize("checksum", ["when_supported", "when_required"])
def test_a_body_that_is_spoilt_once_is_read_again(
    sandbox: Sandbox, tmp_path: Path, spoil: Spoil, checksum: str
) -> None:
    order_store(sandbox).bucket.write("key", CONTENT)
    with spoilt_bucket(sandbox, spoil, response_checksum_validation=checksum) as (bucket, pauses):
        stored = bucket.fetch("key", tmp_path / "stored")
        assert stored is not None
        assert stored.path.read_bytes() == CONTENT
        assert pauses == [0.5]
    with spoilt_bucket(sandbox, spoil, response_checksum_validation=checksum) as (bucket, pauses):
        found = bucket.read("key")
        assert found is not None
        assert (found[0], pauses) == (CONTENT, [0.5])


def test_a_body_that_always_breaks_off_is_a_clear_error_after_some_attempts(sandbox: Sandbox) -> None:
    order_store(sandbox).bucket.write("key", CONTENT)
    with spoilt_bucket(sandbox, lambda body, _: cut(body, 1)) as (bucket, pauses):
        with pytest.raises(StoreError, match=r"key broke off while it was read .*Run again"):
            bucket.read("key")
        assert pauses == [0.5, 1.0, 2.0]


def test_etags_that_are_no_digests_are_taken_as_they_are(sandbox: Sandbox) -> None:
    other = '"00000000000000000000000000000000"'
    client = s3_client(sandbox)

    def of_another_kind(parsed: dict[str, Any], **_: Any) -> None:
        parsed["ETag"] = other
        parsed.pop("ChecksumCRC32", None)

    client.meta.events.register("after-call.s3.GetObject", of_another_kind)
    pauses: list[float] = []
    bucket = Bucket(client, sandbox.bucket, sleep=pauses.append)
    for key in ("a", "b"):
        bucket.write(key, CONTENT)
        found = bucket.read(key)
        assert found is not None
        assert found[0] == CONTENT
    assert pauses == [0.5]


def test_a_body_that_drips_is_cut_off_by_a_time_that_its_size_allows(sandbox: Sandbox) -> None:
    order_store(sandbox).bucket.write("key", CONTENT)
    # Each look at the clock is forty seconds later, as with a connection that keeps its time-out busy.
    seconds = iter(range(0, 10_000, 40))
    with spoilt_bucket(sandbox, lambda body, _: (body, len(body)), lambda: next(seconds)) as (bucket, pauses):
        with pytest.raises(StoreError, match="came too slowly"):
            bucket.read("key")
        assert len(pauses) == 3


def test_a_listing_that_is_cut_short_is_asked_for_again(sandbox: Sandbox) -> None:
    plain = order_store(sandbox).bucket
    for number in range(3):
        plain.write(f"keys/{number}", b"")
    with spoilt_bucket(sandbox, shorten) as (bucket, _):
        assert list(bucket.keys("keys/")) == [f"keys/{number}" for number in range(3)]
