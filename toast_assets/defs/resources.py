"""The resources: settings as Dagster sees them, and the plain clients that they make.

A resource has a text field for each environment variable of its settings, which check them all when a run needs them.
The UI shows the variables' names and descriptions, never a value.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import Field, create_model
from pydantic.fields import FieldInfo

from toast_assets.amperity.settings import AmperitySettings, FeedSettings, SaltSettings
from toast_assets.defs.brand import Brand
from toast_assets.http.webhooks import Webhook
from toast_assets.settings import AlertSettings, CalendarSettings, Settings
from toast_assets.store.client import s3_client
from toast_assets.store.guards import refuse_public
from toast_assets.store.order_store import OrderStore
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.client import ToastClient
from toast_assets.toast.limits import historical_spacing
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import Week, WeekCalendar

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_s3 import S3Client

_SERVICE = re.compile("^(TOAST|S3|AMPERITY|ALERT|DAGSTER)_")
# Of dagster-aws's resource for S3, under botocore's names.
_CLIENT_OPTIONS = (
    "region_name",
    "endpoint_url",
    "use_ssl",
    "verify",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
)


class SettingsResource(dg.ConfigurableResource[Any]):
    """A resource with a field for each environment variable of its settings. What gives settings, or something made of
    them, raises a ``SettingsError`` that names every variable that is missing or malformed."""

    variables: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def from_environment(cls, names: Collection[str] = os.environ, brand: Brand | None = None, **values: Any) -> Self:
        """The brand's resource, which reads, when a run starts, those of its variables that are among ``names``;
        ``values`` are of other fields."""
        brand = brand or Brand()
        of_brand = {field: brand.variables.name(variable) for field, variable in cls.variables.items()}
        present = {field: dg.EnvVar(name) for field, name in of_brand.items() if name in names}
        given = {field: brand.given[name] for field, name in cls.variables.items() if name in brand.given}
        return cls(**{**present, **given, **values})

    def values(self) -> dict[str, str | None]:
        """The variables' values, as ``Settings.parse`` takes them."""
        return {variable: getattr(self, field) for field, variable in self.variables.items()}


R = TypeVar("R", bound=SettingsResource)


def _with_fields_of(*kinds: type[Settings]) -> Callable[[type[R]], type[R]]:
    """Give a resource a field for each setting: ``api_url`` for ``TOAST_API_URL``."""
    settings = {str(each.alias): each for kind in kinds for each in kind.model_fields.values()}
    variables = {_SERVICE.sub("", variable).lower(): variable for variable in settings}
    fields: dict[str, Any] = {name: (str | None, _field(settings[variable])) for name, variable in variables.items()}

    def generate(resource: type[R]) -> type[R]:
        made = create_model(
            resource.__name__, __base__=resource, __module__=resource.__module__, __doc__=resource.__doc__, **fields
        )
        made.variables = variables
        return made

    return generate


def _field(setting: FieldInfo) -> Any:
    description, default = setting.description or "", setting.default
    if setting.is_required():
        description += " Required."
    elif default not in (None, (), {}) and "default" not in description:
        value = f"{default:.10g}" if isinstance(default, int | float) else default
        description += f" Default: {','.join(value) if isinstance(value, tuple) else value}."
    # Not marked as secret: Dagster's launchpad would fill in the literal text ******** for the variable's name, and
    # runs would use that. Values of variables are never shown.
    return Field(default=None, description=description)


@_with_fields_of(ToastSettings)
class ToastResource(SettingsResource):
    """Toast: URL, credentials, restaurants, rate limits."""

    def settings(self) -> ToastSettings:
        """The checked settings."""
        return ToastSettings.parse(self.values())

    def client(self, week: Week, log: logging.Logger) -> ToastClient:
        """A client for the pull of ``week``, which is slower where the week is historical."""
        settings = self.settings()
        spacing = historical_spacing(settings, week.end, datetime.now(UTC))
        return ToastClient(settings, spacing_seconds=spacing, log=log)


