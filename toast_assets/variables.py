"""All environment variables of the product, their names where a deployment has several brands, and those that look like
one but are unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from toast_assets.amperity.settings import AmperitySettings, FeedSettings
from toast_assets.errors import SettingsError
from toast_assets.settings import (
    AlertSettings,
    CalendarSettings,
    NetworkSettings,
    RetentionSettings,
    SensorSettings,
    Settings,
)
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.settings import ToastSettings

# How the names of our variables begin.
PREFIXES = ("TOAST_", "AMPERITY_", "S3_", "RETENTION_", "ALERT_")
# Not settings: what deploy/ reads, files with secrets (deploy/with-secrets), and what Kubernetes says of a service.
_OTHERS = re.compile(r"^TOAST_ASSETS_|_FILE$|_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP)|$)")

KINDS: tuple[type[Settings], ...] = (
    *(NetworkSettings, CalendarSettings, SensorSettings, ToastSettings, StoreSettings),
    *(AmperitySettings, FeedSettings, RetentionSettings, AlertSettings),
)
# How a text mentions them.
_MENTIONED = re.compile(rf"(?<![A-Za-z0-9_])(?:(?:{'|'.join(PREFIXES)})[A-Z0-9_]*|AWS_PROFILE)(?![A-Za-z0-9_])")


def known_variables() -> frozenset[str]:
    """Every variable that a setting has."""
    return frozenset(name for kind in KINDS for name in kind.variables())


def _is_of_a_brand(name: str) -> bool:
    """Whether each brand has a variable of its own by this name. AWS's own, the hosts of the network and the UI's
    address are one for the whole deployment."""
    capitals = name.upper()
    return capitals == "AWS_PROFILE" or (capitals.startswith(PREFIXES) and not _OTHERS.search(capitals))


@dataclass(frozen=True)
class Variables:
    """The variables of one brand. Each has the ``prefix`` before its own name, such as ``BRAND_A_``, except AWS's own
    (but for ``AWS_PROFILE``), ``ALLOW_HTTP_HOSTS`` and ``DAGSTER_UI_URL``, which all brands share. Raises a
    SettingsError where the prefix cannot be one."""

    prefix: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"([A-Z][A-Z0-9_]*_)?", self.prefix):
            problem = f"The prefix of variables {self.prefix!r} is not one such as BRAND_A_"
            raise SettingsError([f"{problem}: capital letters, digits and underscores, with an underscore at the end"])

    def name(self, variable: str) -> str:
        """The name that one of the product's variables has for this brand."""
        return self.prefix + variable if _is_of_a_brand(variable) else variable

    def renamed(self, text: str) -> str:
        """A text that mentions variables, with their names for this brand."""
        return _MENTIONED.sub(lambda mentioned: self.name(mentioned[0]), text)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """This brand's environment: its variables under the product's own names, and what all brands share. Another
        brand's value is never among them."""
        shared = {name: value for name, value in environment.items() if not _is_of_a_brand(name)}
        bare = {name: name[len(self.prefix) :] for name in environment if name.startswith(self.prefix)}
        return shared | {own: environment[name] for name, own in bare.items() if _is_of_a_brand(own)}

    def misspelt(self, environment: Mapping[str, str]) -> list[str]:
        """A line for each variable that looks like one of this brand but is unknown, with the nearest known one."""
        known = sorted({"AWS_PROFILE", *known_variables()})
        lines = []
        for name in sorted(filter(_is_of_a_brand, self.environment(environment).keys() - set(known))):
            near = get_close_matches(name.upper(), known, n=1, cutoff=0.7)
            hint = f"; the nearest is {self.name(near[0])}" if near else ""
            lines.append(f"{self.name(name)} is no variable of this pipeline{hint}")
        return lines
