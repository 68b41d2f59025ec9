"""Settings of the three services: read once, checked all at once, handed to plain clients.

Each field's alias is its environment variable, so that every problem is named by the variable that mends it.
Values come as strings, as in an environment; an empty string counts as not set. Secrets are ``SecretStr``: neither
``repr`` nor an error shows them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from toast_assets.amperity.redaction import Redaction, Rule, contradiction, name_problem
from toast_assets.errors import SettingsError
from toast_assets.tls import plain_http_problem
from toast_assets.week import DAY_NAMES, KEY_FORMAT, WeekCalendar

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

DISCOVER = "*"
STREAMS = ("AMPERITY_STREAM_ID", "AMPERITY_ORDER_ITEMS_STREAM_ID", "AMPERITY_CUSTOMERS_STREAM_ID")
DeliveryMethod = Literal["stream", "s3_pull", "notify"]

# A GUID becomes part of keys and headers. Toast's are UUIDs, the guide's examples are not.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_STREAM_ID = re.compile(r"is-[A-Za-z0-9_-]+")
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
# Keys and last-updated fields of what is delivered, and the references that hold it together.
_NEEDED = frozenset(
    {"guid", "restaurantGuid", "modifiedDate", "selection_id", "customer_id", "transaction_item_id", "order_id"}
    | {"fk_customer", "store_id", "modified_at"}
)


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("is not an http(s) URL such as https://ws-api.toasttab.com")
    if problem := plain_http_problem(value):
        raise ValueError(problem)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _exact_url(value: str) -> str:
    _origin(value)
    return value


def _base_url(value: str) -> str:
    return _exact_url(value).rstrip("/")


def _header_safe(value: str) -> str:
    if not _HEADER_SAFE.fullmatch(value):
        raise ValueError("holds a space or another character that no header may hold")
    return value


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


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


def _stream_id(value: str) -> str:
    if not _STREAM_ID.fullmatch(value):
        # Amperity answers 202 for an id it does not know and drops the records (Amperity: Streaming API).
        raise ValueError("is not a stream id: they begin with 'is-'; Amperity would accept and drop every record")
    return value


Origin = Annotated[str, BeforeValidator(_origin)]
ExactUrl = Annotated[str, BeforeValidator(_exact_url)]
BaseUrl = Annotated[str, BeforeValidator(_base_url)]
Token = Annotated[str, BeforeValidator(_header_safe)]
SecretToken = Annotated[SecretStr, BeforeValidator(_header_safe)]
Items = Annotated[tuple[str, ...], BeforeValidator(_split)]
WorkflowId = Annotated[str, Field(pattern=r"^cg-[A-Za-z0-9_-]+$")]
StreamId = Annotated[str, BeforeValidator(_stream_id)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseModel):
    """What the services' settings share: strings in, all problems out at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=False)

    @classmethod
    def parse(cls, values: Mapping[str, str | None]) -> Self:
        """Settings from environment variables' names and values; unset and empty ones take their defaults.

        Raises:
            SettingsError: with one line for each variable that is missing or malformed.
        """
        present = {name: value.strip() for name, value in values.items() if value and value.strip()}
        problems = cls.cross_check(present)
        try:
            settings = cls.model_validate(present)
        except ValidationError as error:
            problems = [_problem(details) for details in error.errors()] + problems
        if problems:
            raise SettingsError(problems)
        return settings

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """Problems that concern several variables; found even where single ones are malformed."""
        del present
        return []


def _problem(details: Mapping[str, Any] | ErrorDetails) -> str:
    name = ".".join(str(part) for part in details["loc"][:1])
    if details["type"] == "missing":
        return f"{name} is not set"
    message = str(details["msg"]).removeprefix("Value error, ")
    return f"{name} {message}" if name else message


