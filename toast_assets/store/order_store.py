"""The order store: the bucket seen as weeks and restaurants."""

from __future__ import annotations

from pathlib import Path

import msgspec

from toast_assets.errors import StoreError
from toast_assets.store.bucket import ABSENT, Bucket, Version
from toast_assets.store.layout import Layout
from toast_assets.store.manifest import Manifest, decode_manifest, encode_manifest
from toast_assets.week import Week


class OrderStore:
    """Raw orders, exports, manifests and ledgers of all weeks, in one bucket under one prefix."""

    def __init__(self, bucket: Bucket, prefix: str) -> None:
        self.bucket = bucket
        self.layout = Layout(prefix)

    def load_manifest(self, week: Week) -> tuple[Manifest | None, Version]:
        """The week's manifest and its version; None and ``ABSENT`` where the week was never pulled.

        Raises:
            StoreError: the bucket is missing or forbidden, or the manifest cannot be read.
        """
        key = self.layout.manifest(week)
        found = self.bucket.read(key)
        if found is None:
            return None, ABSENT
        body, version = found
        try:
            return decode_manifest(body), version
        except msgspec.DecodeError as error:
            raise StoreError(
                f"The manifest {self.bucket.uri(key)} cannot be read ({error}).",
                hint="Restore an earlier version of the object, or remove it and materialize the week again.",
            ) from error

    def save_manifest(self, week: Week, manifest: Manifest, replaces: Version) -> Version:
        """Store the manifest instead of the version that was read.

        Raises:
            StoreConflictError: another run wrote it in the meantime.
        """
        return self.bucket.write(
            self.layout.manifest(week), encode_manifest(manifest), replaces=replaces, ContentType="application/json"
        )

    def download_raw(self, week: Week, restaurant_guid: str, path: Path) -> Version:
        """The raw file into ``path``; ``ABSENT``, and no file, where there is none."""
        return self.bucket.download(self.layout.raw(week, restaurant_guid), path) or ABSENT

    def save_raw(self, week: Week, restaurant_guid: str, path: Path, replaces: Version) -> Version:
        """Store the raw file at ``path`` instead of the version that was read.

        Raises:
            StoreConflictError: another run wrote it in the meantime.
        """
        key = self.layout.raw(week, restaurant_guid)
        return self.bucket.write(key, path, replaces=replaces, ContentType="application/vnd.apache.parquet")
