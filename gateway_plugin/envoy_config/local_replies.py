"""Envoy's own error answers in OpenAI's form.

The plugin's immediate responses are local replies for Envoy too; their details begin with `gateway_plugin_`, by which
they are told apart and left alone. Types and codes are those AIBrix uses for the same status.
"""

from __future__ import annotations

from dataclasses import dataclass

PLUGIN_DETAILS_PREFIX = "gateway_plugin_"

_OURS = f'response.code >= 400 && !response.code_details.startsWith("{PLUGIN_DETAILS_PREFIX}")'


@dataclass(frozen=True, slots=True)
class LocalReply:
    """One rule: when it applies (CEL), and the error to answer. The first that applies wins."""

    condition: str
    message: str
    type: str
    code: str | None
    retry_after_seconds: int = 0
    """0: the client is not told when to try again."""


def _reply(condition: str, message: str, kind: str, code: str | None, retry_after_seconds: int = 0) -> LocalReply:
    return LocalReply(f"{_OURS} && {condition}", message, kind, code, retry_after_seconds)


def local_replies(body_limit_bytes: int) -> tuple[LocalReply, ...]:
    """All rules, the most specific first."""
    too_large = f"The request body is longer than {body_limit_bytes} bytes."
    too_slow = "The request did not arrive in time."
    full = "The gateway has more to do than it can. Try again."
    no_pod = "No pod could serve the request: those that were tried refused it or broke off. Try again."
    by_plugin = 'response.code_details.startsWith("ext_proc")'
    unknown = 'response.code_details == "direct_response"'
    return (
        _reply("response.code == 413", too_large, "invalid_request_error", "request_too_large"),
        _reply("response.code == 408", too_slow, "invalid_request_error", "request_timeout"),
        _reply(by_plugin, "The gateway plugin did not answer.", "api_error", "gateway_plugin_unavailable"),
        _reply(unknown, "Unknown path or model.", "invalid_request_error", None),
        _reply('response.code_details == "overload"', full, "overloaded_error", "overloaded", retry_after_seconds=1),
        _reply("response.code == 503", no_pod, "overloaded_error", "service_unavailable", retry_after_seconds=1),
        _reply("response.code == 504", "The model did not answer in time.", "api_error", "timeout"),
        _reply("response.code < 500", "%LOCAL_REPLY_BODY%", "invalid_request_error", None),
        _reply("response.code >= 500", "The gateway could not complete the request.", "api_error", None),
    )
