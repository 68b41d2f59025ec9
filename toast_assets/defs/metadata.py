"""What a person sees of each materialization: addresses, tables, and counts under stable names, which Dagster plots.
Nothing here holds guest data."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
import pyarrow as pa

from toast_assets import markdown
from toast_assets.amperity.feeds.build import FEEDS
from toast_assets.delivery.deliver import DeliveryReport
from toast_assets.delivery.feed_files import FeedsReport
from toast_assets.delivery.ledger import LEDGER_SCHEMA
from toast_assets.delivery.preview import NOTE
from toast_assets.delivery.retries import Retries
from toast_assets.delivery.streams import HOW_TO_CHECK
from toast_assets.delivery.workflow import WorkflowReport
from toast_assets.errors import split_code
from toast_assets.export.write import ExportReport
from toast_assets.orders.raw_file import RAW_SCHEMA
from toast_assets.orders.read import Rejection
from toast_assets.pull.week import PullReport
from toast_assets.store.manifest import CensusRecord, full_name
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week

Metadata = Mapping[str, Any]
Named = Callable[[str], str]
"""Gives a restaurant's name with its GUID, by its GUID."""

# Stands for the GUID in the address of files of which there is one per restaurant.
ANY = "GUID"
_CALLS = ("requests", "retries", "throttled")


def _columns(schema: pa.Schema, **descriptions: str) -> list[dg.TableColumn]:
    return [dg.TableColumn(field.name, str(field.type), descriptions[field.name]) for field in schema]


RAW_COLUMNS = dg.TableSchema(
    _columns(
        RAW_SCHEMA,
        restaurant_guid="Toast's GUID of the restaurant (the request's header).",
        order_guid="Toast: Order.guid. One row per order.",
        modified_at="Toast: Order.modifiedDate of the newest version.",
        business_date="Toast: Order.businessDate, the restaurant's local business day.",
        deleted="Toast: Order.deleted.",
        voided="Toast: Order.voided.",
        pulled_at="When this version was read from Toast.",
        order_json="The order's JSON, byte for byte as Toast sent it (UTF-8).",
        version="SHA-256 of the bytes in `order_json`, hexadecimal.",
    )
)
EXPORT_COLUMNS = dg.TableSchema(
    [
        dg.TableColumn("orders", "array of objects", "The orders as Toast sent them, each with its restaurant."),
        *(
            dg.TableColumn(f"metadata.{name}", kind, description)
            for name, kind, description in (
                ("fetch_date", "string", "When the pull of the restaurant ended, ISO-8601 in UTC."),
                ("start_date", "string", "The week's begin, inclusive, ISO-8601 in UTC."),
                ("end_date", "string", "The week's end, exclusive, ISO-8601 in UTC."),
                ("total_orders", "integer", "Orders in this file."),
                ("restaurant_guid", "string", "Toast's GUID of the restaurant."),
                ("partition", "string", "The week, by its first day."),
                ("orders_sha256", "string", "SHA-256 of the orders, one line each, hexadecimal."),
            )
        ),
    ]
)
FEED_COLUMNS = dg.TableSchema(
    [
        dg.TableColumn(f"{feed.name}.{name}", column.type, column.description)
        for feed in FEEDS.values()
        for name, column in feed.columns.items()
    ]
)
LEDGER_COLUMNS = dg.TableSchema(
    _columns(
        LEDGER_SCHEMA,
        restaurant_guid="Toast's GUID of the restaurant.",
        record_id="The order's GUID where whole orders are sent, else the key of the feed's row.",
        order_guid="The order that the record is or belongs to; null for a record of several orders.",
        method="stream (whole orders), stream_FEED (rows of a feed), notify, s3_pull.",
        destination="Tenant and stream, or where notices go.",
        version="Changes with each change of what is sent, so also with AMPERITY_REDACT.",
        order_version="For a whole order: the version of its raw row, the SHA-256 of Toast's JSON.",
        modified_at="When Toast last modified the content; null for a record that is not Toast's.",
        state="pending (no answer yet), accepted, loaded, rejected, or superseded (a newer version had arrived).",
        request_id="X-Request-Id of the call: one for each version, and the same when it is sent again.",
        attempts="Calls that this version took, in all runs.",
        status="HTTP status of the last answer; null where there was no answer.",
        reason="Why it is in this state, where that needs a reason.",
        updated_at="When the state was noted; for accepted the time of Amperity's answer.",
    )
)

# Long tables are for the bucket; the UI shows the head and says so.
_MOST_ROWS = 100


