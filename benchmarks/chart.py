"""The picture: what 100,000 orders take, and how time and memory grow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.report import DOCS, Recorded

CHART = DOCS / "images" / "performance.png"
_OURS, _OTHERS, _QUIET = "#e0662b", "#8a95a3", "#5b6470"


def draw(records: dict[str, Recorded], path: Path = CHART) -> None:
    """Draw what is known of ``records``."""
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "text.color": _QUIET, "axes.labelcolor": _QUIET})
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    if "pulling" in records:
        _compared(left, records["pulling"].section.figures)
    if "growing" in records:
        grown = records["growing"].section.figures
        _grown(middle, grown["orders"], grown["seconds"], "seconds for pull and export", log=True)
        _grown(right, grown["orders"], grown["megabytes"], "MB at the peak, whole Dagster run", log=False)
    for axes in (left, middle, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_QUIET)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _compared(axes: Axes, figures: dict[str, Any]) -> None:
    size = max(figures, key=int)
    names = {
        "guide": "guide's algorithm",
        "dlt": "dlt",
        "dagster": "whole Dagster run",
        "pull-and-export": "toast-assets",
    }
    values = [figures[size][side]["seconds"] for side in names]
    colours = [_OTHERS, _OTHERS, _OURS, _OURS]
    bars = axes.barh(list(names.values()), values, color=colours, height=0.6)
    axes.bar_label(bars, [f"{value:.1f} s" for value in values], padding=4, color=_QUIET)
    axes.set_xlim(0, max(values) * 1.2)
    axes.set_title(f"{int(size):,} orders, unthrottled", loc="left")


def _grown(axes: Axes, sizes: list[int], values: list[float], title: str, *, log: bool) -> None:
    axes.plot(sizes, values, "o-", color=_OURS)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size // 1000:,}k" for size in sizes])
    axes.minorticks_off()
    if log:
        axes.set_yscale("log")
        axes.set_yticks(values, [f"{value:.1f}" for value in values])
        axes.minorticks_off()
    else:
        axes.set_ylim(0, max(values) * 1.25)
        for size, value in zip(sizes, values, strict=True):
            axes.annotate(f"{value:,.0f}", (size, value), (0, 7), textcoords="offset points", ha="center")
    axes.set_title(title, loc="left")
    axes.set_xlabel("orders")
