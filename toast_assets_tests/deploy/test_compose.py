"""The compose file: nothing writable, privileged or open that need not be, no secret in it, everything in order."""

from __future__ import annotations

import re
from typing import Any

import pytest

from toast_assets_tests.support.data import dockerfile
from toast_assets_tests.support.services import compose
from toast_assets_tests.support.services.compose import DEPLOY

COMPOSITION = compose.load({})
SERVICES: dict[str, dict[str, Any]] = COMPOSITION["services"]
OURS = sorted(SERVICES.keys() - {"postgres"})
STAGES = dockerfile.parse(DEPLOY / "Dockerfile")
_SECRET = re.compile(r"SECRET|PASSWORD|KEY|TOKEN")


@pytest.mark.parametrize("name", OURS)
def test_our_containers_are_read_only_and_without_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - what is mounted
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert not {"privileged", "cap_add", "devices", "pid", "ipc", "user"} & service.keys()
    # The user is the image's own.
    assert [each.rest for each in STAGES[service["build"]["target"]].all("USER")] == ["10001"]


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_are_named_and_never_a_folder_of_the_machine(name: str) -> None:
    mounted = [volume.split(":")[0] for volume in SERVICES[name].get("volumes", ())]
    assert set(mounted) <= COMPOSITION["volumes"].keys()


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_as_files(name: str) -> None:
    environment = SERVICES[name].get("environment", {})
    inline = [each for each in environment if _SECRET.search(each) and not each.endswith("_FILE")]
    assert inline == []
    for variable in environment:
        if variable.endswith("_FILE"):
            mounted = {f"/run/secrets/{secret}" for secret in SERVICES[name]["secrets"]}
            assert environment[variable] in mounted


def test_files_with_secrets_are_kept_out_of_git_and_of_the_image() -> None:
    kept_out = set((DEPLOY / ".gitignore").read_text().split())
    files = {secret["file"].removeprefix("./") for secret in COMPOSITION["secrets"].values()}
    files |= {file for service in SERVICES.values() for file in service.get("env_file", ())}
    assert files <= kept_out
    dockerignore = (DEPLOY.parent / ".dockerignore").read_text().split()
    assert "*" in dockerignore
    assert not {f"!deploy/{file}" for file in files} & set(dockerignore)
    assert "!deploy" not in dockerignore


def test_the_committed_example_has_no_values() -> None:
    values = compose.read_env_file(DEPLOY / "example.env")
    assert values
    assert set(values.values()) == {""}


def test_only_the_web_server_is_offered_and_to_this_machine_only() -> None:
    offered = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert offered == {"webserver": ["127.0.0.1:3000:3000"]}
    assert not any(service.get("network_mode") == "host" for service in SERVICES.values())


def test_what_others_wait_for_says_when_it_is_ready() -> None:
    for name, service in SERVICES.items():
        for other, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert SERVICES[other]["healthcheck"]["test"], f"{name} would wait for {other} for ever"
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert SERVICES[other]["restart"] == "no"


@pytest.mark.parametrize("name", ["code", "daemon", "webserver"])
def test_nothing_runs_before_database_and_pools_are_prepared(name: str) -> None:
    assert SERVICES[name]["depends_on"]["prepare"] == {"condition": "service_completed_successfully"}
    assert SERVICES["prepare"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    script = SERVICES["prepare"]["command"][-1]
    assert [part.split()[1:] for part in script.split(";")] == [
        ["instance", "migrate"],
        ["instance", "concurrency", "set", "toast", "1"],
        ["instance", "concurrency", "set", "amperity", "1"],
    ]


@pytest.mark.parametrize("name", ["prepare", "code", "daemon", "webserver"])
def test_all_of_dagster_reads_the_same_instance(name: str) -> None:
    assert SERVICES[name]["environment"] == SERVICES["code"]["environment"]
    assert SERVICES[name]["command"][0] == "with-secrets"
    assert SERVICES[name]["image"] == SERVICES["code"]["image"]
    assert (DEPLOY / "with-secrets").stat().st_mode & 0o111


def test_the_sandbox_starts_only_when_asked_for() -> None:
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"sandbox"}
    assert SERVICES["sandbox"]["network_mode"] == "service:code"
