"""The order store: the bucket seen as weeks and restaurants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from toast_assets.errors import StoreError
from toast_assets.orders.scanner import decoder
from toast_assets.scratch import scratch_folder
from toast_assets.store.bucket import ABSENT, Bucket, Version
from toast_assets.store.client import s3_client
from toast_assets.store.layout import Layout, month_in, restaurant_in, week_in
from toast_assets.store.manifest import Manifest
from toast_assets.store.s3_errors import readable
from toast_assets.store.settings import StoreSettings
from toast_assets.week import Week

if TYPE_CHECKING:
    import pandas as pd
    from mypy_boto3_s3 import S3Client

CURRENT_ORDERS = "current_orders"
NAMES_TABLE, RESTAURANTS_TABLE, STATUS_TABLE = "names", "restaurants", "status"
PARQUET = "application/vnd.apache.parquet"
# The last bits of a number that sorts versions hold the week, for as many weeks as 78 years have.
_WEEK_BITS = 12
_Form = TypeVar("_Form")


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
        return self.read_manifest_as(Manifest, week, body)

    def read_manifest_as(self, form: type[_Form], week: Week, body: bytes) -> _Form:
        """As ``read_manifest``, of the ``form`` that has what is needed of it."""
        hint = "Restore an earlier version of the object, or remove it and materialize the week again."
        with readable(self.bucket.uri(self.layout.manifest(week)), hint):
            return decoder(form).decode(body)

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
        self,
        table: str,
        week_key: str | Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        newest: bool = False,
    ) -> pd.DataFrame:
        """A week of a flat table, or several, or all of one over all weeks (``current_orders``, ``names``,
        ``restaurants``, ``status``), with exact types (``pandas.ArrowDtype``).

        ``newest`` keeps of each order the rows of its newest version over all weeks, and of equally new ones those of
        the later week; then no week has to be named. The same files in DuckDB: docs/tables.md.

        >>> store = OrderStore.from_environment()
        >>> orders = store.load_table("orders", "2025-09-15")
        >>> sales = store.load_table("current_orders", columns=["business_date", "restaurant_guid", "net_sales"])
        >>> payments = store.load_table("payments", columns=["type", "amount", "taken"], newest=True)

        Raises StoreError where there is no such table or column, or it was not made for that week.
        """
        import pandas as pd  # half a second that runs of the pipeline do not need

        of_all_weeks = table in (CURRENT_ORDERS, NAMES_TABLE, RESTAURANTS_TABLE, STATUS_TABLE)
        if week_key if of_all_weeks else not (week_key or newest):
            by_week = "is kept by week: name one, such as 2025-09-15, or several, or ask for the newest versions"
            wanted = "covers all weeks: name none" if of_all_weeks else by_week
            hint = f"Newest state over all weeks: {CURRENT_ORDERS}."
            raise StoreError(f"The table {table} {wanted}.", hint=hint, code="TABLE")
        folder = self.layout.table_folder(table)
        if of_all_weeks:
            whole = self.layout.whole_table(table)
            keys = {key: "" for key in self.bucket.keys(folder) if key == whole or month_in(key, folder)}
        else:
            weeks = [week_key] if isinstance(week_key, str) else week_key or self.table_weeks(table)
            keys = {self.layout.table(table, week): week for week in weeks}
        newest_of = self._newest_versions() if newest and not of_all_weeks else {}
        parts = []
        for key, week in keys.items():
            if newest_of and week not in newest_of:
                raise self._not_made("orders", week)
            rows = self._rows(table, key, columns, newest_of.get(week))
            if rows is not None:
                parts.append(rows)
            elif week:
                raise self._not_made(table, week)
        if not parts:
            raise self._not_made(table, None)
        with readable(self.bucket.uri(folder), f"Materialize {table} again."):
            # A week that an earlier release made may have fewer columns.
            found = pa.concat_tables(parts, promote_options="default")
        frame: pd.DataFrame = found.to_pandas(types_mapper=pd.ArrowDtype)
        return frame

    def _newest_versions(self) -> dict[str, pa.Table]:
        """By week, which of its versions are the newest of their orders."""
        parts, weeks = [], self.table_weeks("orders")
        for number, week in enumerate(weeks):
            rows = self._rows("orders", self.layout.table("orders", week), _version_columns("orders"))
            if rows is not None:
                versions = _versions(rows)
                # One number that grows with the modified time, and with the week where the times are equal.
                age = pc.add(pc.shift_left(versions["modified"], _WEEK_BITS), number)
                parts.append(pa.table({"order": versions["order"], "age": age}))
        if not parts:
            raise self._not_made("orders", None)
        # With threads it takes longer, and a third more memory.
        order, age = pa.concat_tables(parts).group_by("order", use_threads=False).aggregate([("age", "max")]).columns
        newest = pa.table({"order": order, "modified": pc.shift_right(age, _WEEK_BITS)})
        of_week = pc.bit_wise_and(age, (1 << _WEEK_BITS) - 1)
        return {week: newest.filter(pc.equal(of_week, number)) for number, week in enumerate(weeks)}

    def _rows(
        self, table: str, key: str, columns: Sequence[str] | None, newest: pa.Table | None = None
    ) -> pa.Table | None:
        """What an object of a table holds, only of the ``newest`` versions of orders; None where there is no object."""
        with scratch_folder() as scratch:
            if not self.bucket.fetch(key, scratch / "table.parquet"):
                return None
            hint = f"Remove it and materialize {table} again."
            with readable(self.bucket.uri(key), hint), pq.ParquetFile(scratch / "table.parquet") as file:
                names = file.schema_arrow.names
                if unknown := [name for name in columns or () if name not in names]:
                    text = f"The table {table} has no column {unknown[0]}."
                    raise StoreError(text, hint=f"It has {', '.join(names)}.", code="TABLE")
                rows = file.read(columns=list(columns) if columns else None)
                if newest is not None:
                    versions = _versions(file.read(columns=_version_columns(table)))
                    times = newest["modified"].take(pc.index_in(versions["order"], newest["order"]))
                    rows = rows.filter(pc.equal(times, versions["modified"]))
        return rows

    def _not_made(self, table: str, week_key: str | None) -> StoreError:
        folder, weeks = self.layout.tables, self.table_weeks(table)
        tables = sorted({key.removeprefix(folder).split("/")[0] for key in self.bucket.keys(folder)})
        stored = f"{len(weeks)} weeks, {weeks[0]} to {weeks[-1]}" if weeks else ", ".join(tables) or "no tables"
        hint = f"Stored are {stored}. Materialize {table} first, or name a week by its first day."
        text = f"There is no table {table}{f' for week {week_key}' if weeks else ''}."
        return StoreError(text, hint=hint, code="TABLE")


def _version_columns(table: str) -> list[str]:
    return ["restaurant_guid", "order_guid", "modified_at" if table == "orders" else "order_modified_at"]


def _versions(rows: pa.Table) -> pa.Table:
    """For each row its ``order``, with the restaurant, and when that was ``modified``, in milliseconds."""
    restaurant, order, modified = rows.columns
    joined = pc.binary_join_element_wise(restaurant, order, "/")
    return pa.table({"order": joined, "modified": modified.cast(pa.int64())})
