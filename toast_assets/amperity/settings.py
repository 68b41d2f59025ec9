"""Amperity's settings: URLs, credentials, delivery methods, streams, what is dropped or hashed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from toast_assets import setting_values as forms
from toast_assets.amperity.redaction import Redaction, Rule, contradiction, name_problem
from toast_assets.settings import Rate, Seconds, Settings

STREAMS = (
    *("AMPERITY_STREAM_ID", "AMPERITY_TRANSACTIONS_STREAM_ID"),
    *("AMPERITY_ORDER_ITEMS_STREAM_ID", "AMPERITY_CUSTOMERS_STREAM_ID"),
)
METHODS = ("stream", "s3_pull", "notify")
DeliveryMethod = Literal["stream", "s3_pull", "notify"]
_NO_TENANT = "AMPERITY_TENANT_ID is not set"
# Keys and last-updated fields of what is delivered, and the references that hold it together.
_NEEDED = frozenset(
    {"guid", "restaurantGuid", "modifiedDate", "order_item_id", "selection_id", "customer_id", "transaction_item_id"}
    | {"order_id", "fk_customer", "store_id", "modified_at"}
)


def _rules(value: object) -> object:
    if not isinstance(value, str):
        return value
    rules: dict[str, str] = {}
    for part in (piece.strip() for piece in value.split(",")):
        name, _, rule = part.partition("=")
        if name.rpartition(".")[2].strip() in _NEEDED:
            raise ValueError(f"holds {name.strip()!r}, by which Amperity tells records and their versions apart")
        if not name or rule not in ("drop", "hash"):
            raise ValueError(f"holds {name!r} without =drop or =hash; write email=hash,phone=drop, without blanks")
        if problem := name_problem(name):
            raise ValueError(problem)
        if rules.setdefault(name, rule) != rule:
            raise ValueError(f"holds {name}=drop and {name}=hash, which contradict each other")
    if problem := contradiction(rules):
        raise ValueError(problem)
    return rules


def _identifier(prefix: str, problem: str) -> AfterValidator:
    def check(value: str) -> str:
        if not value.startswith(prefix):
            raise ValueError(f"is not {problem}")
        return forms.header_safe(value)

    return AfterValidator(check)


def _methods(value: object) -> object:
    """The methods, each once."""
    methods = forms.split(value)
    if not isinstance(methods, list):
        return methods
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"holds {forms.shown(method)}; the methods are stream, s3_pull and notify")
    return tuple(dict.fromkeys(methods))


ExactUrl = Annotated[str, AfterValidator(forms.exact_url)]
BaseUrl = Annotated[str, AfterValidator(forms.base_url)]
Tenant = Annotated[str, AfterValidator(forms.tenant)]
SecretToken = Annotated[SecretStr, BeforeValidator(forms.token)]
WorkflowId = Annotated[str, _identifier("cg-", "a courier group's id: they begin with 'cg-'")]
# Amperity answers 202 for an id it does not know and drops the records (Amperity: Streaming API).
StreamId = Annotated[
    str, _identifier("is-", "a stream id: they begin with 'is-'; Amperity would accept and drop every record")
]


class SaltSettings(Settings):
    """The salt of the hashes in what is sent, and of the guests' ``email_key`` in the tables."""

    redact_salt: SecretStr | None = Field(None, alias="AMPERITY_REDACT_SALT", description="The salt of the hashes.")

    @property
    def salt(self) -> bytes:
        """The salt; empty where there is none."""
        return self.redact_salt.get_secret_value().encode() if self.redact_salt else b""


class PrivacySettings(SaltSettings):
    """What is dropped or hashed before it leaves for Amperity."""

    redact: Annotated[dict[str, Rule], BeforeValidator(_rules)] = Field(
        {}, alias="AMPERITY_REDACT", description="Fields to drop or hash, such as email=hash,phone=drop."
    )

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """A hash needs its salt."""
        if "hash" in present.get("AMPERITY_REDACT", "") and "AMPERITY_REDACT_SALT" not in present:
            return ["AMPERITY_REDACT_SALT is not set; hashes without a secret salt can be guessed"]
        return []

    @property
    def redaction(self) -> Redaction:
        """The rules, ready to be applied."""
        return Redaction(self.redact, self.salt)


class BrandSettings(PrivacySettings):
    """Whose orders these are."""

    api_url: ExactUrl | None = Field(
        None,
        alias="AMPERITY_API_URL",
        description="For stream only scheme and host count; for notify it is the exact URL.",
    )
    tenant: Tenant | None = Field(
        None,
        alias="AMPERITY_TENANT_ID",
        description="The tenant; by default the first label of an ….amperity.com host in AMPERITY_API_URL.",
    )
    brand: str | None = Field(
        None, alias="AMPERITY_BRAND", description="The purchase brand in the flat feeds; by default the tenant."
    )

    @property
    def tenant_id(self) -> str:
        """The tenant, given or taken from the host of ``AMPERITY_API_URL``."""
        return self.tenant or forms.tenant_of_host(self.api_url) or ""

    @property
    def purchase_brand(self) -> str:
        """The brand in the rows of the flat feeds."""
        return self.brand or self.tenant_id


