"""The project's Markdown pages: their code, shell commands, links and headings."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
_CONSOLE = re.compile(r"^ *```console\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
_BLOCK_OR_HEADING = re.compile(r"^```(\w+)\n(.*?)^```$|^#+ ([^\n]+)$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"`([^`]+)`")
_OURS = re.compile(r"(?:toast-assets|dagster|dagster-daemon|dg|python -m|make) [a-z]")
_ASSIGNMENT = re.compile(r"\w+=.*", re.DOTALL)
_REDIRECTION = re.compile(r"[<>]{1,2}")


@dataclass(frozen=True)
class Command:
    """One shell command as a page has it: the page's path below the root, and its words without redirections.
    ``mentioned`` in running text, it may lack what it would need to be run."""

    page: str
    words: tuple[str, ...]
    mentioned: bool

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


@dataclass(frozen=True)
class Block:
    """Code as a page has it: in which language, below which heading, and as the how many-th of this language there,
    counted from 1."""

    page: str
    heading: str
    language: str
    number: int
    code: str

    def __str__(self) -> str:
        return f"{self.page}: {self.heading}, {self.language} {self.number}"


def pages() -> list[Path]:
    """All pages that people read, the README first."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "deploy" / "aws" / "README.md"]


def commands(page: Path) -> list[Command]:
    """The commands of a page's console blocks, and those in running text that are this project's or Dagster's."""
    text, name = page.read_text(encoding="utf-8"), str(page.relative_to(ROOT))
    blocks = "\n".join(_CONSOLE.findall(text)).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in blocks.splitlines() if line.strip().startswith("$ ")]
    mentions = [each for each in _INLINE.findall(_FENCED.sub("", text)) if _OURS.match(each)]
    return [
        Command(name, words, mentioned)
        for some, mentioned in ((lines, False), (mentions, True))
        for line in some
        for words in _simple_commands(line)
    ]


def blocks(page: Path, *languages: str) -> list[Block]:
    """The page's fenced code in these languages, from top to bottom."""
    found, heading, counted = list[Block](), "", Counter[str]()
    for language, code, title in _BLOCK_OR_HEADING.findall(page.read_text(encoding="utf-8")):
        if title:
            heading, counted = title, Counter()
        elif language in languages:
            counted[language] += 1
            found.append(Block(str(page.relative_to(ROOT)), heading, language, counted[language], code))
    return found


def links(page: Path) -> list[str]:
    """The targets of a page's links and images, those to other sites left out."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [target for target in _LINK.findall(text) if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings answer to (GitHub's rule)."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def named_files(page: Path) -> set[str]:
    """Texts in code type that look like the path of a file of this project."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    path = re.compile(r"[\w.-][\w./-]*\.(?:py|ya?ml|md|toml|sh)")
    return {each for each in _INLINE.findall(text) if path.fullmatch(each)}


def _simple_commands(line: str) -> Iterator[tuple[str, ...]]:
    """The commands that ``&&``, ``|`` and ``;`` join, without assignments in front and redirections behind."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    skip = False
    for word in [*lexer, ";"]:
        if skip:
            skip = False
        elif _REDIRECTION.fullmatch(word):
            skip = True
        elif word in {";", "&&", "||", "|"}:
            if words:
                yield tuple(words)
            words = []
        elif words or not _ASSIGNMENT.fullmatch(word):
            words.append(word)
