"""``toast-assets demo``: the weekly job on a sandbox, from Toast to Amperity, and the proof that all of it arrived."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from toast_assets.cli.display import Display
from toast_assets.cli.environment import only, sandbox_config, sandbox_environment
from toast_assets.cli.folder import end_by_signals, kept_sandbox
from toast_assets.cli.runs import last_closed_weeks, materialize
from toast_assets.defs.brand import DELIVERY, EXPORT, RAW
from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week


def run_demo() -> None:
    """Materialize the last closed week twice, and report; an error if an order did not arrive, or twice."""
    console = Console(highlight=False)
    end_by_signals()
    with (
        kept_sandbox(sandbox_config(), console, fresh=True) as (sandbox, home, lock),
        only(sandbox_environment(sandbox, home)),
    ):
        (week,), places = last_closed_weeks(1), len(sandbox.restaurant_guids)
        console.print(f"Week {week.key} of {places} restaurants, from Toast to S3 and Amperity, in a sandbox\n")
        materialize(week, home, Display(console))
        counts = reconcile(sandbox, week)
        show(counts, sandbox, console)
        check(counts, week)
        # Nothing may be new, and nothing may be sent.
        sent_before = len(sandbox.amperity.accepted)
        with console.status("Materializing the same week again …"):
            raw = materialize(week, home, Display(), [RAW, EXPORT, DELIVERY])[RAW]
        new, sent = raw["new_orders"] + raw["changed_orders"], len(sandbox.amperity.accepted) - sent_before
        if new or sent:
            raise ToastAssetsError(f"The second materialization found {new} new orders and sent {sent} records.")
        console.print("\n[green]✓[/] again: 0 new, nothing sent twice")
    if lock:
        console.print(
            "\nOpen the files in .toast-assets/bucket. Dagster's UI on the same data: [bold]make ui[/]\n"
            "[dim](without make: toast-assets sandbox --ui)[/]",
            soft_wrap=True,
        )


@dataclass(frozen=True)
class RestaurantWeek:
    """The GUIDs of one restaurant's orders of a week: at Toast, in the bucket's export, and in Amperity's records."""

    name: str
    at_toast: Sequence[str]
    in_bucket: Sequence[str]
    at_amperity: Sequence[str]

    @property
    def counts(self) -> tuple[int, int, int]:
        """At Toast, in the bucket, at Amperity."""
        return len(self.at_toast), len(self.in_bucket), len(self.at_amperity)

    @property
    def agrees(self) -> bool:
        """Whether the same orders are in all three, each exactly once."""
        once = Counter(set(self.at_toast))
        return once == Counter(self.at_toast) == Counter(self.in_bucket) == Counter(self.at_amperity)


def reconcile(sandbox: Sandbox, week: Week) -> list[RestaurantWeek]:
    """What the sandbox's Toast, the environment's bucket and the sandbox's Amperity hold of a week."""
    store = OrderStore.from_environment()
    records = sandbox.amperity.of_stream(sandbox.config.streams[0])
    found = []
    for guid in sandbox.restaurant_guids:
        orders = sandbox.toast.orders[guid]
        at_toast = [order.guid for order in orders.between(week.start_ms, week.end_ms)]
        stored = store.bucket.read(store.layout.export(week, guid))
        exported = json.loads(gzip.decompress(stored[0]))["orders"] if stored else []
        at_amperity = [record.guid or "" for record in records if record.restaurant == guid]
        in_bucket = [order["guid"] for order in exported]
        found.append(RestaurantWeek(orders.restaurant.name, at_toast, in_bucket, at_amperity))
    return found


def check(restaurants: Sequence[RestaurantWeek], week: Week) -> None:
    """Raise an error that names the restaurants where an order did not arrive, or arrived twice."""
    if differing := [each for each in restaurants if not each.agrees]:
        counts = ("{}: {} at Toast, {} in S3, {} at Amperity".format(each.name, *each.counts) for each in differing)
        raise ToastAssetsError(f"The counts of week {week.key} do not agree – {'; '.join(counts)}.")


def show(restaurants: Sequence[RestaurantWeek], sandbox: Sandbox, console: Console) -> None:
    """Print the counts, Amperity's log of records, and the bucket's folders."""
    table = Table(box=None, pad_edge=False, header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("Orders of the week", "all restaurants")
    columns = zip(*(each.counts for each in restaurants), strict=True)
    for head, counts in zip(("at Toast", "in S3", "accepted by Amperity"), columns, strict=True):
        table.add_column(head, f"{sum(counts):,}", justify="right")
    table.add_column("")
    for each in restaurants:
        mark = "[green]✓[/]" if each.agrees else "[red]✗ they differ[/]"
        table.add_row(each.name, *(f"{count:,}" for count in each.counts), mark)
    console.print()
    console.print(table)
    amperity = sandbox.amperity
    console.print(
        f"\n[dim]Amperity's own log:[/] {len(amperity.accepted):,} records accepted, {len(amperity.refused):,} refused,"
        f" {len(amperity.dropped):,} lost"
    )
    folders = Table(f"Folders in s3://{sandbox.bucket}", box=None, pad_edge=False, header_style="dim")
    for head in ("objects", "bytes"):
        folders.add_column(head, justify="right")
    for folder, sizes in sandbox.folders():
        folders.add_row(folder, f"{len(sizes):,}", f"{sum(sizes):,}")
    console.print()
    console.print(folders)
