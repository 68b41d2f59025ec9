"""Pictures of a week's orders: small PNGs inside Markdown, which need no server and no link."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow as pa

from toast_assets.defs.metadata import markdown_table
from toast_assets.markdown import plain
from toast_assets.status.rows import COMPLETE, EXPIRED, STANDINGS, standing
from toast_assets.tables.build import SalesPart
from toast_assets.week import DAY_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LABELS = {"DINE_IN": "Dine in", "TAKE_OUT": "Takeout", "DELIVERY": "Delivery"}
_UNKNOWN, _REST = "Unknown", "Other"
_COLORS = {"Dine in": "#1f5f8b", "Takeout": "#e0a030", "Delivery": "#4f9d69", _UNKNOWN: "#c8c8c8", _REST: "#8a8a8a"}
_MORE_COLORS = ("#7b5ea7", "#c8553d", "#5fb0b7", "#d68fb3", "#7a5230", "#a9b665", "#44546a", "#b9cfdf")
# Toast's sources are an open list.
_MOST_CHANNELS = 8
_LONGEST_LABEL = 24
_MOST_RESTAURANTS, _MOST_WEEKS = 40, 26
_OF_STANDING = dict(
    zip(
        STANDINGS,
        ("#4f9d69", "#b9cfdf", "#f0d878", "#e0a030", "#d68fb3", "#c8553d", "#7a5230", "#8a8a8a"),
        strict=True,
    )
)


Curve = tuple[str, Sequence[float]]
Channels = dict[str, list[Decimal]]
"""By channel, those that sold most first: net sales by local hour of opening, and last those of unknown hours."""


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


def status_map(table: pa.Table) -> dg.MarkdownMetadataValue:
    """The newest weeks of the table ``status``, restaurants with problems first, and a line on what is left out."""
    columns = (table[name].to_pylist() for name in ("week", "restaurant_guid", "restaurant_name", "state", "delivery"))
    cells: dict[tuple[str, str], str] = {}
    names, problems = dict[str, str](), Counter[str]()
    every = sorted(set(map(str, table["week"].unique().to_pylist())))
    weeks = every[-_MOST_WEEKS:]
    for day, guid, name, state, delivery in zip(*columns, strict=True):
        names[guid] = _shortened(plain(name or guid))
        if (week := str(day)) >= (weeks[0] if weeks else ""):
            cells[guid, week] = standing(state, delivery)
            problems[guid] += cells[guid, week] not in (COMPLETE, EXPIRED)
    ranked = sorted(names, key=lambda guid: (-problems[guid], names[guid], guid))
    shown = ranked[:_MOST_RESTAURANTS]
    if not shown:
        return dg.MetadataValue.md("No week is stored yet.")
    grid = [[_standing(cells.get((guid, week))) for week in weeks] for guid in shown]
    found = [name for name in STANDINGS if name in {cells.get((guid, week)) for guid in shown for week in weeks}]

    def draw(axes: "Axes") -> None:
        from matplotlib.colors import ListedColormap
        from matplotlib.patches import Patch

        colors = ListedColormap(["#ffffff", *_OF_STANDING.values()])
        axes.pcolormesh(grid, cmap=colors, vmin=0, vmax=len(STANDINGS), edgecolors="white", linewidth=0.8)
        axes.set_xticks([number + 0.5 for number in range(len(weeks))], [week[5:] for week in weeks], rotation=90)
        axes.set_yticks([number + 0.5 for number in range(len(shown))], [names[guid] for guid in shown])
        axes.tick_params(labelsize=7, length=0)
        axes.invert_yaxis()
        patches = [Patch(color=_OF_STANDING[name], label=name) for name in found]
        axes.legend(handles=patches, fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    title = f"{len(shown)} of {len(names)} restaurants, {len(weeks)} of {len(every)} weeks"
    picture = _picture(title, draw, height=1.1 + 0.16 * len(shown))
    trouble = sum(problems[guid] > 0 for guid in ranked[_MOST_RESTAURANTS:])
    rest = f"Left out: {len(names) - len(shown)} restaurants, {trouble} of them with problems in these weeks;"
    rest += f" {len(every) - len(weeks)} older weeks."
    return picture if (len(shown), len(weeks)) == (len(names), len(every)) else _with_note(picture, rest)


def _with_note(picture: dg.MarkdownMetadataValue, note: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"{picture.md_str}\n\n{note}")


def _shortened(name: str) -> str:
    """A name that fits beside a picture: of a brand's restaurants the ends differ."""
    return name if len(name) <= _LONGEST_LABEL else f"{name[:8].rstrip()}…{name[9 - _LONGEST_LABEL :]}"


def _standing(name: str | None) -> int:
    """The place of a colour; 0 where there is no row."""
    return STANDINGS.index(name) + 1 if name else 0


def volume(weeks: Sequence[tuple[str, int]]) -> dg.MarkdownMetadataValue:
    """Orders by week, oldest first, each week with its partition key; the last one stands out."""
    keys, counts = [key for key, _ in weeks], [count for _, count in weeks]

    def draw(axes: "Axes") -> None:
        bars = axes.bar(keys, counts, color=["#b9cfdf"] * (len(weeks) - 1) + ["#1f5f8b"])
        axes.bar_label(bars, labels=[f"{count:,}" for count in counts], fontsize=8)
        axes.margins(y=0.15)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_ylabel("orders")

    return _picture("Orders by week", draw)


