"""Asks for known vulnerabilities of the locked versions (pip-audit), all of them, the tools' included.

Ends with 1 where one is known, and names it. Where the advisory service is out of reach, or does not know the
packages, nothing was audited: that is said, it counts neither for nor against the versions, and it ends with 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parent.parent / "requirements.lock"


def main() -> int:
    """Exit status: 0 none known, or not audited; 1 known vulnerabilities."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format", "json"]
    done = subprocess.run(  # noqa: S603
        [*command, "--progress-spinner", "off", "--requirement", str(LOCK)], capture_output=True, text=True, check=False
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"NOT AUDITED: pip-audit could not ask the advisory service ({reason}).")  # noqa: T201
        return 0
    audited = [package for package in packages if "skip_reason" not in package]
    known = [(package, one) for package in audited for one in package["vulns"]]
    for package, one in known:
        mended = ", ".join(one["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {one['id']}, mended in {mended}")  # noqa: T201
    if audited:
        print(f"{len(audited)} of {len(packages)} locked packages audited, {len(known)} known vulnerabilities.")  # noqa: T201
    else:
        print(f"NOT AUDITED: the advisory service knows none of the {len(packages)} locked packages.")  # noqa: T201
    return 1 if known else 0


if __name__ == "__main__":
    raise SystemExit(main())