class FeedSettings(BrandSettings):
    """What the flat feeds need besides the orders: nothing of Amperity's is called for them."""

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """The rows name a brand, which is the tenant unless it is set."""
        named = "AMPERITY_BRAND" in present or _names_tenant(present)
        return super().cross_check(present) + ([] if named else [_NO_TENANT])


class DeliverySpeed(Settings):
    """In which ways the orders are delivered, and how fast: what a delivery's length depends on."""

    methods: Annotated[tuple[DeliveryMethod, ...], BeforeValidator(_methods)] = Field(
        ("stream",),
        alias="AMPERITY_DELIVERY",
        description="stream, s3_pull, notify, or several separated by commas.",
        min_length=1,
    )
    requests_per_second: Rate = Field(1000.0, alias="AMPERITY_REQUESTS_PER_SECOND", description="Records per second.")


class AmperitySettings(DeliverySpeed, BrandSettings):
    """Amperity: URLs, credentials, delivery methods, streams, limits."""

    api_key: SecretToken | None = Field(None, alias="AMPERITY_API_KEY", description="The bearer token.")
    client_id: str | None = Field(
        None, alias="AMPERITY_CLIENT_ID", description="With the client secret: fetches and renews the token."
    )
    client_secret: SecretStr | None = Field(
        None, alias="AMPERITY_CLIENT_SECRET", description="With the client id: fetches and renews the token."
    )
    control_url: BaseUrl = Field(
        "https://app.amperity.com/api", alias="AMPERITY_CONTROL_URL", description="The control plane's base URL."
    )
    workflow_config_id: WorkflowId | None = Field(
        None,
        alias="AMPERITY_WORKFLOW_CONFIG_ID",
        description="The courier group, cg-…, that s3_pull starts and follows.",
    )
    workflow_timeout_seconds: float = Field(
        3600.0,
        alias="AMPERITY_WORKFLOW_TIMEOUT_SECONDS",
        description="Seconds for which a workflow run is followed.",
        ge=0,
        le=7 * 86_400,
        allow_inf_nan=False,
    )
    stream_id: StreamId | None = Field(
        None, alias="AMPERITY_STREAM_ID", description="The stream for whole orders, is-…."
    )
    transactions_stream_id: StreamId | None = Field(
        None,
        alias="AMPERITY_TRANSACTIONS_STREAM_ID",
        description="With stream: the stream for the rows of transactions.",
    )
    order_items_stream_id: StreamId | None = Field(
        None, alias="AMPERITY_ORDER_ITEMS_STREAM_ID", description="With stream: the stream for the rows of order_items."
    )
    customers_stream_id: StreamId | None = Field(
        None, alias="AMPERITY_CUSTOMERS_STREAM_ID", description="With stream: the stream for the rows of customers."
    )
    timeout_seconds: Seconds = Field(
        30.0, alias="AMPERITY_TIMEOUT_SECONDS", description="Seconds after which a call is cut off."
    )
    max_reject_share: float = Field(
        0.01,
        alias="AMPERITY_MAX_REJECT_SHARE",
        description="The delivery fails if more than this share is rejected.",
        ge=0,
        le=1,
        allow_inf_nan=False,
    )
    max_record_bytes: int = Field(
        1_000_000,
        alias="AMPERITY_MAX_RECORD_BYTES",
        description="Records of more bytes are rejected before they are sent.",
        ge=1,
        le=1_000_000_000,
    )

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """What the chosen delivery methods need, and what belongs together."""
        methods = present.get("AMPERITY_DELIVERY", "stream").replace(",", " ").split()
        renewal = [name for name in ("AMPERITY_CLIENT_ID", "AMPERITY_CLIENT_SECRET") if name in present]
        problems = super().cross_check(present)
        calls = "stream" in methods or "notify" in methods or "AMPERITY_WORKFLOW_CONFIG_ID" in present
        if calls and not _names_tenant(present):
            problems.append(_NO_TENANT)
        if len(renewal) == 1:
            (other,) = {"AMPERITY_CLIENT_ID", "AMPERITY_CLIENT_SECRET"}.difference(renewal)
            problems.append(f"{other} is not set; only {renewal[0]} is set, and they belong together")
        if calls and not renewal and "AMPERITY_API_KEY" not in present:
            problems.append("AMPERITY_API_KEY is not set (nor AMPERITY_CLIENT_ID with AMPERITY_CLIENT_SECRET)")
        if "stream" in methods and "AMPERITY_STREAM_ID" not in present:
            problems.append("AMPERITY_STREAM_ID is not set")
        streams = [name for name in STREAMS if name in present]
        if len({present[name] for name in streams}) < len(streams):
            problems.append(f"{', '.join(streams)} are not all different; a stream has one schema")
        if "notify" in methods and "AMPERITY_API_URL" not in present:
            problems.append("AMPERITY_API_URL is not set; notify posts to exactly this URL")
        return problems

    @property
    def origin(self) -> str:
        """Scheme and host of the Streaming API."""
        return forms.origin(self.api_url) if self.api_url else f"https://{self.tenant_id}.amperity.com"


def _names_tenant(present: Mapping[str, str]) -> bool:
    return "AMPERITY_TENANT_ID" in present or bool(forms.tenant_of_host(present.get("AMPERITY_API_URL")))
