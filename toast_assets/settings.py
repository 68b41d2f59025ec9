"""Settings of the three services: read once, checked all at once, handed to plain clients.

Each field's alias is its environment variable, so that every problem is named by the variable that mends it.
Values come as strings, as in an environment; an empty string counts as not set. Secrets are ``SecretStr``: neither
``repr`` nor an error shows them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Literal, Self, get_origin
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from toast_assets import setting_values as forms
from toast_assets.amperity.redaction import Redaction, Rule, contradiction, name_problem
from toast_assets.errors import SettingsError
from toast_assets.week import DAY_NAMES, KEY_FORMAT, WeekCalendar

DISCOVER = "*"
STREAMS = ("AMPERITY_STREAM_ID", "AMPERITY_ORDER_ITEMS_STREAM_ID", "AMPERITY_CUSTOMERS_STREAM_ID")
METHODS = ("stream", "s3_pull", "notify")
DeliveryMethod = Literal["stream", "s3_pull", "notify"]

# How the names of our variables begin.
PREFIXES = ("TOAST_", "AMPERITY_", "S3_", "RETENTION_", "ALERT_")
# Not settings: what deploy/ reads, files with secrets (deploy/with-secrets), and what Kubernetes says of a service.
_OTHERS = re.compile(r"^TOAST_ASSETS_|_FILE$|_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP)|$)")
_NO_TENANT = "AMPERITY_TENANT_ID is not set"
# Keys and last-updated fields of what is delivered, and the references that hold it together.
_NEEDED = frozenset(
    {"guid", "restaurantGuid", "modifiedDate", "selection_id", "customer_id", "transaction_item_id", "order_id"}
    | {"fk_customer", "store_id", "modified_at"}
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


def _stream_id(value: str) -> str:
    if not value.startswith("is-"):
        # Amperity answers 202 for an id it does not know and drops the records (Amperity: Streaming API).
        raise ValueError("is not a stream id: they begin with 'is-'; Amperity would accept and drop every record")
    return forms.header_safe(value)


def _workflow_id(value: str) -> str:
    if not value.startswith("cg-"):
        raise ValueError("is not a courier group's id: they begin with 'cg-'")
    return forms.header_safe(value)


def _method(value: str) -> str:
    if value not in METHODS:
        raise ValueError(f"holds {forms.shown(value)}; the methods are stream, s3_pull and notify")
    return value


def _http_host(value: str) -> str:
    if not forms.is_host(value):
        raise ValueError(f"holds {forms.shown(value)}; write names of hosts alone, without http:// and port")
    return value


Origin = Annotated[str, AfterValidator(forms.origin)]
ExactUrl = Annotated[str, AfterValidator(forms.exact_url)]
BaseUrl = Annotated[str, AfterValidator(forms.base_url)]
Tenant = Annotated[str, AfterValidator(forms.tenant)]
HeaderSafe = Annotated[str, AfterValidator(forms.header_safe)]
SecretToken = Annotated[SecretStr, BeforeValidator(forms.token)]
BucketName = Annotated[str, AfterValidator(forms.bucket_name)]
Prefix = Annotated[str, AfterValidator(forms.prefix)]
RestaurantGuid = Annotated[str, AfterValidator(forms.identifier)]
WorkflowId = Annotated[str, AfterValidator(_workflow_id)]
StreamId = Annotated[str, AfterValidator(_stream_id)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0.001, le=1_000_000, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class Settings(BaseModel):
    """What the services' settings share: strings in, all problems out at once."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, populate_by_name=False)

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """The environment variables of these settings."""
        return tuple(each.alias for each in cls.model_fields.values() if each.alias)

    @classmethod
    def parse(cls, values: Mapping[str, str | None]) -> Self:
        """Settings from environment variables' names and values; unset and empty ones take their defaults, and those of
        other settings are passed over.

        Raises:
            SettingsError: with one line for each variable that is missing or malformed.
        """
        own = {name: (values.get(name) or "").strip() for name in cls.variables()}
        present = {name: value for name, value in own.items() if value}
        problems = {name: problem for name in present if (problem := cls._spoilt(name, present[name]))}
        try:
            settings = cls.model_validate(present)
        except ValidationError as error:
            rules = cls.model_json_schema()["properties"]
            for details in error.errors():
                name = str(details["loc"][0]) if details["loc"] else ""
                problems.setdefault(name, forms.problem(details, present.get(name, ""), rules.get(name, {})))
        lines = [f"{name} {problem}".strip() for name, problem in problems.items()] + cls.cross_check(present)
        if lines:
            raise SettingsError(lines)
        return settings

    @classmethod
    def _spoilt(cls, name: str, value: str) -> str | None:
        (annotation,) = (each.annotation for each in cls.model_fields.values() if each.alias == name)
        return forms.spoilt(value, is_list=get_origin(annotation) in (tuple, dict))

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """Problems that concern several variables; found even where single ones are malformed."""
        del present
        return []


