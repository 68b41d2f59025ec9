"""The manifest: what is missing, what is stored, and the same bytes for the same content."""

from __future__ import annotations

import json

import msgspec
import pytest

from toast_assets.store.manifest import (
    Manifest,
    PullEvidence,
    PullRecord,
    RestaurantRecord,
    SliceRecord,
    decode_evidence,
    decode_manifest,
    json_for_people,
)

EVIDENCE = PullEvidence(
    requests=5,
    retries=1,
    throttled=0,
    started_at="2025-09-22T04:15:00.000Z",
    finished_at="2025-09-22T04:16:00.000Z",
    slices=(SliceRecord("2025-09-15T04:00:00.000Z", "2025-09-22T04:00:00.000Z", 3, 5, "one_reply"),),
)


def pulled(sha256: str = "a") -> PullRecord:
    evidence = msgspec.structs.asdict(EVIDENCE)
    return PullRecord(orders=3, bytes=9, orders_sha256=sha256, new=3, changed=0, **evidence)


def complete(sha256: str = "a") -> RestaurantRecord:
    return RestaurantRecord(outcome="complete", name="One", pull=pulled(sha256))


def failed(pull: PullRecord | None = None) -> RestaurantRecord:
    return RestaurantRecord(outcome="failed", pull=pull, failure="Toast answered 403.")


def manifest(pending: tuple[str, ...] = (), **restaurants: RestaurantRecord) -> Manifest:
    return Manifest(
        partition="2025-09-15",
        start_date="2025-09-15T04:00:00.000Z",
        end_date="2025-09-22T04:00:00.000Z",
        outcome="complete",
        pending=pending,
        restaurants=restaurants,
    )


def test_it_is_read_as_it_was_written() -> None:
    before = manifest(("c",), a=complete(), b=failed())
    assert decode_manifest(json_for_people(before)) == before


def test_the_same_content_has_the_same_bytes_and_people_can_read_it() -> None:
    body = json_for_people(manifest(a=complete()))
    assert body == json_for_people(manifest(a=complete()))
    assert json.loads(body)["restaurants"]["a"]["pull"]["slices"][0]["evidence"] == "one_reply"
    assert body.count(b"\n") > 20


def test_a_manifest_of_a_later_version_can_be_read() -> None:
    content = json.loads(json_for_people(manifest(a=complete())))
    content["added_later"] = 1
    content["restaurants"]["a"]["added_later"] = {"x": 1}
    assert decode_manifest(json.dumps(content).encode()) == manifest(a=complete())


def test_what_is_no_manifest_is_an_error() -> None:
    for body in (b"", b"[]", b'{"partition": "2025-09-15"}'):
        with pytest.raises(msgspec.DecodeError):
            decode_manifest(body)


def test_missing_is_what_failed_what_is_pending_and_what_is_new() -> None:
    found = manifest(("begun",), begun=complete(), done=complete(), failed=failed(pulled()))
    assert found.missing(("begun", "done", "failed", "new")) == ("begun", "failed", "new")


def test_a_restaurant_that_failed_later_is_still_stored() -> None:
    found = manifest(a=failed(pulled()), b=failed())
    assert found.stored == {"a": pulled()}
    assert found.failures == {"a": "Toast answered 403.", "b": "Toast answered 403."}


def test_the_data_version_changes_with_the_orders_and_with_nothing_else() -> None:
    one = manifest(a=complete("x"), b=complete("y"))
    assert one.data_version == manifest(("c",), b=complete("y"), a=complete("x"), c=failed()).data_version
    assert one.data_version != manifest(a=complete("x"), b=complete("z")).data_version
    assert one.data_version != manifest(a=complete("y"), b=complete("x")).data_version


def test_evidence_is_read_as_it_was_written_and_nothing_else_is_taken_for_it() -> None:
    assert decode_evidence(msgspec.json.encode(EVIDENCE)) == EVIDENCE
    assert decode_evidence(b"") is None
    assert decode_evidence(b'{"requests": 1}') is None
