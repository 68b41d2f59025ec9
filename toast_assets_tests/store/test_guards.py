"""A bucket that is open to everybody is refused, and so is an S3 that writes without comparing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from toast_assets.errors import StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store import guards
from toast_assets.store.bucket import Bucket
from toast_assets.store.guards import exposure, refuse_public, refuse_unconditional
from toast_assets.store.order_store import OrderStore
from toast_assets_tests.support.faults.s3_faults import before, ignore_condition, refuse
from toast_assets_tests.support.services.clients import s3_client

BLOCKED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "_compare", set())


def store_of(sandbox: Sandbox, *faults: Callable[[Any], object]) -> OrderStore:
    client = s3_client(sandbox)
    for fault in faults:
        fault(client)
    return OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)


def test_an_s3_that_compares_is_tried_once(sandbox: Sandbox) -> None:
    tried: list[int] = []
    store = store_of(sandbox, lambda client: before(client, "PutObject", tried.append))
    refuse_unconditional(store)
    assert len(tried) == 4
    refuse_unconditional(store)
    refuse_unconditional(store_of(sandbox, lambda client: before(client, "PutObject", tried.append)))
    assert len(tried) == 4
    assert not sandbox.objects()


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_an_s3_that_ignores_a_condition_is_refused_and_nothing_stays(sandbox: Sandbox, header: str) -> None:
    store = store_of(sandbox, lambda client: ignore_condition(client, header))
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"ignores conditions \({header}\).*Use Amazon S3"):
            refuse_unconditional(store)
    assert not sandbox.objects()


def test_a_role_that_may_not_write_is_told_so(sandbox: Sandbox) -> None:
    denied = [lambda client, op=op: refuse(client, op, 403, "AccessDenied") for op in ("PutObject", "DeleteObject")]
    with pytest.raises(StoreError, match="s3:PutObject"):
        refuse_unconditional(store_of(sandbox, *denied))


def test_a_role_that_may_not_remove_is_told_which_object_stays(sandbox: Sandbox) -> None:
    store = store_of(sandbox, lambda client: refuse(client, "DeleteObject", 403, "AccessDenied"))
    with pytest.raises(StoreError, match=r"s3:DeleteObject") as refused:
        refuse_unconditional(store)
    ((key, _),) = sandbox.objects()
    assert store.bucket.uri(key) in str(refused.value)


def open_policy(sandbox: Sandbox) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{sandbox.bucket}/*",
    }
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": [statement]}).decode()


def test_a_private_bucket_is_accepted(sandbox: Sandbox) -> None:
    refuse_public(Bucket(s3_client(sandbox), sandbox.bucket))


def test_a_bucket_with_an_open_policy_is_refused_with_one_sentence(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    # The stand-in keeps policies without judging them, so the judgement is put in.
    client.meta.events.register(
        "after-call.s3.GetBucketPolicyStatus", lambda parsed, **_: parsed.update(PolicyStatus={"IsPublic": True})
    )
    client.put_bucket_policy(Bucket=sandbox.bucket, Policy=open_policy(sandbox))
    with pytest.raises(StoreError, match=r"is public \(its policy lets everybody in\).*block of public access"):
        refuse_public(Bucket(client, sandbox.bucket))


def test_a_bucket_with_an_open_access_control_list_is_refused(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    client.put_bucket_acl(Bucket=sandbox.bucket, ACL="public-read")
    with pytest.raises(StoreError, match="its access control list lets everybody in"):
        refuse_public(Bucket(client, sandbox.bucket))


def test_a_block_of_public_access_outweighs_both_and_costs_one_question(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    client.put_bucket_acl(Bucket=sandbox.bucket, ACL="public-read")
    client.put_public_access_block(Bucket=sandbox.bucket, PublicAccessBlockConfiguration=BLOCKED)  # type: ignore[arg-type]
    asked: list[int] = []
    before(client, "GetBucketAcl", asked.append)
    before(client, "GetBucketPolicyStatus", asked.append)
    refuse_public(Bucket(client, sandbox.bucket))
    assert not asked


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed")]
)
def test_what_may_not_be_asked_or_is_not_implemented_stays_unknown(sandbox: Sandbox, status: int, code: str) -> None:
    client = s3_client(sandbox)
    for operation in ("GetPublicAccessBlock", "GetBucketPolicyStatus", "GetBucketAcl"):
        refuse(client, operation, status, code)
    public, unknown = exposure(client, sandbox.bucket)
    assert not public
    assert f"GetBucketAcl answered {code}" in unknown
    refuse_public(Bucket(client, sandbox.bucket))