class NetworkSettings(Settings):
    """Which hosts besides this machine may be reached by plain HTTP; ``toast_assets.tls`` heeds it."""

    http_hosts: Annotated[tuple[Annotated[str, AfterValidator(_http_host)], ...], BeforeValidator(forms.split)] = Field(
        (), alias="ALLOW_HTTP_HOSTS"
    )


class ToastLimits(Settings):
    """For which restaurants Toast is asked, and how fast: what a pull's length depends on, without any credentials."""

    listed_restaurants: Annotated[tuple[str, ...], BeforeValidator(forms.split)] = Field(
        alias="TOAST_RESTAURANT_GUID", min_length=1
    )
    requests_per_second: Rate = Field(5.0, alias="TOAST_REQUESTS_PER_SECOND")
    total_requests_per_second: Rate | None = Field(None, alias="TOAST_TOTAL_REQUESTS_PER_SECOND")
    historical_spacing_seconds: float = Field(
        5.0, alias="TOAST_HISTORICAL_SPACING_SECONDS", ge=0, le=3600, allow_inf_nan=False
    )
    concurrent_restaurants: int = Field(10, alias="TOAST_CONCURRENT_RESTAURANTS", ge=1, le=500)

    @field_validator("listed_restaurants")
    @classmethod
    def _identifiers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if DISCOVER in value and len(value) > 1:
            raise ValueError("mixes '*' with other items; write either '*' or GUIDs")
        for item in () if DISCOVER in value else value:
            parts = re.split(r"[\s;|]+", item)
            if len(parts) > 1 and all(map(forms.is_identifier, parts)):
                raise ValueError(f"holds {forms.shown(item)}; separate GUIDs with commas")
            forms.identifier(item)
        return value

    @cached_property
    def restaurant_guids(self) -> tuple[str, ...]:
        """The restaurants, each once in its first spelling (RFC 4122: GUIDs compare without case); or ``*``."""
        first = {guid.lower(): guid for guid in reversed(self.listed_restaurants)}
        return tuple(dict.fromkeys(first[guid.lower()] for guid in self.listed_restaurants))

    @property
    def doubled_restaurants(self) -> tuple[str, ...]:
        """The restaurants that are listed more than once, in one spelling or in several."""
        counts = Counter(guid.lower() for guid in self.listed_restaurants)
        return tuple(guid for guid in self.restaurant_guids if counts[guid.lower()] > 1)

    @property
    def discovers(self) -> bool:
        """Whether the restaurants are to be asked from Toast instead of listed."""
        return self.listed_restaurants == (DISCOVER,)


class ToastSettings(ToastLimits):
    """How to reach Toast, as whom, for which restaurants, and how fast."""

    api_url: Origin = Field("https://ws-api.toasttab.com", alias="TOAST_API_URL")
    client_id: str = Field(alias="TOAST_CLIENT_ID")
    client_secret: SecretStr = Field(alias="TOAST_CLIENT_SECRET")
    member_restaurant_guid: RestaurantGuid | None = Field(None, alias="TOAST_MEMBER_RESTAURANT_GUID")
    timeout_seconds: Seconds = Field(60.0, alias="TOAST_TIMEOUT_SECONDS")


