"""Envoy's own error answers, in the form that the clients of each path read.

The plugin's immediate responses are local replies for Envoy too; their details begin with `gateway_plugin_`, by which
they are told apart and left alone. Types and codes are those AIBrix uses for the same status.

Envoy asks one rule after the other, for each refusal in a flood, too. An expression (CEL) takes it 15 us, a status or
the beginning of a path 0.1 us: so these are asked first, and of expressions there are three. What the plugin answered
is told by the first rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.endpoints.endpoint_table import ENDPOINTS, ApiFamily

if TYPE_CHECKING:
    from collections.abc import Sequence

PLUGIN_DETAILS_PREFIX = "gateway_plugin_"

_REQUEST_ID = "%REQ(X-REQUEST-ID)%"
_CEL = "envoy.access_loggers.extension_filters.cel"
_CEL_TYPE = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
Filter = dict[str, object]
"""Envoy's AccessLogFilter, as JSON."""


@dataclass(frozen=True, slots=True)
class LocalReply:
    """One rule: when it applies, and the document to answer. The first that applies wins."""

    filter: Filter
    message: str
    body: dict[str, object]
    retry_after_seconds: int = 0
    """0: the client is not told when to try again."""


@dataclass(frozen=True, slots=True)
class _Cause:
    """What went wrong, for clients of any family."""

    statuses: tuple[int, int]
    """From one to another."""
    message: str
    type: str
    code: str | None
    anthropic_type: str
    details: str = ""
    """What must hold of Envoy's reason, as CEL."""
    retry_after_seconds: int = 0

    def body(self, family: ApiFamily) -> dict[str, object]:
        if family is ApiFamily.ANTHROPIC:
            said = {"type": self.anthropic_type, "message": self.message}
            return {"type": "error", "error": said, "request_id": _REQUEST_ID}
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        return {"message": self.message, "error": error} if family is ApiFamily.RERANK else {"error": error}


def left_alone() -> Filter:
    """Of what the plugin answered."""
    return _all([_status("GE", 400), _expression(f'response.code_details.startsWith("{PLUGIN_DETAILS_PREFIX}")')])


def local_replies(body_limit_bytes: int) -> tuple[LocalReply, ...]:
    """All rules for what the plugin did not answer, the most specific first."""
    return tuple(
        LocalReply(_filter(cause, paths), cause.message, cause.body(family), cause.retry_after_seconds)
        for family, paths in _PATHS.items()
        for cause in _causes(body_limit_bytes)
    )


def _causes(body_limit_bytes: int) -> tuple[_Cause, ...]:
    mistake, ours, busy, late = "invalid_request_error", "api_error", "overloaded_error", "timeout_error"
    too_large = f"The request body is longer than {body_limit_bytes} bytes."
    too_slow = "The request did not arrive in time."
    full = "The gateway has more to do than it can. Try again."
    limited, too_fast = "rate_limit_error", "Too many requests from one address. Slow down and try again."
    no_answer = "The gateway plugin did not answer."
    no_pod = "No pod could serve the request: those that were tried refused it or broke off. Try again."
    by_plugin = 'response.code_details.startsWith("ext_proc")'
    overload = 'response.code_details == "overload"'
    return (
        _Cause((413, 413), too_large, mistake, "request_too_large", "request_too_large"),
        _Cause((408, 408), too_slow, mistake, "request_timeout", late),
        _Cause((404, 404), "Unknown path or model.", mistake, None, "not_found_error"),
        _Cause((429, 429), too_fast, limited, "rate_limit_exceeded", limited, retry_after_seconds=1),
        _Cause((400, 499), "%LOCAL_REPLY_BODY%", mistake, None, mistake),
        _Cause((500, 599), no_answer, ours, "gateway_plugin_unavailable", ours, by_plugin),
        _Cause((503, 503), full, busy, "overloaded", busy, overload, retry_after_seconds=1),
        _Cause((503, 503), no_pod, busy, "service_unavailable", busy, retry_after_seconds=1),
        _Cause((504, 504), "The model did not answer in time.", ours, "timeout", late),
        _Cause((500, 599), "The gateway could not complete the request.", ours, None, ours),
    )


def _filter(cause: _Cause, paths: Sequence[str]) -> Filter:
    first, last = cause.statuses
    parts = [_status("EQ", first)] if first == last else [_status("GE", first), _status("LE", last)]
    if paths:
        parts.append(_any([_begins_with(path) for path in paths]))
    return _all([*parts, _expression(cause.details)] if cause.details else parts)


def _status(operator: str, status: int) -> Filter:
    value = {"default_value": status, "runtime_key": "gateway.local_replies"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": value}}}


def _begins_with(path: str) -> Filter:
    return {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": path}}}}


def _expression(cel: str) -> Filter:
    return {"extension_filter": {"name": _CEL, "typed_config": {"@type": _CEL_TYPE, "expression": cel}}}


def _all(filters: list[Filter]) -> Filter:
    return {"and_filter": {"filters": filters}} if len(filters) > 1 else filters[0]


def _any(filters: list[Filter]) -> Filter:
    return {"or_filter": {"filters": filters}} if len(filters) > 1 else filters[0]


def _paths_of(family: ApiFamily) -> tuple[str, ...]:
    return tuple(sorted(row.path for row in ENDPOINTS if row.family is family))


# OpenAI's form is also for what has no path yet: requests that cannot be read.
_PATHS: dict[ApiFamily, tuple[str, ...]] = {
    ApiFamily.ANTHROPIC: _paths_of(ApiFamily.ANTHROPIC),
    ApiFamily.RERANK: _paths_of(ApiFamily.RERANK),
    ApiFamily.OPENAI: (),
}