@_with_fields_of(AmperitySettings)
class AmperityResource(SettingsResource):
    """Amperity: URLs, credentials, delivery methods, streams, what is dropped or hashed."""

    def settings(self) -> AmperitySettings:
        """The checked settings."""
        return AmperitySettings.parse(self.values())

    def feed_settings(self) -> FeedSettings:
        """The checked settings of the flat feeds."""
        return FeedSettings.parse(self.values())

    def salt(self) -> bytes:
        """The salt of the guests' keys, whatever the other settings are; empty where there is none."""
        return SaltSettings.parse(self.values()).salt


@_with_fields_of(AlertSettings)
class AlertsResource(SettingsResource):
    """Where alerts go; without a webhook there are none."""

    def settings(self) -> AlertSettings:
        """The checked settings."""
        return AlertSettings.parse(self.values())

    def webhooks(self) -> list[Webhook]:
        """One for each address."""
        return [Webhook(url.get_secret_value(), "ALERT_WEBHOOK_URL") for url in self.settings().webhook_urls]


class LazyS3Resource(S3Resource):
    """The connection to S3, by AWS's own variables and profiles."""

    # Unlike dagster-aws's resource it makes no client before it is needed: there, a fault of AWS's configuration is a
    # stack trace, and ends a sensor's tick.

    @classmethod
    def of_brand(cls, names: Collection[str], brand: Brand) -> Self:
        """The resource with the brand's own profile; without one, a brand that has a prefix uses none."""
        profile = brand.variables.name("AWS_PROFILE")
        if profile == "AWS_PROFILE":
            return cls()
        return cls(profile_name=dg.EnvVar(profile) if profile in names else "")

    def get_client(self) -> "S3Client":
        """The client that ``OrderStoreResource`` uses, too; raises as ``store.client.s3_client``."""
        return s3_client(
            profile=self.profile_name,
            attempts=self.max_attempts if "max_attempts" in self.model_fields_set else None,
            unsigned=self.use_unsigned_session,
            **{name: getattr(self, name) for name in _CLIENT_OPTIONS},
        )

    def get_object_to_set_on_execution_context(self) -> Self:
        """Itself: ``context.resources.s3.get_client()`` is the client."""
        return self


@_with_fields_of(StoreSettings, CalendarSettings)
class OrderStoreResource(SettingsResource):
    """The bucket's layout on top of the ``s3`` resource: raw orders, exports, manifests, ledgers, by week."""

    s3: dg.ResourceDependency[LazyS3Resource]

    def settings(self) -> StoreSettings:
        """The checked settings of the bucket."""
        return StoreSettings.parse(self.values())

    def calendar(self) -> WeekCalendar:
        """Where weeks begin."""
        return CalendarSettings.parse(self.values()).calendar()

    @cached_property
    def store(self) -> OrderStore:
        """The order store of this run, with one client, which threads may share. Raises StoreError where the bucket is
        open to the public, or would be reached without encryption."""
        store = OrderStore.of(self.s3.get_client(), self.settings())
        refuse_public(store.bucket)
        return store

    def load_table(
        self,
        table: str,
        week_key: str | Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        newest: bool = False,
    ) -> "pd.DataFrame":
        """``OrderStore.load_table`` of this run's store."""
        return self.store.load_table(table, week_key, columns=columns, newest=newest)


@dataclass(frozen=True)
class Resources:
    """What a brand's assets and checks ask for."""

    toast: ToastResource
    order_store: OrderStoreResource
    amperity: AmperityResource

    @classmethod
    def keys(cls, brand: Brand) -> set[str]:
        """Their keys, as Dagster requires them."""
        return {brand.named(each.name) for each in fields(cls)}

    @classmethod
    def of(cls, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, brand: Brand) -> Self:
        """Those of a run."""
        return cls(*(getattr(context.resources, brand.named(each.name)) for each in fields(cls)))


def brand_resources(brand: Brand, names: Collection[str]) -> dict[str, Any]:
    """A brand's resources by key; they read, when a run starts, those of its variables that are among ``names``."""
    s3 = LazyS3Resource.of_brand(names, brand)
    resources = {
        "toast": ToastResource.from_environment(names, brand),
        "s3": s3,
        "order_store": OrderStoreResource.from_environment(names, brand, s3=s3),
        "amperity": AmperityResource.from_environment(names, brand),
        "alerts": AlertsResource.from_environment(names, brand),
    }
    return {brand.named(name): resource for name, resource in resources.items()}
