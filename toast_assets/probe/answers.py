"""An answer of the probe: a verdict with one line of reason, which holds counts and never data."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """What the account's data say of an assumption."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    UNSEEN = "unseen"
    """The data contain no witness."""


class Answer(NamedTuple):
    """The verdict on one assumption at one restaurant; ``reason`` is one line of counts and names of fields."""

    verdict: Verdict
    reason: str


def answer(holds: bool | None, reason: str) -> Answer:
    """The answer by whether the assumption ``holds``; None where the data do not say."""
    return Answer(Verdict.UNSEEN if holds is None else Verdict.CONFIRMED if holds else Verdict.REFUTED, reason)


def confirmed(reason: str) -> Answer:
    return Answer(Verdict.CONFIRMED, reason)


def refuted(reason: str) -> Answer:
    return Answer(Verdict.REFUTED, reason)


def unseen(reason: str) -> Answer:
    return Answer(Verdict.UNSEEN, reason)