class StoreSettings(Settings):
    """Which bucket, and where in it. Credentials and region are the AWS SDK's own."""

    bucket: BucketName = Field(alias="S3_BUCKET_NAME")
    prefix: Prefix = Field("toast-orders/", alias="S3_PREFIX")
    sse: Literal["AES256", "aws:kms"] | None = Field(None, alias="S3_SSE")
    kms_key_id: HeaderSafe | None = Field(None, alias="S3_KMS_KEY_ID")

    @classmethod
    def cross_check(cls, present: Mapping[str, str]) -> list[str]:
        """A key needs the encryption that uses it."""
        if "S3_KMS_KEY_ID" in present and present.get("S3_SSE") != "aws:kms":
            return ["S3_KMS_KEY_ID is set, which only S3_SSE=aws:kms uses"]
        return []


class RetentionSettings(Settings):
    """After how many days, counted from a week's end, what is stored of it goes; None keeps it for ever."""

    raw_days: Days | None = Field(None, alias="RETENTION_RAW_DAYS")
    export_days: Days | None = Field(None, alias="RETENTION_EXPORT_DAYS")
    ledger_days: Days | None = Field(None, alias="RETENTION_LEDGER_DAYS")

    @model_validator(mode="after")
    def _receipts_last(self) -> Self:
        """Receipts outlive what they are receipts of, else it would be sent again."""
        if self.ledger_days is None:
            return self
        if self.raw_days is None or self.export_days is None:
            raise ValueError("RETENTION_LEDGER_DAYS is set without RETENTION_RAW_DAYS and RETENTION_EXPORT_DAYS")
        if self.ledger_days < max(self.raw_days, self.export_days):
            raise ValueError("RETENTION_LEDGER_DAYS is less than RETENTION_RAW_DAYS or RETENTION_EXPORT_DAYS")
        return self


class CalendarSettings(Settings):
    """Where weeks begin."""

    first: date | None = Field(None, alias="TOAST_START_DATE")
    timezone: str = Field("UTC", alias="TOAST_WEEK_TIMEZONE")
    weekday: int = Field(0, alias="TOAST_WEEK_WEEKDAY")
    hour: int = Field(4, alias="TOAST_WEEK_HOUR", ge=0, le=23)
    settling_seconds: float = Field(900.0, alias="TOAST_SETTLING_SECONDS", ge=0, le=31 * 86_400, allow_inf_nan=False)

    @field_validator("first", mode="before")
    @classmethod
    def _date(cls, value: object) -> date:
        try:
            day = datetime.strptime(str(value), KEY_FORMAT).date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            raise ValueError(
                f"holds {forms.shown(str(value))}, which is not a date; write one such as 2025-01-06"
            ) from None
        # Toast has no orders from before 2015-12 (Toast: ordersBulk), and weeks cannot be counted at the ends of what a
        # date can be.
        if not 2010 <= day.year <= 2100:
            raise ValueError(f"holds {day}; the first week lies in the years 2010 to 2100")
        return day

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        zones = {zone.lower(): zone for zone in available_timezones()}
        if value not in zones.values():
            near = get_close_matches(value.lower(), zones, n=1)
            write = zones[near[0]] if near else "one such as America/New_York"
            raise ValueError(f"holds {forms.shown(value)}, which is no IANA time zone; write {write}")
        return value

    @field_validator("weekday", mode="before")
    @classmethod
    def _day(cls, value: object) -> int:
        names = [name.lower() for name in DAY_NAMES]
        if str(value).lower() not in names:
            raise ValueError(f"holds {forms.shown(str(value))}, which is no day; write one such as Monday")
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


class BrandSettings(PrivacySettings):
    """Whose orders these are."""

    api_url: ExactUrl | None = Field(None, alias="AMPERITY_API_URL")
    tenant: Tenant | None = Field(None, alias="AMPERITY_TENANT_ID")
    brand: str | None = Field(None, alias="AMPERITY_BRAND")

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

    methods: Annotated[
        tuple[Annotated[DeliveryMethod, BeforeValidator(_method)], ...], BeforeValidator(forms.split)
    ] = Field(("stream",), alias="AMPERITY_DELIVERY", min_length=1)
    requests_per_second: Rate = Field(1000.0, alias="AMPERITY_REQUESTS_PER_SECOND")

    @field_validator("methods")
    @classmethod
    def _each_once(cls, value: tuple[DeliveryMethod, ...]) -> tuple[DeliveryMethod, ...]:
        return tuple(dict.fromkeys(value))


