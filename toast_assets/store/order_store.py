"""The order store: the bucket seen as weeks and restaurants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from toast_assets.errors import StoreError
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import ABSENT, Bucket, Version
from toast_assets.store.client import s3_client
from toast_assets.store.layout import Layout, restaurant_in, week_in
from toast_assets.store.manifest import Manifest, decode_manifest
from toast_assets.store.s3_errors import readable
from toast_assets.store.settings import StoreSettings
from toast_assets.week import Week

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_s3 import S3Client

CURRENT_ORDERS = "current_orders"
PARQUET = "application/vnd.apache.parquet"


class OrderStore:
    """Raw orders, exports, manifests and ledgers of all weeks, in one bucket under one prefix.

    Every method raises StoreError where the bucket is missing or refuses access, or an object cannot be read.
    """

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.bucket = bucket
        self.layout = Layout(prefix)

    @classmethod
    def from_environment(cls) -> Self:
        """The store that ``S3_BUCKET_NAME`` and ``S3_PREFIX`` name; the AWS SDK finds credentials, region, endpoint.

        Raises:
            SettingsError: a variable is missing or malformed.
            StoreError: one of the AWS SDK's own is, or its credentials cannot be had.
        """
        return cls.of(s3_client(), StoreSettings.from_environment())

    @classmethod
    def of(cls, client: S3Client, settings: StoreSettings) -> Self:
        """The store that ``settings`` describe, through one S3 client, which threads may share; a StoreError where that
        would send everything unencrypted."""
        properties = {"ServerSideEncryption": settings.sse, "SSEKMSKeyId": settings.kms_key_id}
        encryption = {name: value for name, value in properties.items() if value}
        return cls(Bucket(client, settings.bucket, encryption), settings.prefix)

    def pulled_weeks(self) -> list[str]:
        """The partition keys of the weeks that have a manifest, oldest first."""
        folder = self.layout.manifests
        return sorted(filter(None, (week_in(key, folder, ".json") for key in self.bucket.keys(folder))))

    def load_manifest(self, week: Week) -> tuple[Manifest | None, Version]:
        """The week's manifest and its version; None and ``ABSENT`` where the week was never pulled."""
        found = self.bucket.read(self.layout.manifest(week))
        return (self.read_manifest(week, found[0]), found[1]) if found else (None, ABSENT)

    def read_manifest(self, week: Week, body: bytes) -> Manifest:
        """The manifest in the ``body`` of a week's object, or a StoreError."""
        hint = "Restore an earlier version of the object, or remove it and materialize the week again."
        with readable(self.bucket.uri(self.layout.manifest(week)), hint):
            return decode_manifest(body)

    def raw_restaurants(self, week: Week) -> frozenset[str]:
        """The restaurants of which there is a raw file."""
        folder = self.layout.raw_folder(week)
        found = (restaurant_in(key, folder, ".parquet") for key in self.bucket.keys(folder))
        return frozenset(guid for guid in found if guid)

    def sha256(self, key: str) -> str | None:
        """The hash of the content that an object was stored with; None where there is no object, or it does not say."""
        info = self.bucket.info(key)
        return info.metadata.get("sha256") if info else None

    def table_weeks(self, table: str) -> list[str]:
        """The partition keys of the weeks of which ``table`` is stored, oldest first."""
        folder = self.layout.table_folder(table)
        return sorted(filter(None, (week_in(key, folder, f"/{table}.parquet") for key in self.bucket.keys(folder))))

    def load_table(
        self, table: str, week_key: str | None = None, *, columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """A week of a flat table, or all of ``current_orders``, with exact types (``pandas.ArrowDtype``).

        >>> store = OrderStore.from_environment()
        >>> orders = store.load_table("orders", "2025-09-15")
        >>> sales = store.load_table("current_orders", columns=["business_date", "restaurant_guid", "net_sales"])

        The same files in DuckDB, over as many weeks as wanted, ``week`` being the partition key::

            SELECT business_date, restaurant_guid, sum(net_sales) AS net_sales
            FROM read_parquet('s3://BUCKET/toast-orders/tables/current_orders/*.parquet')
            GROUP BY ALL ORDER BY ALL

            SELECT week, display_name, sum(quantity) AS sold
            FROM read_parquet('s3://BUCKET/toast-orders/tables/order_items/*/*.parquet', hive_partitioning = true)
            WHERE depth = 0 AND counts AND NOT voided
            GROUP BY ALL ORDER BY sold DESC

        Raises:
            StoreError: there is no such table or column, or it was not made for that week.
        """
        import pandas as pd  # half a second that runs of the pipeline do not need

        if (week_key is None) != (table == CURRENT_ORDERS):
            wanted = "covers all weeks: name none" if week_key else "is kept by week: name one, such as 2025-09-15"
            raise StoreError(f"The table {table} {wanted}.", hint=f"Newest state over all weeks: {CURRENT_ORDERS}.")
        folder = self.layout.table_folder(table)
        keys = [self.layout.table(table, week_key)] if week_key else list(self.bucket.keys(folder))
        parts = []
        with scratch_folder() as scratch, readable(self.bucket.uri(folder), f"Materialize {table} again."):
            for key in keys:
                is_table = week_key or restaurant_in(key, folder, ".parquet")
                if not is_table or not self.bucket.fetch(key, scratch / "table.parquet"):
                    continue
                hint = f"Remove it and materialize {table} again."
                with readable(self.bucket.uri(key), hint), pq.ParquetFile(scratch / "table.parquet") as file:
                    names = file.schema_arrow.names
                    if unknown := [name for name in columns or () if name not in names]:
                        text = f"The table {table} has no column {unknown[0]}."
                        raise StoreError(text, hint=f"It has {', '.join(names)}.")
                    parts.append(file.read(columns=list(columns) if columns else None))
            if not parts:
                raise self._not_made(table, week_key)
            frame: pd.DataFrame = pa.concat_tables(parts).to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def _not_made(self, table: str, week_key: str | None) -> StoreError:
        folder, weeks = self.layout.tables, self.table_weeks(table)
        tables = sorted({key.removeprefix(folder).split("/")[0] for key in self.bucket.keys(folder)})
        stored = f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}" if weeks else ", ".join(tables) or "no tables"
        hint = f"Stored are {stored}. Materialize {table} first, or name a week by its first day."
        return StoreError(f"There is no table {table}{f' for week {week_key}' if weeks else ''}.", hint=hint)
