"""What the delivery ledger proves: Amperity has what was exported, by each of the methods that are set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from toast_assets.amperity.feeds.files import feeds_version
from toast_assets.amperity.records import RecordKey, destination, order_version
from toast_assets.amperity.settings import AmperitySettings
from toast_assets.checks.facts import versions_digest
from toast_assets.checks.inspection import Inspection
from toast_assets.checks.verdicts import Verdict, named, verdict
from toast_assets.delivery.ledger import ARRIVED, LEDGER_SCHEMA, read_ledger
from toast_assets.delivery.outgoing import feed_streams, notice_key
from toast_assets.delivery.rejects import FEED_METHODS
from toast_assets.delivery.workflow import METHOD as S3_PULL
from toast_assets.delivery.workflow import load_key
from toast_assets.errors import ExportError, StoreError
from toast_assets.store.manifest import Manifest, PullRecord
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week


@dataclass(frozen=True)
class _Count:
    """Records of one restaurant and method: due by what is stored, and by what the ledger says of them.

    ``superseded`` ones were not sent because a newer version had arrived with a later week. ``same`` says that what
    arrived is what is stored, version by version, and as it would be sent now. ``unknown`` says why nobody can tell.
    """

    place: str
    method: str
    due: int
    accepted: int = 0
    superseded: int = 0
    rejected: int = 0
    pending: int = 0
    same: bool = False
    unknown: str = ""

    @property
    def missing(self) -> int:
        """Records that nothing is known of, or other versions than those that are stored: at least one if not same."""
        known = self.accepted + self.superseded + self.rejected
        return 0 if self.same else max(self.due - known, 0 if self.rejected else 1)

    @property
    def problem(self) -> str:
        """In words."""
        if self.unknown:
            return f"{self.place}: {self.unknown}"
        if self.missing and self.accepted + self.superseded >= self.due:
            return (
                f"{self.place}: Amperity has other versions of some {self.method} records than would be sent now:"
                " the orders or the privacy rules have changed since; materialize amperity_delivery for the week"
            )
        found = f"{self.place}: {self.accepted} of {self.due} {self.method} records accepted"
        for name, count in (("superseded", self.superseded), ("rejected", self.rejected), ("pending", self.pending)):
            found += f", {count} {name}" if count else ""
        return found


def delivered_equals_exported(
    week: Week, manifest: Manifest, inspected: Callable[[], Inspection], store: OrderStore, settings: AmperitySettings
) -> Verdict:
    """The ledger says of every order, notice and feed that Amperity has it, in the version that is stored and as it
    would be sent now.

    What Amperity refused warns: it is kept among the rejects. What has no answer, or was never sent, is an error, and
    so is a restaurant whose ledger cannot be read.

    Raises:
        StoreError: the bucket is missing or refuses access.
    """
    counts: list[_Count] = []
    methods = set(settings.methods) & {"stream", "notify"}
    for guid, pull in manifest.stored.items() if methods else ():
        place = named(manifest, guid)
        try:
            ledger = read_ledger(store.bucket, store.layout.ledger(week, guid)) or LEDGER_SCHEMA.empty_table()
        except StoreError as error:
            counts.append(_Count(place, ", ".join(sorted(methods)), pull.orders, unknown=str(error)))
            continue
        if "stream" in methods:
            facts = inspected().restaurants.get(guid)
            counts.append(_orders(place, pull, ledger, settings, facts.versions if facts else ""))
            counts += _feed_rows(place, ledger, settings)
        if "notify" in methods:
            counts.append(_one(place, notice_key(week, guid, pull, store, settings), ledger))
    if S3_PULL in settings.methods and settings.workflow_config_id is not None:
        counts.append(_load(week, store, settings, settings.workflow_config_id))
    return _verdict(counts)


def _verdict(counts: list[_Count]) -> Verdict:
    if not counts:
        return Verdict(True, "Amperity's couriers load the feeds on their own: there are no receipts to compare.")
    bad = [one for one in counts if not one.same]
    missing = sum(one.missing for one in bad)
    accepted = sum(one.accepted for one in counts)
    superseded = sum(one.superseded for one in counts)
    newer = f"; of {superseded} more it had newer versions" if superseded else ""
    return verdict(
        [one.problem for one in bad],
        f"Amperity has accepted all {accepted} records{newer}.",
        warns=not missing,
        figures={
            "accepted": accepted,
            "superseded": superseded,
            "rejected": sum(one.rejected for one in counts),
            "missing": missing,
        },
        heads=("restaurant", "method", "records", "accepted", "superseded", "rejected", "pending"),
        rows=[(one.place, one.method, one.due, one.accepted, one.superseded, one.rejected, one.pending) for one in bad],
    )


def _orders(place: str, pull: PullRecord, ledger: pa.Table, settings: AmperitySettings, stored: str) -> _Count:
    """Whole orders in their versions; ``stored`` stands for all that are stored."""
    rows = _of(ledger, "stream", destination(settings.tenant_id, settings.stream_id or ""))
    settled = rows.filter(pc.is_in(rows["state"], pa.array([*ARRIVED, "superseded"])))
    redaction = settings.redaction
    columns = (settled[name].to_pylist() for name in ("record_id", "version", "order_version"))
    versions = {
        guid: of_order
        for guid, version, of_order in zip(*columns, strict=True)
        if version == order_version(of_order or "", redaction)
    }
    return _counted(place, "stream", rows, due=pull.orders, same=versions_digest(versions) == stored)


def _feed_rows(place: str, ledger: pa.Table, settings: AmperitySettings) -> Iterator[_Count]:
    """Rows of flat feeds, where they are streamed: those that the ledger knows, which are all that were due."""
    for feed, stream_id in feed_streams(settings):
        rows = _of(ledger, FEED_METHODS + feed.name, destination(settings.tenant_id, stream_id))
        if rows.num_rows:
            unsettled = pc.any(pc.is_in(rows["state"], pa.array(["pending", "rejected"]))).as_py()
            yield _counted(place, FEED_METHODS + feed.name, rows, due=rows.num_rows, same=not unsettled)


def _of(ledger: pa.Table, method: str, destination: str) -> pa.Table:
    return ledger.filter(pc.and_(pc.equal(ledger["method"], method), pc.equal(ledger["destination"], destination)))


def _one(place: str, key: RecordKey, ledger: pa.Table) -> _Count:
    """A single record, by its request id, which stands for its version too."""
    rows = ledger.filter(pc.equal(ledger["request_id"], key.request_id))
    arrived = bool(pc.any(pc.is_in(rows["state"], pa.array(ARRIVED))).as_py())
    return _counted(place, key.method, rows, due=1, same=arrived)


def _load(week: Week, store: OrderStore, settings: AmperitySettings, config_id: str) -> _Count:
    """The workflow that loads the feeds, for the files that are stored now."""
    place = "all restaurants"
    try:
        key = load_key(week, settings.tenant_id, config_id, feeds_version(week, store, settings.redaction))
    except ExportError:
        # Feed files that are missing, or older than the raw orders, cannot have been loaded.
        return _Count(place, S3_PULL, due=1)
    ledger = read_ledger(store.bucket, store.layout.workflow_ledger(week)) or LEDGER_SCHEMA.empty_table()
    return _one(place, key, ledger)


def _counted(place: str, method: str, rows: pa.Table, *, due: int, same: bool) -> _Count:
    states = Counter(rows["state"].to_pylist())
    return _Count(
        place,
        method,
        due=due,
        accepted=sum(states[state] for state in ARRIVED),
        superseded=states["superseded"],
        rejected=states["rejected"],
        pending=states["pending"],
        same=same,
    )