def raw_metadata(report: PullReport, store: OrderStore) -> Metadata:
    """Metadata of ``raw_toast_orders``."""
    manifest, restaurants = report.manifest, report.restaurants
    orders = sum(pull.orders for pull in manifest.stored.values())
    new, changed = sum(one.new for one in restaurants), sum(one.changed for one in restaurants)
    calls = {name: sum(getattr(one.calls, name) for one in restaurants) for name in _CALLS}
    heads = ("restaurant", "orders", "census", "requests", "seconds")
    rows = [
        (
            manifest.named(one.guid),
            "failed" if one.failure else f"{one.orders}{_in_brackets(new=one.new, changed=one.changed)}",
            _census(manifest.restaurants[one.guid].census),
            f"{one.calls.requests}{_in_brackets(retries=one.calls.retries, throttled=one.calls.throttled)}",
            f"{one.seconds:.1f}",
        )
        for one in restaurants
    ]
    return {
        "dagster/row_count": orders,
        "dagster/uri": store.bucket.uri(store.layout.raw_folder(report.week)),
        "orders": orders,
        "new_orders": new,
        "changed_orders": changed,
        "unchanged_orders": orders - new - changed,
        "restaurants": len(manifest.stored),
        **failed_restaurants(manifest.failures, manifest.named),
        "bytes": sum(pull.bytes for pull in manifest.stored.values()),
        "requests": calls.pop("requests"),
        **_without_zeros(calls),
        "other_requests": f"{report.census_requests} for the census, {report.configuration_requests} for the"
        f" configuration, {report.logins} to log in",
        "seconds": round(report.seconds, 2),
        "per_restaurant": markdown_table(heads, rows),
        **_files(store, files=store.layout.raw(report.week, ANY), manifest=store.layout.manifest(report.week)),
    }


def _census(taken: CensusRecord | None) -> str:
    """What became of the orders that Toast lists for a restaurant's business days."""
    if taken is None:
        return "not taken"
    return f"not available ({taken.in_words('orders')})" if taken.failure else taken.in_words("orders")


def _in_brackets(**counts: int) -> str:
    """The counts that are not zero, for the end of a cell."""
    found = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f" ({found})" if found else ""


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    """Of counts that are seldom more than zero, those that are: the others would be flat plots."""
    return {name: count for name, count in counts.items() if count}


def _files(store: OrderStore, **keys: str) -> Metadata:
    """Addresses as text: a browser cannot open a link to S3."""
    return {name: store.bucket.uri(key) for name, key in keys.items()}


def export_metadata(report: ExportReport, store: OrderStore) -> Metadata:
    """Metadata of ``toast_orders_s3_export``."""
    named = partial(full_name, report.records)
    rows = [
        (named(one.metadata.restaurant_guid), one.metadata.total_orders, f"{one.bytes / 1000:.0f}")
        for one in report.exports
    ]
    orders = sum(one.metadata.total_orders for one in report.exports)
    return {
        "dagster/row_count": orders,
        "dagster/uri": store.bucket.uri(store.layout.prefix),
        "orders": orders,
        "restaurants": len(report.exports),
        **failed_restaurants(report.problems, named),
        "bytes": sum(one.bytes for one in report.exports),
        "seconds": round(report.seconds, 2),
        "per_restaurant": markdown_table(("restaurant", "orders", "KB"), rows),
        **_files(store, files=store.layout.export(report.week, ANY)),
    }


def failed_restaurants(problems: Mapping[str, str], named: Named) -> Metadata:
    """Restaurants that failed, each with its reason."""
    rows = [(named(guid), *split_code(reason)) for guid, reason in problems.items()]
    failures = {"failures": markdown_table(("restaurant", "reason", "code"), rows)} if rows else {}
    return {"failed_restaurants": len(problems), **failures}


def unconverted(rejections: Sequence[Rejection], nulled: Mapping[str, int], named: Named) -> Metadata:
    """Orders that were left out, each with its reason, and optional fields that are null because Toast sent them with
    an unexpected type; empty without any."""
    metadata: dict[str, Any] = {}
    if nulled:
        metadata["nulled_values"] = sum(nulled.values())
        metadata["nulled_fields"] = markdown_table(("field", "values"), sorted(nulled.items()))
    if rejections:
        rows = [(named(one.restaurant_guid), one.order_guid, one.reason.value, one.detail) for one in rejections]
        metadata["rejections"] = markdown_table(("restaurant", "order", "reason", "detail"), rows)
    return metadata


