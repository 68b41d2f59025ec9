"""``--variables``: a command in the environment of one brand among several."""

from __future__ import annotations

import os

import pytest
from click.testing import CliRunner

from toast_assets.cli.app import main
from toast_assets.sandbox import Sandbox
from toast_assets.variables import known_variables

PREFIX = "BRAND_A_"


@pytest.fixture
def brand(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The variables of the sandbox as those of one brand, and of no other."""
    for name in known_variables() & os.environ.keys():
        monkeypatch.delenv(name)
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name if name.startswith("AWS_") else PREFIX + name, value)
    return monkeypatch


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_takes_the_prefix(command: str) -> None:
    assert "--variables PREFIX" in CliRunner().invoke(main, [command, "--help"]).output


def test_a_prefix_that_can_be_none_is_refused() -> None:
    reply = CliRunner().invoke(main, ["retention", "--variables", "brand a"])
    assert reply.exit_code == 2
    assert "is not one such as BRAND_A_" in reply.output


@pytest.mark.usefixtures("brand")
def test_a_command_reads_the_variables_of_its_brand() -> None:
    reply = CliRunner().invoke(main, ["retention", "--dry-run", "--variables", PREFIX], env={"RETENTION_RAW_DAYS": "x"})
    assert reply.exit_code == 0, reply.output
    assert "everything is kept" in reply.output


def test_no_other_variables_stand_in_and_messages_have_the_brands_names(brand: pytest.MonkeyPatch) -> None:
    brand.setenv("S3_BUCKET_NAME", "of-another-brand")
    brand.setenv("AWS_PROFILE", "of-another-brand")
    brand.delenv("BRAND_A_S3_BUCKET_NAME")
    reply = CliRunner().invoke(main, ["forget", "--yes", "--variables", PREFIX, "a@example.com"])
    assert reply.exit_code == 2
    assert "BRAND_A_S3_BUCKET_NAME is not set" in reply.output
    assert os.environ["S3_BUCKET_NAME"] == "of-another-brand"


def test_the_doctor_names_the_brands_variables(brand: pytest.MonkeyPatch) -> None:
    brand.delenv("BRAND_A_TOAST_CLIENT_ID")
    brand.setenv("BRAND_A_TOAST_STARTDATE", "2025-01-06")
    brand.setenv("TOAST_STARTDATE", "2025-01-06")
    output = CliRunner().invoke(main, ["doctor", "--variables", PREFIX]).output
    assert "BRAND_A_TOAST_CLIENT_ID: is not set" in output
    assert "BRAND_A_TOAST_STARTDATE: is no variable of this pipeline; the nearest is BRAND_A_TOAST_START_DATE" in output
    assert " TOAST_" not in output
