"""The resources: credentials and addresses as Dagster sees them, and the plain clients that they make.

Values are strings as in the environment; the settings behind them check them all together, so an unset variable is
no error until a run needs it. ``from_environment`` gives each field its variable, by name only: neither the UI nor
a log ever shows a value.
"""

import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import Field

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.settings import AmperitySettings, FeedSettings
from toast_assets.store.client import s3_client
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.client import ToastClient
from toast_assets.toast.limits import historical_spacing
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_s3 import S3Client

# Of dagster-aws's resource for S3, as botocore calls them, too.
_CLIENT_OPTIONS = (
    "region_name",
    "endpoint_url",
    "use_ssl",
    "verify",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
)


class EnvironmentResource(dg.ConfigurableResource[Any]):
    """A resource whose fields each stand for one environment variable."""

    variables: ClassVar[Mapping[str, str]]

    @classmethod
    def from_environment(cls, **values: Any) -> Self:
        """A resource that reads each variable that is set when the run starts; ``values`` go to the other fields."""
        present = {name: dg.EnvVar(variable) for name, variable in cls.variables.items() if variable in os.environ}
        return cls(**present, **values)

    def _values(self) -> dict[str, str | None]:
        return {variable: getattr(self, name) for name, variable in self.variables.items()}


def _secret(description: str) -> Any:
    return Field(default=None, description=description, json_schema_extra={"dagster__is_secret": True})


def _value(description: str) -> Any:
    return Field(default=None, description=description)


class ToastResource(EnvironmentResource):
    """Toast: how to reach it, as whom, for which restaurants, and how fast."""

    variables: ClassVar[Mapping[str, str]] = {
        "api_url": "TOAST_API_URL",
        "client_id": "TOAST_CLIENT_ID",
        "client_secret": "TOAST_CLIENT_SECRET",
        "restaurant_guids": "TOAST_RESTAURANT_GUID",
        "member_restaurant_guid": "TOAST_MEMBER_RESTAURANT_GUID",
        "requests_per_second": "TOAST_REQUESTS_PER_SECOND",
        "total_requests_per_second": "TOAST_TOTAL_REQUESTS_PER_SECOND",
        "historical_spacing_seconds": "TOAST_HISTORICAL_SPACING_SECONDS",
        "timeout_seconds": "TOAST_TIMEOUT_SECONDS",
        "concurrent_restaurants": "TOAST_CONCURRENT_RESTAURANTS",
    }

    api_url: str | None = _value("Toast's base URL; a path is ignored.")
    client_id: str | None = _value("The machine client's id.")
    client_secret: str | None = _secret("The machine client's secret.")
    restaurant_guids: str | None = _value("One GUID, several separated by commas, or * to discover them.")
    member_restaurant_guid: str | None = _value(
        "With *: one restaurant of the management group, whose members are then found without partner access."
    )
    requests_per_second: str | None = _value("Calls per second and restaurant on ordersBulk; default 5.")
    total_requests_per_second: str | None = _value("Calls per second over all restaurants; default: no limit.")
    historical_spacing_seconds: str | None = _value(
        "Seconds between calls for one restaurant when the week closed more than 31 days ago; default 5, 0 for none."
    )
    timeout_seconds: str | None = _value("Seconds after which a call is cut off; default 60.")
    concurrent_restaurants: str | None = _value("How many restaurants are pulled side by side; default 10.")

    def settings(self) -> ToastSettings:
        """The checked settings.

        Raises:
            SettingsError: naming every variable that is missing or malformed.
        """
        return ToastSettings.parse(self._values())

    def client(self, week: Week, log: logging.Logger) -> ToastClient:
        """A client for the pull of ``week``, which is slower where the week is historical."""
        settings = self.settings()
        spacing = historical_spacing(settings, week.end, datetime.now(UTC))
        return ToastClient(settings, spacing_seconds=spacing, log=log)


