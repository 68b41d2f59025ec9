"""``toast-assets trace``: everything that is stored of one order, or sent of one guest, as text or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import partial
from itertools import groupby
from textwrap import TextWrapper

import click
import msgspec

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.cli.stores import command_store
from toast_assets.errors import SettingsError
from toast_assets.lookup.answers import (
    GuestTrace,
    LedgerRow,
    Outlook,
    Refusal,
    Trace,
    TracedOrder,
    TracedVersion,
)
from toast_assets.lookup.search import Search
from toast_assets.lookup.trace import Tracer

_WIDTH = 100
# GUIDs stay whole, so that they can be copied.
_WRAPPER = partial(TextWrapper, _WIDTH, break_long_words=False, break_on_hyphens=False)
_NOT_DELIVERED = "Not complete: see above what is missing, refused or due."


def trace(
    asked: str, *, day: str | None, restaurant: str | None, week: str | None, is_guest: bool, as_json: bool
) -> bool:
    """Print what is known of an order, or of a guest; whether nothing is missing."""
    on = _checked(asked, day, restaurant, week, is_guest=is_guest)
    store = command_store(writes=False)
    settings, not_set = None, None
    try:
        settings = AmperitySettings.from_environment()
    except SettingsError as error:
        not_set = "; ".join(error.problems)
    tracer = Tracer(store, Search(store, restaurant, week), settings, not_set)
    answer = _answer(tracer, asked, on, is_guest=is_guest)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(answer), indent=1).decode())
    else:
        lines = _guest_text(answer) if isinstance(answer, GuestTrace) else _text(answer)
        click.echo("\n".join(lines))
    return answer.is_done


def _answer(tracer: Tracer, asked: str, on: date | None, *, is_guest: bool) -> Trace | GuestTrace:
    if is_guest:
        return tracer.guest(asked)
    return tracer.number(asked, on) if on else tracer.order(asked)


def _checked(asked: str, day: str | None, restaurant: str | None, week: str | None, *, is_guest: bool) -> date | None:
    """The business day; a usage error for what no answer can be given to."""
    if not asked.strip():
        raise click.UsageError("Name an order by its GUID.")
    if day is not None and (is_guest or restaurant is None):
        raise click.UsageError("A display number with --business-date needs --restaurant, and is no guest's.")
    days: dict[str, date] = {}
    for option, value in (("--business-date", day), ("--week", week)):
        if value is not None:
            try:
                days[option] = date.fromisoformat(value)
            except ValueError:
                raise click.BadParameter(f"{value!r} is no date such as 2025-09-15.", param_hint=option) from None
    return days.get("--business-date")


def _text(answer: Trace) -> Iterator[str]:
    for order in answer.orders:
        yield from _order(order)
    if not answer.orders:
        yield f"Order {answer.asked} is not in any pulled week."
    if answer.not_set:
        yield from _wrapped(f"What would be sent now is not known: {answer.not_set}.", "")
    for one in answer.problems:
        yield from _wrapped(f"Week {one.week} is not complete: {one.problem}", "")
    if answer.orders and not answer.is_done:
        yield _NOT_DELIVERED


def _order(order: TracedOrder) -> Iterator[str]:
    yield f"Order {order.order_guid}"
    yield f"at {order.restaurant_name or 'restaurant'} ({order.restaurant_guid})"
    for one in order.versions:
        yield ""
        yield from _version(one)
    for unknown in order.unknown:
        looks = f"census of week {unknown.week}, {_counted(unknown.looks, 'look')}"
        yield f"  Toast's list has it, and it could not be fetched: {looks}"
    if order.feed_rows:
        yield ""
        yield "  Rows in the feeds"
        for row in order.feed_rows:
            yield f"    {row.feed:13} {row.key}{'' if row.current else '  (an earlier version had it: now zeros)'}"
    if order.arrived:
        yield ""
        yield "  Newest version that arrived"
        for one_arrival in order.arrived:
            yield f"    {one_arrival.destination}: modified {one_arrival.modified_at}, with week {one_arrival.week}"
    yield ""


def _version(one: TracedVersion) -> Iterator[str]:
    flags = [name for name, is_set in (("deleted", one.deleted), ("voided", one.voided)) if is_set]
    yield f"  Week {one.week}: modified {one.modified_at}{''.join(f', {flag}' for flag in flags)}"
    yield f"    version      {one.version}"
    if one.from_index:
        yield "    The raw orders are gone or cannot be read. The order index knows this version."
        return
    day = f", business day {one.business_date}" if one.business_date else ""
    yield f"    pulled       {one.pulled_at}{day}"
    if one.window:
        by = ", in an earlier pull" if one.window.earlier_pull else ""
        yield f"    window       [{one.window.start}, {one.window.end})"
        counts = f"{_counted(one.window.orders, 'order')}, {_counted(one.window.requests, 'request')}"
        yield f"                 {one.window.evidence}, {counts}{by}"
    if one.census:
        should = f": the window {one.census.window} should have returned it" if one.census.window else ""
        yield from _wrapped(f"{one.census.verdict.replace('_', ' ')}{should}", "    census       ")
    if one.changed is not None:
        fields = ", ".join(f"{change.path} ({change.what})" for change in one.changed)
        yield from _wrapped(fields or "no field, only how the JSON is written", "    changed      ")
    for made in (*((one.export,) if one.export else ()), *one.feed_files):
        yield from _wrapped(f"{made.state}: {made.key.rpartition('/')[2]}", f"    {made.feed or 'export':12} ")
    for receipt in one.receipts:
        yield from _receipt(receipt)
    for line in one.rejects:
        yield from _refusal(line)
    if one.blocked:
        yield from _wrapped(f"nothing: {one.blocked}", "    now          ")
    for outlook in one.outlook or ():
        yield from _outlook(outlook)


def _receipt(row: LedgerRow) -> Iterator[str]:
    http = f", HTTP {row.status}" if row.status is not None else ""
    yield f"    {row.method}: {row.state}{http}, {_counted(row.attempts, 'attempt')}, {row.updated_at}"
    yield from _wrapped(f"{row.record_id} to {row.destination}", "      record     ")
    yield f"      request    {row.request_id}"
    if row.reason:
        yield from _wrapped(row.reason, "      reason     ")


def _refusal(line: Refusal) -> Iterator[str]:
    http = f"HTTP {line.status}" if line.status is not None else "not sent"
    yield f"    rejects      {line.method}, {http}, {line.updated_at}"
    yield from _wrapped(f"{line.record_id or 'the notice'}: {line.reason}", "                 ")


def _outlook(outlook: Outlook) -> Iterator[str]:
    counts = [f"{outlook.unchanged} unchanged"] if outlook.unchanged or not outlook.due else []
    for outcome, some in groupby(sorted(one.outcome for one in outlook.due)):
        counts.append(f"{len(list(some))} {outcome.replace('_', ' ')}")
    yield f"    now          {outlook.method}: {', '.join(counts)}"
    for one in outlook.due:
        said = f"{one.outcome.replace('_', ' ')} {one.record_id}{f': {one.reason}' if one.reason else ''}"
        yield from _wrapped(said, "                 ")


def _guest_text(answer: GuestTrace) -> Iterator[str]:
    yield f"Guest {answer.asked}" if answer.rows else f"No row of the guest {answer.asked} was streamed."
    for week, rows in groupby(answer.rows, key=lambda row: (row.week, row.restaurant_guid)):
        yield f"  Week {week[0]}, restaurant {week[1]}"
        for row in rows:
            yield from _receipt(row.receipt) if row.receipt else ()
            yield from _refusal(row.reject) if row.reject else ()
    for one in answer.problems:
        yield from _wrapped(f"Week {one.week} is not complete: {one.problem}", "")
    if answer.rows and not answer.is_done:
        yield _NOT_DELIVERED


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _wrapped(text: str, label: str) -> list[str]:
    """Text behind a label, in lines that are indented alike."""
    indent = " " * max(len(label), 2)
    return _WRAPPER(initial_indent=label, subsequent_indent=indent).wrap(text)
