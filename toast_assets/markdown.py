"""Markdown that is generated from the code, and the one way in which it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def write(render: Callable[[], str], arguments: Sequence[str], default: str) -> None:
    """Writes what ``render`` gives to the path in ``arguments``, or to ``default`` from the project's root."""
    path = Path(arguments[0] if arguments else default)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(), encoding="utf-8")
