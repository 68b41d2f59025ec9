"""The bucket: whole objects, conditional writes, and errors that say which name or permission is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import ABSENT, Bucket, Removal, Replacement, StoredObject
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings
from toast_assets_tests.support.faults.s3_faults import after, before, refuse, refuse_quoted_etags
from toast_assets_tests.support.services.clients import s3_client


@pytest.fixture
def bucket(sandbox: Sandbox) -> Bucket:
    return Bucket(s3_client(sandbox), sandbox.bucket)


def test_what_is_written_is_read_with_its_version(bucket: Bucket) -> None:
    version = bucket.write("a/b.json", b"{}")
    assert bucket.read("a/b.json") == (b"{}", version)
    assert version != ABSENT


def test_files_are_written_and_read_as_they_are(bucket: Bucket, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 3_000_000)
    version = bucket.write("big", source, ContentType="text/plain", Metadata={"total_orders": "7"})
    info = bucket.info("big")
    assert info is not None
    assert info.version == version
    assert bucket.fetch("big", target) == replace(info, path=target)
    assert target.read_bytes() == source.read_bytes()
    assert (info.size, info.metadata["total_orders"]) == (3_000_000, "7")


def test_a_missing_object_is_none_and_no_error(bucket: Bucket, tmp_path: Path) -> None:
    assert bucket.read("nothing") is None
    assert bucket.info("nothing") is None
    assert bucket.fetch("nothing", tmp_path / "nothing") is None
    assert not (tmp_path / "nothing").exists()
    bucket.delete("nothing")


def test_a_write_that_replaces_a_version_fails_where_there_is_another(bucket: Bucket) -> None:
    first = bucket.write("key", b"1")
    second = bucket.write("key", b"2", replaces=first)
    with pytest.raises(StoreConflictError, match="written by somebody else"):
        bucket.write("key", b"3", replaces=first)
    assert bucket.read("key") == (b"2", second)


def test_a_write_that_expects_nothing_fails_where_there_is_something(bucket: Bucket) -> None:
    bucket.write("key", b"1", replaces=ABSENT)
    with pytest.raises(StoreConflictError):
        bucket.write("key", b"2", replaces=ABSENT)
    assert bucket.read("key") is not None


def test_a_write_that_replaces_a_version_fails_where_there_is_nothing_any_more(bucket: Bucket) -> None:
    version = bucket.write("key", b"1")
    bucket.delete("key")
    with pytest.raises(StoreError):
        bucket.write("key", b"2", replaces=version)
    assert bucket.read("key") is None


def test_a_server_that_compares_the_quotes_of_an_etag_too_is_understood(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    refused = refuse_quoted_etags(client)
    bucket = Bucket(client, sandbox.bucket)
    first = bucket.write("key", b"1")
    second = bucket.write("key", b"2", replaces=first)
    third = bucket.write("key", b"3", replaces=second)
    assert bucket.read("key") == (b"3", third)
    assert len(refused) == 1
    with pytest.raises(StoreConflictError):
        bucket.write("key", b"4", replaces=first)


def test_a_writer_who_comes_in_between_is_seen_whatever_the_server_compares(sandbox: Sandbox) -> None:
    client, other = s3_client(sandbox), Bucket(s3_client(sandbox), sandbox.bucket)
    refuse_quoted_etags(client)
    bucket = Bucket(client, sandbox.bucket)
    first = bucket.write("key", b"1")
    after(client, "HeadObject", lambda _: other.write("key", b"theirs"))
    with pytest.raises(StoreConflictError):
        bucket.write("key", b"2", replaces=first)
    assert bucket.read("key") == other.read("key")
    body, _ = bucket.read("key") or (b"", None)
    assert body == b"theirs"


def test_keys_are_listed_over_several_pages(sandbox: Sandbox, bucket: Bucket) -> None:
    for number in range(7):
        bucket.write(f"folder/{number}", b"")
    bucket.write("other", b"")
    sizes: list[int] = []

    def small_pages(params: dict[str, object], **_: object) -> None:
        params["MaxKeys"] = 3

    client = s3_client(sandbox)
    client.meta.events.register("provide-client-params.s3.ListObjectsV2", small_pages)
    before(client, "ListObjectsV2", sizes.append)
    assert list(Bucket(client, sandbox.bucket).keys("folder/")) == [f"folder/{number}" for number in range(7)]
    assert len(sizes) == 3


def test_keys_are_listed_with_the_versions_of_their_objects(bucket: Bucket) -> None:
    written = {key: bucket.write(key, key.encode()) for key in ("folder/a", "folder/b", "other")}
    infos = {key: bucket.info(key) for key in written}
    assert dict(bucket.listed("")) == written == {key: info.version for key, info in infos.items() if info}


def test_uris_are_those_of_s3(bucket: Bucket, sandbox: Sandbox) -> None:
    assert bucket.uri("a/b") == f"s3://{sandbox.bucket}/a/b"


@pytest.mark.parametrize("key", [None, "alias/toast"])
def test_every_object_is_stored_with_the_encryption_that_is_set(
    sandbox: Sandbox, tmp_path: Path, key: str | None
) -> None:
    client = s3_client(sandbox)
    settings = StoreSettings(S3_BUCKET_NAME=sandbox.bucket, S3_PREFIX="", S3_SSE="aws:kms", S3_KMS_KEY_ID=key)
    bucket = OrderStore.of(client, settings).bucket
    (tmp_path / "file").write_bytes(b"x")
    first = bucket.write("bytes", b"1", ContentType="text/plain")
    bucket.write("bytes", b"2", replaces=first)
    bucket.write("file", tmp_path / "file")
    for name in ("bytes", "file"):
        reply = client.head_object(Bucket=sandbox.bucket, Key=name)
        assert reply["ServerSideEncryption"] == "aws:kms"
        assert reply.get("SSEKMSKeyId") == key


def test_without_an_encryption_the_bucket_decides(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    sent: list[str] = []
    client.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.extend(request.headers))
    Bucket(client, sandbox.bucket).write("key", b"1")
    assert not [name for name in sent if "server-side-encryption" in name.lower()]


# Errors


def test_a_missing_bucket_names_the_variable(sandbox: Sandbox) -> None:
    missing = Bucket(s3_client(sandbox), "no-such-bucket")
    with pytest.raises(StoreError, match=r"no-such-bucket does not exist.*S3_BUCKET_NAME"):
        missing.check()
    with pytest.raises(StoreError, match=r"no-such-bucket does not exist.*S3_BUCKET_NAME"):
        missing.write("key", b"")
    with pytest.raises(StoreError, match=r"no-such-bucket does not exist.*S3_BUCKET_NAME"):
        missing.read("key")


def test_a_refusal_names_the_permission(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    for operation in ("PutObject", "GetObject", "ListObjectsV2", "DeleteObject"):
        refuse(client, operation, 403, "AccessDenied", message="Access Denied")
    bucket = Bucket(client, sandbox.bucket)
    with pytest.raises(StoreError, match=r"AccessDenied.*s3:PutObject"):
        bucket.write("key", b"")
    with pytest.raises(StoreError, match=r"key .*s3:GetObject"):
        bucket.read("key")
    with pytest.raises(StoreError, match="s3:ListBucket"):
        list(bucket.keys(""))
    with pytest.raises(StoreError, match="s3:DeleteObject"):
        bucket.delete("key")


def test_a_bucket_of_somebody_else_is_a_refusal(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    refuse(client, "HeadBucket", 403, "")
    with pytest.raises(StoreError, match=r"refused access.*s3:ListBucket"):
        Bucket(client, sandbox.bucket).check()


def test_missing_credentials_are_told_as_such(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.Session().client("s3", endpoint_url=sandbox.s3_url, region_name="us-east-1")
    with pytest.raises(StoreError, match=r"No AWS credentials.*AWS_PROFILE"):
        Bucket(client, sandbox.bucket).check()


def test_a_server_that_cannot_be_reached_names_the_endpoint(sandbox: Sandbox) -> None:
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(StoreError, match=r"could not be reached.*AWS_ENDPOINT_URL_S3"):
        Bucket(client, sandbox.bucket).check()


def test_a_server_that_fails_once_is_asked_again(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    refused = refuse(client, "PutObject", 503, "SlowDown", times=1)
    Bucket(client, sandbox.bucket).write("key", b"1", replaces=ABSENT)
    assert len(refused) == 1


def test_another_error_is_told_with_its_code(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    refuse(client, "PutObject", 400, "EntityTooLarge")
    with pytest.raises(StoreError, match="EntityTooLarge"):
        Bucket(client, sandbox.bucket).write("key", b"")


def _appended(text: bytes) -> Callable[[StoredObject | None, Path], Replacement]:
    return lambda stored, _target: Replacement((stored.path.read_bytes() if stored else b"") + text)


def test_an_update_makes_the_object_and_changes_it_afterwards(bucket: Bucket) -> None:
    first = bucket.update("key", _appended(b"1"))
    second = bucket.update("key", _appended(b"2"))
    assert bucket.read("key") == (b"12", second)
    assert bucket.update("key", lambda _stored, _target: None) == second != first
    assert bucket.update("nothing", lambda _stored, _target: None) == ABSENT


def test_an_update_begins_again_where_another_run_wrote_in_between(bucket: Bucket, sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    before(client, "PutObject", lambda number: bucket.write("key", b"theirs ") if number == 1 else None)
    Bucket(client, sandbox.bucket).update("key", _appended(b"ours"))
    found = bucket.read("key")
    assert found is not None
    assert found[0] == b"theirs ours"


def test_an_update_of_an_object_that_is_removed_in_between_makes_it_again(bucket: Bucket, sandbox: Sandbox) -> None:
    bucket.write("key", b"old ")
    client = s3_client(sandbox)
    before(client, "PutObject", lambda number: bucket.delete("key") if number == 1 else None)
    Bucket(client, sandbox.bucket).update("key", _appended(b"new"))
    found = bucket.read("key")
    assert found is not None
    assert found[0] == b"new"


@pytest.mark.parametrize("as_file", [False, True])
def test_an_update_whose_answer_was_lost_is_known_again_by_its_content(sandbox: Sandbox, *, as_file: bool) -> None:
    client = s3_client(sandbox)
    seen: list[bytes | None] = []

    def change(stored: StoredObject | None, target: Path) -> Replacement:
        seen.append(stored.path.read_bytes() if stored else None)
        target.write_bytes(b"ours")
        return Replacement(target if as_file else b"ours")

    # What the SDK does after a connection that broke: the same request once more, which now meets its own object.
    bucket = Bucket(client, sandbox.bucket)
    before(client, "PutObject", lambda number: bucket.write("key", b"ours") if number == 1 else None)
    assert bucket.update("key", change) != ABSENT
    assert seen == [None]


def test_an_update_can_remove_the_object_unless_another_run_has_just_written_it(
    bucket: Bucket, sandbox: Sandbox
) -> None:
    assert bucket.update("key", lambda _stored, _target: Removal()) == ABSENT
    bucket.write("key", b"old")
    client = s3_client(sandbox)
    before(client, "HeadObject", lambda number: bucket.write("key", b"new") if number == 1 else None)

    def change(stored: StoredObject | None, _target: Path) -> Removal | None:
        assert stored is not None
        return Removal() if stored.path.read_bytes() == b"old" else None

    kept = Bucket(client, sandbox.bucket).update("key", change)
    assert bucket.read("key") == (b"new", kept)
    assert bucket.update("key", lambda _stored, _target: Removal()) == ABSENT
    assert bucket.read("key") is None


def test_an_update_gives_up_where_others_keep_writing(bucket: Bucket, sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    before(client, "PutObject", lambda number: bucket.write("key", f"theirs {number}".encode()))
    with pytest.raises(StoreConflictError):
        Bucket(client, sandbox.bucket).update("key", _appended(b"ours"))


def test_only_the_version_that_was_judged_is_removed(bucket: Bucket, sandbox: Sandbox) -> None:
    first = bucket.write("key", b"1")
    second = bucket.write("key", b"2")
    assert not bucket.delete("key", first)
    assert bucket.read("key") == (b"2", second)
    assert bucket.delete("key", second)
    assert bucket.delete("key", second)
    assert bucket.read("key") is None
    third = bucket.write("key", b"3")
    client = s3_client(sandbox)
    before(client, "DeleteObject", lambda _number: bucket.write("key", b"4"))
    assert not Bucket(client, sandbox.bucket).delete("key", third)
    found = bucket.read("key")
    assert found is not None
    assert found[0] == b"4"