def delivery_metadata(report: DeliveryReport, store: OrderStore) -> dict[str, Any]:
    """Metadata of ``amperity_delivery``. A dry run has only keys of its own: Dagster shows an observation's values in
    the place of the week's materialization's."""
    reasons = list(report.reject_reasons.items())
    if report.dry_run:
        first = f"{NOTE}\n\n```json\n{report.first_record}\n```"
        return {
            "dry_run": f"Nothing was sent; would send {report.would_send} of {report.records} records.",
            "would_send": report.would_send,
            **({"first_record": dg.MetadataValue.md(first)} if report.first_record else {}),
            **({"would_reject": markdown_table(("reason", "records"), reasons)} if reasons else {}),
        }
    names = ("records", "accepted", "unchanged", "rejected", "pending", "superseded")
    totals = {name: sum(getattr(one, name) for one in report.methods.values()) for name in names}
    rows = [
        (method, one.records, ", ".join(f"{getattr(one, name)} {name}" for name in names[1:] if getattr(one, name)))
        for method, one in report.methods.items()
    ]
    superseded = totals.pop("superseded")
    metadata: dict[str, Any] = {
        "dagster/uri": store.bucket.uri(store.layout.deliveries(report.week)),
        **totals,
        **_without_zeros({"superseded": superseded}),
        "requests": report.calls.requests,
        **_without_zeros({"retries": report.calls.retries, "throttled": report.calls.throttled}),
        "bytes": report.calls.bytes,
        "seconds": round(report.seconds, 2),
        "by_method": markdown_table(("method", "records", "outcome"), rows),
        "legend": "accepted: Amperity took it in this run. unchanged: it had arrived before. rejected: Amperity refused"
        " it. pending: no answer yet, the next run sends it. superseded: a newer version came with a later week.",
        **_files(store, ledger=store.layout.ledger(report.week, ANY)),
    }
    if report.new_streams:
        metadata["first_records_for"] = f"{', '.join(report.new_streams)}. {HOW_TO_CHECK}"
    if reasons:
        metadata |= _files(store, rejects=store.layout.rejects(report.week))
        metadata["reject_reasons"] = markdown_table(("reason", "records"), reasons)
    return metadata


def retries_metadata(retries: Retries) -> dict[str, Any]:
    """Metadata of ``amperity_delivery`` about rejects of other weeks; empty where none were due."""
    metadata: dict[str, Any] = {}
    if retries.weeks:
        metadata["retried_weeks"] = ", ".join(retries.weeks)
        metadata |= {"retried_accepted": retries.accepted, "retried_rejected": retries.rejected}
    if retries.left:
        metadata["retries_left"] = ", ".join(retries.left)
    if retries.problems:
        metadata["retry_problems"] = markdown_table(("week", "problem"), list(retries.problems.items()))
    return metadata


def feeds_metadata(report: FeedsReport, week: Week, store: OrderStore) -> Metadata:
    """Metadata of ``amperity_feeds``."""
    named = partial(full_name, report.records)
    rows = [(named(one.restaurant_guid), one.feed, one.rows, f"{one.bytes / 1000:.0f}") for one in report.files]
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
        "per_restaurant": markdown_table(("restaurant", "feed", "rows", "KB"), rows),
        **_files(store, **{f"{feed}_files": store.layout.feed(week, ANY, feed) for feed in FEEDS}),
        **unconverted(report.rejections, report.nulled, named),
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
        counts = ("read", "inserted", "updated", "rejected")
        rows = [
            (
                table.table_name,
                f"{table.state} ({table.errors})" if table.errors else table.state,
                *(getattr(table, name) for name in counts),
            )
            for table in report.tables
        ]
        metadata["loaded_rows"] = sum((table.inserted or 0) + (table.updated or 0) for table in report.tables)
        metadata["load_rejected_rows"] = sum(table.rejected or 0 for table in report.tables)
        metadata["loaded"] = markdown_table(("table", "state", *counts), rows)
    return metadata


def markdown_table(heads: Sequence[str], rows: Sequence[Iterable[object]]) -> dg.MarkdownMetadataValue:
    """A Markdown table of cells that hold any text; a long one is cut, with a line that says so."""
    text = markdown.table(heads, (map(markdown.escaped, row) for row in rows[:_MOST_ROWS]))
    if len(rows) > _MOST_ROWS:
        text += f"\n… and {len(rows) - _MOST_ROWS} more."
    return dg.MetadataValue.md(text)
