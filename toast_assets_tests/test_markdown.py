"""Text of other systems in Markdown shows itself and nothing else."""

from __future__ import annotations

import pytest

from toast_assets import markdown
from toast_assets.defs.metadata import markdown_table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("two\nlines\r\n", "two lines  "),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("![x](https://example.com/x.png)", "!\\[x\\](https://example.com/x.png)"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"),
        ("back`tick", "back\\`tick"),
        ("back\\slash", "back\\\\slash"),
        ("\u202egpj.exe\u2028\x00", " gpj.exe  "),
        ("Bar 🍕 Ünal_9", "Bar 🍕 Ünal_9"),
        (12, "12"),
    ],
)
def test_a_cell_shows_what_somebody_else_wrote_and_does_nothing(text: object, shown: str) -> None:
    table = str(markdown_table(("head",), [(text,)]).value)
    assert table == f"| head |\n| --- |\n| {shown} |\n"


def test_a_text_without_end_is_cut_and_its_length_is_given() -> None:
    assert markdown.escaped("k" * 100_000) == "k" * 200 + "… (100000 characters)"


def test_what_is_code_stays_code() -> None:
    assert "| `s3://bucket/[a]\\|b` |" in str(markdown_table(("key",), [(markdown.code("s3://bucket/[a]|b"),)]).value)
