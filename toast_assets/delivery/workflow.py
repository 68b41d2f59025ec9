"""The delivery method ``s3_pull``: Amperity's couriers load the week's feed files, once per version of the files.

Without a workflow to start there is nothing to send: the couriers come on their own schedule. With one it is started
and followed, and only what its ingest jobs report counts as loaded.

Amperity has no idempotency key for a start, so the wish to start is in the ledger before Amperity hears of it. A wish
without an answer – a crash in between, a connection that broke – means that nobody knows whether a run was started.
Then it is started again, and said so: files are loaded by upsert, so a second load costs time and changes no row, while
none at all would leave the week out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from toast_assets.amperity.client import AmperityClient
from toast_assets.amperity.control import ControlPlane, Load, TableLoad
from toast_assets.amperity.feeds.files import stored_feeds
from toast_assets.amperity.records import RecordKey, destination
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
    """What became of a week's feed files: ``state`` is None where no workflow is configured. ``starts`` are the calls
    that this version of the files took so far; ``doubtful`` tells that one of them was never answered."""

    version: str
    state: State | None
    run_id: str | None = None
    started: bool = False
    tables: tuple[TableLoad, ...] = ()
    starts: int = 0
    doubtful: bool = False


@dataclass(frozen=True)
class _Known:
    """What the ledger says of a version: ``run_id`` is None where the start was never answered."""

    state: State
    run_id: str | None
    asked_ms: int
    starts: int


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
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def run(self) -> WorkflowReport:
        """Start what was not started, follow what was; report what is loaded. Restaurants whose feed files are missing
        or outdated keep the others' from nothing, and are named when these are loaded.

        Raises:
            ExportError: feed files are missing or older than the raw orders.
            AmperityRefusedError: the workflow cannot be started; a setting is wrong.
            AmperityError: it ended without loading everything, or it did not end in time and stays pending.
        """
        redaction = self.amperity.settings.redaction
        found = await asyncio.to_thread(stored_feeds, self.week, self.store, redaction)
        report = await self._load(found.version) if found.restaurants else None
        if report is None or found.problems:
            raise found.error()
        return report

    async def _load(self, version: str) -> WorkflowReport:
        config_id = self.amperity.settings.workflow_config_id
        if config_id is None or self.dry_run:
            return WorkflowReport(version, None)
        key = load_key(self.week, self.amperity.settings.tenant_id, config_id, version)
        known = await asyncio.to_thread(self._known, key)
        if known is not None and known.state == "loaded":
            return WorkflowReport(version, known.state, known.run_id, starts=known.starts)
        control = ControlPlane(self.amperity)
        doubtful = known is not None and known.state == "pending" and known.run_id is None
        if known is not None and known.state == "pending" and known.run_id is not None:
            return await self._settle(control, key, known, WorkflowReport(version, "pending"))
        known = await self._start(control, config_id, key, known, doubtful=doubtful)
        return await self._settle(
            control, key, known, WorkflowReport(version, "pending", started=True, doubtful=doubtful)
        )

    async def _start(
        self, control: ControlPlane, config_id: str, key: RecordKey, known: _Known | None, *, doubtful: bool
    ) -> _Known:
        if doubtful:
            self.log.warning(
                "An earlier delivery asked to start %s for week %s and never got an answer, so it may be running"
                " already. It is started again: files are loaded by upsert, a second load changes no row.",
                config_id,
                self.week.key,
            )
        asking = _Known("pending", None, epoch_ms(self.now()), (known.starts if known else 0) + 1)
        await self._note(key, asking)
        day = self.week.end.date()
        try:
            run_id = await control.start(config_id, day, day + timedelta(days=1))
        except AmperityRefusedError:
            # Refused for good: there is no run, and no doubt about it.
            await self._note(key, replace(asking, state="rejected"))
            raise
        started = replace(asking, run_id=run_id)
        await self._note(key, started)
        self.log.info("Started %s for the feeds of week %s: run %s.", config_id, self.week.key, run_id)
        return started

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

    async def _settle(
        self, control: ControlPlane, key: RecordKey, known: _Known, report: WorkflowReport
    ) -> WorkflowReport:
        run_id = known.run_id or ""
        load = await self._follow(control, run_id, datetime.fromtimestamp(known.asked_ms / 1000, UTC))
        if load.loaded:
            await self._note(key, replace(known, state="loaded"))
            return replace(report, state="loaded", run_id=run_id, tables=load.tables, starts=known.starts)
        if load.ended:
            # The next materialization starts it again.
            await self._note(key, replace(known, state="rejected"))
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

    def _known(self, key: RecordKey) -> _Known | None:
        """What the ledger has of this version."""
        ledger = read_ledger(self.store.bucket, self.store.layout.workflow_ledger(self.week))
        # Ingest jobs can be asked for seven days at most; what is older and still open is started anew.
        oldest = self.now() - timedelta(days=6)
        for row in ledger.to_pylist() if ledger is not None else ():
            if row["request_id"] == key.request_id:
                run_id = str(row["reason"] or "").removeprefix(_RUN).removeprefix(_ASKED) or None
                gone = row["state"] == "pending" and run_id is not None and row["updated_at"] < oldest
                state: State = "rejected" if gone else row["state"]
                return _Known(state, run_id, epoch_ms(row["updated_at"]), row["attempts"])
        return None

    async def _note(self, key: RecordKey, known: _Known) -> None:
        reason = _ASKED if known.run_id is None else _RUN + known.run_id
        entry = LedgerEntry(key, known.state, known.starts, None, reason, known.asked_ms)
        await asyncio.to_thread(self._save, entry)

    def _save(self, entry: LedgerEntry) -> None:
        fold_into(self.store.bucket, self.store.layout.workflow_ledger(self.week), [to_table([entry])])
