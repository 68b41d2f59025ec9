"""The sandbox as a whole: it starts, stops, has a bucket of its own and gives the pipeline its addresses."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import boto3
import httpx
import pytest

from toast_assets.errors import ToastAssetsError
from toast_assets.sandbox import Sandbox, SandboxConfig, invent_restaurants
from toast_assets_tests.sandbox.conftest import ARCHIVED, DELETED, Caller, Start
from toast_assets_tests.support.services.ports import free_ports


def bucket(sandbox: Sandbox) -> Any:
    environment = sandbox.environment()
    return boto3.resource(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_DEFAULT_REGION"],
    ).Bucket(sandbox.bucket)


def test_the_environment_names_live_restaurants_only(caller: Caller) -> None:
    guids = caller.sandbox.environment()["TOAST_RESTAURANT_GUID"].split(",")
    assert len(guids) == 3
    assert not {DELETED, ARCHIVED} & set(guids)


def test_the_environment_has_everything_the_pipeline_requires(caller: Caller) -> None:
    required = {
        "TOAST_API_URL",
        "TOAST_CLIENT_ID",
        "TOAST_CLIENT_SECRET",
        "S3_BUCKET_NAME",
        "S3_PREFIX",
        "AWS_ENDPOINT_URL_S3",
        "AMPERITY_API_URL",
        "AMPERITY_TENANT_ID",
        "AMPERITY_API_KEY",
        "AMPERITY_STREAM_ID",
        "AMPERITY_CONTROL_URL",
    }
    environment = caller.sandbox.environment()
    assert required <= environment.keys()
    assert all(environment.values())


def test_the_bucket_exists_and_belongs_to_one_sandbox(start: Start) -> None:
    one, two = start().sandbox, start().sandbox
    bucket(one).put_object(Key="a", Body=b"1")
    assert [each.key for each in bucket(one).objects.all()] == ["a"]
    assert list(bucket(two).objects.all()) == []


def test_a_bucket_of_the_same_name_is_empty_in_the_next_sandbox() -> None:
    for _ in range(2):
        with Sandbox(SandboxConfig(bucket="same")) as sandbox:
            assert list(bucket(sandbox).objects.all()) == []
            bucket(sandbox).put_object(Key="a", Body=b"1")


def test_a_closed_sandbox_refuses_connections_and_keeps_its_log(start: Start) -> None:
    caller = start()
    caller.week()
    caller.sandbox.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(caller.sandbox.toast_url)
    assert caller.sandbox.toast.log.count("orders") == 1


def test_a_call_that_waits_for_ever_does_not_hold_up_the_end(start: Start) -> None:
    caller = start()
    reached = threading.Event()
    caller.sandbox.faults.arm("hook", "orders", action=lambda _: reached.set())
    caller.sandbox.faults.arm("never", "orders")
    host, port = caller.sandbox.toast_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as waiting:
        waiting.sendall(b"GET /orders/v2/ordersBulk HTTP/1.1\r\nHost: x\r\n\r\n")
        assert reached.wait(600)
        caller.sandbox.close()
        with contextlib.suppress(ConnectionResetError):
            assert waiting.recv(1) == b""


@pytest.mark.parametrize("service", range(3))
def test_a_port_that_is_taken_is_a_clear_error(service: int) -> None:
    first = free_ports(3)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first + service))
        taken.listen()
        with pytest.raises(ToastAssetsError, match=str(first + service)), Sandbox(SandboxConfig(port=first)):
            pass


def test_the_services_have_neighbouring_ports() -> None:
    first = free_ports(3)
    with Sandbox(SandboxConfig(port=first)) as sandbox:
        urls = (sandbox.toast_url, sandbox.amperity_url, sandbox.s3_url)
    assert urls == tuple(f"http://127.0.0.1:{first + number}" for number in range(3))


def test_a_brand_of_a_thousand_restaurants_can_be_invented() -> None:
    restaurants = invent_restaurants(1000, orders_per_week=10)
    assert len({each.guid for each in restaurants}) == 1000
    assert restaurants == invent_restaurants(1000, orders_per_week=10)


def test_two_sandboxes_of_one_seed_hold_the_same_orders(start: Start) -> None:
    assert start(seed=3).week().content == start(seed=3).week().content
    assert start(seed=3).week().content != start(seed=4).week().content
