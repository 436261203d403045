"""Writes docs/errors.md from the table: python -m gateway_plugin.openai.errors_page > docs/errors.md"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.openai.error_table import KINDS, Blame
from gateway_plugin.openai.errors import error_type

if TYPE_CHECKING:
    from gateway_plugin.openai.error_table import ErrorKind

_HEAD = """# Errors

What the gateway answers itself, in OpenAI's form: `{"error": {"message", "type", "param", "code"}}`; on `/v1/messages`
in Anthropic's, for rerankers with a `message` at the top, too. What an engine answers goes to the client as it is.
`reason` is the label of `gateway_rejections_total` and stands in the log line. Written by `make docs` from
`gateway_plugin/openai/error_table.py`.
"""

_COLUMNS = """
| status | code | type | reason | Retry-After | it means | what to do |
|---|---|---|---|---|---|---|
"""

_ENVOY = """
## Envoy answers

These come from Envoy and not from the plugin (`gateway_plugin/tools/envoy_config/local_replies.py`), in the same forms.

| status | code | type | Retry-After | it means | what to do |
|---|---|---|---|---|---|
| 408 | `request_timeout` | `invalid_request_error` | | the request did not arrive in time | try again |
| 413 | `request_too_large` | `invalid_request_error` | | the body is longer than Envoy takes | send less |
| 429 | `rate_limit_exceeded` | `rate_limit_error` | 1 s | one address sends too many requests a second | slow down |
| 503 | `overloaded` | `overloaded_error` | 1 s | Envoy has more to do than it can | wait |
| 503 | `service_unavailable` | `overloaded_error` | 1 s | the tried pods refused it or broke off | try again |
| 504 | `timeout` | `api_error` | | the model did not answer in time | try again |
| 500 or 504 | `gateway_plugin_unavailable` | `api_error` | | no plugin answered | look at the plugin's pods |
"""


def page() -> str:
    """The whole of it."""
    return _HEAD + "".join(_section(blame) for blame in Blame) + _ENVOY


def _section(blame: Blame) -> str:
    return f"\n## {blame.value}\n{_COLUMNS}" + "".join(_row(kind) for kind in KINDS if kind.blame is blame)


def _row(kind: ErrorKind) -> str:
    code = f"`{kind.code}`" if kind.code else ""
    seconds = kind.headers.get("retry-after", "")
    wait = "1 to 59 s" if kind.status == 429 else f"{seconds} s" if seconds else ""
    cells = (str(kind.status), code, f"`{error_type(kind.status)}`", f"`{kind.reason}`", wait)
    return f"| {' | '.join((*cells, kind.means, kind.do))} |\n"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - writes the page
