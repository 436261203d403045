"""Merge patches (RFC 7386) and JSON patches (RFC 6902), by content type."""

from __future__ import annotations

from typing import Any

import jsonpatch

from tests.fake_kubernetes.errors import ApiError, bad_request

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"


def patched(body: dict[str, Any], patch: object, content_type: str) -> dict[str, Any]:
    """A new body; the old one is left alone."""
    if content_type == MERGE and isinstance(patch, dict):
        merged: dict[str, Any] = _merged(body, patch)
        return merged
    if content_type == JSON and isinstance(patch, list):
        return _json_patched(body, patch)
    if content_type in (MERGE, JSON):
        raise bad_request(f"a patch of the wrong shape for {content_type}")
    raise ApiError(415, "UnsupportedMediaType", f"the server speaks {MERGE} and {JSON}, not {content_type}")


def _merged(old: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


def _json_patched(body: dict[str, Any], operations: list[Any]) -> dict[str, Any]:
    try:
        result: dict[str, Any] = jsonpatch.apply_patch(body, operations)
    except jsonpatch.JsonPatchException as error:
        # Among them a failed "test", which is how clients ask for optimistic locking.
        raise ApiError(422, "Invalid", f"the server rejected our request: {error}") from None
    except jsonpatch.JsonPointerException as error:
        raise ApiError(422, "Invalid", f"the server rejected our request: {error}") from None
    return result
