"""What a section of the benchmarks hands back: tables, figures for the chart, and whether targets are met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec


class Target(msgspec.Struct):
    """One promise: what is measured, what is wanted, what was found."""

    what: str
    wanted: str
    found: str
    met: bool


class Section(msgspec.Struct):
    """One section's results. ``markdown`` holds its tables, ``figures`` plain numbers by name, for the chart."""

    name: str
    markdown: str
    targets: list[Target]
    figures: dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The slope of a straight line through the points in double logarithmic scale: 1 grows in proportion, 0 not at
    all. Least squares."""
    xs, ys = [math.log(size) for size in sizes], [math.log(value) for value in values]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return covariance / sum((x - x_mean) ** 2 for x in xs)


def middle(values: Sequence[float]) -> float:
    """The median."""
    return float(median(values))


def spread(values: Sequence[float]) -> str:
    """The median with the smallest and largest value, one decimal."""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{middle(values):.1f} ({min(values):.1f}–{max(values):.1f})"
