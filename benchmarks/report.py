"""Writes the results: each section's table between its markers in the document, all figures as JSON beside it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from benchmarks.results import Section, table

DOCS = Path(__file__).parent.parent / "docs"
DOCUMENT, FIGURES = DOCS / "performance.md", DOCS / "performance.json"


class Recorded(msgspec.Struct):
    """A section's results with the machine and the load under which they came about."""

    section: Section
    machine: str
    load: str


def known() -> dict[str, Recorded]:
    """The results of earlier runs by section; those that are measured again are replaced."""
    if not FIGURES.exists():
        return {}
    return msgspec.json.decode(FIGURES.read_bytes(), type=dict[str, Recorded])


def write(records: dict[str, Recorded]) -> None:
    """Bring document and figures up to date.

    Raises:
        ValueError: the document has no place for a section.
    """
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n")
    text = DOCUMENT.read_text()
    for name, record in records.items():
        text = _between(text, name, f"{record.section.markdown}\n\n<sub>{record.machine} {record.load}</sub>")
    DOCUMENT.write_text(_between(text, "targets", _targets(records)))


def _targets(records: dict[str, Recorded]) -> str:
    targets = [target for record in records.values() for target in record.section.targets]
    rows = [[one.what, one.wanted, one.found, "yes" if one.met else "**no**"] for one in targets]
    return table(["promise", "wanted", "found", "kept"], rows)


def _between(text: str, name: str, content: str) -> str:
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"{DOCUMENT.name} has no markers for {name}")
    return pattern.sub(lambda found: f"{found[1]}{content}\n{found[2]}", text, count=1)
