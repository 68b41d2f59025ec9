"""Checks on the way out: exports against the raw orders, and the delivery ledger against the exports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.amperity.records import FEED_METHODS, RecordKey, destination, order_version
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.check import CheckedWeek, CheckResult
from toast_assets.checks.facts import versions_digest
from toast_assets.delivery.feed_files import stored_feeds
from toast_assets.delivery.ledger import ARRIVED, LEDGER_SCHEMA, SETTLED, read_ledger
from toast_assets.delivery.outgoing import feed_streams, notice_key
from toast_assets.delivery.workflow import METHOD as S3_PULL
from toast_assets.delivery.workflow import load_key
from toast_assets.errors import StoreError
from toast_assets.export.read import export_problem
from toast_assets.scratch import scratch_folder
from toast_assets.store.client import CALLS_AT_ONCE
from toast_assets.store.manifest import PullRecord

_OTHER_STATES = ("superseded", "rejected", "pending")


def export_equals_raw(checked: CheckedWeek) -> CheckResult:
    """Every export unpacks and holds the stored orders, by count and hash. Blocks if none does: nothing else may
    leave.

    What is wrong at some restaurants is a warning, as the delivery leaves them out by itself; at all of them an error.
    Raises StoreError where the bucket is missing or refuses access.
    """
    stored, store = checked.manifest.stored, checked.store
    orders, problems = 0, []
    with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="exports") as threads:
        found = threads.map(partial(_export_problem, checked), stored, stored.values())
        for guid, (problem, count) in zip(stored, found, strict=True):
            orders += count
            if problem:
                uri = store.bucket.uri(store.layout.export(checked.week, guid))
                problems.append(f"{checked.named(guid)}: {uri} {problem}")
    return CheckResult(
        problems,
        f"{len(stored)} exports hold the {orders} stored orders, byte for byte.",
        warns=len(problems) < len(stored),
        figures={"exports": len(stored), "orders": orders, "wrong_exports": len(problems)},
    )


def _export_problem(checked: CheckedWeek, guid: str, pull: PullRecord) -> tuple[str | None, int]:
    with scratch_folder() as folder:
        path = folder / "export.json.gz"
        if not checked.store.bucket.fetch(checked.store.layout.export(checked.week, guid), path):
            return "is missing", 0
        return export_problem(path, checked.week, guid, pull)


def delivered_equals_exported(checked: CheckedWeek) -> CheckResult:
    """Amperity has accepted every exported order in its stored version and as it would be sent now, by the delivery
    ledger; a notice of every export, and a load of the feeds, where these methods are set. Accepted means an answer
    202, which Amperity gives for a stream that does not exist, too.

    What Amperity refused warns: it is kept among the rejects. What has no answer, or was never sent, is an error, and
    so is a restaurant whose ledger cannot be read. Raises StoreError where the bucket is missing or refuses access.
    """
    settings, stored = checked.amperity(), checked.manifest.stored
    counts: list[_Count] = []
    if set(settings.methods) - {S3_PULL}:
        facts = checked.facts.restaurants if "stream" in settings.methods else {}
        versions = {guid: of.versions for guid, of in facts.items()}
        with ThreadPoolExecutor(CALLS_AT_ONCE, thread_name_prefix="ledgers") as threads:
            for found in threads.map(partial(_counts_of, checked, settings, versions), stored):
                counts += found
    if S3_PULL in settings.methods and settings.workflow_config_id is not None:
        counts.append(_load(checked, settings, settings.workflow_config_id))
    if not counts:
        return CheckResult(fine="Amperity's couriers load the feeds on their own: there are no receipts to compare.")
    bad = [one for one in counts if not one.same]
    missing = sum(one.missing for one in bad)
    states = sum((one.states for one in counts), Counter[str]())
    accepted, superseded = sum(one.accepted for one in counts), states["superseded"]
    fine = f"Amperity has accepted all {accepted} records."
    if "stream" in settings.methods:
        fine = (
            f"Amperity answered 202 for all {accepted} records. It answers so for unknown streams, too: compare the"
            " number of records there, or run toast-assets doctor --canary."
        )
    return CheckResult(
        [one.problem for one in bad],
        fine,
        warns=not missing,
        figures={"accepted": accepted, "superseded": superseded, "rejected": states["rejected"], "missing": missing},
        heads=("restaurant", "method", "records", "accepted", *_OTHER_STATES),
        rows=[
            (one.restaurant, one.method, one.due, one.accepted, *(one.states[state] for state in _OTHER_STATES))
            for one in bad
        ],
        causes=[one.cause for one in bad if one.cause],
    )


def _counts_of(
    checked: CheckedWeek, settings: AmperitySettings, versions: Mapping[str, str], guid: str
) -> list[_Count]:
    name, week, store, pull = checked.named(guid), checked.week, checked.store, checked.manifest.stored[guid]
    try:
        ledger = read_ledger(store.bucket, store.layout.ledger(week, guid)) or LEDGER_SCHEMA.empty_table()
    except StoreError as error:
        methods = ", ".join(sorted(set(settings.methods) - {S3_PULL}))
        return [_Count(name, methods, pull.orders, unknown=str(error), cause=f"{error.code} {guid}")]
    counts = []
    if "stream" in settings.methods:
        rows = _of(ledger, "stream", destination(settings.tenant_id, settings.stream_id or ""))
        same = _settled_versions(rows, settings) == versions.get(guid)
        counts.append(_Count(name, "stream", pull.orders, _states(rows), same))
        # Of flat feeds the ledger has all rows that were due.
        for feed, stream_id in feed_streams(settings):
            rows = _of(ledger, FEED_METHODS + feed.name, destination(settings.tenant_id, stream_id))
            if rows.num_rows:
                states = _states(rows)
                unsettled = states["pending"] or states["rejected"]
                counts.append(_Count(name, FEED_METHODS + feed.name, rows.num_rows, states, same=not unsettled))
    if "notify" in settings.methods:
        counts.append(_one(name, notice_key(week, guid, pull, store, settings), ledger))
    return counts


@dataclass(frozen=True)
class _Count:
    """Records of one restaurant and method: ``due`` by what is stored, ``states`` counted in the ledger.

    ``superseded`` ones were not sent because a newer version had arrived with a later week. ``same`` says that what
    arrived is what is stored, version by version, and as it would be sent now. ``unknown`` is why that cannot be known,
    ``cause`` the code of that and the restaurant's GUID.
    """

    restaurant: str
    method: str
    due: int
    states: Counter[str] = field(default_factory=Counter)
    same: bool = False
    unknown: str = ""
    cause: str = ""

    @property
    def accepted(self) -> int:
        return sum(self.states[state] for state in ARRIVED)

    @property
    def missing(self) -> int:
        """Records that nothing is known of, or other versions than those that are stored: at least one if not same."""
        known = self.accepted + self.states["superseded"] + self.states["rejected"]
        return 0 if self.same else max(self.due - known, 0 if self.states["rejected"] else 1)

    @property
    def problem(self) -> str:
        if self.unknown:
            return f"{self.restaurant}: {self.unknown}"
        if self.missing and self.accepted + self.states["superseded"] >= self.due:
            return (
                f"{self.restaurant}: Amperity has other versions of some {self.method} records than would be sent now:"
                " the orders or the privacy rules have changed since; materialize amperity_delivery for the week"
            )
        others = "".join(f", {self.states[state]} {state}" for state in _OTHER_STATES if self.states[state])
        return f"{self.restaurant}: {self.accepted} of {self.due} {self.method} records accepted{others}"


def _settled_versions(orders: pa.Table, settings: AmperitySettings) -> str:
    """The ``versions_digest`` of the orders that need no more sending under the rules that hold."""
    settled = orders.filter(pc.is_in(orders["state"], pa.array(SETTLED)))
    columns = (settled[name].to_pylist() for name in ("record_id", "version", "order_version"))
    return versions_digest(
        (guid, of_order)
        for guid, version, of_order in zip(*columns, strict=True)
        if version == order_version(of_order or "", settings.redaction)
    )


def _of(ledger: pa.Table, method: str, destination: str) -> pa.Table:
    return ledger.filter(pc.and_(pc.equal(ledger["method"], method), pc.equal(ledger["destination"], destination)))


def _states(rows: pa.Table) -> Counter[str]:
    return Counter(rows["state"].to_pylist())


def _one(name: str, key: RecordKey, ledger: pa.Table) -> _Count:
    """A single record, by its request id, which stands for its version too."""
    states = _states(ledger.filter(pc.equal(ledger["request_id"], key.request_id)))
    return _Count(name, key.method, 1, states, same=any(states[state] for state in ARRIVED))


def _load(checked: CheckedWeek, settings: AmperitySettings, config_id: str) -> _Count:
    name, week, store = "all restaurants", checked.week, checked.store
    version, problem = stored_feeds(week, store, settings.redaction)
    if problem is not None:
        # Feed files that are missing, or older than the raw orders, cannot have been loaded.
        return _Count(name, S3_PULL, due=1)
    key = load_key(week, settings.tenant_id, config_id, version)
    ledger = read_ledger(store.bucket, store.layout.workflow_ledger(week)) or LEDGER_SCHEMA.empty_table()
    return _one(name, key, ledger)
