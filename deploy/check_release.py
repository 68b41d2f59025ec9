"""Whether a version tag may become a release: it is pyproject.toml's version, and CHANGELOG.md has a section for it.

    python deploy/check_release.py v0.1.0 --notes notes.md

Needs nothing but Python. `--notes` writes the changelog's section, for the release's page.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Semantic versions (semver.org), as far as Python's packages can bear them too.
_TAG = re.compile(r"v(?P<version>\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)")


def problems(tag: str, root: Path) -> list[str]:
    """Why ``tag`` may not be released from the checkout ``root``; empty where it may."""
    match = _TAG.fullmatch(tag)
    if match is None:
        return [f"{tag} is no version tag; it looks like v1.2.3"]
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    found = []
    if match["version"] != declared:
        found.append(f"the tag is {match['version']}, pyproject.toml says {declared}")
    if not section(match["version"], root):
        found.append(f"CHANGELOG.md has no section '## {match['version']}' with anything in it")
    return found


def section(version: str, root: Path) -> str:
    """What CHANGELOG.md says below the heading ``## VERSION`` (a date may follow); empty where it says nothing."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    match = re.search(rf"^## \[?{re.escape(version)}\]?(?: [^\n]*)?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return match[1].strip() if match else ""


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Exit status: 0 it may be released, 1 not, with the reasons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag")
    parser.add_argument("--notes", type=Path, help="write the changelog's section there")
    options = parser.parse_args(arguments)
    found = problems(options.tag, root)
    for each in found:
        print(f"Not released: {each}.")  # noqa: T201
    if not found and options.notes:
        options.notes.write_text(section(options.tag.removeprefix("v"), root) + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
