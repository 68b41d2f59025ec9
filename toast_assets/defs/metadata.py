"""What a person sees of each materialization: addresses, tables, and counts under stable names, which Dagster plots.
Nothing here holds guest data."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from toast_assets import markdown
from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.delivery.deliver import DeliveryReport
from toast_assets.delivery.feed_files import FeedsReport
from toast_assets.delivery.workflow import WorkflowReport
from toast_assets.export.write import ExportReport
from toast_assets.orders.raw_file import RAW_SCHEMA
from toast_assets.orders.read import Rejection
from toast_assets.pull.week import PullReport
from toast_assets.store.manifest import CensusRecord
from toast_assets.store.order_store import OrderStore

Metadata = Mapping[str, Any]

_DESCRIPTIONS = {
    "restaurant_guid": "Toast's GUID of the restaurant (the request's header).",
    "order_guid": "Toast: Order.guid. One row per order.",
    "modified_at": "Toast: Order.modifiedDate of the newest version.",
    "business_date": "Toast: Order.businessDate, the restaurant's local business day.",
    "deleted": "Toast: Order.deleted.",
    "voided": "Toast: Order.voided.",
    "pulled_at": "When this version was read from Toast.",
    "order_json": "The order's JSON, byte for byte as Toast sent it (UTF-8).",
    "version": "SHA-256 of the bytes in `order_json`, hexadecimal.",
}
RAW_COLUMNS = dg.TableSchema(
    [dg.TableColumn(field.name, str(field.type), _DESCRIPTIONS[field.name]) for field in RAW_SCHEMA]
)

# Long tables are for the bucket; the UI shows the head and says so.
_MOST_ROWS = 100


def raw_metadata(report: PullReport, store: OrderStore) -> Metadata:
    """Metadata of ``raw_toast_orders``."""
    stored, restaurants = report.manifest.stored, report.restaurants
    orders = sum(pull.orders for pull in stored.values())
    new, changed = sum(one.new for one in restaurants), sum(one.changed for one in restaurants)
    calls = ("requests", "retries", "throttled")
    heads = ("restaurant", "outcome", "orders", "new", "changed", "census", "requests", "retries", "429s", "seconds")
    rows = []
    for one in restaurants:
        outcome = "failed" if one.failure else "complete"
        counts = (one.orders, one.new, one.changed, _census(report.manifest.restaurants[one.guid].census))
        took = (*(getattr(one.calls, name) for name in calls), f"{one.seconds:.1f}")
        rows.append((one.name or one.guid, outcome, *counts, *took))
    return {
        "dagster/row_count": orders,
        "dagster/uri": store.bucket.uri(store.layout.raw_folder(report.week)),
        "orders": orders,
        "new_orders": new,
        "changed_orders": changed,
        "unchanged_orders": orders - new - changed,
        "restaurants": len(stored),
        "failed_restaurants": len(report.manifest.failures),
        "bytes": sum(pull.bytes for pull in stored.values()),
        **{name: sum(getattr(one.calls, name) for one in restaurants) for name in calls},
        "configuration_requests": report.configuration_requests,
        "census_requests": report.census_requests,
        "logins": report.logins,
        "seconds": round(report.seconds, 2),
        "manifest": dg.MetadataValue.url(store.bucket.uri(store.layout.manifest(report.week))),
        "per_restaurant": markdown_table(heads, rows),
    }


def _census(taken: CensusRecord | None) -> str:
    """What became of the orders that Toast lists for a restaurant's business days."""
    if taken is None:
        return "not taken"
    counts = taken.total("orders").items()
    text = ", ".join(f"{count} {verdict}" for verdict, count in counts if count or verdict == "listed")
    return f"not available ({text})" if taken.failure else text


def export_metadata(report: ExportReport, store: OrderStore) -> Metadata:
    """Metadata of ``toast_orders_s3_export``."""
    rows = [
        (one.metadata.restaurant_guid, one.metadata.total_orders, one.bytes, markdown.code(store.bucket.uri(one.key)))
        for one in report.exports
    ]
    orders = sum(one.metadata.total_orders for one in report.exports)
    return {
        "dagster/row_count": orders,
        "dagster/uri": store.bucket.uri(store.layout.prefix),
        "orders": orders,
        "restaurants": len(report.exports),
        "bytes": sum(one.bytes for one in report.exports),
        "seconds": round(report.seconds, 2),
        "objects": markdown_table(("restaurant", "orders", "bytes", "object"), rows),
        **failed_restaurants(report.problems),
    }


