"""Pictures for the UI: small PNGs inside the Markdown of a materialization, so that they need no server and no link."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from toast_assets.week import DAY_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heat_map(orders: Mapping[tuple[int, int], int]) -> dg.MarkdownMetadataValue:
    """Orders by day (0 is Monday) and hour at which they were opened, on the restaurants' own clocks."""
    grid = [[orders.get((day, hour), 0) for hour in range(24)] for day in range(7)]

    def draw(axes: "Axes") -> None:
        image = axes.imshow(grid, aspect="auto", cmap="YlGnBu", vmin=0)
        axes.set_xticks(range(0, 24, 2), [f"{hour:02d}" for hour in range(0, 24, 2)])
        axes.set_yticks(range(7), [day[:3] for day in DAY_NAMES])
        axes.set_xlabel("hour of opening")
        axes.get_figure().colorbar(image, ax=axes, pad=0.01)  # type: ignore[union-attr]

    return _picture("Orders by day and hour, restaurant-local time", draw)


def volume(weeks: Sequence[tuple[str, int]]) -> dg.MarkdownMetadataValue:
    """Orders by week, oldest first, each week with its partition key; the last one stands out."""
    keys, counts = [key for key, _ in weeks], [count for _, count in weeks]

    def draw(axes: "Axes") -> None:
        bars = axes.bar(keys, counts, color=["#b9cfdf"] * (len(weeks) - 1) + ["#1f5f8b"])
        axes.bar_label(bars, labels=[f"{count:,}" for count in counts], fontsize=8)
        axes.margins(y=0.15)
        axes.tick_params(axis="x", labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("orders")

    return _picture("Orders by week", draw)


def _picture(title: str, draw: "Callable[[Axes], None]") -> dg.MarkdownMetadataValue:
    from matplotlib.figure import Figure  # takes a second that loading the definitions must not cost

    # A figure of its own, not pyplot's: no state is shared with other threads, and no display is looked for.
    figure = Figure(figsize=(7.2, 2.6), dpi=80, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    draw(axes)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
