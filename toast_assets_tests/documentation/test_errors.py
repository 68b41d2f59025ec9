"""Every error and every check has a code, and the page of the codes says what the code does."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import toast_assets
from docs.make_errors import PATH, render
from toast_assets.checks.table import CHECKS
from toast_assets.codes import AREAS, CODES, scope_of
from toast_assets.defs.checks import check_code
from toast_assets.errors import ToastAssetsError
from toast_assets_tests.support.data.pages import ROOT, anchors

PACKAGE = Path(toast_assets.__file__).parent
CHECK_CODES = [check_code(check) for checks in CHECKS.values() for check in checks]


def classes() -> set[type[ToastAssetsError]]:
    for path in PACKAGE.rglob("*.py"):
        if re.search(r"^class \w+Error\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))
    found, waiting = set[type[ToastAssetsError]](), [ToastAssetsError]
    while waiting:
        found.add(one := waiting.pop())
        waiting += one.__subclasses__()
    return {one for one in found if one.__module__.startswith("toast_assets.")}


def literals() -> Iterator[str]:
    """All texts in the package's code, but those of the list of codes itself."""
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "codes.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant))
            yield from (node.value for node in nodes if isinstance(node.value, str))


def given() -> Iterator[str]:
    """The literals that errors are given as their code."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                yield str(node.value.value)


def test_every_code_that_an_error_can_have_is_listed() -> None:
    listed = CODES.keys()
    assert {one.code for one in classes()} <= listed
    assert {code for code in given() if code} <= listed
    assert {f"{service}-TOKEN" for service in ("TOAST", "AMPERITY")} <= listed


def test_every_listed_code_is_used() -> None:
    used = {*literals(), *(one.code for one in classes())}
    assert [name for name in CODES if name not in used] == []


def test_codes_are_short_and_no_code_is_listed_twice() -> None:
    names = [*(code.name for codes in AREAS.values() for code in codes), *CHECK_CODES]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[A-Z0-9-]{1,32}", name)] == []


def test_a_code_that_nobody_knows_concerns_one_week() -> None:
    assert (scope_of("TOAST-LOGIN"), scope_of("TOAST-403-RESTAURANT")) == ("everything", "restaurant")
    assert {scope_of(code) for code in ("STORE-DAMAGED", CHECK_CODES[0], "NOBODYS")} == {"week"}


def test_the_page_is_in_step_with_the_code() -> None:
    assert (ROOT / PATH).read_text(encoding="utf-8") == render(), "python -m docs.make_errors"


def test_every_code_has_an_anchor_and_says_what_to_do() -> None:
    found = anchors(ROOT / PATH)
    sections = re.split(r"^### `([A-Z0-9-]+)`$", render(), flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert [*texts] == [*CODES, *CHECK_CODES]
    for code, text in texts.items():
        assert code.lower() in found
        assert re.search(r"^\*\*What to do:\*\* [A-Z`].{7}.*\.$", text, re.MULTILINE), code
