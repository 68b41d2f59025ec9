"""The guide's notice, end to end: one per export, with what the guide says is in it, and none for an unchanged one."""

from __future__ import annotations

import json
from typing import Any

from toast_assets.sandbox import Kind, Sandbox
from toast_assets.week import Week
from toast_assets_tests.support.data.invented import check, encode, order, selection
from toast_assets_tests.support.services.clients import order_store
from toast_assets_tests.support.stores.deliveries import deliver, ledger, prepare

PLACES = ("place-1", "place-2")


def notify(sandbox: Sandbox) -> dict[str, Any]:
    """The variables of notices to the sandbox."""
    return {"AMPERITY_DELIVERY": "notify", "AMPERITY_API_URL": f"{sandbox.amperity_url}/api/v1/streaming"}


def orders(count: int) -> list[bytes]:
    return encode(*(order(check(selection("5.00"))) for _ in range(count)))


async def test_each_export_is_noticed_once_with_the_guides_fields(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {place: orders(number + 1) for number, place in enumerate(PLACES)})
    report = await deliver(sandbox, week, **notify(sandbox))
    notices = {json.loads(notice.body)["s3_location"]: notice for notice in sandbox.amperity.notices}
    store = order_store(sandbox)
    assert report.methods["notify"].accepted == len(notices) == 2
    assert len({notice.request_id for notice in notices.values()}) == 2
    for number, place in enumerate(PLACES):
        notice = json.loads(notices[store.bucket.uri(store.layout.export(week, place))].body)
        metadata = notice.pop("metadata")
        assert notice == {
            "source": "toast-orders",
            "data_type": "orders",
            "s3_location": store.bucket.uri(store.layout.export(week, place)),
            "tenant_id": "sandbox",
        }
        assert set(metadata) == {"total_records", "fetch_date", "start_date", "end_date"}
        assert metadata["total_records"] == number + 1
        assert (metadata["start_date"], metadata["end_date"]) == (
            "2025-09-15T04:00:00.000Z",
            "2025-09-22T04:00:00.000Z",
        )
    assert not sandbox.amperity.log.count("stream")


async def test_a_second_run_notices_only_the_export_that_changed(sandbox: Sandbox, week: Week) -> None:
    stored = prepare(sandbox, week, {place: orders(2) for place in PLACES})
    await deliver(sandbox, week, **notify(sandbox))
    assert (await deliver(sandbox, week, **notify(sandbox))).accepted == 0
    edited = json.dumps(json.loads(stored[PLACES[1]][0]) | {"modifiedDate": "2025-09-20T10:30:00.000+0000"}).encode()
    prepare(sandbox, week, {PLACES[0]: stored[PLACES[0]], PLACES[1]: [edited, stored[PLACES[1]][1]]})
    await deliver(sandbox, week, **notify(sandbox))
    assert [PLACES[1] in json.loads(notice.body)["s3_location"] for notice in sandbox.amperity.notices].count(True) == 2
    assert len(sandbox.amperity.notices) == 3


async def test_a_notice_after_a_fault_has_the_same_request_id(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {PLACES[0]: orders(1)})
    sandbox.faults.arm(Kind.RESET_AFTER, "notice")
    report = await deliver(sandbox, week, **notify(sandbox))
    assert report.calls.requests == 2
    assert len({notice.request_id for notice in sandbox.amperity.notices}) == 1
    (row,) = ledger(sandbox, week).to_dict("records")
    assert (row["method"], row["state"], row["attempts"]) == ("notify", "accepted", 2)


async def test_a_notice_that_is_refused_is_a_reject_with_its_reason(sandbox: Sandbox, week: Week) -> None:
    prepare(sandbox, week, {place: orders(1) for place in PLACES})
    sandbox.faults.arm(Kind.STATUS, "notice", status=400)
    report = await deliver(sandbox, week, **notify(sandbox))
    assert (report.accepted, report.methods["notify"].rejected) == (1, 1)
    assert (await deliver(sandbox, week, **notify(sandbox))).accepted == 1
