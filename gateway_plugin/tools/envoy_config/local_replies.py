"""Envoy's own error answers, in the form that the clients of each path read.

The plugin's immediate responses are local replies for Envoy too; their details begin with `gateway_plugin_`, by which
they are told apart and left alone. Types and codes are those AIBrix uses for the same status.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway_plugin.endpoints.endpoint_table import ENDPOINTS, ApiFamily

PLUGIN_DETAILS_PREFIX = "gateway_plugin_"

_OURS = f'response.code >= 400 && !response.code_details.startsWith("{PLUGIN_DETAILS_PREFIX}")'
_REQUEST_ID = "%REQ(X-REQUEST-ID)%"


@dataclass(frozen=True, slots=True)
class LocalReply:
    """One rule: when it applies (CEL), and the document to answer. The first that applies wins."""

    condition: str
    message: str
    body: dict[str, object]
    retry_after_seconds: int = 0
    """0: the client is not told when to try again."""


@dataclass(frozen=True, slots=True)
class _Cause:
    """What went wrong, for clients of any family."""

    condition: str
    message: str
    type: str
    code: str | None
    anthropic_type: str
    retry_after_seconds: int = 0

    def body(self, family: ApiFamily) -> dict[str, object]:
        if family is ApiFamily.ANTHROPIC:
            said = {"type": self.anthropic_type, "message": self.message}
            return {"type": "error", "error": said, "request_id": _REQUEST_ID}
        error = {"message": self.message, "type": self.type, "param": None, "code": self.code}
        return {"message": self.message, "error": error} if family is ApiFamily.RERANK else {"error": error}


def local_replies(body_limit_bytes: int) -> tuple[LocalReply, ...]:
    """All rules, the most specific first."""
    return tuple(
        LocalReply(f"{_OURS}{paths} && {cause.condition}", cause.message, cause.body(family), cause.retry_after_seconds)
        for family, paths in _PATHS.items()
        for cause in _causes(body_limit_bytes)
    )


def _causes(body_limit_bytes: int) -> tuple[_Cause, ...]:
    mistake, ours, busy, late = "invalid_request_error", "api_error", "overloaded_error", "timeout_error"
    too_large = f"The request body is longer than {body_limit_bytes} bytes."
    too_slow = "The request did not arrive in time."
    full = "The gateway has more to do than it can. Try again."
    limited, too_fast = "rate_limit_error", "Too many requests from one address. Slow down and try again."
    flood = 'response.code_details == "local_rate_limited"'
    no_answer = "The gateway plugin did not answer."
    no_pod = "No pod could serve the request: those that were tried refused it or broke off. Try again."
    by_plugin = 'response.code_details.startsWith("ext_proc")'
    unknown = 'response.code_details in ["direct_response", "route_not_found"]'
    return (
        _Cause("response.code == 413", too_large, mistake, "request_too_large", "request_too_large"),
        _Cause("response.code == 408", too_slow, mistake, "request_timeout", late),
        _Cause(by_plugin, no_answer, ours, "gateway_plugin_unavailable", ours),
        _Cause(unknown, "Unknown path or model.", mistake, None, "not_found_error"),
        _Cause(flood, too_fast, limited, "rate_limit_exceeded", limited, retry_after_seconds=1),
        _Cause('response.code_details == "overload"', full, busy, "overloaded", busy, retry_after_seconds=1),
        _Cause("response.code == 503", no_pod, busy, "service_unavailable", busy, retry_after_seconds=1),
        _Cause("response.code == 504", "The model did not answer in time.", ours, "timeout", late),
        _Cause("response.code < 500", "%LOCAL_REPLY_BODY%", mistake, None, mistake),
        _Cause("response.code >= 500", "The gateway could not complete the request.", ours, None, ours),
    )


def _on_paths_of(family: ApiFamily) -> str:
    paths = sorted(row.path for row in ENDPOINTS if row.family is family)
    starts = [f'request.url_path.startsWith("{path}")' for path in paths]
    return f" && ({' || '.join(starts)})"


# OpenAI's form is also for what has no path yet: requests that cannot be read.
_PATHS = {family: _on_paths_of(family) for family in (ApiFamily.ANTHROPIC, ApiFamily.RERANK)} | {ApiFamily.OPENAI: ""}
