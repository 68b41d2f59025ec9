"""Reads a build file: its stages and their instructions."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One instruction: its keyword in capitals, and the rest with continued lines joined."""

    keyword: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as a list: of a JSON array its members, else as a shell splits it."""
        if self.rest.startswith("["):
            return [str(word) for word in json.loads(self.rest)]
        return shlex.split(self.rest)

    @property
    def flags(self) -> dict[str, str]:
        """The ``--name=value`` in front."""
        return dict(
            word.removeprefix("--").split("=", 1) for word in self.words if word.startswith("--") and "=" in word
        )

    @property
    def arguments(self) -> list[str]:
        """The words without the flags in front."""
        return [word for word in self.words if not (word.startswith("--") and "=" in word)]


@dataclass(frozen=True)
class Stage:
    """One ``FROM``: the image or the stage that it begins with, its own name, and what it does."""

    base: str
    name: str
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, keyword: str) -> list[Instruction]:
        """The instructions with that keyword, in order."""
        return [each for each in self.instructions if each.keyword == keyword]


def parse(path: Path) -> dict[str, Stage]:
    """The stages of the build file at ``path`` by name, in order."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#")]
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        keyword, _, rest = line.strip().partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(base, name)
        else:
            stages[next(reversed(stages))].instructions.append(Instruction(keyword, rest.strip()))
    return stages


def environment(stages: dict[str, Stage], name: str, inherited: dict[str, str]) -> dict[str, str]:
    """The variables of a stage's image, on top of what the image it begins with has."""
    stage = stages[name]
    found = environment(stages, stage.base, inherited) if stage.base in stages else dict(inherited)
    for instruction in stage.all("ENV"):
        for word in instruction.words:
            variable, _, value = word.partition("=")
            found[variable] = re.sub(r"\$(\w+)", lambda match: found.get(match[1], ""), value)
    return found
