"""``ToastToAmperity``, the Dagster component: one brand of a deployment, described by a ``defs.yaml``."""

import re
from functools import partial
from typing import Annotated, Any

import dagster as dg
from pydantic import ValidationInfo, field_validator

from toast_assets.defs.brand import Brand, is_name
from toast_assets.defs.build import build_defs
from toast_assets.errors import SettingsError
from toast_assets.settings import CalendarSettings, SensorSettings, problems_of
from toast_assets.variables import Variables

_DEFS_YAML = """\
type: {type}

attributes:
  name: {name}
  # Prefix of this brand's environment variables: {prefix}TOAST_CLIENT_ID and so on.
  variables: {prefix}

requirements:
  env:
{env}
"""
_REQUIRED = (
    *("TOAST_CLIENT_ID", "TOAST_CLIENT_SECRET", "TOAST_RESTAURANT_GUID", "S3_BUCKET_NAME"),
    *("AMPERITY_TENANT_ID", "AMPERITY_API_KEY", "AMPERITY_STREAM_ID"),
)


class _Scaffolder(dg.Scaffolder[Any]):
    """What ``dg scaffold defs toast_assets.ToastToAmperity brand_a`` writes: a brand that is named as its folder."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        name = re.sub(r"\W", "_", request.target_path.name)
        prefix = f"{name.upper()}_"
        if request.scaffold_format == "python":
            dg.scaffold_component(request, {"name": name, "variables": prefix})
            return
        env = "\n".join(f"    - {prefix}{variable}" for variable in _REQUIRED)
        text = _DEFS_YAML.format(type=request.type_name, name=name, prefix=prefix, env=env)
        (request.target_path / "defs.yaml").write_text(text)


def _described(text: str) -> Any:
    return dg.Resolver.default(description=text)


@dg.scaffold_with(_Scaffolder)
class ToastToAmperity(dg.Component, dg.Model, dg.Resolvable):
    """Brings one restaurant brand's orders from Toast through S3 to Amperity, week by week."""

    name: Annotated[
        str,
        _described("The brand's name: prefix of its sensor, job, pools and resources. Required for several brands."),
    ] = ""
    key_prefix: Annotated[
        str | None, _described("Prefix of the asset keys, with slashes between its parts. Default: the name.")
    ] = None
    group: Annotated[str | None, _described("The assets' group. Default: the name, else toast_to_amperity.")] = None
    owners: Annotated[
        list[str] | None,
        _described("Owners of the assets: e-mail addresses, or team:NAME. Default: team:data-engineering."),
    ] = None
    variables: Annotated[
        str,
        _described(
            "Prefix of the brand's environment variables: BRAND_A_ reads BRAND_A_TOAST_CLIENT_ID. Default: the"
            " variables without a prefix."
        ),
    ] = ""
    first_week: Annotated[
        str | None,
        _described("The first week's first day, such as 2025-01-06. Default: the variable TOAST_START_DATE."),
    ] = None
    sensor: Annotated[
        bool | str | None,
        _described(
            "Whether the weekly sensor starts runs: on, off, or auto (on, except on a temporary Dagster instance)."
            " Default: the variable TOAST_SENSOR, else auto."
        ),
    ] = None
    alerts: Annotated[
        bool,
        _described("Whether failures are posted to the webhooks in the variable ALERT_WEBHOOK_URL. Default: true."),
    ] = True

    @field_validator("name", "key_prefix", "group")
    @classmethod
    def _name(cls, value: str | None, info: ValidationInfo) -> str | None:
        parts = value.split("/") if value and info.field_name == "key_prefix" else [value]
        if value and not all(part and is_name(part) for part in parts):
            raise ValueError(f"{value!r} is no name; write letters, digits and underscores, such as brand_a")
        return value

    @field_validator("variables")
    @classmethod
    def _prefix(cls, value: str) -> str:
        try:
            return Variables(value).prefix
        except SettingsError as error:
            raise ValueError(error.problems[0]) from None

    @field_validator("sensor")
    @classmethod
    def _mode(cls, value: bool | str | None) -> str:
        # YAML reads a bare on or off as true or false.
        text = {True: "on", False: "off", None: ""}.get(value, value)  # type: ignore[arg-type]
        try:
            SensorSettings.parse({"TOAST_SENSOR": str(text)})
        except SettingsError as error:
            raise ValueError(error.problems[0].removeprefix("TOAST_SENSOR ")) from None
        return str(text)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of the brand."""
        del context
        prefix = self.name if self.key_prefix is None else self.key_prefix
        given = {"TOAST_START_DATE": self.first_week, "TOAST_SENSOR": self.sensor}
        brand = Brand(
            name=self.name,
            key_prefix=tuple(filter(None, prefix.split("/"))),
            group=self.group or self.name or Brand.group,
            owners=Brand.owners if self.owners is None else tuple(self.owners),
            variables=Variables(self.variables),
            given={variable: str(value) for variable, value in given.items() if value},
            alerts=self.alerts,
        )
        problems = problems_of(partial(CalendarSettings.parse, brand.values()))
        if wrong := [each for each in problems if self.first_week and each.startswith("TOAST_START_DATE")]:
            raise ValueError(wrong[0].replace("TOAST_START_DATE", "first_week"))
        return build_defs(brand)
