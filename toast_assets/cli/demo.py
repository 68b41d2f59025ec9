"""``toast-assets demo``: the weekly job on a sandbox, from Toast to Amperity, and the proof that all of it arrived."""

from __future__ import annotations

import dagster as dg
from rich.console import Console

from toast_assets.cli.display import Display, display_for
from toast_assets.cli.environment import only, sandbox_config, sandbox_environment
from toast_assets.cli.home import dagster_home, in_process_instance
from toast_assets.cli.report import take_stock
from toast_assets.cli.runs import last_closed_week, materialize
from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox
from toast_assets.week import Week


def run_demo() -> None:
    """Materialize the last closed week twice, and report.

    Raises:
        ToastAssetsError: a run failed, an order did not arrive, or one was sent twice.
    """
    console = Console(highlight=False)
    home = dagster_home()
    with Sandbox(sandbox_config()) as sandbox, only(sandbox_environment(sandbox, home)):
        week = last_closed_week()
        restaurants = len(sandbox.restaurant_guids)
        console.print(f"Week {week.key} of {restaurants} restaurants, from Toast to S3 and Amperity, in a sandbox\n")
        with in_process_instance(home) as instance:
            materialize(week, instance, display_for(console))
            report = take_stock(sandbox, week)
            report.show(console)
            report.check()
            _again(sandbox, week, instance, console)
    console.print(
        "\nDagster's UI on the same data: [bold]toast-assets sandbox --ui[/]\n"
        "[dim]This sandbox and its bucket are gone now. The next one invents the same orders and materializes the same"
        " week before the UI opens; the runs above are in its history.[/]",
        soft_wrap=True,
    )


def _again(sandbox: Sandbox, week: Week, instance: dg.DagsterInstance, console: Console) -> None:
    """Materialize the week once more: nothing may be new, and nothing may be sent.

    Raises:
        ToastAssetsError: something was.
    """
    sent_before = len(sandbox.amperity.accepted)
    with console.status("Materializing the same week again …"):
        run = materialize(week, instance, Display())
    new = run.count("raw_toast_orders", "new_orders") + run.count("raw_toast_orders", "changed_orders")
    sent = len(sandbox.amperity.accepted) - sent_before
    if new or sent:
        raise ToastAssetsError(f"The second materialization found {new} new orders and sent {sent} records.")
    console.print("\n[green]✓[/] again: 0 new, nothing sent twice")
