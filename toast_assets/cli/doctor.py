"""``toast-assets doctor``: the findings as lines with a tick or a cross, or as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from itertools import groupby

import click
from rich.console import Console

from toast_assets.doctor.checks import run_checks
from toast_assets.doctor.findings import Finding, State, exit_code

_MARKS = {State.OK: "✓", State.UNKNOWN: "?", State.WARNING: "!", State.FAILED: "✗"}
_STYLES = {State.UNKNOWN: "dim", State.WARNING: "yellow", State.FAILED: "red"}


def doctor(said: Callable[[str], str], *, canary: bool, alert: bool, as_json: bool) -> int:
    """Run the checks, print what they found, and return the exit code. ``said`` gives variables in a text the names
    that the brand has for them."""
    found = run_checks(os.environ, canary=canary, alert=alert)
    findings = [replace(one, name=said(one.name), detail=said(one.detail), hint=said(one.hint)) for one in found]
    if as_json:
        content = {"exit_code": exit_code(findings), "findings": [asdict(finding) for finding in findings]}
        click.echo(json.dumps(content, indent=1, ensure_ascii=False))
    else:
        _print(findings)
    return exit_code(findings)


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for area, lines in groupby(findings, key=lambda finding: finding.area):
        console.print(f"\n{area}", style="bold", markup=False)
        for hint, sharing in groupby(lines, key=lambda finding: finding.hint):
            for finding in sharing:
                text = f"{_MARKS[finding.state]} {finding.name}" + (f": {finding.detail}" if finding.detail else "")
                text += f" [{finding.code}]" if finding.code else ""
                console.print(text, style=_STYLES.get(finding.state), markup=False)
            if hint:
                console.print(f"    → {hint}", markup=False)
    counts = {state: sum(finding.state is state for finding in findings) for state in State}
    totals = [f"{counts[State.OK]} fine", f"{counts[State.FAILED]} failed", f"{counts[State.WARNING]} to look at"]
    console.print(f"\n{', '.join(totals)}, {counts[State.UNKNOWN]} could not be checked.", markup=False)
