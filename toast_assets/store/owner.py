"""Which brand of a deployment a bucket's prefix belongs to, noted there by the brand's first run: two brands that share
one would take each other's weeks for their own."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from toast_assets.errors import StoreConflictError, StoreError
from toast_assets.store.bucket import ABSENT
from toast_assets.store.manifest import json_for_people
from toast_assets.store.order_store import OrderStore
from toast_assets.store.s3_errors import readable


class Owner(msgspec.Struct, frozen=True):
    """The brand by its name in the definitions."""

    brand: str


def claim(store: OrderStore, brand: str) -> None:
    """Note that the store is that of ``brand``; raise a StoreError where it is another's. The only brand of a
    deployment has no name, and leaves no note."""
    key = store.layout.owner
    found = store.bucket.read(key)
    if found is None and brand:
        with suppress(StoreConflictError):
            store.bucket.write(key, json_for_people(Owner(brand)), replaces=ABSENT, ContentType="application/json")
        found = store.bucket.read(key)
    if found is None:
        return
    place = store.bucket.uri(key)
    with readable(place, "Restore an earlier version of it, or remove it: the next run writes it again."):
        owner = msgspec.json.decode(found[0], type=Owner).brand
    if owner != brand:
        asked = f"the brand {brand}" if brand else "a brand without a name"
        raise StoreError(
            f"{store.bucket.uri(store.layout.prefix)} holds the orders of the brand {owner}; {asked} needs a bucket or"
            " a prefix of its own.",
            hint=f"Set another S3_BUCKET_NAME or S3_PREFIX. If the brand was renamed, remove {place}.",
            code="BRAND",
        )
