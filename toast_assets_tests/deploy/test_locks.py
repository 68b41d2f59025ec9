"""The locked versions are those of pyproject.toml: complete, no more than that, the same everywhere, with hashes."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from toast_assets_tests.support.data.locks import Locked, closure, entries, read
from toast_assets_tests.support.services.compose import DEPLOY

ROOT = DEPLOY.parent
TESTS_LOCK = ROOT / "requirements.lock"
LOCKS = {
    "tests": TESTS_LOCK,
    "image": DEPLOY / "requirements.lock",
    "sandbox": DEPLOY / "sandbox.lock",
    "build": DEPLOY / "build.lock",
}
# uv names no package itself where it is the one that is locked.
_PROJECT = "toast-assets"


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def wanted(*extras: str) -> list[str]:
    """What pyproject.toml asks for with these extras, extras that name other extras followed."""
    found = list(project()["dependencies"])
    for extra in extras:
        for each in project()["optional-dependencies"][extra]:
            requirement = Requirement(each)
            if canonicalize_name(requirement.name) == _PROJECT:
                found += wanted(*requirement.extras)
            else:
                found.append(each)
    return found


def image_only() -> list[str]:
    """What deploy/image.in adds."""
    lines = (DEPLOY / "image.in").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def asked_for_by(lock: dict[str, Locked], names: set[str]) -> set[str]:
    """Those packages, and all that the lock says are there because of them."""
    found = set(names)
    while more := {one.name for one in lock.values() if one.via & found} - found:
        found |= more
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_hashes(name: str) -> None:
    found = entries(LOCKS[name])
    assert len(found) == len(re.findall(r"^[^\s#]", LOCKS[name].read_text(), re.MULTILINE))
    assert [one.name for one in found if not one.hashes] == []


@pytest.mark.parametrize("name", ["image", "sandbox"])
def test_what_is_deployed_has_the_versions_that_the_tests_run_with(name: str) -> None:
    tests, lock = read(TESTS_LOCK), read(LOCKS[name])
    other = {one: (lock[one].version, tests[one].version) for one in lock.keys() & tests.keys()}
    assert {one: pair for one, pair in other.items() if pair[0] != pair[1]} == {}
    only_here = lock.keys() - tests.keys()
    beside: set[str] = {canonicalize_name(Requirement(each).name) for each in image_only()}
    assert only_here <= asked_for_by(lock, beside)


@pytest.mark.parametrize(("name", "extra", "more"), [("image", "postgres", image_only()), ("sandbox", "sandbox", [])])
def test_the_lock_holds_all_that_is_needed_and_nothing_else(name: str, extra: str, more: list[str]) -> None:
    lock = read(LOCKS[name])
    here = {one.name for one in lock.values() if one.for_this_machine}
    needed, absent = closure([*wanted(extra), *more])
    assert needed - here == set()
    # What is not installed here tells nothing of what it needs; there the lock's own word has to do.
    assert here - needed <= asked_for_by(lock, absent)
    assert absent <= {canonicalize_name(Requirement(each).name) for each in more}


@pytest.mark.parametrize("name", ["tests", "image", "sandbox"])
def test_locked_versions_lie_within_the_declared_ranges(name: str) -> None:
    lock = read(LOCKS[name])
    extras = {"tests": ("dev",), "image": ("postgres",), "sandbox": ("sandbox",)}[name]
    declared = [Requirement(each) for each in wanted(*extras)]
    outside = [
        str(each)
        for each in declared
        if (locked := lock.get(canonicalize_name(each.name))) is None or locked.version not in each.specifier
    ]
    assert outside == []


def test_what_is_installed_is_what_is_locked() -> None:
    lock = read(TESTS_LOCK)
    installed = {
        canonicalize_name(each.metadata["Name"]): each.version
        for each in metadata.distributions()
        if canonicalize_name(each.metadata["Name"]) in lock
    }
    wrong = {name: version for name, version in installed.items() if version != lock[name].version}
    assert wrong == {}
    assert {one.name for one in lock.values() if one.for_this_machine} - installed.keys() == set()


def test_a_package_that_somebody_forgot_to_lock_would_be_found(tmp_path: Path) -> None:
    text = LOCKS["image"].read_text()
    name = canonicalize_name("msgspec")
    (tmp_path / "lock").write_text(text.replace("\nmsgspec==", "\nmsgspec-of-another-name=="))
    assert name in closure(wanted("postgres"))[0] - read(tmp_path / "lock").keys()
