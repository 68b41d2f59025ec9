"""A bucket that is open to everybody is refused; what cannot be asked stops nobody."""

from __future__ import annotations

import msgspec
import pytest

from toast_assets.errors import StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.store.exposure import exposure
from toast_assets_tests.support.faults.s3_faults import before, refuse
from toast_assets_tests.support.services.clients import s3_client

BLOCKED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


def open_policy(sandbox: Sandbox) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{sandbox.bucket}/*",
    }
    return msgspec.json.encode({"Version": "2012-10-17", "Statement": [statement]}).decode()


def test_a_private_bucket_is_accepted(sandbox: Sandbox) -> None:
    Bucket(s3_client(sandbox), sandbox.bucket).refuse_public()


def test_a_bucket_with_an_open_policy_is_refused_with_one_sentence(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    # The stand-in keeps policies without judging them, so the judgement is put in.
    client.meta.events.register(
        "after-call.s3.GetBucketPolicyStatus", lambda parsed, **_: parsed.update(PolicyStatus={"IsPublic": True})
    )
    client.put_bucket_policy(Bucket=sandbox.bucket, Policy=open_policy(sandbox))
    with pytest.raises(StoreError, match=r"is public \(its policy lets everybody in\).*block of public access"):
        Bucket(client, sandbox.bucket).refuse_public()


def test_a_bucket_with_an_open_access_control_list_is_refused(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    client.put_bucket_acl(Bucket=sandbox.bucket, ACL="public-read")
    with pytest.raises(StoreError, match="its access control list lets everybody in"):
        Bucket(client, sandbox.bucket).refuse_public()


def test_a_block_of_public_access_outweighs_both_and_costs_one_question(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    client.put_bucket_acl(Bucket=sandbox.bucket, ACL="public-read")
    client.put_public_access_block(Bucket=sandbox.bucket, PublicAccessBlockConfiguration=BLOCKED)  # type: ignore[arg-type]
    asked: list[int] = []
    before(client, "GetBucketAcl", asked.append)
    before(client, "GetBucketPolicyStatus", asked.append)
    Bucket(client, sandbox.bucket).refuse_public()
    assert not asked


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented"), (405, "MethodNotAllowed")]
)
def test_what_may_not_be_asked_or_is_not_implemented_stays_unknown(sandbox: Sandbox, status: int, code: str) -> None:
    client = s3_client(sandbox)
    for operation in ("GetPublicAccessBlock", "GetBucketPolicyStatus", "GetBucketAcl"):
        refuse(client, operation, status, code)
    found = exposure(client, sandbox.bucket)
    assert not found.public
    assert f"GetBucketAcl answered {code}" in found.unknown
    Bucket(client, sandbox.bucket).refuse_public()
