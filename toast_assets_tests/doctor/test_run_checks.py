"""The doctor against the sandbox, with each fault in turn: one line names it, and no other one changes."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from toast_assets.amperity.settings import STREAMS
from toast_assets.doctor import checks, services
from toast_assets.doctor.checks import check_instance, read_setup, run_checks
from toast_assets.doctor.findings import Finding, State, exit_code
from toast_assets.doctor.s3 import check_s3
from toast_assets.errors import StoreError
from toast_assets.sandbox import Restaurant, Sandbox, SandboxConfig
from toast_assets.store.settings import StoreSettings
from toast_assets.toast.client import ToastClient
from toast_assets.toast.page import Window
from toast_assets.toast.settings import ToastSettings
from toast_assets.week import from_epoch_ms
from toast_assets_tests.conftest import StartSandbox
from toast_assets_tests.support.faults.s3_faults import before, ignore_condition, refuse
from toast_assets_tests.support.services.clients import s3_client
from toast_assets_tests.support.services.ports import free_port

PLACE, NOWHERE = "6513270e-2b0a-4c57-a1de-0c5a4f8c1d01", "6513270e-2b0a-4c57-a1de-0c5a4f8c1d02"
ONE = (Restaurant(PLACE, "Harbor & Thistle, Pier 9", orders_per_week=20),)
HOME = Path(__file__).parents[2] / "dagster.yaml"
SCOPE = "guest.pi:read"


# A function of each area that an error is put into.
UNFORESEEN = ["services._restaurants", "s3._public", "services._stream"]


def jwt(**claims: Any) -> str:
    part = base64.urlsafe_b64encode(msgspec.json.encode(claims)).rstrip(b"=").decode()
    return f"e30.{part}.c2ln"


@dataclass(frozen=True)
class Fault:
    """What is wrong, and the line that has to say so: ``name`` of the line, its state, words of it."""

    name: str
    words: str
    state: State = State.FAILED
    config: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str | None] = field(default_factory=dict)
    break_s3: Callable[[Any], object] = lambda _: None
    arrange: Callable[[Sandbox], object] = lambda _: None
    late: float = 0.0
    also: tuple[str, ...] = ()


def without(scope: str) -> dict[str, Any]:
    return {"scopes": SandboxConfig.scopes.replace(scope, "").replace("  ", " ").strip()}


def refused(*operations: str, code: str = "AccessDenied", status: int = 403) -> Callable[[Any], object]:
    return lambda client: [refuse(client, operation, status, code) for operation in operations]


FAULTS = {
    "a setting is missing": Fault("TOAST_CLIENT_ID", "is not set", environment={"TOAST_CLIENT_ID": None}),
    "an address is not encrypted": Fault(
        "TOAST_API_URL",
        "plain HTTP to toast.test",
        environment={"TOAST_API_URL": "http://toast.test"},
        also=("storage",),
    ),
    "a stream id has no such form": Fault(
        "AMPERITY_STREAM_ID", "begin with 'is-'", environment={"AMPERITY_STREAM_ID": "orders"}
    ),
    "toast's secret is wrong": Fault("login", "refused the login", environment={"TOAST_CLIENT_SECRET": "wrong"}),
    "toast's login is down": Fault("login", "503", arrange=lambda s: s.faults.arm("status", "login", last=None)),
    "no guests": Fault(f"scope {SCOPE}", "orders come without name, e-mail and phone", config=without(SCOPE)),
    "no addresses": Fault(
        "scope delivery_info.address:read",
        "addresses are left out",
        State.WARNING,
        config=without("delivery_info.address:read"),
    ),
    "no configuration": Fault(
        "scope config:read",
        "it is missing: names of dining options, menu items, discounts, … stay empty, and dine-in looks like"
        " takeout and delivery",
        State.WARNING,
        config=without("config:read"),
    ),
    "no orders": Fault("scope orders:read", "no order can be read", config=without("orders:read"), also=(PLACE,)),
    "a restaurant is forbidden": Fault(
        f"restaurant {PLACE}", "403", config={"restaurants": (Restaurant(PLACE, "A, B", state="forbidden"),)}
    ),
    "a restaurant does not exist": Fault(
        f"restaurant {NOWHERE}", "404", environment={"TOAST_RESTAURANT_GUID": f"{PLACE},{NOWHERE}"}
    ),
    "a restaurant is archived": Fault(
        f"restaurant {PLACE}", "is archived", config={"restaurants": (Restaurant(PLACE, "A, B", state="archived"),)}
    ),
    "restaurants cannot be discovered": Fault(
        "restaurants", "cannot be discovered", config={"partner": False}, environment={"TOAST_RESTAURANT_GUID": "*"}
    ),
    "the clock is wrong": Fault("clock", "s ahead of the service", late=300.0, also=("clock",)),
    "the bucket is missing": Fault("bucket", "does not exist", environment={"S3_BUCKET_NAME": "no-such-bucket"}),
    "the bucket is forbidden": Fault("bucket", "refused access", break_s3=refused("HeadBucket")),
    "nothing may be listed": Fault("list", "refused access", break_s3=refused("ListObjectsV2")),
    "nothing may be put": Fault("put", "refused access", break_s3=refused("PutObject"), also=("conditional writes",)),
    "nothing may be read": Fault("get", "refused access", break_s3=refused("GetObject")),
    "nothing may be removed": Fault("delete", "refused access", break_s3=refused("DeleteObject")),
    "no multipart": Fault("multipart", "AccessDenied", break_s3=refused("CreateMultipartUpload")),
    "parts are not taken": Fault("multipart", "AccessDenied", break_s3=refused("UploadPart")),
    "an upload in parts does not end": Fault("multipart", "AccessDenied", break_s3=refused("CompleteMultipartUpload")),
    "an S3 that always creates": Fault(
        "conditional writes", "(If-None-Match)", break_s3=lambda client: ignore_condition(client, "If-None-Match")
    ),
    "an S3 that always overwrites": Fault(
        "conditional writes", "(If-Match)", break_s3=lambda client: ignore_condition(client, "If-Match")
    ),
    "the bucket is public": Fault(
        "public access",
        "lets everybody in",
        arrange=lambda s: s3_client(s).put_bucket_acl(Bucket=s.bucket, ACL="public-read"),
    ),
    "public access may not be asked": Fault(
        "public access", "answered AccessDenied", State.UNKNOWN, break_s3=refused("GetPublicAccessBlock")
    ),
    "encryption is not implemented": Fault(
        "encryption",
        "answered NotImplemented",
        State.UNKNOWN,
        break_s3=refused("GetBucketEncryption", code="NotImplemented", status=501),
    ),
    "amperity's key is wrong": Fault(
        "stream is-toast-orders",
        "401",
        environment={"AMPERITY_API_KEY": "wrong", "AMPERITY_CLIENT_ID": None, "AMPERITY_CLIENT_SECRET": None},
    ),
    "amperity's key has expired": Fault(
        "token expiry",
        "expired on 2020-09-13",
        config={"amperity_api_key": jwt(exp=1_600_000_000)},
        environment={"AMPERITY_CLIENT_ID": None, "AMPERITY_CLIENT_SECRET": None},
    ),
    "amperity's key ends soon": Fault(
        "token expiry",
        "expires on",
        State.WARNING,
        config={"amperity_api_key": jwt(exp=time.time() + 86_400)},
        environment={"AMPERITY_CLIENT_ID": None, "AMPERITY_CLIENT_SECRET": None},
    ),
    "amperity's tenant is another": Fault(
        "stream is-toast-orders", "403", environment={"AMPERITY_TENANT_ID": "other"}, also=("client credentials",)
    ),
    "amperity's client secret is wrong": Fault(
        "client credentials", "401", environment={"AMPERITY_CLIENT_SECRET": "wrong"}
    ),
    "no home": Fault("DAGSTER_HOME", "history is lost", State.WARNING, environment={"DAGSTER_HOME": None}),
    "the home is no folder": Fault("DAGSTER_HOME", "is no folder", environment={"DAGSTER_HOME": "/nowhere"}),
}


def checked(sandbox: Sandbox, home: Path, fault: Fault, **options: Any) -> list[Finding]:
    environment = {**sandbox.environment(), "DAGSTER_HOME": str(home), "TOAST_RESTAURANT_GUID": PLACE}
    changed = {name: value for name, value in (environment | fault.environment).items() if value is not None}
    client = s3_client(sandbox)
    fault.break_s3(client)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "s3_client", lambda: client)
        patch.setattr(services, "time", SimpleNamespace(time=lambda: time.time() + fault.late))
        return run_checks(changed, **options)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "dagster.yaml").write_bytes(HOME.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", FAULTS)
def test_one_line_names_the_fault(start_sandbox: StartSandbox, home: Path, name: str) -> None:
    fault = FAULTS[name]
    sandbox = start_sandbox(**{"restaurants": ONE, **fault.config})
    fault.arrange(sandbox)
    findings = checked(sandbox, home, fault)
    found = next(one for one in findings if one.name == fault.name and fault.words in one.detail)
    assert found.state is fault.state
    assert found.hint or found.state is State.UNKNOWN
    usual = {"encryption", "token expiry", "stream exists"}
    others = {one.name for one in findings if one.state is not State.OK and one is not found}
    assert {one for one in others if not one.endswith(fault.also or ("-",))} <= usual, findings
    assert [key for key, _ in sandbox.objects()] == [] or name == "nothing may be removed"
    assert "Uploads" not in s3_client(sandbox).list_multipart_uploads(Bucket=sandbox.bucket)
    assert not sandbox.amperity.accepted
    text = " ".join(f"{one.detail} {one.hint}" for one in findings)
    assert not [secret for secret in ("sandbox-secret", "sandbox-api-key", "wrong", "e30.") if secret in text]


@pytest.mark.parametrize("pool", ["toast", "amperity"])
def test_a_pool_without_a_limit_is_named_with_the_command_that_sets_it(
    sandbox: Sandbox, tmp_path: Path, pool: str
) -> None:
    found = {one.name: one for one in checked(sandbox, tmp_path, Fault("", ""))}
    assert found[f"pool {pool}"].state is State.FAILED
    assert f"concurrency set {pool} 1" in found[f"pool {pool}"].hint


def test_a_home_with_a_broken_configuration_is_named(sandbox: Sandbox, home: Path) -> None:
    (home / "dagster.yaml").write_text("storage: [")
    (found,) = [one for one in checked(sandbox, home, Fault("", "")) if one.area == "Dagster"]
    assert (found.name, found.state) == ("storage", State.FAILED)


def test_all_is_well_and_nothing_stays_behind(sandbox: Sandbox, home: Path) -> None:
    findings = checked(sandbox, home, Fault("", "", environment={"TOAST_RESTAURANT_GUID": "*", "S3_SSE": "AES256"}))
    assert {one.name for one in findings if one.state is not State.OK} == {"token expiry", "stream exists"}
    assert exit_code(findings) == 0
    assert "3 discovered" in next(one.detail for one in findings if one.name == "restaurants")
    assert "America/New_York" in next(one.detail for one in findings if one.name.startswith("restaurant "))
    assert not sandbox.objects()
    assert not sandbox.amperity.accepted


@pytest.mark.parametrize("scope", ["config:read", "config:write"])
def test_names_that_are_switched_off_need_no_scope(start_sandbox: StartSandbox, home: Path, scope: str) -> None:
    sandbox = start_sandbox(restaurants=ONE, scopes=SandboxConfig.scopes.replace("config:read", scope))
    findings = checked(sandbox, home, Fault("", "", environment={"TOAST_NAMES": "off"}))
    (found,) = [one for one in findings if one.name == "scope config:read"]
    assert (found.state, found.detail) == (State.OK, "not needed: TOAST_NAMES=off")


def test_every_stream_that_is_set_is_asked(sandbox: Sandbox, home: Path) -> None:
    streams: dict[str, str | None] = {
        "AMPERITY_STREAM_ID": "is-orders",
        "AMPERITY_TRANSACTIONS_STREAM_ID": "is-transactions",
        "AMPERITY_ORDER_ITEMS_STREAM_ID": "is-order-items",
        "AMPERITY_CUSTOMERS_STREAM_ID": "is-customers",
    }
    assert set(streams) == set(STREAMS)
    findings = checked(sandbox, home, Fault("", "", environment=streams))
    asked = {one.name: one.state for one in findings if one.name.startswith("stream is-")}
    assert asked == dict.fromkeys((f"stream {one}" for one in streams.values()), State.OK)


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_is_interrupted_leaves_no_parts(sandbox: Sandbox, operation: str) -> None:
    client = s3_client(sandbox)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    before(client, operation, interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(check_s3(client, StoreSettings.parse({"S3_BUCKET_NAME": sandbox.bucket})))
    assert "Uploads" not in s3_client(sandbox).list_multipart_uploads(Bucket=sandbox.bucket)


def test_parts_that_cannot_be_given_up_are_named_with_the_command_that_does(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    refuse(client, "UploadPart", 500, "InternalError")
    refuse(client, "AbortMultipartUpload", 403, "AccessDenied")
    findings = check_s3(client, StoreSettings.parse({"S3_BUCKET_NAME": sandbox.bucket}))
    (found,) = [one for one in findings if one.state is State.FAILED]
    (left,) = s3_client(sandbox).list_multipart_uploads(Bucket=sandbox.bucket)["Uploads"]
    assert found.name == "multipart"
    assert "InternalError" in found.detail
    assert f"--key {left['Key']} --upload-id {left['UploadId']}" in found.hint


def test_parts_are_encrypted_as_what_the_store_writes(sandbox: Sandbox) -> None:
    client = s3_client(sandbox)
    sent: dict[str, dict[str, str]] = {}

    def remember(model: Any, params: Any, **_: Any) -> None:
        names = {name: value for name, value in params["headers"].items() if "server-side" in name.lower()}
        sent.setdefault(model.name, names)

    client.meta.events.register("before-call.s3", remember)
    key = "arn:aws:kms:us-east-1:123456789012:key/of-ours"
    variables = {"S3_BUCKET_NAME": sandbox.bucket, "S3_SSE": "aws:kms", "S3_KMS_KEY_ID": key}
    list(check_s3(client, StoreSettings.parse(variables)))
    assert sent["CreateMultipartUpload"] == sent["PutObject"]
    assert key in sent["PutObject"].values()


@pytest.mark.parametrize(("is_sandbox", "state"), [(False, State.WARNING), (True, State.OK)])
def test_sqlite_is_a_warning_except_on_a_sandbox(home: Path, is_sandbox: bool, state: State) -> None:
    found = {one.name: one for one in check_instance(str(home), is_sandbox=is_sandbox)}["storage"]
    assert found.state is state
    assert "SQLite" in found.detail
    assert ("Postgres" in found.hint) is not is_sandbox


def test_only_the_canary_writes_a_record(sandbox: Sandbox, home: Path) -> None:
    guid = {"TOAST_RESTAURANT_GUID": sandbox.restaurant_guids[0]}
    findings = checked(sandbox, home, Fault("", "", environment=dict(guid)), canary=True)
    (record,) = sandbox.amperity.accepted
    assert record.guid
    assert record.guid in next(one.detail for one in findings if one.name == "canary")


def test_where_nothing_is_set_the_least_that_a_run_needs_is_named_once() -> None:
    findings = [one for one in run_checks({}) if one.area == "settings"]
    *missing, least = findings
    assert {one.name for one in missing} == {
        *("TOAST_CLIENT_ID", "TOAST_CLIENT_SECRET", "TOAST_RESTAURANT_GUID", "S3_BUCKET_NAME"),
        *("AMPERITY_TENANT_ID", "AMPERITY_API_KEY", "AMPERITY_STREAM_ID"),
    }
    assert len(missing) == 7
    assert all(one.detail.startswith("is not set") for one in missing)
    assert (least.name, least.detail) == ("variables", "none is set; these 7 are the least that a run needs")


def test_every_variable_is_checked_also_those_that_no_run_needs(sandbox: Sandbox, home: Path) -> None:
    wrong: dict[str, str | None] = {
        "RETENTION_RAW_DAYS": "-1",
        "ALERT_WEBHOOK_URL": "hooks/s3cret",
        "DAGSTER_UI_URL": "dagster",
        "ALLOW_HTTP_HOSTS": "http://x",
        "TOAST_WEEK_HOUR": "24",
        "AMPERITY_MAX_RECORD_BYTES": "1e99",
    }
    findings = checked(sandbox, home, Fault("", "", environment=wrong))
    found = {one.name: one for one in findings if one.area == "settings" and one.state is State.FAILED}
    assert found.keys() == wrong.keys()
    assert found["RETENTION_RAW_DAYS"].detail == "holds '-1', which is too small; write a whole number from 1 to 36500"
    assert {one.hint for one in found.values()} == {
        "Correct what is malformed in the environment of the run (README, Production set-up)."
    }


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"TOAST_STARTDATE": "2025-01-06"}, "TOAST_STARTDATE", "the nearest is TOAST_START_DATE"),
        ({"TOAST_RESTAURANT_GUID": f"{PLACE},{PLACE.upper()}"}, "TOAST_RESTAURANT_GUID", f"is read once: {PLACE}"),
        (
            {"TOAST_RESTAURANT_GUID": f"place-1,{PLACE}"},
            "TOAST_RESTAURANT_GUID",
            "no UUID, as Toast's GUIDs are: place-1",
        ),
        ({"TOAST_MEMBER_RESTAURANT_GUID": PLACE.replace("-", "")}, "TOAST_MEMBER_RESTAURANT_GUID", "no UUID"),
    ],
)
def test_what_works_and_was_hardly_meant_deserves_a_look(changes: dict[str, str], name: str, words: str) -> None:
    usual = {"S3_BUCKET_NAME": "bucket", "TOAST_CLIENT_ID": "id", "TOAST_CLIENT_SECRET": "secret"}
    usual |= {"AMPERITY_TENANT_ID": "acme", "AMPERITY_API_KEY": "key", "AMPERITY_STREAM_ID": "is-orders"}
    setup, (found,) = read_setup({"TOAST_RESTAURANT_GUID": PLACE, **usual, **changes})
    assert ToastSettings in setup
    assert (found.name, found.state) == (name, State.WARNING)
    assert words in found.detail
    assert found.hint


@pytest.mark.parametrize("broken", UNFORESEEN)
def test_an_area_that_ends_with_any_error_is_named_and_ends_no_other(
    sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a text that holds a s3cret")

    monkeypatch.setattr(f"toast_assets.doctor.{broken}", fail)
    findings = checked(sandbox, home, Fault("", ""))
    (found,) = [one for one in findings if one.name == "examination"]
    assert found.state is State.FAILED
    assert "builtins.RuntimeError" in found.detail
    assert "s3cret" not in found.detail + found.hint
    assert {one.area for one in findings} == {"settings", "Toast", "S3", "Amperity", "Dagster"}
    # Also what the area found before its error.
    assert {"login", "delete", "tenant"} <= {one.name for one in findings}


def test_a_proxy_that_cannot_be_used_is_named_once_and_keeps_its_services_from_being_asked(
    sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://user:s3cret@proxy.test:1080")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    findings = checked(sandbox, home, Fault("", ""))
    (found,) = [one for one in findings if one.name == "HTTP_PROXY"]
    assert (found.state, found.area) == (State.FAILED, "settings")
    assert "SOCKS" in found.detail
    assert not {"Toast", "Amperity"} & {one.area for one in findings}
    assert "s3cret" not in str(findings)


def test_a_webhook_is_reached_without_its_secret_and_nothing_is_posted(sandbox: Sandbox, home: Path) -> None:
    urls = f"{sandbox.toast_url}/services/s3cret http://127.0.0.1:{free_port()}/services/s3cret"
    findings = checked(sandbox, home, Fault("", "", environment={"ALERT_WEBHOOK_URL": urls}))
    near, far = [one for one in findings if one.area == "alerts"]
    assert (near.name, near.state) == ("webhook 127.0.0.1", State.OK)
    assert far.state is State.FAILED
    assert "connection refused" in far.detail
    assert "ALERT_WEBHOOK_URL" in far.hint
    assert "s3cret" not in str(findings)


def test_a_test_message_is_posted_to_each_address_and_one_that_refuses_it_is_a_cross(
    sandbox: Sandbox, home: Path
) -> None:
    taken: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(404 if self.path == "/refuses/s3cret" else 200)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        host = f"http://127.0.0.1:{server.server_port}"
        fault = Fault("", "", environment={"ALERT_WEBHOOK_URL": f"{host}/takes/s3cret {host}/refuses/s3cret"})
        findings = checked(sandbox, home, fault, alert=True)
        server.shutdown()
    taking, refusing = [one for one in findings if one.area == "alerts"]
    assert (taking.name, taking.state, taking.detail) == ("webhook 127.0.0.1", State.OK, "it took a test message")
    assert refusing.state is State.FAILED
    assert "answered 404" in refusing.detail
    assert "ALERT_WEBHOOK_URL" in refusing.hint
    assert len(taken) == 2
    assert "doctor --alert" in json.loads(taken[0])["text"]
    assert "s3cret" not in str(findings)


def test_a_test_message_without_an_address_is_a_cross(sandbox: Sandbox, home: Path) -> None:
    findings = checked(sandbox, home, Fault("", "", environment={"ALERT_WEBHOOK_URL": None}), alert=True)
    (found,) = [one for one in findings if one.area == "alerts"]
    assert (found.state, found.hint) == (State.FAILED, "Set ALERT_WEBHOOK_URL.")


def test_an_s3_client_that_cannot_be_made_is_one_line(
    sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client() -> Any:
        raise StoreError("The profile nope is not configured.", hint="Check AWS_PROFILE.")

    monkeypatch.setattr(checks, "s3_client", client)
    findings = run_checks({**sandbox.environment(), "DAGSTER_HOME": str(home)})
    (found,) = [one for one in findings if one.area == "S3"]
    assert (found.name, found.hint) == ("examination", "Check AWS_PROFILE.")
    assert {"Toast", "Amperity", "Dagster"} <= {one.area for one in findings}


def test_toast_is_asked_for_a_window_that_it_can_have(
    sandbox: Sandbox, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Window] = []
    page = ToastClient.orders_page

    async def orders_page(client: ToastClient, guid: str, window: Window, *more: Any) -> Any:
        asked.append(window)
        return await page(client, guid, window, *more)

    monkeypatch.setattr(ToastClient, "orders_page", orders_page)
    checked(sandbox, home, Fault("", ""))
    (window,) = asked
    # startDate must lie after 2015-12-01T00:00:00.000+0000 (Toast: ordersBulk).
    assert datetime(2015, 12, 1, tzinfo=UTC) < from_epoch_ms(window.start) < datetime(2016, 1, 1, tzinfo=UTC)
    assert window.end - window.start == 1
