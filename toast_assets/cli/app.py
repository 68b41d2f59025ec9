"""The commands and their options. What they do is imported when they run, so that ``--help`` answers at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import click

from toast_assets.errors import NoGuestError, SettingsError, ToastAssetsError, WeekError
from toast_assets.machine import machine_problem

# What the extra ``sandbox`` installs on top of the pipeline.
_SANDBOX_MODULES = ("moto", "flask", "flask_cors", "starlette", "uvicorn")


class _Command(click.Command):
    """A command in the environment of one brand. Shows this package's errors, and those of the machine, as one
    sentence."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        what = "Prefix of the variables of one brand among several, such as BRAND_A_."
        self.params.append(click.Option(["--variables"], default="", metavar="PREFIX", help=what))

    def invoke(self, ctx: click.Context) -> Any:
        prefix = ctx.params.pop("variables")
        with _environment_of(prefix) as said:
            ctx.obj = said
            try:
                return super().invoke(ctx)
            except ToastAssetsError as error:
                # A wrong argument or setting, by which nothing was tried, has the exit code of click's usage errors.
                is_usage = isinstance(error, NoGuestError | SettingsError | WeekError)
                raise (click.UsageError if is_usage else click.ClickException)(said(str(error))) from error
            except ModuleNotFoundError as error:
                if error.name is None or error.name.partition(".")[0] not in _SANDBOX_MODULES:
                    raise
                hint = "Install it with: pip install 'toast-assets[sandbox]'"
                raise click.ClickException(f"The sandbox needs {error.name}, which is not installed. {hint}") from error
            except (OSError, MemoryError, RuntimeError, BaseExceptionGroup) as error:
                if problem := machine_problem(error):
                    raise click.ClickException(str(problem)) from error
                raise


@contextmanager
def _environment_of(prefix: str) -> Iterator[Callable[[str], str]]:
    """Makes the brand's environment this process's, and gives what renames variables in a text for the brand."""
    if not prefix:
        yield str
        return
    from toast_assets.variables import Variables

    try:
        variables = Variables(prefix)
    except SettingsError as error:
        raise click.BadParameter(f"{error.problems[0]}.", param_hint="--variables") from None
    with patch.dict(os.environ, variables.environment(os.environ), clear=True):
        yield variables.renamed


