"""Errors in the form that the clients of each family of endpoints read.

OpenAI: `{"error": {"message", "type", "param", "code"}}`. Anthropic: `{"type": "error", "error": {"type", "message"},
"request_id"}`. Cohere's clients read a `message` at the top, while engines answer rerankers as OpenAI: both are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.endpoints.endpoint_table import ApiFamily
from gateway_plugin.openai.errors import error_object

if TYPE_CHECKING:
    from gateway_plugin.openai.errors import ApiError

_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_in_form(error: ApiError, family: ApiFamily, request_id: str) -> bytes:
    """The JSON document."""
    if family is ApiFamily.ANTHROPIC:
        said = {"type": anthropic_type(error.status), "message": error.message}
        return msgspec.json.encode({"type": "error", "error": said, "request_id": request_id})
    if family is ApiFamily.RERANK:
        inner = error_object(error.status, error.message, code=error.code, param=error.param)
        return msgspec.json.encode({"message": error.message, "error": inner})
    return error.body


def anthropic_type(status: int) -> str:
    """Anthropic's error type for an HTTP status."""
    return _ANTHROPIC_TYPES.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")
