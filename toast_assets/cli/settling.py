"""How long figures still move, and what second looks brought, for ``toast-assets status``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from textwrap import wrap

import click
import msgspec

from toast_assets.cli.stores import command_store
from toast_assets.settings import CalendarSettings
from toast_assets.status.settling import LEGEND, SHARES, TOTALS, Settling, settling

_WIDTH = 100
_SHARE = 11
_LOG = logging.getLogger(__name__)


def show_settling(*, as_json: bool) -> None:
    """Print how the newest stored weeks settled, by the environment's settings.

    Raises:
        SettingsError: naming every variable that is missing or malformed.
        StoreError: the bucket is missing or refuses access.
    """
    store = command_store(CalendarSettings, writes=False)
    found = settling(store, CalendarSettings.from_environment().calendar(), _LOG)
    click.echo(msgspec.json.format(msgspec.json.encode(found)).decode() if as_json else "\n".join(in_text(found)))


def in_text(found: Settling) -> list[str]:
    """The lines, of at most 100 columns."""
    if not found.weeks:
        return ["No week has a table of orders yet."]
    lines = [_line("restaurant", SHARES, "backdated")]
    for name, one in zip(found.short_names, found.restaurants, strict=True):
        *shares, backdated = one.cells
        lines.append(_line(name, shares, backdated))
    totals = [("all", *TOTALS), *found.total_rows]
    widths = [max(map(len, column)) for column in zip(*totals, strict=True)]
    forms = [f"{align}{width}" for align, width in zip("<>>>>", widths, strict=True)]
    lines += ["", *("  ".join(map(format, row, forms)) for row in totals)] if found.total_rows else []
    weeks = f"Weeks {found.weeks[0]} to {found.weeks[-1]}."
    if found.left_out:
        weeks += f" Without a readable manifest or table of orders: {', '.join(found.left_out)}."
    return [*lines, "", *wrap(weeks, _WIDTH), *wrap(LEGEND, _WIDTH)]


def _line(name: str, shares: Sequence[str], backdated: str) -> str:
    # A problem stands in the first cell and may take the others' room.
    cells = "  ".join(f"{one:>{_SHARE}}" for one in shares) if all(shares) else f"{shares[0]:<{4 * _SHARE + 6}}"
    return f"{name:<24}  {cells}  {backdated}"
