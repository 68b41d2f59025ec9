"""``python -m benchmarks`` measures everything and writes ``docs/performance.md`` and its chart.

``--quick`` looks in two minutes whether everything works, but for Dagster's own cost, at sizes too small to judge by,
and writes nothing; ``--full`` takes 52 weeks where Dagster itself is measured; ``--only SECTION`` measures that and
leaves the others' tables as they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import (
    accumulating,
    backfilling,
    delivering,
    distant,
    flattening,
    growing,
    limited,
    machine,
    orchestration,
    pulling,
    report,
)
from benchmarks.results import Section
from benchmarks.scale import DEFAULT, FULL, QUICK, Scale

Measure = Callable[[Scale, Path, Callable[[str], None]], Section]
SECTIONS: dict[str, Measure] = {
    "pulling": pulling.measure,
    "growing": growing.measure,
    "limited": limited.measure,
    "delivering": delivering.measure,
    "flattening": flattening.measure,
    "distant": distant.measure,
    "accumulating": accumulating.measure,
    "orchestration": orchestration.measure,
    "backfilling": backfilling.measure,
}
# They wait for the ticks of Dagster's daemon, whatever the size.
_SLOW = frozenset({"orchestration", "backfilling"})


def main() -> int:
    """Measure, print and write; with ``--check`` the exit code tells whether all promises are kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes; prints, writes nothing")
    size.add_argument("--full", action="store_true", help="52 weeks where Dagster itself is measured")
    parser.add_argument("--only", action="append", choices=list(SECTIONS), help="one section; may be repeated")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a promise is not kept")
    arguments = parser.parse_args()
    scale = QUICK if arguments.quick else FULL if arguments.full else DEFAULT
    wanted = arguments.only or [name for name in SECTIONS if name not in _SLOW or not arguments.quick]
    _say(machine.describe())
    records = {name: _measured(name, scale) for name in SECTIONS if name in wanted}
    if not arguments.quick:
        from benchmarks.chart import draw

        everything = report.known() | records
        report.write({name: everything[name] for name in SECTIONS if name in everything})
        draw(everything)
    kept = [target.met for record in records.values() for target in record.section.targets]
    _say(f"{sum(kept)} of {len(kept)} promises kept.")
    return 0 if all(kept) or not arguments.check else 1


def _measured(name: str, scale: Scale) -> report.Recorded:
    _say(f"\n{name}")
    began, loads = time.monotonic(), [machine.load()]
    with TemporaryDirectory(prefix="benchmark-") as folder:
        section = SECTIONS[name](scale, Path(folder), _say)
    loads.append(machine.load())
    _say(f"\n{section.markdown}\n")
    for target in section.targets:
        _say(f"  {'kept  ' if target.met else 'MISSED'} {target.what}: {target.found}, wanted {target.wanted}")
    _say(f"  ({time.monotonic() - began:.0f} s, load {loads[0]:.1f} before, {loads[1]:.1f} after)")
    return report.Recorded(section, machine.describe(), f"Load before {loads[0]:.1f}.")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
