"""The store's settings: bucket, prefix, encryption. Credentials and region are the AWS SDK's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from toast_assets import setting_values as forms
from toast_assets.settings import Settings

HeaderSafe = Annotated[str, AfterValidator(forms.header_safe)]
BucketName = Annotated[str, AfterValidator(forms.bucket_name)]
Prefix = Annotated[str, AfterValidator(forms.prefix)]


class StoreSettings(Settings):
    """Which bucket, and where in it. Credentials and region are the AWS SDK's own."""

    bucket: BucketName = Field(
        alias="S3_BUCKET_NAME", description="The bucket; it exists, the pipeline never creates it."
    )
    prefix: Prefix = Field("toast-orders/", alias="S3_PREFIX", description="The prefix of all keys.")
    sse: Literal["AES256", "aws:kms"] | None = Field(
        None,
        alias="S3_SSE",
        description="Server-side encryption of every object: AES256 or aws:kms; by default the bucket's own.",
    )
    kms_key_id: HeaderSafe | None = Field(
        None, alias="S3_KMS_KEY_ID", description="With aws:kms: the key; by default the account's key for S3."
    )

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """A key needs the encryption that uses it."""
        if "S3_KMS_KEY_ID" in present and present.get("S3_SSE") != "aws:kms":
            return ["S3_KMS_KEY_ID is set, which only S3_SSE=aws:kms uses"]
        return []
