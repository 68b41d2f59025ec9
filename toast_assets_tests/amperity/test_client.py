"""What leaves for Amperity by HTTP, and what its answers mean, against a server that writes everything down."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from toast_assets.errors import AmperityError, AmperityRefusedError
from toast_assets.http.retry import RetryPolicy
from toast_assets.sandbox import Call, Kind, Sandbox
from toast_assets_tests.support.services.scripted_amperity import ScriptedAmperity, send
from toast_assets_tests.support.services.virtual_time import run_virtual
from toast_assets_tests.support.stores.deliveries import STREAM, amperity_client

BODY = b'{"guid":"one","modifiedDate":"2025-09-19T18:45:12.345+0000"}'


async def test_a_record_is_one_post_with_the_documented_headers_and_length(sandbox: Sandbox) -> None:
    calls: list[Call] = []
    sandbox.faults.arm(Kind.HOOK, "stream", action=calls.append)
    async with amperity_client(sandbox) as client:
        receipt = await client.send_record(STREAM, "request-1", BODY)
    assert (receipt.state, receipt.status, receipt.attempts) == ("accepted", 202, 1)
    (call,) = calls
    assert (call.request.method, call.body) == ("POST", BODY)
    expected = {
        "authorization": f"Bearer {sandbox.config.amperity_api_key}",
        "x-amperity-tenant": "sandbox",
        "x-request-id": "request-1",
        "content-type": "application/json",
        "content-length": str(len(BODY)),
    }
    assert {name: call.header(name) for name in expected} == expected
    assert call.header("amperity-tenant") is None


async def test_a_notice_goes_to_exactly_its_url_with_the_other_tenant_header(sandbox: Sandbox) -> None:
    calls: list[Call] = []
    sandbox.faults.arm(Kind.HOOK, "notice", action=calls.append)
    url = f"{sandbox.amperity_url}/api/v1/streaming"
    async with amperity_client(sandbox, AMPERITY_API_URL=url, AMPERITY_DELIVERY="notify") as client:
        assert (await client.send_notice("request-1", b"{}")).state == "rejected"
    (call,) = calls
    assert (call.header("amperity-tenant"), call.header("x-amperity-tenant")) == ("sandbox", None)


def record_receipt(status: int) -> str:
    async def main() -> str:
        amperity = ScriptedAmperity(records=lambda _n, _r: httpx.Response(status))
        async with amperity.client(retry=RetryPolicy(attempts=2)) as client:
            return await send(client)

    return run_virtual(main())


@pytest.mark.parametrize(
    ("status", "state"),
    [(202, "accepted"), (200, "pending"), (201, "pending"), (204, "pending"), (400, "rejected"), (413, "rejected")]
    + [(status, "pending") for status in (408, 500, 502, 503, 504)],
)
def test_only_202_is_success_for_a_record(status: int, state: str) -> None:
    assert record_receipt(status) == state


def test_only_200_is_success_for_a_notice() -> None:
    async def main(status: int) -> str:
        amperity = ScriptedAmperity(records=lambda _n, _r: httpx.Response(status))
        async with amperity.client(AMPERITY_DELIVERY="notify") as client:
            return (await client.send_notice("request-1", b"{}")).state

    assert (run_virtual(main(200)), run_virtual(main(400))) == ("accepted", "rejected")
    with pytest.raises(AmperityRefusedError, match=r"202 to the URL for notices.* \[AMPERITY-REFUSED\]$"):
        run_virtual(main(202))


def test_a_call_that_never_answers_is_cut_off_and_repeated() -> None:
    travelling = iter([float("inf"), 0.0])

    async def main() -> int:
        amperity = ScriptedAmperity(there=lambda: next(travelling))
        async with amperity.client(AMPERITY_TIMEOUT_SECONDS="7") as client:
            return (await client.send_record("is-scripted", "r", BODY)).attempts

    assert run_virtual(main()) == 2


async def test_answers_that_break_off_do_not_use_up_the_connections(sandbox: Sandbox) -> None:
    sandbox.faults.arm(Kind.CUT_TRANSFER, "stream", last=120)
    patient = RetryPolicy(attempts=60, first_wait=0.001, longest_wait=0.002)
    async with amperity_client(sandbox, retry=patient) as client:
        receipts = await asyncio.gather(*(client.send_record(STREAM, f"r-{one}", BODY) for one in range(100)))
    assert {receipt.state for receipt in receipts} == {"accepted"}


def test_a_wait_longer_than_any_run_should_take_is_an_error_at_once() -> None:
    async def main() -> None:
        amperity = ScriptedAmperity(records=lambda _n, _r: httpx.Response(429, headers={"Retry-After": "86400"}))
        async with amperity.client() as client:
            await send(client)

    with pytest.raises(AmperityError, match=r"asks to wait 86400 s.* \[AMPERITY-UNAVAILABLE\]$"):
        run_virtual(main())


def test_what_amperity_says_of_a_record_never_carries_the_key_on() -> None:
    async def main() -> str:
        body = {"status": 400, "message": "bad token first-key"}
        amperity = ScriptedAmperity(records=lambda _n, _r: httpx.Response(400, json=body))
        async with amperity.client() as client:
            return (await client.send_record("is-scripted", "r", b"{}")).explanation

    assert run_virtual(main()) == "bad token [secret]"
