"""The delivery method ``s3_pull``: Amperity's couriers load the week's feed files, once per version of the files.

Without a workflow to start there is nothing to send: the couriers come on their own schedule. With one it is started
and followed, and only what its ingest jobs report counts as loaded.

Amperity has no idempotency key for a start, so the intent to start is in the ledger before the call. An intent without
an answer (a crash in between, a broken connection) may or may not have started a run. Then it is started again, with a
warning: files are loaded by upsert, so a second load costs time and changes no row; no load would leave the week out.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from toast_assets.amperity.client import AmperityClient, Load, TableLoad
from toast_assets.amperity.records import RecordKey, destination
from toast_assets.delivery.feed_files import stored_feeds
from toast_assets.delivery.ledger import LedgerEntry, State, fold_into, read_ledger, to_table
from toast_assets.errors import AmperityError, AmperityRefusedError
from toast_assets.http.retry import Sleep
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week, epoch_ms

METHOD = "s3_pull"
_POLL_SECONDS = 15.0
_RUN = "workflow run "
_ASKED = "asked to start, no answer yet"


@dataclass(frozen=True)
class WorkflowReport:
    """What became of a week's feed files: ``state`` is None where no workflow is configured, ``run_id`` where the start
    was never answered. ``starts`` are the calls that this version of the files took so far, the last one at
    ``asked_ms``; ``started`` says that this delivery made it, ``doubtful`` that the one before was never answered."""

    version: str
    state: State | None
    run_id: str | None = None
    started: bool = False
    tables: tuple[TableLoad, ...] = ()
    starts: int = 0
    asked_ms: int = 0
    doubtful: bool = False


def load_key(week: Week, tenant_id: str, config_id: str, version: str) -> RecordKey:
    """The key of the load of a week's feeds, in the ``version`` of their files, by a workflow."""
    return RecordKey(METHOD, destination(tenant_id, config_id), "", week.key, version)


@dataclass
class WeekLoad:
    """Starts the workflow for a week's feed files, once per version, and follows it."""

    week: Week
    amperity: AmperityClient
    store: OrderStore
    dry_run: bool = False
    log: logging.Logger = field(default_factory=lambda: logging.getLogger(__name__))
    sleep: Sleep = asyncio.sleep

    async def run(self) -> WorkflowReport:
        """Start what was not started, follow what was; report what is loaded. Restaurants whose feed files are missing
        or outdated are named after the others' files are loaded.

        Raises:
            ExportError: feed files are missing or older than the raw orders.
            AmperityRefusedError: the workflow cannot be started; a setting is wrong.
            AmperityError: it ended without loading everything, or it did not end in time and stays pending.
        """
        redaction = self.amperity.settings.redaction
        version, problem = await asyncio.to_thread(stored_feeds, self.week, self.store, redaction)
        report = await self._load(version) if version else WorkflowReport(version, None)
        if problem is not None:
            raise problem
        return report

    async def _load(self, version: str) -> WorkflowReport:
        settings = self.amperity.settings
        config_id = settings.workflow_config_id
        if config_id is None or self.dry_run:
            return WorkflowReport(version, None)
        key = load_key(self.week, settings.tenant_id, config_id, version)
        run = await asyncio.to_thread(self._known, key)
        if run.state == "loaded":
            return run
        if run.state != "pending" or run.run_id is None:
            run = await self._start(config_id, key, run)
        load = await self._follow(run)
        if load.loaded:
            return await self._note(key, replace(run, state="loaded", tables=load.tables))
        if not load.ended:
            text = f"is still running after {settings.workflow_timeout_seconds:g} s"
            hint = "Materialize amperity_delivery again to follow it (AMPERITY_WORKFLOW_TIMEOUT_SECONDS)."
        else:
            # The next materialization starts it again.
            await self._note(key, replace(run, state="rejected"))
            text = f"did not load everything ({', '.join(f'{one.table_name}: {one.state}' for one in load.tables)})"
            hint = "See the run in Amperity, fix the cause and materialize amperity_delivery again."
        raise AmperityError(f"Amperity's workflow run {run.run_id} {text}.", hint=hint, code="AMPERITY-WORKFLOW")

    async def _start(self, config_id: str, key: RecordKey, before: WorkflowReport) -> WorkflowReport:
        doubtful = before.state == "pending"
        if doubtful:
            self.log.warning(
                "An earlier delivery asked to start %s for week %s and never got an answer, so it may be running"
                " already. It is started again: files are loaded by upsert, a second load changes no row.",
                config_id,
                self.week.key,
            )
        starts, asked_ms = before.starts + 1, epoch_ms(datetime.now(UTC))
        run = WorkflowReport(key.version, "pending", started=True, starts=starts, asked_ms=asked_ms, doubtful=doubtful)
        await self._note(key, run)
        day = self.week.end.date()
        try:
            run_id = await self.amperity.start_workflow(config_id, day, day + timedelta(days=1))
        except AmperityRefusedError:
            # Refused for good: there is no run, and no doubt about it.
            await self._note(key, replace(run, state="rejected"))
            raise
        self.log.info("Started %s for the feeds of week %s: run %s.", config_id, self.week.key, run_id)
        return await self._note(key, replace(run, run_id=run_id))

    async def _follow(self, run: WorkflowReport) -> Load:
        """Ask until the jobs are over, or the time is up."""
        # The clocks of both sides differ a little.
        since = datetime.fromtimestamp(run.asked_ms / 1000, UTC) - timedelta(minutes=5)
        load = Load()
        for _ in range(max(1, int(self.amperity.settings.workflow_timeout_seconds / _POLL_SECONDS))):
            load = await self.amperity.load(run.run_id or "", since, datetime.now(UTC) + timedelta(minutes=5))
            if load.ended:
                break
            await self.sleep(_POLL_SECONDS)
        return load

    def _known(self, key: RecordKey) -> WorkflowReport:
        """What the ledger has of this version; rejected where it has nothing."""
        ledger = read_ledger(self.store.bucket, self.store.layout.workflow_ledger(self.week))
        # Ingest jobs can be asked for seven days at most; what is older and still open is started again.
        oldest = datetime.now(UTC) - timedelta(days=6)
        for row in ledger.to_pylist() if ledger is not None else ():
            if row["request_id"] == key.request_id:
                run_id = str(row["reason"] or "").removeprefix(_RUN).removeprefix(_ASKED) or None
                gone = row["state"] == "pending" and run_id is not None and row["updated_at"] < oldest
                state: State = "rejected" if gone else row["state"]
                asked_ms = epoch_ms(row["updated_at"])
                return WorkflowReport(key.version, state, run_id, starts=row["attempts"], asked_ms=asked_ms)
        return WorkflowReport(key.version, "rejected")

    async def _note(self, key: RecordKey, run: WorkflowReport) -> WorkflowReport:
        reason = _ASKED if run.run_id is None else _RUN + run.run_id
        entry = LedgerEntry(key, run.state or "rejected", run.starts, None, reason, run.asked_ms)
        ledger = self.store.layout.workflow_ledger(self.week)
        await asyncio.to_thread(fold_into, self.store.bucket, ledger, [to_table([entry])])
        return run
