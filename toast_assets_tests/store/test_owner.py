"""A bucket's prefix belongs to one brand: the first run of a brand notes it, and another brand's run is refused."""

from __future__ import annotations

import json

import pytest

from toast_assets.errors import StoreError
from toast_assets.store.bucket import ABSENT
from toast_assets.store.order_store import OrderStore
from toast_assets.store.owner import claim
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import encode, order
from toast_assets_tests.support.faults.s3_faults import before
from toast_assets_tests.support.stores.stored_weeks import store_week


def owner_of(store: OrderStore) -> object:
    found = store.bucket.read(store.layout.owner)
    return found and json.loads(found[0])


def test_a_brand_claims_a_bucket_once(store: OrderStore) -> None:
    claim(store, "brand_a")
    assert list(store.bucket.keys("")) == [f"{store.layout.prefix}brand.json"]
    first = store.bucket.read(store.layout.owner)
    claim(store, "brand_a")
    assert store.bucket.read(store.layout.owner) == first
    assert owner_of(store) == {"brand": "brand_a"}


def test_another_brand_is_refused_and_writes_nothing(store: OrderStore) -> None:
    claim(store, "brand_a")
    with pytest.raises(StoreError) as refused:
        claim(store, "brand_b")
    assert str(refused.value) == (
        f"{store.bucket.uri(store.layout.prefix)} holds the orders of the brand brand_a; the brand brand_b needs a"
        " bucket or a prefix of its own. Set another S3_BUCKET_NAME or S3_PREFIX. If the brand was renamed, remove"
        f" {store.bucket.uri(store.layout.owner)}. [BRAND]"
    )
    assert owner_of(store) == {"brand": "brand_a"}
    assert len(list(store.bucket.keys(""))) == 1


def test_the_only_brand_of_a_deployment_is_refused_where_a_named_one_was(store: OrderStore) -> None:
    claim(store, "brand_a")
    with pytest.raises(StoreError, match="a brand without a name needs a bucket or a prefix of its own"):
        claim(store, "")


def test_the_only_brand_of_a_deployment_leaves_no_note(store: OrderStore) -> None:
    claim(store, "")
    assert list(store.bucket.keys("")) == []


def test_a_brand_that_gets_a_name_goes_on_with_what_it_had_stored_without_one(store: OrderStore, week: Week) -> None:
    store_week(store, week, {"here": encode(order())})
    claim(store, "")
    claim(store, "brand_a")
    assert owner_of(store) == {"brand": "brand_a"}
    with pytest.raises(StoreError, match="holds the orders of the brand brand_a"):
        claim(store, "brand_b")


def test_of_two_brands_that_claim_a_bucket_at_once_the_first_has_it(store: OrderStore) -> None:
    def other_brand_is_faster(attempt: int) -> None:
        if attempt == 1:
            store.bucket.write(store.layout.owner, b'{"brand": "brand_b"}', replaces=ABSENT)

    before(store.bucket.client, "PutObject", other_brand_is_faster)
    with pytest.raises(StoreError, match="holds the orders of the brand brand_b; the brand brand_a needs"):
        claim(store, "brand_a")
    assert owner_of(store) == {"brand": "brand_b"}


def test_two_runs_of_one_brand_that_claim_a_bucket_at_once_both_go_on(store: OrderStore) -> None:
    def other_run_is_faster(attempt: int) -> None:
        if attempt == 1:
            store.bucket.write(store.layout.owner, b'{"brand": "brand_a"}', replaces=ABSENT)

    before(store.bucket.client, "PutObject", other_run_is_faster)
    claim(store, "brand_a")


@pytest.mark.parametrize("note", [b"", b"{}", b'{"brand": 5}', b"\xff", b'{"brand": "brand_a"'])
def test_a_note_that_cannot_be_read_is_an_error_that_names_it(store: OrderStore, note: bytes) -> None:
    store.bucket.write(store.layout.owner, note, replaces=ABSENT)
    with pytest.raises(StoreError, match=r"brand\.json.*Restore an earlier version of it, or remove it"):
        claim(store, "brand_a")
    assert store.bucket.read(store.layout.owner) is not None
