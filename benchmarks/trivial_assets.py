"""Three weekly assets in a row that do nothing: what a run of them takes is the orchestrator's own cost.

``BENCHMARK_EXECUTOR`` is ``in_process`` or ``multiprocess``.
"""

import os
from datetime import UTC, datetime

import dagster as dg

WEEKS = dg.WeeklyPartitionsDefinition(
    start_date=datetime(2024, 1, 1, tzinfo=UTC), end_date=datetime(2025, 9, 1, tzinfo=UTC), day_offset=1
)
NAMES = ("pulled", "exported", "delivered")


def _trivial(name: str, before: tuple[str, ...]) -> dg.AssetsDefinition:
    @dg.asset(name=name, deps=before, partitions_def=WEEKS, backfill_policy=dg.BackfillPolicy.multi_run(1))
    def trivial(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"weeks": len(context.partition_keys)})

    return trivial


_EXECUTORS = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}

defs = dg.Definitions(
    assets=[_trivial(name, NAMES[max(0, number - 1) : number]) for number, name in enumerate(NAMES)],
    executor=_EXECUTORS[os.environ.get("BENCHMARK_EXECUTOR", "in_process")],
)
