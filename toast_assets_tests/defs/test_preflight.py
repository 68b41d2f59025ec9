"""What each run looks at first: whether this S3 compares before it writes, and what a killed process left behind."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

import dagster as dg
import pytest

from toast_assets.defs import resources
from toast_assets.defs.brand import Brand
from toast_assets.defs.preflight import failures
from toast_assets.defs.resources import LazyS3Resource, OrderStoreResource
from toast_assets.sandbox import Sandbox
from toast_assets.scratch import PREFIX
from toast_assets.store.order_store import OrderStore
from toast_assets.week import Week
from toast_assets_tests.defs.conftest import RunWeek
from toast_assets_tests.support.data.invented import encode, order
from toast_assets_tests.support.faults.s3_faults import before, ignore_condition
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.stores.stored_weeks import store_week


def reason(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.user_failure_data.description)  # type: ignore[union-attr]


def test_a_run_on_an_s3_that_ignores_conditions_is_refused_before_anything_is_stored(
    run_week: RunWeek, sandbox_environment: pytest.MonkeyPatch, sandbox: Sandbox
) -> None:
    client = s3_client(sandbox)
    ignore_condition(client, "If-Match")
    sandbox_environment.setattr(resources, "s3_client", lambda **_: client)
    description = reason(run_week("raw_toast_orders"))
    assert "ignores conditions (If-Match)" in description
    assert description.endswith(" [STORE-CONDITIONS]")
    assert not sandbox.objects()


def test_a_dry_run_writes_nothing_not_even_to_try_the_bucket(
    run_week: RunWeek, sandbox_environment: pytest.MonkeyPatch, sandbox: Sandbox, store: OrderStore, week: Week
) -> None:
    store_week(store, week, {"here": encode(order())})
    client, written = s3_client(sandbox), list[int]()
    before(client, "PutObject", written.append)
    sandbox_environment.setattr(resources, "s3_client", lambda **_: client)
    run_week("amperity_delivery", config={"amperity_delivery": {"dry_run": True}})
    assert not written


@pytest.mark.usefixtures("sandbox_environment")
def test_a_run_removes_what_a_killed_process_left(
    run_week: RunWeek, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{PREFIX}killed").mkdir()
    (tmp_path / f"{PREFIX}killed" / "orders").write_text("a guest's")
    run_week("toast_orders_s3_export")
    assert not list(tmp_path.glob(f"{PREFIX}*"))


@pytest.mark.usefixtures("sandbox_environment")
def test_a_full_disk_is_compared_with_the_newest_stored_week(
    store: OrderStore, week: Week, sandbox: Sandbox, sandbox_environment: pytest.MonkeyPatch
) -> None:
    store_week(store, week, {"here": encode(order(), order())})
    manifest, _ = store.load_manifest(week)
    assert manifest is not None
    sandbox_environment.setattr(resources, "s3_client", lambda **_: s3_client(sandbox))
    resource = OrderStoreResource.from_environment(
        s3=LazyS3Resource(), bucket_name=sandbox.bucket, prefix=sandbox.config.prefix
    )
    with pytest.raises(dg.Failure) as failed, failures(Brand(), resource):
        raise OSError(errno.ENOSPC, "No space left on device")
    size = sum(pull.bytes for pull in manifest.stored.values()) / 1_000_000
    assert f"The newest stored week has {size:,.1f} MB of orders" in str(failed.value.description)
    assert str(failed.value.description).endswith(" [MACHINE-DISK]")
    assert failed.value.metadata["code"].value == "MACHINE-DISK"