class ToastLimits(Settings):
    """For which restaurants Toast is asked, and how fast: what a pull's length depends on, without any credentials."""

    restaurant_guids: Items = Field(alias="TOAST_RESTAURANT_GUID", min_length=1)
    requests_per_second: Rate = Field(5.0, alias="TOAST_REQUESTS_PER_SECOND")
    total_requests_per_second: Rate | None = Field(None, alias="TOAST_TOTAL_REQUESTS_PER_SECOND")
    historical_spacing_seconds: float = Field(5.0, alias="TOAST_HISTORICAL_SPACING_SECONDS", ge=0)
    concurrent_restaurants: int = Field(10, alias="TOAST_CONCURRENT_RESTAURANTS", ge=1, le=500)

    @field_validator("restaurant_guids")
    @classmethod
    def _identifiers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if DISCOVER in value:
            if len(value) > 1:
                raise ValueError("mixes '*' with GUIDs; give either '*' or a list")
            return value
        odd = [guid for guid in value if not _IDENTIFIER.fullmatch(guid)]
        if odd:
            raise ValueError(f"holds {odd[0]!r}, which is not a GUID")
        return tuple(dict.fromkeys(value))

    @property
    def discovers(self) -> bool:
        """Whether the restaurants are to be asked from Toast instead of listed."""
        return self.restaurant_guids == (DISCOVER,)


class ToastSettings(ToastLimits):
    """How to reach Toast, as whom, for which restaurants, and how fast."""

    api_url: Origin = Field("https://ws-api.toasttab.com", alias="TOAST_API_URL")
    client_id: str = Field(alias="TOAST_CLIENT_ID")
    client_secret: SecretStr = Field(alias="TOAST_CLIENT_SECRET")
    member_restaurant_guid: str | None = Field(None, alias="TOAST_MEMBER_RESTAURANT_GUID")
    timeout_seconds: PositiveSeconds = Field(60.0, alias="TOAST_TIMEOUT_SECONDS")

    @field_validator("member_restaurant_guid")
    @classmethod
    def _identifier(cls, value: str | None) -> str | None:
        if value is not None and not _IDENTIFIER.fullmatch(value):
            raise ValueError("is not a GUID")
        return value


