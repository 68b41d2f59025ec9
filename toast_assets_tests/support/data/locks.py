"""Lock files as uv writes them: versions, hashes, who asked for a package, and for which machines it is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ENTRY = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>[^ \\;]+)(?: ; (?P<marker>[^\\]+?))? \\$(?P<rest>(?:\n .*)*)", re.M
)


@dataclass(frozen=True)
class Locked:
    """One locked package; ``via`` are the packages and input files that ask for it."""

    name: str
    version: str
    marker: Marker | None
    hashes: frozenset[str]
    via: frozenset[str]

    @property
    def for_this_machine(self) -> bool:
        """Whether an installation here would have it."""
        return self.marker is None or self.marker.evaluate()


def read(path: Path) -> dict[str, Locked]:
    """The packages of a lock file by their canonical names; of several versions that for this machine."""
    found: dict[str, Locked] = {}
    for one in entries(path):
        if one.name not in found or one.for_this_machine:
            found[one.name] = one
    return found


def entries(path: Path) -> list[Locked]:
    """All entries of a lock file. A package has several where its version depends on the machine."""
    found = []
    for match in _ENTRY.finditer(path.read_text(encoding="utf-8")):
        rest = match["rest"]
        via = re.findall(r"^ +#(?: via)?(?: +(?!-c\b)(?:-r )?([^\n]+))?$", rest, re.M)
        found.append(
            Locked(
                canonicalize_name(match["name"]),
                match["version"],
                Marker(match["marker"]) if match["marker"] else None,
                frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", rest)),
                frozenset(each.strip() for each in via if each.strip()),
            )
        )
    return found


def closure(requirements: Iterable[str]) -> tuple[set[str], set[str]]:
    """All that these requirements bring in on this machine, by the installed packages' own metadata; and those among
    them that are not installed, whose requirements are therefore unknown."""
    found: set[str] = set()
    absent: set[str] = set()
    seen: set[tuple[str, str]] = set()
    waiting = [(Requirement(each), "") for each in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found.add(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                theirs = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                absent.add(name)
                continue
            waiting += [(Requirement(each), wanted) for each in theirs]
    return found, absent
