"""The commands and their options. What they do is imported when they run, so that ``--help`` answers at once."""

from __future__ import annotations

from typing import Any

import click

from toast_assets.errors import SettingsError, ToastAssetsError, WeekError
from toast_assets.machine import machine_problem

# What the extra ``sandbox`` installs on top of the pipeline.
_SANDBOX_MODULES = ("moto", "flask", "flask_cors", "starlette", "uvicorn")


class _WrongInputError(click.ClickException):
    """What was asked for, or is set, is wrong, and nothing was tried: ends as click's own errors of usage."""

    exit_code = 2


class _Group(click.Group):
    """Ends a command with one clear sentence where this package's errors, or the machine, end it."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except ToastAssetsError as error:
            kind = _WrongInputError if isinstance(error, SettingsError | WeekError) else click.ClickException
            raise kind(str(error)) from error
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in _SANDBOX_MODULES:
                raise
            hint = "Install it with: pip install 'toast-assets[sandbox]'"
            raise click.ClickException(f"The sandbox needs {error.name}, which is not installed. {hint}") from error
        except (OSError, MemoryError, RuntimeError, BaseExceptionGroup) as error:
            problem = machine_problem(error)
            if problem is None:
                raise
            raise click.ClickException(str(problem)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="toast-assets")
def main() -> None:
    """Pull restaurant orders from Toast, export them to S3, deliver them to Amperity."""


@main.command()
def demo() -> None:
    """Run the weekly job once on a sandbox, and show that the counts agree.

    Needs no account and no variable: Toast, Amperity and S3 are played by the sandbox, on ports of this machine,
    with their real rate limits. Takes some ten seconds. Dagster's history goes to .toast-assets in this folder.
    """
    from toast_assets.cli.demo import run_demo

    run_demo()


@main.command()
@click.option("--ui", is_flag=True, help="Materialize the last closed week, then open Dagster's UI on the sandbox.")
@click.option(
    "--port",
    default=9300,
    show_default=True,
    type=click.IntRange(0, 65533),
    help="Toast's port and the status page; Amperity and S3 take the next two. 0 takes any that are free.",
)
@click.option(
    "--ui-port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="The port of Dagster's UI."
)
@click.option("--seed", default=1, show_default=True, help="Equal seeds give equal orders.")
@click.option(
    "--restaurants", type=click.IntRange(min=1), help="So many invented restaurants.  [default: three that trade]"
)
@click.option("--orders", type=click.IntRange(min=0), help="Orders a week and restaurant.  [default: 36 to 320]")
@click.option("--latency", default=0.0, show_default=True, type=click.FloatRange(min=0), help="Seconds to each answer.")
def sandbox(
    *, ui: bool, port: int, ui_port: int, seed: int, restaurants: int | None, orders: int | None, latency: float
) -> None:
    """Serve Toast, Amperity and S3 on loopback ports until Ctrl-C.

    Prints the variables that point the pipeline at it. Orders are invented, the same for equal seeds; what is in
    its bucket is gone when it ends.
    """
    from toast_assets.cli.environment import sandbox_config
    from toast_assets.cli.serve import serve

    config = sandbox_config(port, seed=seed, restaurants=restaurants, orders=orders, latency=latency)
    serve(config, ui_port if ui else None)


@main.command("replay-rejects")
@click.option(
    "--week", metavar="DATE", help="The week's partition key, such as 2025-09-15.  [default: all with rejects]"
)
def replay_rejects(*, week: str | None) -> None:
    """Send again what Amperity refused, and nothing else.

    Reads the variables of the pipeline. Fix the cause first: what is refused again stays in the week's rejects, and
    the command ends with 1.
    """
    from toast_assets.cli.replay_rejects import replay_rejects as replay

    if not replay(week):
        raise SystemExit(1)


@main.command()
@click.argument("guest", nargs=-1)
@click.option("--guid", multiple=True, help="Toast's GUID of the guest.")
@click.option("--email", multiple=True, help="An e-mail of the guest.")
@click.option("--phone", multiple=True, help="A phone of the guest; with + and the country's code outside the US.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Read them from a file, one a line; - is stdin.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be rewritten, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask. Without a terminal nothing is done unless this is given.")
@click.option("--allow-unknown", is_flag=True, help="Remember a guest of whom nothing is stored, and certify that.")
def forget(
    *,
    guest: tuple[str, ...],
    guid: tuple[str, ...],
    email: tuple[str, ...],
    phone: tuple[str, ...],
    file: str | None,
    dry_run: bool,
    yes: bool,
    allow_unknown: bool,
) -> None:
    """Take one guest out of every object in the bucket.

    Give the guest's GUID, e-mail or phone. Without any the command asks for them, or reads stdin, which keeps them out
    of the shell's history. Orders stay; what they say of the guest goes. A certificate names the objects. Repeat a run
    that was cut off. Run it while no run of the pipeline is under way.

    Ends with 2, and changes nothing, where a value is no GUID, e-mail or phone, or where there is neither a terminal
    nor --yes; with 1 where nothing of the guest is stored, or an object of another program holds the guest.
    """
    from pathlib import Path

    from toast_assets.cli.forget import forget as forget_guest

    given = (*guest, *guid, *email, *phone)
    source = Path(file) if file else None
    if not forget_guest(given, source, dry_run=dry_run, yes=yes, allow_unknown=allow_unknown):
        raise SystemExit(1)


@main.command()
@click.option("--from", "first", metavar="DATE", required=True, help="The first week's partition key.")
@click.option("--to", "last", metavar="DATE", required=True, help="The last week's partition key; it counts, too.")
@click.option(
    "--refresh/--no-refresh",
    default=None,
    help="For runs configured so.  [default: what is stored whole is pulled again, of other weeks the rest]",
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def estimate(*, first: str, last: str, refresh: bool | None, as_json: bool) -> None:
    """Say how many requests a backfill makes, and how long it takes.

    Reads the variables of the pipeline and the manifests of the stored weeks, and asks nobody but the bucket: Toast's
    and Amperity's credentials are not needed. With TOAST_RESTAURANT_GUID=* the restaurants are those of the newest
    stored week.
    """
    from toast_assets.cli.estimate import estimate as tell

    tell(first, last, refresh=refresh, as_json=as_json)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.option("--canary", is_flag=True, help="Also write one record into Amperity's stream. It stays there.")
def doctor(*, as_json: bool, canary: bool) -> None:
    """Check every credential and permission, without moving data.

    Reads the variables of the pipeline. Logs in at Toast, asks for each restaurant, writes and removes one object in
    the bucket, asks Amperity with something that is no record, and looks at Dagster's instance and for the alerts'
    webhooks. Ends with 2 where a line has a cross, with 1 where one deserves a look.
    """
    from toast_assets.cli.doctor import doctor as examine

    raise SystemExit(examine(canary=canary, as_json=as_json))


@main.command()
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask; required where there is no terminal to ask at.")
def retention(*, dry_run: bool, yes: bool) -> None:
    """Remove what has been kept long enough: off until a RETENTION_… variable is set.

    Raw orders, exports and feeds, and receipts of weeks that ended longer ago than the variables say. A week of which
    anything was not delivered is kept, and named. Asks before anything goes.
    """
    from toast_assets.cli.retention import retention as retain

    retain(dry_run=dry_run, yes=yes)
