"""The package's own definitions, in the ways in which a backfill could run them.

``BENCHMARK_EXECUTOR`` is ``in_process`` or ``multiprocess``. ``BENCHMARK_WEEKS_PER_RUN`` 1 takes the assets as they
are; more makes one asset that does the same work for all weeks of its run, which the package's own assets refuse.
"""

import os

import dagster as dg

from benchmarks.whole_weeks import work_through
from toast_assets.defs.build import build_defs
from toast_assets.defs.partitions import weekly_partitions
from toast_assets.week import WeekCalendar

EXECUTORS = {"in_process": dg.in_process_executor, "multiprocess": dg.multiprocess_executor}
_WEEKS_PER_RUN = int(os.environ.get("BENCHMARK_WEEKS_PER_RUN", "1"))


@dg.asset(
    partitions_def=weekly_partitions(WeekCalendar()),
    backfill_policy=dg.BackfillPolicy.multi_run(_WEEKS_PER_RUN),
    pool="toast",
    kinds={"toast", "amperity"},
)
def whole_weeks(context: dg.AssetExecutionContext) -> None:
    """All weeks of the run, one after the other."""
    work_through(context.partition_keys)


def _definitions() -> dg.Definitions:
    executor = EXECUTORS[os.environ.get("BENCHMARK_EXECUTOR", "in_process")]
    if _WEEKS_PER_RUN > 1:
        return dg.Definitions(assets=[whole_weeks], executor=executor)
    own = build_defs()
    return dg.Definitions(
        assets=own.assets,
        asset_checks=own.asset_checks,
        jobs=own.jobs,
        resources=own.resources,
        executor=executor,
    )


defs = _definitions()
