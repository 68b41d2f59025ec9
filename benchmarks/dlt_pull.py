"""The same pull with dlt: its ``rest_api`` source, paged, into gzipped JSONL files, one line an order.

dlt would unpack nested arrays into tables of their own; that costs it much more time, so it is told not to.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.weeks import WEEK
from toast_assets.orders.times import format_time


def run_dlt(url: str, folder: Path, restaurants: Sequence[str]) -> int:
    """Run one pipeline over all restaurants, with its state and its output below ``folder``; the number of orders."""
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "NORMALIZE__WORKERS": str(os.cpu_count() or 1),
    }
    import dlt
    from dlt.sources.rest_api import RESTAPIConfig, rest_api_source

    config: RESTAPIConfig = {
        "client": {"base_url": url},
        "resources": [
            {
                "name": f"orders_{number}",
                "table_name": "orders",
                "primary_key": "guid",
                "write_disposition": "append",
                "max_table_nesting": 0,
                "endpoint": {
                    "path": "orders/v2/ordersBulk",
                    "headers": {"Toast-Restaurant-External-ID": guid},
                    "params": {
                        "startDate": format_time(WEEK.start_ms),
                        "endDate": format_time(WEEK.end_ms),
                        "pageSize": 100,
                    },
                    "paginator": {
                        "type": "page_number",
                        "base_page": 1,
                        "total_path": None,
                        "stop_after_empty_page": True,
                    },
                    "data_selector": "$",
                },
            }
            for number, guid in enumerate(restaurants)
        ],
    }
    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=str(folder / "state"),
        destination=dlt.destinations.filesystem(bucket_url=(folder / "out").as_uri()),
        dataset_name="toast",
    )
    pipeline.run(rest_api_source(config), loader_file_format="jsonl")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    return counts["orders"]