class AmperitySettings(DeliverySpeed, BrandSettings):
    """How to reach Amperity, as whom, and in which ways the orders are delivered."""

    api_key: SecretToken | None = Field(None, alias="AMPERITY_API_KEY")
    client_id: str | None = Field(None, alias="AMPERITY_CLIENT_ID")
    client_secret: SecretStr | None = Field(None, alias="AMPERITY_CLIENT_SECRET")
    control_url: BaseUrl = Field("https://app.amperity.com/api", alias="AMPERITY_CONTROL_URL")
    workflow_config_id: WorkflowId | None = Field(None, alias="AMPERITY_WORKFLOW_CONFIG_ID")
    workflow_timeout_seconds: float = Field(
        3600.0,
        alias="AMPERITY_WORKFLOW_TIMEOUT_SECONDS",
        ge=0,
        le=7 * 86_400,
        allow_inf_nan=False,
    )
    stream_id: StreamId | None = Field(None, alias="AMPERITY_STREAM_ID")
    order_items_stream_id: StreamId | None = Field(None, alias="AMPERITY_ORDER_ITEMS_STREAM_ID")
    customers_stream_id: StreamId | None = Field(None, alias="AMPERITY_CUSTOMERS_STREAM_ID")
    timeout_seconds: Seconds = Field(30.0, alias="AMPERITY_TIMEOUT_SECONDS")
    max_reject_share: float = Field(0.01, alias="AMPERITY_MAX_REJECT_SHARE", ge=0, le=1, allow_inf_nan=False)
    max_record_bytes: int = Field(1_000_000, alias="AMPERITY_MAX_RECORD_BYTES", ge=1, le=1_000_000_000)

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


def _addresses(value: object) -> object:
    return [str(forms.address(each)) for each in value.split()] if isinstance(value, str) else value


def _link(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
        raise ValueError("is not an http(s) URL such as https://dagster.example.com")
    return value.rstrip("/")


class AlertSettings(Settings):
    """Where alerts are posted, and what the links in them begin with. The addresses are secrets."""

    webhook_urls: Annotated[tuple[SecretStr, ...], BeforeValidator(_addresses)] = Field((), alias="ALERT_WEBHOOK_URL")
    ui_url: Annotated[str, AfterValidator(_link)] | None = Field(None, alias="DAGSTER_UI_URL")


def problems_of(values: Mapping[str, str | None], *kinds: type[Settings]) -> list[str]:
    """What is missing or malformed for several kinds of settings, each line once."""
    problems: list[str] = []
    for kind in kinds:
        try:
            kind.parse(values)
        except SettingsError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    return problems


def misspelt_variables(names: Iterable[str]) -> list[str]:
    """A line for each variable that looks like one of ours and is none, with the nearest that is."""
    known = sorted(known_variables())
    lines = []
    for name in sorted(set(names) - set(known)):
        capitals = name.upper()
        if not capitals.startswith(PREFIXES) or _OTHERS.search(capitals):
            continue
        near = get_close_matches(capitals, known, n=1, cutoff=0.7)
        lines.append(f"{name} is no variable of this pipeline" + (f"; the nearest is {near[0]}" if near else ""))
    return lines


def known_variables() -> frozenset[str]:
    """Every variable that a setting has."""

    def kinds(kind: type[Settings]) -> Iterator[type[Settings]]:
        yield kind
        for more in kind.__subclasses__():
            yield from kinds(more)

    return frozenset(name for kind in kinds(Settings) for name in kind.variables())


def _names_tenant(present: Mapping[str, str]) -> bool:
    return "AMPERITY_TENANT_ID" in present or bool(forms.tenant_of_host(present.get("AMPERITY_API_URL")))
