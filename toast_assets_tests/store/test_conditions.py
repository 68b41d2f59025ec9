"""An S3 that writes without comparing is refused, once per bucket and process, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toast_assets.errors import StoreError
from toast_assets.sandbox import Sandbox
from toast_assets.store import conditions
from toast_assets.store.bucket import Bucket
from toast_assets.store.conditions import refuse_unconditional
from toast_assets.store.order_store import OrderStore
from toast_assets_tests.support.faults.s3_faults import before, ignore_condition, refuse
from toast_assets_tests.support.services.clients import s3_client


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_compare", set())


def store_of(sandbox: Sandbox, *faults: Callable[[Any], object]) -> OrderStore:
    client = s3_client(sandbox)
    for fault in faults:
        fault(client)
    return OrderStore(Bucket(client, sandbox.bucket), sandbox.config.prefix)


def test_an_s3_that_compares_is_tried_once(sandbox: Sandbox) -> None:
    tried: list[int] = []
    store = store_of(sandbox, lambda client: before(client, "PutObject", tried.append))
    refuse_unconditional(store)
    assert len(tried) == 4
    refuse_unconditional(store)
    refuse_unconditional(store_of(sandbox, lambda client: before(client, "PutObject", tried.append)))
    assert len(tried) == 4
    assert not sandbox.objects()


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_an_s3_that_ignores_a_condition_is_refused_and_nothing_stays(sandbox: Sandbox, header: str) -> None:
    store = store_of(sandbox, lambda client: ignore_condition(client, header))
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"ignores conditions \({header}\).*Use Amazon S3"):
            refuse_unconditional(store)
    assert not sandbox.objects()


def test_a_role_that_may_not_write_is_told_so(sandbox: Sandbox) -> None:
    denied = [lambda client, op=op: refuse(client, op, 403, "AccessDenied") for op in ("PutObject", "DeleteObject")]
    with pytest.raises(StoreError, match="s3:PutObject"):
        refuse_unconditional(store_of(sandbox, *denied))


def test_a_role_that_may_not_remove_is_told_which_object_stays(sandbox: Sandbox) -> None:
    store = store_of(sandbox, lambda client: refuse(client, "DeleteObject", 403, "AccessDenied"))
    with pytest.raises(StoreError, match=r"cannot be removed and stays: .*s3:DeleteObject") as refused:
        refuse_unconditional(store)
    ((key, _),) = sandbox.objects()
    assert store.bucket.uri(key) in str(refused.value)