def failed_restaurants(problems: Mapping[str, str]) -> Metadata:
    """Restaurants that failed, each with its reason."""
    failures = {"failures": markdown_table(("restaurant", "reason"), list(problems.items()))} if problems else {}
    return {"failed_restaurants": len(problems), **failures}


def unconverted(rejections: Sequence[Rejection], nulled: Mapping[str, int]) -> Metadata:
    """Orders that were left out, each with its reason, and optional fields that are null because Toast sent them with
    an unexpected type; empty without any."""
    metadata: dict[str, Any] = {}
    if nulled:
        metadata["nulled_values"] = sum(nulled.values())
        metadata["nulled_fields"] = markdown_table(("field", "values"), sorted(nulled.items()))
    if rejections:
        rows = [(one.order_guid, one.restaurant_guid, one.reason.value, one.detail) for one in rejections]
        metadata["rejections"] = markdown_table(("order", "restaurant", "reason", "detail"), rows)
    return metadata


def delivery_metadata(report: DeliveryReport, store: OrderStore) -> dict[str, Any]:
    """Metadata of ``amperity_delivery``."""
    names = ("records", "accepted", "unchanged", "superseded", "rejected", "pending")
    heads = ("method", "records", "accepted", "had arrived before", "superseded", "rejected", "pending")
    rows = [(method, *(getattr(one, name) for name in names)) for method, one in report.methods.items()]
    metadata: dict[str, Any] = {
        "dagster/uri": store.bucket.uri(store.layout.deliveries(report.week)),
        **{name: sum(getattr(one, name) for one in report.methods.values()) for name in names},
        **{name: getattr(report.calls, name) for name in ("requests", "retries", "throttled", "bytes")},
        "seconds": round(report.seconds, 2),
        "by_method": markdown_table(heads, rows),
    }
    if report.dry_run:
        metadata["dry_run"] = f"Nothing was sent; {report.would_send} records would have been."
        metadata["would_send"] = report.would_send
    if report.reject_reasons:
        if not report.dry_run:
            metadata["rejects"] = dg.MetadataValue.url(store.bucket.uri(store.layout.rejects(report.week)))
        metadata["reject_reasons"] = markdown_table(("reason", "records"), list(report.reject_reasons.items()))
    return metadata


def feeds_metadata(report: FeedsReport, store: OrderStore) -> Metadata:
    """Metadata of ``amperity_feeds``."""
    rows = [(file.feed, file.restaurant_guid, file.rows, file.bytes, markdown.code(file.key)) for file in report.files]
    counts = Counter(dict.fromkeys(FEEDS, 0))
    for file in report.files:
        counts[file.feed] += file.rows
    return {
        "dagster/row_count": counts.total(),
        "dagster/uri": store.bucket.uri(f"{store.layout.prefix}amperity/"),
        **{f"{feed}_rows": count for feed, count in counts.items()},
        "bytes": sum(file.bytes for file in report.files),
        "rejected_orders": len(report.rejections),
        "not_guests_orders": report.left_out,
        "seconds": round(report.seconds, 2),
        "files": markdown_table(("feed", "restaurant", "rows", "bytes", "object"), rows),
        **unconverted(report.rejections, report.nulled),
    }


def load_metadata(report: WorkflowReport | None) -> dict[str, Any]:
    """Metadata of ``amperity_delivery`` about what Amperity loaded by ``s3_pull``; empty where that is off."""
    if report is None:
        return {}
    if report.state is None:
        return {"s3_pull": "The feed files are in place; Amperity's couriers load them on their own schedule."}
    metadata: dict[str, Any] = {
        "workflow_run": report.run_id or "",
        "load_state": report.state,
        "workflow_starts": report.starts,
    }
    if report.doubtful:
        metadata["workflow_started_again"] = (
            "An earlier start was never answered, so the workflow may have run twice; by upsert no row is doubled."
        )
    if report.tables:
        names = ("table_name", "state", "read", "inserted", "updated", "rejected", "errors")
        rows = [[getattr(table, name) for name in names] for table in report.tables]
        metadata["loaded_rows"] = sum((table.inserted or 0) + (table.updated or 0) for table in report.tables)
        metadata["load_rejected_rows"] = sum(table.rejected or 0 for table in report.tables)
        metadata["loaded"] = markdown_table(("table", *names[1:]), rows)
    return metadata


def markdown_table(heads: Sequence[str], rows: Sequence[Iterable[object]]) -> dg.MarkdownMetadataValue:
    """A Markdown table of cells that hold any text; a long one is cut, with a line that says so."""
    text = markdown.table(heads, (map(markdown.escaped, row) for row in rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        text += f"\n… and {len(rows) - _MOST_ROWS} more."
    return dg.MetadataValue.md(text)
