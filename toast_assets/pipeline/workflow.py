"""The delivery method ``s3_pull``: Amperity's couriers load the week's feed files, once per version of the files.

Without a workflow to start there is nothing to send: the couriers come on their own schedule. With one it is started
and followed, and only what its ingest jobs report counts as loaded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.control import ControlPlane, Load, TableLoad
from toast_assets.amperity.ledger import LedgerEntry, State, decode_ledger, encode_ledger, fold, to_table
from toast_assets.amperity.records import RecordKey
from toast_assets.errors import AmperityError
from toast_assets.pipeline.feeds import feeds_version
from toast_assets.retry import Sleep
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, epoch_ms

METHOD = "s3_pull"
_POLL_SECONDS = 15.0
_RUN = "workflow run "


@dataclass(frozen=True)
class WorkflowReport:
    """What became of a week's feed files: ``state`` is None where no workflow is configured."""

    version: str
    state: State | None
    run_id: str | None = None
    started: bool = False
    tables: tuple[TableLoad, ...] = ()


@dataclass
class WeekLoad:
    """Starts the workflow for a week's feed files, once per version, and follows it."""

    week: Week
    amperity: AmperityClient
    store: OrderStore
    dry_run: bool = False
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    sleep: Sleep = asyncio.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def run(self) -> WorkflowReport:
        """Start what was not started, follow what was; report what is loaded.

        Raises:
            ExportError: feed files are missing or older than the raw orders.
            AmperityRefusedError: the workflow cannot be started; a setting is wrong.
            AmperityError: it ended without loading everything, or it did not end in time and stays pending.
        """
        version = await asyncio.to_thread(feeds_version, self.week, self.store)
        config_id = self.amperity.settings.workflow_config_id
        if config_id is None or self.dry_run:
            return WorkflowReport(version, None)
        key = RecordKey(METHOD, config_id, "", self.week.key, version)
        state, run_id, asked_ms = await asyncio.to_thread(self._known, key)
        if state == "loaded":
            return WorkflowReport(version, state, run_id)
        control = ControlPlane(self.amperity)
        started = run_id is None
        if run_id is None:
            asked_ms = epoch_ms(self.now())
            day = self.week.end.date()
            run_id = await control.start(config_id, day, day + timedelta(days=1))
            await self._note(key, "pending", run_id, asked_ms)
            self.log.info("Started %s for the feeds of week %s.", config_id, self.week.key)
        load = await self._follow(control, run_id, datetime.fromtimestamp(asked_ms / 1000, UTC))
        return await self._settle(key, run_id, asked_ms, load, started=started)

    async def _follow(self, control: ControlPlane, run_id: str, started: datetime) -> Load:
        """Ask until the jobs are over, or the time is up."""
        polls = max(1, int(self.amperity.settings.workflow_timeout_seconds / _POLL_SECONDS))
        load = Load()
        for _ in range(polls):
            # The clocks of both sides differ a little.
            load = await control.load(run_id, started - timedelta(minutes=5), self.now() + timedelta(minutes=5))
            if load.ended:
                break
            await self.sleep(_POLL_SECONDS)
        return load

    async def _settle(self, key: RecordKey, run_id: str, asked_ms: int, load: Load, *, started: bool) -> WorkflowReport:
        if load.loaded:
            await self._note(key, "loaded", run_id, asked_ms)
            return WorkflowReport(key.version, "loaded", run_id, started, load.tables)
        if load.ended:
            # The next materialization starts it again.
            await self._note(key, "rejected", run_id, asked_ms)
            states = ", ".join(f"{table.table_name}: {table.state}" for table in load.tables)
            raise AmperityError(
                f"Amperity's workflow run {run_id} did not load everything ({states}).",
                hint="See the run in Amperity, mend the cause and materialize amperity_delivery again.",
            )
        raise AmperityError(
            f"Amperity's workflow run {run_id} is still under way after"
            f" {self.amperity.settings.workflow_timeout_seconds:g} s.",
            hint="Materialize amperity_delivery again to follow it (AMPERITY_WORKFLOW_TIMEOUT_SECONDS).",
        )

    def _known(self, key: RecordKey) -> tuple[State | None, str | None, int]:
        """State, run and start (milliseconds) of this version, as the ledger has them."""
        found = self.store.bucket.read(self.store.layout.workflow_ledger(self.week))
        # Ingest jobs can be asked for seven days at most; what is older and still open is started anew.
        oldest = self.now() - timedelta(days=6)
        for row in decode_ledger(found[0]).to_pylist() if found else ():
            gone = row["state"] == "rejected" or (row["state"] == "pending" and row["updated_at"] < oldest)
            if row["request_id"] == key.request_id and not gone:
                run_id = str(row["reason"] or "").removeprefix(_RUN)
                return row["state"], run_id or None, epoch_ms(row["updated_at"])
        return None, None, 0

    async def _note(self, key: RecordKey, state: State, run_id: str, asked_ms: int) -> None:
        entry = LedgerEntry(key, state, 1, None, _RUN + run_id, asked_ms)
        await asyncio.to_thread(self._save, entry)

    def _save(self, entry: LedgerEntry) -> None:
        path = self.store.layout.workflow_ledger(self.week)
        found = self.store.bucket.read(path)
        table = fold(decode_ledger(found[0]) if found else None, [to_table([entry])])
        self.store.bucket.write(path, encode_ledger(table), ContentType="application/vnd.apache.parquet")
