"""Which IAM actions S3 calls need, and whether a policy allows them: the part of IAM's rules that these files use."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import botocore.client
import pytest

FOLDER = Path(__file__).parents[3] / "deploy" / "aws"
# AWS: actions, resources and condition keys for Amazon S3.
ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "PutObject": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "DeleteObject": "s3:DeleteObject",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "GetBucketPolicyStatus": "s3:GetBucketPolicyStatus",
    "GetBucketAcl": "s3:GetBucketAcl",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "GetBucketVersioning": "s3:GetBucketVersioning",
}


@dataclass(frozen=True)
class Call:
    """One call of S3; ``prefix`` is a listing's."""

    operation: str
    bucket: str
    key: str | None = None
    prefix: str | None = None

    @property
    def action(self) -> str:
        """What has to be allowed."""
        return ACTIONS[self.operation]

    @property
    def resource(self) -> str:
        """What it has to be allowed on."""
        return f"arn:aws:s3:::{self.bucket}" + (f"/{self.key}" if self.key is not None else "")


@contextmanager
def recorded() -> Iterator[set[Call]]:
    """Every call of every S3 client of this process, until the block ends."""
    calls: set[Call] = set()
    original = botocore.client.BaseClient._make_api_call  # type: ignore[attr-defined]

    def call(self: Any, operation: str, arguments: dict[str, Any]) -> Any:
        if self.meta.service_model.service_name == "s3":
            names = (arguments.get("Key"), arguments.get("Prefix"))
            calls.add(Call(operation, arguments["Bucket"], *names))
        return original(self, operation, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.client.BaseClient, "_make_api_call", call)
        yield calls


def statements(*names: str, bucket: str) -> list[dict[str, Any]]:
    """The statements of policies, for a bucket."""
    read = (json.loads((FOLDER / name).read_text().replace("YOUR-BUCKET", bucket)) for name in names)
    return [statement for policy in read for statement in policy["Statement"]]


def actions_of(policy: Iterable[dict[str, Any]]) -> set[str]:
    """All actions that a policy allows."""
    return {action for statement in policy for action in _listed(statement["Action"])}


def allowed(policy: Iterable[dict[str, Any]], call: Call) -> bool:
    """Whether a statement allows the call."""
    return any(_allows(statement, call) for statement in policy)


def _allows(statement: dict[str, Any], call: Call) -> bool:
    if call.action not in _listed(statement["Action"]):
        return False
    if not any(fnmatchcase(call.resource, pattern) for pattern in _listed(statement["Resource"])):
        return False
    for operator, values in statement.get("Condition", {}).items():
        if call.prefix is None:
            if not operator.endswith("IfExists"):
                return False
        elif not fnmatchcase(call.prefix, values["s3:prefix"]):
            return False
    return True


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
