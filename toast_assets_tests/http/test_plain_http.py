"""Plain HTTP only to this machine, and to hosts that are named on purpose."""

from __future__ import annotations

import pytest

from toast_assets.amperity.settings import AmperitySettings
from toast_assets.errors import SettingsError, StoreError
from toast_assets.http.network import plain_http_problem
from toast_assets.sandbox import Sandbox
from toast_assets.store.bucket import Bucket
from toast_assets.toast.settings import ToastSettings
from toast_assets_tests.support.services.clients import s3_client


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9300", "http://localhost/x", "http://[::1]:80", "http://127.8.8.8", "https://toast.test"]
)
def test_https_and_loopback_are_fine(url: str) -> None:
    assert plain_http_problem(url) is None


@pytest.mark.parametrize("url", ["http://ws-api.toasttab.com", "http://10.0.0.5:9000", "http://localhost.evil.test"])
def test_plain_http_to_another_machine_is_refused_with_the_way_out(url: str) -> None:
    assert "use https://" in (plain_http_problem(url) or "")


def test_a_test_networks_host_can_be_named_and_opens_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOW_HTTP_HOSTS", "sandbox, Minio")
    assert plain_http_problem("http://minio:9000") is None
    assert plain_http_problem("http://other:9000")


def test_every_address_setting_is_refused_by_its_own_name() -> None:
    toast = {"TOAST_CLIENT_ID": "a", "TOAST_CLIENT_SECRET": "b", "TOAST_RESTAURANT_GUID": "c"}
    with pytest.raises(SettingsError, match=r"TOAST_API_URL is plain HTTP to toast\.test"):
        ToastSettings.parse({**toast, "TOAST_API_URL": "http://toast.test"})
    amperity = {"AMPERITY_TENANT_ID": "acme", "AMPERITY_API_KEY": "k", "AMPERITY_STREAM_ID": "is-a"}
    for name in ("AMPERITY_API_URL", "AMPERITY_CONTROL_URL"):
        with pytest.raises(SettingsError, match=rf"{name} is plain HTTP to acme\.test"):
            AmperitySettings.parse({**amperity, name: "http://acme.test/api"})


def test_the_endpoint_of_s3_is_refused_wherever_it_was_configured(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    client.meta._endpoint_url = "http://s3.test:9000"  # type: ignore[attr-defined]
    with pytest.raises(StoreError, match=r"S3's endpoint is plain HTTP to s3\.test.*AWS_ENDPOINT_URL_S3"):
        Bucket(client, sandbox.bucket)