class AmperityResource(EnvironmentResource):
    """Amperity: how to reach it, as whom, and in which ways orders are delivered."""

    variables: ClassVar[Mapping[str, str]] = {
        "api_url": "AMPERITY_API_URL",
        "tenant_id": "AMPERITY_TENANT_ID",
        "api_key": "AMPERITY_API_KEY",
        "client_id": "AMPERITY_CLIENT_ID",
        "client_secret": "AMPERITY_CLIENT_SECRET",
        "delivery": "AMPERITY_DELIVERY",
        "stream_id": "AMPERITY_STREAM_ID",
        "order_items_stream_id": "AMPERITY_ORDER_ITEMS_STREAM_ID",
        "customers_stream_id": "AMPERITY_CUSTOMERS_STREAM_ID",
        "requests_per_second": "AMPERITY_REQUESTS_PER_SECOND",
        "timeout_seconds": "AMPERITY_TIMEOUT_SECONDS",
        "max_record_bytes": "AMPERITY_MAX_RECORD_BYTES",
        "max_reject_share": "AMPERITY_MAX_REJECT_SHARE",
        "brand": "AMPERITY_BRAND",
        "control_url": "AMPERITY_CONTROL_URL",
        "workflow_config_id": "AMPERITY_WORKFLOW_CONFIG_ID",
        "workflow_timeout_seconds": "AMPERITY_WORKFLOW_TIMEOUT_SECONDS",
        "redact": "AMPERITY_REDACT",
        "redact_salt": "AMPERITY_REDACT_SALT",
    }

    api_url: str | None = _value("For stream only scheme and host count; for notify it is the exact URL.")
    tenant_id: str | None = _value("The tenant; default: the first label of an ….amperity.com host.")
    api_key: str | None = _secret("The bearer token.")
    client_id: str | None = _value("With the client secret: lets the token be fetched and renewed.")
    client_secret: str | None = _secret("With the client id: lets the token be fetched and renewed.")
    delivery: str | None = _value("stream, s3_pull, notify, or several separated by commas; default stream.")
    stream_id: str | None = _value("The stream for whole orders, is-….")
    order_items_stream_id: str | None = _value("With stream: the stream for the rows of order_items; default: none.")
    customers_stream_id: str | None = _value("With stream: the stream for the rows of customers; default: none.")
    requests_per_second: str | None = _value("Records per second; default 1000.")
    timeout_seconds: str | None = _value("Seconds after which a call is cut off; default 30.")
    max_record_bytes: str | None = _value("Larger records are rejected before they are sent; default 1000000.")
    max_reject_share: str | None = _value("The delivery fails if more than this share is rejected; default 0.01.")
    brand: str | None = _value("The purchase brand in the flat feeds; default: the tenant.")
    control_url: str | None = _value("The control plane's base URL; default https://app.amperity.com/api.")
    workflow_config_id: str | None = _value("The courier group, cg-…, that s3_pull starts and follows; default: none.")
    workflow_timeout_seconds: str | None = _value("How long a workflow run is followed; default 3600.")
    redact: str | None = _value("Fields to drop or hash, such as email=hash,phone=drop.")
    redact_salt: str | None = _secret("The salt of the hashes.")

    def settings(self) -> AmperitySettings:
        """The checked settings.

        Raises:
            SettingsError: naming every variable that is missing or malformed.
        """
        return AmperitySettings.parse(self._values())

    def feed_settings(self) -> FeedSettings:
        """The checked settings of the flat feeds.

        Raises:
            SettingsError: naming every variable that is missing or malformed.
        """
        return FeedSettings.parse(self._values())

    def client(self, log: logging.Logger) -> AmperityClient:
        """A client for one delivery."""
        return AmperityClient(self.settings(), log=log)


class LazyS3Resource(S3Resource):
    """dagster-aws's resource, except that no client is made before it is needed.

    The original makes one as soon as anything is run or evaluated, where a fault of AWS's configuration is a stack
    trace, and ends a sensor's tick.
    """

    def get_client(self) -> "S3Client":
        """The client that ``OrderStoreResource`` uses, too.

        Raises:
            StoreError: a setting of the AWS SDK is wrong, or no credentials can be had.
        """
        return _client_of(self)

    def get_object_to_set_on_execution_context(self) -> Self:
        """Itself: ``context.resources.s3.get_client()`` is the client."""
        return self


def _client_of(resource: S3Resource) -> "S3Client":
    return s3_client(
        profile=resource.profile_name,
        attempts=resource.max_attempts if "max_attempts" in resource.model_fields_set else None,
        unsigned=resource.use_unsigned_session,
        **{name: getattr(resource, name) for name in _CLIENT_OPTIONS},
    )


class OrderStoreResource(EnvironmentResource):
    """The bucket's layout on top of the ``s3`` resource: raw orders, exports, manifests, ledgers."""

    variables: ClassVar[Mapping[str, str]] = {
        "bucket": "S3_BUCKET_NAME",
        "prefix": "S3_PREFIX",
        "sse": "S3_SSE",
        "kms_key_id": "S3_KMS_KEY_ID",
    }

    s3: dg.ResourceDependency[S3Resource]
    bucket: str | None = _value("The bucket; it exists, the pipeline never creates it.")
    prefix: str | None = _value("The prefix of all keys; default toast-orders/.")
    sse: str | None = _value("Server-side encryption of every object: AES256 or aws:kms; default: the bucket's own.")
    kms_key_id: str | None = _value("With aws:kms: the key; default: the account's key for S3.")

    def settings(self) -> StoreSettings:
        """The checked settings.

        Raises:
            SettingsError: naming every variable that is missing or malformed.
        """
        return StoreSettings.parse(self._values())

    @cached_property
    def _store(self) -> OrderStore:
        # One client a run is enough, and threads may share it.
        store = OrderStore.of(_client_of(self.s3), self.settings())
        store.bucket.refuse_public()
        return store

    def store(self) -> OrderStore:
        """The order store of this run.

        Raises:
            SettingsError: naming every variable that is missing or malformed.
            StoreError: the bucket is open to the public, or would be reached without encryption.
        """
        return self._store

    def load_table(self, table: str, week_key: str | None = None) -> "pd.DataFrame":
        """``OrderStore.load_table`` of this run's store.

        Raises:
            StoreError: there is no such table, or it was not made for that week.
        """
        return self.store().load_table(table, week_key)
