"""Values for a Helm chart against the schema that the chart publishes, more strictly than Helm itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]

Schema = Mapping[str, Any]


def problems(values: Mapping[str, Any], schema: Schema) -> list[str]:
    """What is wrong with ``values``, each with the place; empty where nothing is.

    Helm lays values over the chart's own, so nothing is asked for that the chart brings, except in a list, which
    replaces the chart's. Helm passes over a key that it does not know, here it is wrong. What the schema refers to
    outside of itself (Kubernetes' own types) is taken for right.
    """
    validator = jsonschema.Draft202012Validator(_own(schema, schema, merged=True))
    return [f"{error.json_path}: {_told(error)}" for error in validator.iter_errors(values)]


def _own(part: Any, schema: Schema, *, merged: bool) -> Any:
    """``part`` of the schema with everything that it refers to written out; ``merged`` where the chart has values."""
    if isinstance(part, list):
        return [_own(each, schema, merged=merged) for each in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref", "")
    if reference.startswith("#/$defs/"):
        return _own(schema["$defs"][reference.removeprefix("#/$defs/")], schema, merged=merged)
    left = {key: value for key, value in part.items() if key not in {"$ref", "$defs"}}
    # Not the conditions, which have neither a type nor all of the keys.
    if left.get("type") == "object":
        if merged:
            left.pop("required", None)
        if left.get("properties") and not reference:
            left["additionalProperties"] = False
    return {key: _own(value, schema, merged=merged and key != "items") for key, value in left.items()}


def _told(error: jsonschema.ValidationError) -> str:
    """The reason; of several alternatives that of the ones that are not null."""
    reasons = [_told(each) for each in error.context or () if each.validator_value != "null"]
    return "; ".join(reasons) or error.message
