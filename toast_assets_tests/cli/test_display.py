"""What is said of a run, for steps of every kind that a job can have."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from io import StringIO

import dagster as dg
import pytest
from rich.console import Console

from toast_assets.cli.display import Display, Outcome


class Heard(Display):
    """Keeps how each step and check ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, tuple[str, object]] = {}

    def step_ended(self, step: str, summary: str, outcome: Outcome) -> None:
        self.ends[step] = (summary, outcome is Outcome.FAILED)

    def checked(self, check: str, text: str, outcome: Outcome) -> None:
        self.ends[check] = (text, outcome)


@dg.asset
def counted() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"orders": 1200, "retries": 0, "accepted": 7, "unheard_of": 1})


@dg.multi_asset(name="several", specs=[dg.AssetSpec("ones"), dg.AssetSpec("twos"), dg.AssetSpec("uncounted")])
def several() -> Iterator[dg.MaterializeResult[None]]:
    yield dg.MaterializeResult(asset_key="ones", metadata={"dagster/row_count": 1})
    yield dg.MaterializeResult(asset_key="twos", metadata={"dagster/row_count": 2000})
    yield dg.MaterializeResult(asset_key="uncounted")


@dg.asset
def broken() -> None:
    raise ValueError("a reason")


@dg.asset
def refused() -> None:
    raise dg.Failure("One sentence.", allow_retries=False)


@dg.asset_check(asset=counted)
def doubted() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="Too few.")


@dg.asset_check(asset=counted)
def warned_of() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, description="Rather few.", severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=counted)
def fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, description="Enough.")


@pytest.fixture(scope="module")
def ends() -> dict[str, tuple[str, object]]:
    heard = Heard()

    @dg.logger
    def heard_logger(_context: dg.InitLoggerContext) -> logging.Logger:
        logger = logging.Logger("heard")
        logger.addHandler(heard)
        return logger

    defs = dg.Definitions(
        assets=[counted, several, broken, refused],
        asset_checks=[doubted, warned_of, fine],
        jobs=[dg.define_asset_job("all")],
        loggers={"heard": heard_logger},
    )
    job = defs.resolve_job_def("all")
    job.execute_in_process(run_config={"loggers": {"heard": {}}}, raise_on_error=False)
    return heard.ends


def test_an_asset_is_summed_up_by_its_counts_that_are_not_zero(ends: dict[str, tuple[str, object]]) -> None:
    assert ends["counted"] == ("1,200 orders, 7 accepted", False)


def test_a_step_that_makes_several_assets_is_summed_up_by_their_rows(ends: dict[str, tuple[str, object]]) -> None:
    assert ends["several"] == ("2,001 rows in 3 tables", False)


def test_a_failure_gives_its_own_reason(ends: dict[str, tuple[str, object]]) -> None:
    assert ends["refused"] == ("One sentence.", True)
    reason, failed = ends["broken"]
    assert failed
    assert "a reason" in reason


def test_a_check_tells_its_result_and_how_much_it_matters(ends: dict[str, tuple[str, object]]) -> None:
    assert ends["doubted"] == ("Too few.", Outcome.FAILED)
    assert ends["warned_of"] == ("Rather few.", Outcome.WARNED)
    assert ends["fine"] == ("Enough.", Outcome.PASSED)


@pytest.mark.parametrize("terminal", [True, False])
def test_passed_checks_share_a_line_and_others_have_their_own(*, terminal: bool) -> None:
    file = StringIO()
    display = Display(Console(file=file, force_terminal=terminal, width=100, color_system=None))
    with display:
        for check, outcome in (("a", Outcome.PASSED), ("b", Outcome.WARNED), ("c", Outcome.PASSED)):
            display.checked(check, f"text of {check}", outcome)
    shown = file.getvalue()
    assert "✓ asset checks" in shown
    assert "2 passed" in shown
    assert "! b" in shown
    assert "text of a" not in shown