class StoreSettings(Settings):
    """Which bucket, and where in it. Credentials and region are the AWS SDK's own."""

    bucket: str = Field(alias="S3_BUCKET_NAME", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")
    prefix: str = Field("toast-orders/", alias="S3_PREFIX")
    sse: Literal["AES256", "aws:kms"] | None = Field(None, alias="S3_SSE")
    kms_key_id: str | None = Field(None, alias="S3_KMS_KEY_ID")

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """A key needs the encryption that uses it."""
        if "S3_KMS_KEY_ID" in present and present.get("S3_SSE") != "aws:kms":
            return ["S3_KMS_KEY_ID is set, which only S3_SSE=aws:kms uses"]
        return []

    @field_validator("prefix")
    @classmethod
    def _one_slash(cls, value: str) -> str:
        return value.strip("/") + "/" if value.strip("/") else ""


class RetentionSettings(Settings):
    """After how many days, counted from a week's end, what is stored of it goes; None keeps it for ever."""

    raw_days: int | None = Field(None, alias="RETENTION_RAW_DAYS", ge=1)
    export_days: int | None = Field(None, alias="RETENTION_EXPORT_DAYS", ge=1)
    ledger_days: int | None = Field(None, alias="RETENTION_LEDGER_DAYS", ge=1)

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """Receipts outlive what they are receipts of, else it would be sent again."""
        days = {name: present.get(f"RETENTION_{name}_DAYS", "") for name in ("RAW", "EXPORT", "LEDGER")}
        numbers = {name: int(text) for name, text in days.items() if text.isdecimal()}
        if days["LEDGER"] and not (days["RAW"] and days["EXPORT"]):
            return ["RETENTION_LEDGER_DAYS is set without RETENTION_RAW_DAYS and RETENTION_EXPORT_DAYS"]
        if len(numbers) == 3 and numbers["LEDGER"] < max(numbers["RAW"], numbers["EXPORT"]):
            return ["RETENTION_LEDGER_DAYS is less than RETENTION_RAW_DAYS or RETENTION_EXPORT_DAYS"]
        return []


class CalendarSettings(Settings):
    """Where weeks begin."""

    first: date | None = Field(None, alias="TOAST_START_DATE")
    timezone: str = Field("UTC", alias="TOAST_WEEK_TIMEZONE")
    weekday: int = Field(0, alias="TOAST_WEEK_WEEKDAY")
    hour: int = Field(4, alias="TOAST_WEEK_HOUR", ge=0, le=23)
    settling_seconds: float = Field(900.0, alias="TOAST_SETTLING_SECONDS", ge=0)

    @field_validator("first", mode="before")
    @classmethod
    def _date(cls, value: object) -> date:
        try:
            return datetime.strptime(str(value), KEY_FORMAT).date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            raise ValueError("is not a date such as 2025-01-06") from None

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError("is not an IANA time zone such as America/New_York")
        return value

    @field_validator("weekday", mode="before")
    @classmethod
    def _day(cls, value: object) -> int:
        names = [name.lower() for name in DAY_NAMES]
        if str(value).lower() not in names:
            raise ValueError("is not the name of a day such as Monday")
        return names.index(str(value).lower())

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """The first week's date has to be a first day."""
        try:
            weekday = cls._day(present.get("TOAST_WEEK_WEEKDAY", DAY_NAMES[0]))
            first = cls._date(present["TOAST_START_DATE"])
        except (KeyError, ValueError):
            return []
        if first.weekday() == weekday:
            return []
        return [f"TOAST_START_DATE {first} is a {DAY_NAMES[first.weekday()]}; weeks begin on a {DAY_NAMES[weekday]}"]

    def calendar(self) -> WeekCalendar:
        """The calendar that these settings describe."""
        default = WeekCalendar().first
        first = self.first or default + timedelta(days=(self.weekday - default.weekday()) % 7)
        settling = timedelta(seconds=self.settling_seconds)
        return WeekCalendar(first, ZoneInfo(self.timezone).key, self.weekday, self.hour, settling)


class PrivacySettings(Settings):
    """What is dropped or hashed before anything leaves for Amperity."""

    redact: Annotated[dict[str, Rule], BeforeValidator(_rules)] = Field({}, alias="AMPERITY_REDACT")
    redact_salt: SecretStr | None = Field(None, alias="AMPERITY_REDACT_SALT")

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """A hash needs its salt."""
        if "hash" in present.get("AMPERITY_REDACT", "") and "AMPERITY_REDACT_SALT" not in present:
            return ["AMPERITY_REDACT_SALT is not set; hashes without a secret salt can be guessed"]
        return []

    @property
    def redaction(self) -> Redaction:
        """The rules, ready to be applied."""
        salt = self.redact_salt.get_secret_value() if self.redact_salt else ""
        return Redaction(self.redact, salt.encode())


class FeedSettings(PrivacySettings):
    """What the flat feeds need besides the orders: nothing of Amperity's is called for them."""

    brand: str = Field(alias="AMPERITY_BRAND")

    @classmethod
    def parse(cls, values: Mapping[str, str | None]) -> Self:
        """As ``Settings.parse``; other variables are passed over, and the brand is the tenant where it is not set."""
        tenant = values.get("AMPERITY_TENANT_ID") or tenant_of_host(values.get("AMPERITY_API_URL"))
        own = {name: values.get(name) for name in ("AMPERITY_REDACT", "AMPERITY_REDACT_SALT")}
        return super().parse(own | {"AMPERITY_BRAND": values.get("AMPERITY_BRAND") or tenant})


class DeliverySpeed(Settings):
    """In which ways the orders are delivered, and how fast: what a delivery's length depends on."""

    methods: Annotated[tuple[DeliveryMethod, ...], BeforeValidator(_split)] = Field(
        ("stream",), alias="AMPERITY_DELIVERY", min_length=1
    )
    requests_per_second: Rate = Field(1000.0, alias="AMPERITY_REQUESTS_PER_SECOND")

    @field_validator("methods", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        items = _split(value)
        for item in items if isinstance(items, Iterable) else ():
            if item not in ("stream", "s3_pull", "notify"):
                raise ValueError(f"holds {item!r}; the methods are stream, s3_pull and notify")
        return items


class AmperitySettings(DeliverySpeed, PrivacySettings):
    """How to reach Amperity, as whom, and in which ways the orders are delivered."""

    api_url: ExactUrl | None = Field(None, alias="AMPERITY_API_URL")
    tenant: Token | None = Field(None, alias="AMPERITY_TENANT_ID")
    api_key: SecretToken | None = Field(None, alias="AMPERITY_API_KEY")
    client_id: str | None = Field(None, alias="AMPERITY_CLIENT_ID")
    client_secret: SecretStr | None = Field(None, alias="AMPERITY_CLIENT_SECRET")
    control_url: BaseUrl = Field("https://app.amperity.com/api", alias="AMPERITY_CONTROL_URL")
    workflow_config_id: WorkflowId | None = Field(None, alias="AMPERITY_WORKFLOW_CONFIG_ID")
    workflow_timeout_seconds: float = Field(3600.0, alias="AMPERITY_WORKFLOW_TIMEOUT_SECONDS", ge=0)
    stream_id: StreamId | None = Field(None, alias="AMPERITY_STREAM_ID")
    order_items_stream_id: StreamId | None = Field(None, alias="AMPERITY_ORDER_ITEMS_STREAM_ID")
    customers_stream_id: StreamId | None = Field(None, alias="AMPERITY_CUSTOMERS_STREAM_ID")
    brand: str | None = Field(None, alias="AMPERITY_BRAND")
    timeout_seconds: PositiveSeconds = Field(30.0, alias="AMPERITY_TIMEOUT_SECONDS")
    max_reject_share: float = Field(0.01, alias="AMPERITY_MAX_REJECT_SHARE", ge=0, le=1)
    max_record_bytes: int = Field(1_000_000, alias="AMPERITY_MAX_RECORD_BYTES", gt=0)

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """What the chosen delivery methods need, and what belongs together."""
        methods = present.get("AMPERITY_DELIVERY", "stream")
        renewal = [name for name in ("AMPERITY_CLIENT_ID", "AMPERITY_CLIENT_SECRET") if name in present]
        problems = super().cross_check(present)
        calls = "stream" in methods or "notify" in methods or "AMPERITY_WORKFLOW_CONFIG_ID" in present
        if calls and "AMPERITY_TENANT_ID" not in present and not tenant_of_host(present.get("AMPERITY_API_URL")):
            problems.append("AMPERITY_TENANT_ID is not set")
        if len(renewal) == 1:
            problems.append(f"AMPERITY_CLIENT_ID and AMPERITY_CLIENT_SECRET belong together; only {renewal[0]} is set")
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
    def tenant_id(self) -> str:
        """The tenant, given or taken from the host of ``AMPERITY_API_URL``."""
        return self.tenant or tenant_of_host(self.api_url) or ""

    @property
    def purchase_brand(self) -> str:
        """The brand in the rows of the flat feeds."""
        return self.brand or self.tenant_id

    @property
    def origin(self) -> str:
        """Scheme and host of the Streaming API."""
        return _origin(self.api_url) if self.api_url else f"https://{self.tenant_id}.amperity.com"


def tenant_of_host(url: str | None) -> str | None:
    """``socktown`` of ``https://socktown.amperity.com/…``; None for another host."""
    try:
        host = urlsplit(url or "").hostname or ""
    except ValueError:
        return None
    return host.split(".")[0] if host.endswith(".amperity.com") else None
