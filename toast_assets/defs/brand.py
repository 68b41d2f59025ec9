"""A restaurant brand as Dagster sees it: the names and keys of its definitions, and where its settings come from."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import dagster as dg

from toast_assets.variables import Variables

PARTITION_TAG = "dagster/partition"
WEEKLY_JOB = "weekly_toast_orders"
RAW, EXPORT, FEEDS, DELIVERY = "raw_toast_orders", "toast_orders_s3_export", "amperity_feeds", "amperity_delivery"
SOURCE, DESTINATION = "toast", "amperity"
# Of the tables' keys. It is the key of the external asset that they come from, too.
_TABLES = SOURCE


@dataclass(frozen=True)
class Brand:
    """One brand of a deployment. Without a ``name`` it is the only one, and all names are the plain ones.

    ``key_prefix`` comes before the keys of its assets; ``given`` are settings, by variable, that the definitions give
    instead of the environment. Where ``alerts`` is false there is no alert sensor.
    """

    name: str = ""
    key_prefix: tuple[str, ...] = ()
    group: str = "toast_to_amperity"
    owners: tuple[str, ...] = ("team:data-engineering",)
    variables: Variables = field(default_factory=Variables)
    given: Mapping[str, str] = field(default_factory=dict)
    alerts: bool = True

    def named(self, name: str) -> str:
        """The name of this brand's job, sensor, pool or resource."""
        return f"{self.name}_{name}" if self.name else name

    def key(self, *path: str) -> dg.AssetKey:
        """The key of an asset, by its plain one."""
        return dg.AssetKey([*self.key_prefix, *path])

    def table(self, name: str) -> dg.AssetKey:
        """The key of a table's asset."""
        return self.key(_TABLES, name)

    def owns(self, key: dg.AssetKey) -> bool:
        """Whether an asset is one of this brand's."""
        before, own = key.path[: len(self.key_prefix)], key.path[len(self.key_prefix) :]
        line = {RAW, EXPORT, FEEDS, DELIVERY, SOURCE, DESTINATION}
        is_table = len(own) == 2 and own[0] == _TABLES and own[1] not in line
        return tuple(before) == self.key_prefix and (is_table or (len(own) == 1 and own[0] in line))

    def concerns(self, run: dg.DagsterRun) -> bool:
        """Whether a run works on this brand's assets."""
        checked = (check.asset_key for check in run.asset_check_selection or ())
        return run.job_name == self.named(WEEKLY_JOB) or any(map(self.owns, (*(run.asset_selection or ()), *checked)))

    def values(self, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
        """The settings of this brand by the product's own variables, as ``Settings.parse`` takes them."""
        return {**self.variables.environment(environment), **self.given}

    @staticmethod
    def loads_feeds(values: Mapping[str, str]) -> bool:
        """Whether Amperity's couriers load the flat feeds, by the brand's settings."""
        return "s3_pull" in values.get("AMPERITY_DELIVERY", "")

    def said(self, text: object) -> str:
        """A text of this package, with the variables that it mentions under the names that this brand has for them."""
        return self.variables.renamed(str(text))


def is_name(text: str) -> bool:
    """Whether a text can be a brand's name, which becomes part of Dagster's names."""
    return re.fullmatch("[A-Za-z][A-Za-z0-9_]*", text) is not None
