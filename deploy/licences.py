"""Lists the licences of the packages that the image holds, by the packages' own metadata, as docs/licences.md.

Run it after `make lock`. It needs all of the locked packages installed; those that only the image has (deploy/image.in)
are looked up in the folder that is given, where one is:

    python -m venv BUILD/image && BUILD/image/bin/pip install --no-deps --require-hashes -r deploy/requirements.lock
    python deploy/licences.py BUILD/image/lib/python3.11/site-packages

`--check` writes nothing and ends with 1 where the page is not in step: a package is missing or too much, a version is
another one, or a licence that can be looked up here is another one.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "deploy" / "requirements.lock"
PAGE = ROOT / "docs" / "licences.md"
# The image is Linux on CPython 3.11, whatever this runs on.
_IMAGE = {
    "sys_platform": "linux",
    "platform_system": "Linux",
    "os_name": "posix",
    "python_version": "3.11",
    "python_full_version": "3.11.0",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
}
_ENTRY = re.compile(r"^([\w.-]+)==([^ \\;]+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)
_ROW = re.compile(r"^\| ([\w.-]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
# The names that older metadata has for them, in SPDX's words.
_SPDX = {
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "GNU Library or Lesser General Public License (LGPL)": "LGPL",
}
# Whole licence texts in the place of a name, by words that only they have; the first that fits.
_TEXTS = {
    "Neither the name": "BSD-3-Clause",
    "Redistributions in binary form": "BSD-2-Clause",
    "Permission is hereby granted, free of charge": "MIT",
}
# Reciprocal licences ask something of those who hand the software on: a change in the list deserves a look.
RECIPROCAL = re.compile(r"GPL|MPL|EPL|CDDL")
_HEAD = """# Licences

What the image holds besides this package, by each package's own metadata; written by `python deploy/licences.py`. The
locked versions are those of `deploy/requirements.lock`.

"""
_BELOW = """
Reciprocal ones (LGPL, MPL) ask that changes to *those packages* stay under their licence and that their texts are
passed on; all packages here are used unchanged, and their texts lie beside them in the image. The base image, Debian
with CPython, has its own in `/usr/share/doc`.
"""


def locked() -> dict[str, str]:
    """Name to version, of what the image installs."""
    found = {}
    for name, version, marker in _ENTRY.findall(LOCK.read_text(encoding="utf-8")):
        if not marker or Marker(marker).evaluate(_IMAGE):
            found[str(canonicalize_name(name))] = version
    return found


def licence(name: str, version: str, places: list[str]) -> str | None:
    """The licence of an installed package; None where that version is not installed in any of ``places``."""
    for each in metadata.distributions(name=name, path=places):
        if each.version == version:
            return _stated(each.metadata)
    return None


def _stated(of: metadata.PackageMetadata) -> str:
    """SPDX expression, else classifiers, else the first line of the free text."""
    fields = of.json
    if expression := fields.get("license_expression"):
        return str(expression)
    classifiers = [str(each).rpartition(" :: ")[2] for each in fields.get("classifier", ()) if "License ::" in each]
    named = [_SPDX.get(each, each) for each in classifiers if each != "OSI Approved"]
    text = str(fields.get("license") or "").strip()
    first = text.splitlines()[0].strip() if text else ""
    # "BSD License" as a classifier does not say which; the free text often does.
    if named and not (named == ["BSD"] and "BSD" in first and len(first) < 40):
        return ", ".join(sorted(set(named)))
    if by_text := next((spdx for words, spdx in _TEXTS.items() if words in text), None):
        return by_text
    return _SPDX.get(first, first) or "not stated"


def page(rows: dict[str, tuple[str, str]]) -> str:
    """The page with these rows: name to version and licence."""
    lines = ["| package | version | licence |", "| --- | --- | --- |"]
    lines += [f"| {name} | {version} | {stated} |" for name, (version, stated) in sorted(rows.items())]
    reciprocal = [name for name, (_, stated) in sorted(rows.items()) if RECIPROCAL.search(stated)]
    return _HEAD + "\n".join(lines) + f"\n\nReciprocal: {', '.join(reciprocal) or 'none'}.\n" + _BELOW


def written() -> dict[str, tuple[str, str]]:
    """The rows of the page as it is."""
    rows = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return {name: (version, stated) for name, version, stated in rows if name not in {"package", "---"}}


def problems(places: list[str]) -> list[str]:
    """What of the page is not in step with the lock and with what is installed in ``places``."""
    there, wanted = written(), locked()
    found = [f"{name} is locked and not listed" for name in sorted(wanted.keys() - there.keys())]
    found += [f"{name} is listed and not locked" for name in sorted(there.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & there.keys()):
        version, stated = there[name]
        if version != wanted[name]:
            found.append(f"{name} is listed as {version} and locked as {wanted[name]}")
        elif (now := licence(name, version, places)) not in {None, stated}:
            found.append(f"{name} is listed as {stated} and says {now}")
    if not found and PAGE.read_text(encoding="utf-8") != page(there):
        found.append("the page is not as it would be written")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written or in step, 1 not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    parser.add_argument("places", nargs="*", help="folders of installed packages, besides this interpreter's own")
    options = parser.parse_args(arguments)
    places = [*options.places, *sys.path]
    if options.check:
        found = problems(places)
        print("\n".join(found) or f"{PAGE.name} is in step with {LOCK.name}.")  # noqa: T201
        return 1 if found else 0
    rows = {name: (version, licence(name, version, places)) for name, version in locked().items()}
    if absent := [f"{name} {version}" for name, (version, stated) in rows.items() if stated is None]:
        print(f"Not installed in that version: {', '.join(absent)}. Nothing was written.")  # noqa: T201
        return 1
    PAGE.write_text(page({name: (version, str(stated)) for name, (version, stated) in rows.items()}), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
