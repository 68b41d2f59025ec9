"""``toast-assets status``: restaurants × weeks, as text of at most 100 columns or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from textwrap import wrap

import click
import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.cli.stores import command_store
from toast_assets.errors import WeekError
from toast_assets.settings import CalendarSettings, SensorSettings
from toast_assets.status.summary import Cause, WeekLine, causes, week_lines
from toast_assets.status.table import Status
from toast_assets.store.calendar import check_boundaries

_COLUMNS = 100
_WEEKS, _CAUSES, _RESTAURANTS = 8, 12, 4
_HEADS = ("week", "complete", "incomplete", "orders", "delivered", "refused", "pending", "second look", "census")
_ALIGNMENTS = ("<", ">", ">", ">", ">", ">", ">", "<", "<")


def status(
    weeks: Sequence[str], restaurants: Sequence[str], *, everything: bool, as_json: bool, said: Callable[[str], str]
) -> bool:
    """Print the status of the ``weeks`` and ``restaurants`` (without any: of all), shortened unless ``everything`` is
    asked for; whether all of it is complete and delivered. ``said`` renames variables in texts.

    Raises:
        SettingsError: naming every variable that is missing or malformed.
        WeekError: a week is no partition key.
        StoreError: the bucket is missing or refuses access.
    """
    store = command_store(CalendarSettings, SensorSettings, writes=False)
    settings, sensor = CalendarSettings.from_environment(), SensorSettings.from_environment()
    calendar, now = settings.calendar(), datetime.now(UTC)
    days = [calendar.closed_week(key, now).key for key in weeks]
    check_boundaries(store, calendar)
    table = _chosen(Status(store, settings, sensor, now).current().table, days, restaurants)
    fine = not pc.any(pc.is_valid(table["reason"])).as_py() and len(table) > 0
    if as_json:
        rows = table.sort_by([("week", "descending"), ("restaurant_guid", "ascending")]).to_pylist()
        click.echo(json.dumps({"complete": fine, "rows": rows}, indent=1, ensure_ascii=False, default=_iso))
    elif not len(table):
        click.echo("No week is stored yet. Materialize raw_toast_orders, or let weekly_toast_orders_sensor do it.")
    else:
        shortened = not (everything or weeks)
        for line in _text(week_lines(table), causes(table), everything=everything, shortened=shortened):
            click.echo(said(line))
    return fine


def _chosen(table: pa.Table, weeks: Sequence[str], restaurants: Sequence[str]) -> pa.Table:
    """The rows of these weeks and restaurants; a usage error where there is no such restaurant."""
    if restaurants:
        lower = pc.utf8_lower(table["restaurant_guid"])
        known = set(lower.unique().to_pylist())
        if unknown := [guid for guid in restaurants if guid.lower() not in known]:
            raise click.UsageError(f"No stored week has a restaurant {unknown[0]}.")
        table = table.filter(pc.is_in(lower, pa.array([guid.lower() for guid in restaurants])))
    if weeks:
        keys = table["week"].cast(pa.string())
        if unknown := [key for key in weeks if key not in set(keys.unique().to_pylist())]:
            raise WeekError(f"Week {unknown[0]} is before the first week that is stored.", hint="Backfill it first.")
        table = table.filter(pc.is_in(keys, pa.array(weeks)))
    return table


def _text(lines: Sequence[WeekLine], found: Sequence[Cause], *, everything: bool, shortened: bool) -> Iterator[str]:
    restaurants, fine = sum(line.restaurants for line in lines), sum(line.fine for line in lines)
    most = max(line.restaurants for line in lines)
    yield (
        f"{_counted(most, 'restaurant')}, {_counted(len(lines), 'week')}: {fine:,} of {restaurants:,} are complete and"
        " delivered."
    )
    yield ""
    shown = lines[:_WEEKS] if shortened else lines
    rows = [_HEADS, *map(_row, shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    forms = [f"{align}{width}" for align, width in zip(_ALIGNMENTS, widths, strict=True)]
    for row in rows:
        yield "  ".join(map(format, row, forms)).rstrip()
    if rest := lines[len(shown) :]:
        missing = sum(line.restaurants > line.fine for line in rest)
        yield f"{_counted(len(rest), 'earlier week')}, {missing} of them incomplete. All: --all."
    for cause in found if everything else found[:_CAUSES]:
        yield ""
        yield from _cause(cause, len(cause.restaurants) if everything else _RESTAURANTS)
    if not everything and len(found) > _CAUSES:
        yield ""
        yield f"And {len(found) - _CAUSES} more. All: --all."


def _row(line: WeekLine) -> tuple[str, ...]:
    sums = (f"{line.sums[name]:,}" for name in ("orders", "delivered", "rejected", "pending"))
    missing = line.restaurants - line.fine
    return line.week, f"{line.fine:,}", f"{missing:,}" if missing else "–", *sums, line.second_look, line.census


def _cause(cause: Cause, most: int) -> Iterator[str]:
    yield f"{cause.when}: {cause.standing}, {'all ' * cause.everywhere}{_counted(len(cause.restaurants), 'restaurant')}"
    for name in [] if cause.everywhere else cause.named(most):
        yield f"  {name}"
    for head, text in (("Why", cause.reason), ("Next", cause.next)):
        words = f"{head}: {' '.join(text.split())}"
        yield from wrap(words, _COLUMNS, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _iso(value: object) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