class _Group(click.Group):
    command_class = _Command


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="toast-assets")
@click.pass_context
def main(context: click.Context) -> None:
    """Pull restaurant orders from Toast, export them to S3, deliver them to Amperity."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@main.command()
def demo() -> None:
    """Run the weekly job on a sandbox, and compare the counts.

    Needs no account and no variable: the sandbox simulates Toast, Amperity and S3 on ports of this machine, with
    their real rate limits. Takes about ten seconds. Dagster's history and the bucket's files go to .toast-assets in
    this folder, in place of what an earlier command left there.
    """
    from toast_assets.cli.demo import run_demo

    run_demo()


def _assumption(context: click.Context, option: click.Parameter, key: str | None) -> Any:
    if key is None:
        return None
    from toast_assets.sandbox import Assumption

    return Assumption(click.Choice([each.value for each in Assumption]).convert(key, option, context))


@main.command()
@click.option("--ui", is_flag=True, help="Materialize two weeks, then open Dagster's UI on the sandbox.")
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
    "--restaurants", type=click.IntRange(min=1), help="Number of invented restaurants.  [default: three that trade]"
)
@click.option("--orders", type=click.IntRange(min=0), help="Orders per week and restaurant.  [default: 36 to 320]")
@click.option("--latency", default=0.0, show_default=True, type=click.FloatRange(min=0), help="Seconds per answer.")
@click.option(
    "--without",
    metavar="KEY",
    callback=_assumption,
    help="An assumption about Toast that does not hold, such as gzip. The status page lists the keys.",
)
def sandbox(*, ui: bool, ui_port: int, **options: Any) -> None:
    """Serve Toast, Amperity and S3 on loopback ports.

    Serves until Ctrl-C. Prints the variables that point the pipeline at it. Orders are invented, the same for equal
    seeds. With --ui, Dagster's history and the bucket stay in .toast-assets in this folder, and the next --ui with the
    same seed, restaurants and orders goes on with them. Without it, the bucket is removed at the end.
    """
    from toast_assets.cli.environment import sandbox_config
    from toast_assets.cli.serve import serve

    serve(sandbox_config(**options), ui_port if ui else None)


@main.command("replay-rejects")
@click.option(
    "--week", metavar="DATE", help="The week's partition key, such as 2025-09-15.  [default: all with rejects]"
)
def replay_rejects(*, week: str | None) -> None:
    """Resend the records that Amperity refused.

    Sends nothing else. Reads the variables of the pipeline. Fix the cause first: what is refused again stays in the
    week's rejects, and the exit code is 1.
    """
    from toast_assets.cli.replay_rejects import replay_rejects as replay

    raise SystemExit(0 if replay(week) else 1)


def _named_guest(command: Callable[..., None]) -> Callable[..., None]:
    """The ways to name a guest: arguments, options, a file, stdin."""
    for option in (
        click.option(
            "--file",
            type=click.Path(dir_okay=False, allow_dash=True),
            help="Read them from a file, one a line; - is stdin.",
        ),
        click.option(
            "--phone", multiple=True, help="A phone of the guest; with + and the country's code outside the US."
        ),
        click.option("--email", multiple=True, help="An e-mail of the guest."),
        click.option("--guid", multiple=True, help="Toast's GUID of the guest."),
        click.argument("guest", nargs=-1),
    ):
        command = option(command)
    return command


@main.command()
@_named_guest
@click.option("--dry-run", is_flag=True, help="Print what would be rewritten, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask. Required without a terminal.")
@click.option(
    "--allow-unknown", is_flag=True, help="Record and certify the request even if nothing of the guest is stored."
)
def forget(
    *, guest: tuple[str], guid: tuple[str], email: tuple[str], phone: tuple[str], file: str | None, **options: bool
) -> None:
    """Remove one guest from every object in the bucket.

    Give the guest's GUID, e-mail or phone. Without arguments the command asks for them, or reads stdin, which keeps
    them out of the shell's history. Orders stay, without the guest's data. A certificate names the objects. After an
    interruption, run the command again. Run it while no run of the pipeline is under way.

    The exit code is 2, and nothing is changed, if a value is no GUID, e-mail or phone, or if there is neither a
    terminal nor --yes; it is 1 if nothing of the guest is stored, or if a foreign object holds the guest.
    """
    from toast_assets.cli.forget import forget as forget_guest

    raise SystemExit(0 if forget_guest((*guest, *guid, *email, *phone), file, **options) else 1)


@main.command()
@click.argument("asked", metavar="ORDER")
@click.option("--business-date", "day", metavar="DATE", help="ORDER is a display number of this business day.")
@click.option("--restaurant", metavar="GUID", help="Only this restaurant. Required with --business-date.")
@click.option("--week", metavar="DATE", help="Only the week with this partition key.")
@click.option("--guest", "is_guest", is_flag=True, help="ORDER is a guest's key in the feed customers.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def trace(asked: str, **options: Any) -> None:
    """Show everything that is stored of one order.

    ORDER is Toast's GUID of the order. The answer has each version with its week, the window that returned it, the
    census, what changed since the version before, the export, the rows in the feeds, every receipt and reject, and what
    would be sent now. It names fields, and shows no guest's data. Reads the variables of the bucket, and Amperity's
    where they are set.

    The exit code is 0 if the order is exported and delivered; 1 if it is unknown, if something is missing, refused,
    without an answer or due, or if an object cannot be read; 2 for wrong input.
    """
    from toast_assets.cli.trace import trace as run_trace

    raise SystemExit(0 if run_trace(asked, **options) else 1)


@main.command()
@_named_guest
@click.option(
    "--output", required=True, type=click.Path(), metavar="FILE", help="The file to write, JSON; not a terminal."
)
@click.option("--force", is_flag=True, help="Replace the file if there is one.")
def guest(
    *, guest: tuple[str], guid: tuple[str], email: tuple[str], phone: tuple[str], file: str | None, **options: Any
) -> None:
    """Collect what is stored about one guest into a file.

    For the person who answers an access request. Give the guest as for forget. The file has the guest's own part of
    their orders, their rows in tables, indexes and feeds, receipts, and certificates of earlier requests. Only its
    owner may read it. Nothing of the guest is shown, and nothing is changed in the bucket.

    The exit code is 2 if a value is no GUID, e-mail or phone, or if the file cannot be written; it is 1 if nothing is
    stored about the guest.
    """
    from toast_assets.cli.guest import collect_guest

    collect_guest((*guest, *guid, *email, *phone), file, **options)


@main.command()
@click.option("--from", "first", metavar="DATE", required=True, help="The first week's partition key.")
@click.option("--to", "last", metavar="DATE", required=True, help="The last week's partition key, included.")
@click.option(
    "--refresh/--no-refresh",
    default=None,
    help="The run config refresh.  [default: complete weeks are pulled again, of others what is missing]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def estimate(**options: Any) -> None:
    """Estimate a backfill's requests and time.

    Reads the variables of the pipeline and the manifests of the stored weeks. Credentials for Toast and Amperity are
    not needed. With TOAST_RESTAURANT_GUID=* the restaurants are those of the newest stored week.
    """
    from toast_assets.cli.estimate import estimate as run_estimate

    run_estimate(**options)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--canary", is_flag=True, help="Also write one record into Amperity's stream. It stays there.")
@click.option("--alert", is_flag=True, help="Also post a test message to each address of ALERT_WEBHOOK_URL.")
@click.pass_obj
def doctor(said: Callable[[str], str], /, **options: bool) -> None:
    """Check every credential and permission.

    Moves no data. Reads the variables of the pipeline. Logs in at Toast, asks for each restaurant, writes and removes
    one object in the bucket, sends Amperity something that is no record, and checks Dagster's instance and the alerts'
    webhooks. The exit code is 2 if a check failed, 1 if there is a warning.
    """
    from toast_assets.cli.doctor import doctor as run_doctor

    raise SystemExit(run_doctor(said, **options))


@main.command()
@click.option("--week", "weeks", multiple=True, metavar="DATE", help="Only this week, by its partition key.")
@click.option("--restaurant", "restaurants", multiple=True, metavar="GUID", help="Only this restaurant.")
@click.option("--all", "everything", is_flag=True, help="Print every week, and every restaurant with a problem.")
@click.option("--settling", is_flag=True, help="Show instead how long figures still move after a business day.")
@click.option("--json", "as_json", is_flag=True, help="Print all rows as JSON.")
@click.pass_obj
def status(said: Callable[[str], str], /, *, settling: bool, as_json: bool, **options: Any) -> None:
    """Show what is stored and delivered, and what is not.

    One line for each week, then the restaurants that are not complete or not delivered, each with the reason and what
    happens next. Reads the bucket's variables, changes nothing. The exit code is 1 if anything is missing.
    """
    if settling:
        if any(options.values()):
            raise click.UsageError("--settling covers all restaurants and the newest weeks; give no other option.")
        from toast_assets.cli.settling import show_settling

        show_settling(as_json=as_json)
        return
    from toast_assets.cli.status import status as show_status

    raise SystemExit(0 if show_status(**options, as_json=as_json, said=said) else 1)


@main.command()
@click.option("--restaurant", "restaurants", multiple=True, metavar="GUID", help="Up to three.  [default: the first]")
@click.option("--week", "weeks", multiple=True, metavar="DATE", help="Up to two partition keys.  [default: the newest]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--compare", "earlier", type=click.Path(), help="Also print what changed since an earlier JSON report.")
@click.option("--force", is_flag=True, help="Log in although another login was less than an hour ago.")
def probe(**options: Any) -> None:
    """Ask Toast which of our assumptions about it hold.

    Reads Toast's variables, and only asks: nothing is changed at Toast, in the bucket or at Amperity. Each assumption
    is confirmed, refuted or unseen. The report holds counts and no data, so it can be shared. Takes two logins, of
    which Toast asks for at most two an hour. The exit code is 1 if something is refuted.
    """
    from toast_assets.cli.probe import probe as run_probe

    raise SystemExit(run_probe(**options))


@main.command()
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask. Required without a terminal.")
def retention(**options: bool) -> None:
    """Remove old weeks from the bucket.

    Off until a RETENTION_… variable is set. Removes raw orders, exports and feeds, and receipts of weeks that ended
    longer ago than the variables say. A week with undelivered records is kept, and named. Asks before anything is
    removed.
    """
    from toast_assets.cli.retention import retention as retain

    retain(**options)
