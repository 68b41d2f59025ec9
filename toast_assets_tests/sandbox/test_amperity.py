"""The stand-in for Amperity: strict headers, sizes and bodies, silent losses, tokens, notices, the control plane."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from toast_assets_tests.sandbox.conftest import STREAM, Caller, Start

RUNS, JOBS = "/api/workflow/runs", "/api/ingest/jobs"
RUN = b'{"config_id": "cg-weekly", "range_from": "2025-09-15", "range_to": "2025-09-22", "run_mode": "full"}'
WINDOW = "?created_from=2025-10-08&created_to=2025-10-15"
NOTICE = {
    "source": "toast-orders",
    "data_type": "orders",
    "s3_location": "s3://bucket/key",
    "metadata": {"total_records": 1, "fetch_date": "a", "start_date": "b", "end_date": "c"},
    "tenant_id": "sandbox",
}


# Streaming


def test_a_record_is_answered_202_with_nothing_and_its_request_id(caller: Caller) -> None:
    body = b'{"guid": "g-1", "restaurantGuid": "r", "modifiedDate": "2025-09-19T14:30:00.000+0000", "total": 12.10}'
    reply = caller.amperity(content=body, headers={"X-Request-Id": "g-1:1"})
    assert (reply.status_code, reply.content, reply.headers["x-request-id"]) == (202, b"", "g-1:1")
    (record,) = caller.sandbox.amperity.of_stream("is-toast-orders")
    assert (record.guid, record.restaurant, record.request_id, record.body) == ("g-1", "r", "g-1:1", body)
    assert record.modified == "2025-09-19T14:30:00.000+0000"
    assert msgspec.json.decode(record.body)["guid"] == "g-1"


@pytest.mark.parametrize("stream", ["is-typing-error", "orders", ""])
def test_a_record_for_a_stream_that_does_not_exist_is_lost_without_an_error(caller: Caller, stream: str) -> None:
    assert caller.amperity(f"/stream/v0/data/{stream}").status_code == 202
    amperity = caller.sandbox.amperity
    assert not amperity.accepted
    assert [record.stream_id for record in amperity.dropped] == [stream]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Amperity-Tenant": ""}, 400),
        ({"X-Amperity-Tenant": "other"}, 403),
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Content-Type": ""}, 400),
        ({"Content-Type": "application/x-ndjson"}, 400),
    ],
)
def test_wrong_headers_are_refused_and_logged(caller: Caller, headers: dict[str, str], status: int) -> None:
    reply = caller.amperity(headers=headers)
    assert reply.status_code == status
    assert set(reply.json()) == {"status", "message", "request_id", "trace_id"}
    amperity = caller.sandbox.amperity
    assert not amperity.accepted
    assert [entry.status for entry in amperity.refused] == [status]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b'[{"guid": "a"}]', b'{"guid": "a"}\n{"guid": "b"}', b'"text"', b'{"guid": "a"', b'{"guid": "\xff"}'],
)
def test_a_body_that_is_not_exactly_one_object_is_a_400(caller: Caller, body: bytes) -> None:
    assert caller.amperity(content=body).status_code == 400
    assert not caller.sandbox.amperity.accepted


def test_a_record_may_have_a_million_bytes_and_not_one_more(caller: Caller) -> None:
    def record(size: int) -> bytes:
        return b'{"a":"' + b"x" * (size - 8) + b'"}'

    assert caller.amperity(content=record(1_000_000)).status_code == 202
    assert caller.amperity(content=record(1_000_001)).status_code == 413


def test_a_body_of_unsaid_length_is_a_411(caller: Caller) -> None:
    config = caller.sandbox.config
    headers = {
        "X-Amperity-Tenant": config.tenant,
        "Authorization": f"Bearer {config.amperity_api_key}",
        "Content-Type": "application/json",
    }
    reply = caller.http.post(caller.sandbox.amperity_url + STREAM, content=iter([b"{}"]), headers=headers)
    assert reply.status_code == 411


def test_a_stream_can_only_be_posted_to(caller: Caller) -> None:
    assert caller.amperity(method="PUT").status_code == 405
    assert caller.amperity("/stream/v1/data/is-toast-orders").status_code == 404


def test_more_than_the_limit_of_a_second_is_a_429(start: Start) -> None:
    caller = start(rate_limits=True, records_per_second=3)
    assert [caller.amperity().status_code for _ in range(4)] == [202, 202, 202, 429]
    start.clock.seconds += 1
    assert caller.amperity().status_code == 202


# Tokens


def token(caller: Caller, headers: dict[str, str] | None = None, **changes: str) -> httpx.Response:
    config = caller.sandbox.config
    form = {
        "grant_type": "client_credentials",
        "client_id": config.amperity_client_id,
        "client_secret": config.amperity_client_secret,
    }
    sent = {"X-Amperity-Tenant": config.tenant} | (headers or {})
    sent = {name: value for name, value in sent.items() if value}
    return caller.http.post(caller.sandbox.amperity_url + "/api/v0/oauth2/token", data=form | changes, headers=sent)


def test_client_credentials_give_a_token_that_expires(start: Start) -> None:
    caller = start()
    reply = token(caller).json()
    assert (reply["token_type"], reply["expires_in"]) == ("Bearer", 3600)
    bearer = {"Authorization": f"Bearer {reply['access_token']}"}
    assert caller.amperity(headers=bearer).status_code == 202
    start.clock.seconds += 3600
    assert caller.amperity(headers=bearer).status_code == 401


def test_wrong_client_credentials_give_no_token(caller: Caller) -> None:
    assert token(caller, client_secret="x").status_code == 401
    assert token(caller, grant_type="password").status_code == 400
    assert token(caller, {"X-Amperity-Tenant": ""}).status_code == 400
    assert token(caller, {"X-Amperity-Tenant": "other"}).status_code == 403
    assert token(caller, {"Content-Type": "application/json"}).status_code == 400
    assert caller.sandbox.amperity.log.count("token", status=200) == 0


# The guide's notice


def notice(caller: Caller, content: object, **headers: str) -> httpx.Response:
    return caller.amperity("/api/v1/streaming", msgspec.json.encode(content), headers)


def test_a_notice_of_the_guides_kind_is_a_200_and_logged(caller: Caller) -> None:
    assert notice(caller, NOTICE).status_code == 200
    assert caller.sandbox.amperity.notices[0].body == msgspec.json.encode(NOTICE)


@pytest.mark.parametrize(
    "content",
    [
        [NOTICE],
        NOTICE | {"source": None},
        NOTICE | {"metadata": {}},
        NOTICE | {"tenant_id": "other"},
        NOTICE | {"s3_location": "bucket/key"},
    ],
)
def test_a_notice_that_lacks_something_is_a_400(caller: Caller, content: object) -> None:
    assert notice(caller, content).status_code == 400


def test_a_notice_needs_the_other_tenant_header(caller: Caller) -> None:
    assert notice(caller, NOTICE, **{"Amperity-Tenant": ""}).status_code == 400
    assert notice(caller, NOTICE, Authorization="").status_code == 401


# Control plane


def control(caller: Caller, path: str, method: str = "GET", content: bytes = b"", **headers: str) -> Any:
    return caller.amperity(path, content, headers, method)


def test_a_started_run_ends_after_some_polls_and_tells_what_was_loaded(caller: Caller) -> None:
    caller.sandbox.amperity.ingest_counts["orders"] = {"read": 9, "inserted": 7, "rejected": 2}
    started = control(caller, RUNS, "POST", RUN)
    assert started.status_code == 201
    run = started.json()["id"]
    (job,) = control(caller, JOBS + WINDOW).json()["data"]
    assert (job["workflow_id"], {table["state"] for table in job["tables"]}) == (run, {"running"})
    table = control(caller, f"{JOBS}/{job['id']}").json()["tables"][0]
    assert (table["table_name"], table["state"]) == ("orders", "succeeded")
    assert (table["read"], table["inserted"], table["updated"], table["rejected"]) == (9, 7, 0, 2)
    (job,) = control(caller, JOBS + WINDOW).json()["data"]
    assert (job["workflow_id"], {table["state"] for table in job["tables"]}) == (run, {"succeeded"})


def test_a_run_can_end_badly(caller: Caller) -> None:
    caller.sandbox.amperity.ingest_state = "failed"
    run = control(caller, RUNS, "POST", RUN).json()["id"]
    for state in ("running", "failed"):
        (job,) = control(caller, JOBS + WINDOW).json()["data"]
        assert (job["workflow_id"], {table["state"] for table in job["tables"]}) == (run, {state})


def test_a_repeated_start_starts_a_second_run(caller: Caller) -> None:
    assert len({control(caller, RUNS, "POST", RUN).json()["id"] for _ in range(2)}) == 2


@pytest.mark.parametrize(
    ("path", "method", "content", "headers", "status"),
    [
        (RUNS, "POST", b"[]", {}, 400),
        (RUNS, "POST", b'{"config_id": "weekly"}', {}, 400),
        (RUNS, "POST", RUN.replace(b"2025-09-15", b"15.09.2025"), {}, 400),
        (RUNS, "POST", RUN.replace(b"full", b"some"), {}, 400),
        (RUNS, "DELETE", b"", {}, 405),
        (f"{JOBS}/isj-none", "GET", b"", {}, 404),
        (JOBS, "GET", b"", {}, 400),
        (JOBS + "?created_from=2025-10-01&created_to=2025-10-09", "GET", b"", {}, 400),
        (JOBS + WINDOW, "GET", b"", {"api-version": ""}, 400),
        (JOBS + WINDOW, "GET", b"", {"Amperity-Tenant": ""}, 400),
        (JOBS + WINDOW, "GET", b"", {"Amperity-Tenant": "other"}, 403),
        (JOBS + WINDOW, "GET", b"", {"Authorization": ""}, 401),
    ],
)
def test_the_control_plane_refuses(
    caller: Caller, path: str, method: str, content: bytes, headers: dict[str, str], status: int
) -> None:
    reply = control(caller, path, method, content, **headers)
    assert reply.status_code == status
    assert set(reply.json()) == {"status", "message", "request_id", "trace_id"}


def test_the_eleventh_control_request_of_a_second_is_a_429(start: Start) -> None:
    caller = start(rate_limits=True)
    assert [control(caller, JOBS + WINDOW).status_code for _ in range(11)] == [200] * 10 + [429]
