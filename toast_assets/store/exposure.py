"""Whether a bucket is open to the public: by its policy, or by its access control list.

A bucket whose own block of public access ignores both is not, whatever they say; so one question is enough where all
is well. What these credentials may not ask, or this S3 does not implement, stays unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from toast_assets.store.s3_errors import SDK_FAULTS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
else:
    S3Client = Any

# What S3 answers where nothing is set.
_NOT_SET = frozenset({"NoSuchPublicAccessBlockConfiguration", "NoSuchBucketPolicy"})
_EVERYBODY = (
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
)


@dataclass(frozen=True)
class Exposure:
    """``public`` with its reason in words; or ``unknown``, why part of the question could not be answered."""

    public: bool
    reason: str = ""
    unknown: str = ""


def exposure(client: S3Client, bucket: str) -> Exposure:
    """What can be found out about ``bucket``; never an error, because nothing here keeps anybody from working."""
    unknown: list[str] = []

    def asked(question: str, ask: Callable[..., Any]) -> dict[str, Any]:
        reply: dict[str, Any] = {}
        try:
            reply = ask(Bucket=bucket)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code not in _NOT_SET:
                unknown.append(f"{question} answered {code}")
        except SDK_FAULTS as error:
            unknown.append(f"{question} failed ({type(error).__name__})")
        return reply

    reply = asked("GetPublicAccessBlock", client.get_public_access_block)
    block = reply.get("PublicAccessBlockConfiguration", {})
    if not block.get("RestrictPublicBuckets"):
        status = asked("GetBucketPolicyStatus", client.get_bucket_policy_status)
        if status.get("PolicyStatus", {}).get("IsPublic"):
            return Exposure(True, "its policy lets everybody in")
    if not block.get("IgnorePublicAcls"):
        grants = asked("GetBucketAcl", client.get_bucket_acl).get("Grants", ())
        if any(grant.get("Grantee", {}).get("URI") in _EVERYBODY for grant in grants):
            return Exposure(True, "its access control list lets everybody in")
    return Exposure(False, unknown="; ".join(unknown))