def sales_by_channel(sales: Mapping[SalesPart, Decimal]) -> dg.MarkdownMetadataValue:
    """Net sales by channel, a picture for each currency."""

    def draw(axes: "Axes", channels: Channels) -> None:
        amounts = list(map(_sum, channels.values()))
        bars = axes.barh(range(len(channels)), list(map(float, amounts)), color=_colors(channels))
        axes.bar_label(bars, [f"{one:,.0f} ({_share(one, amounts)})" for one in amounts], fontsize=8, padding=3)
        axes.set_yticks(range(len(channels)), list(channels))
        axes.invert_yaxis()
        axes.margins(x=0.2)
        axes.xaxis.set_major_formatter("{x:,.0f}")

    return _by_currency("Net sales by channel", sales, draw)


def sales_by_hour(sales: Mapping[SalesPart, Decimal]) -> dg.MarkdownMetadataValue:
    """Net sales by the hour of opening on the restaurants' clocks, stacked by channel, a picture for each currency.
    Orders without a local time are left out."""

    def draw(axes: "Axes", channels: Channels) -> None:
        below, bars = [0.0] * 24, []
        for amounts, color in zip(channels.values(), _colors(channels), strict=True):
            heights = list(map(float, amounts[:24]))
            bars.append(axes.bar(range(24), heights, bottom=below, color=color))
            below = [sum(both) for both in zip(below, heights, strict=True)]
        axes.set_xticks(range(0, 24, 2), [f"{hour:02d}" for hour in range(0, 24, 2)])
        axes.set_xlabel("hour of opening")
        axes.margins(x=0.01)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        # As they are stacked.
        axes.legend(bars[::-1], [*channels][::-1], fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return _by_currency("Net sales by hour, restaurant-local time", sales, draw)


def still_to_come(
    days: Sequence[int], totals: Sequence[Curve], restaurants: Sequence[Curve]
) -> dg.MarkdownMetadataValue:
    """The shares of net sales (1 is all) that were modified later than ``days`` after the business day, each with what
    it is of."""

    def draw(axes: "Axes") -> None:
        # All restaurants of a currency come first in the legend, and lie above the others.
        lines = [(one, "#1f5f8b", style, 2.2) for one, style in zip(totals, ("-", "--", ":", "-."), strict=False)]
        lines += [(one, color, "-", 1.0) for one, color in zip(restaurants, _MORE_COLORS, strict=False)]
        for (name, shares), color, style, width in lines:
            (line,) = axes.plot(days, [100 * share for share in shares], style, marker=".", label=_label(name))
            line.set(color=color, linewidth=width, zorder=2 + width)
        axes.set_xticks(range(1, max(days) + 1))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("days after the business day")
        axes.yaxis.set_major_formatter("{x:g}%")
        axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))

    return _picture("Net sales of orders that were modified later", draw)


def channel_table(sales: Mapping[SalesPart, Decimal]) -> dg.MarkdownMetadataValue:
    """Net sales by channel, and their share of all net sales in that currency."""
    rows = []
    for currency, channels in _channels(sales).items():
        amounts = {label: _sum(by_hour) for label, by_hour in channels.items()}
        rows += [(label, f"{one:,.2f} {currency}", _share(one, amounts.values())) for label, one in amounts.items()]
    return markdown_table(("channel", "net sales", "share"), rows)


def _channels(sales: Mapping[SalesPart, Decimal]) -> dict[str, Channels]:
    """The channels by currency, no more than a picture can show."""
    found: dict[str, Channels] = {}
    for part, amount in sales.items():
        label = _label(_LABELS.get(part.channel or "", part.channel or ""))
        of_currency = found.setdefault(part.currency or "unknown currency", {})
        of_currency.setdefault(label, [Decimal(0)] * 25)[24 if part.hour is None else part.hour] += amount
    return {currency: _ranked(channels) for currency, channels in sorted(found.items())}


def _label(text: str) -> str:
    return plain(text).strip()[:_LONGEST_LABEL] or _UNKNOWN


def _ranked(channels: Channels) -> Channels:
    shown = ranked = sorted(channels, key=lambda label: (-_sum(channels[label]), label))
    if len(ranked) > _MOST_CHANNELS:
        shown = [label for label in ranked if label != _REST][: _MOST_CHANNELS - 1]
    rest = [channels[label] for label in ranked if label not in shown]
    merged = {_REST: list(map(_sum, zip(*rest, strict=True)))} if rest else {}
    return {label: channels[label] for label in shown} | merged


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def _share(amount: Decimal, of_all: Iterable[Decimal]) -> str:
    return f"{amount / total:.1%}" if (total := _sum(of_all)) else "–"


def _colors(labels: Iterable[str]) -> list[str]:
    more = iter(_MORE_COLORS)
    return [_COLORS.get(label) or next(more) for label in labels]


def _by_currency(
    title: str, sales: Mapping[SalesPart, Decimal], draw: "Callable[..., None]"
) -> dg.MarkdownMetadataValue:
    pictures = [
        _picture(f"{title}, {currency}", partial(draw, channels=channels)).md_str or ""
        for currency, channels in _channels(sales).items()
    ]
    return dg.MetadataValue.md("\n\n".join(pictures) or "No sales.")


def _picture(title: str, draw: "Callable[[Axes], None]", height: float = 2.6) -> dg.MarkdownMetadataValue:
    # These take a second that loading the definitions must not cost.
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    # A figure of its own, not pyplot's: no state is shared with other threads, and no display is looked for.
    figure = Figure(figsize=(7.2, height), dpi=80, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    draw(axes)
    for text in figure.findobj(Text):
        # In names that Toast sent, $ begins no formula.
        text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")
