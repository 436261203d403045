"""Which web pages may send requests (CORS): what the gateway answers to browsers that ask, and what it says beside.

Pages never get the credentials of a browser: who asks is told by an API key, which the page must know.
"""

from __future__ import annotations

import re

PREFLIGHT_HEADER = "access-control-request-method"
"""What makes OPTIONS a browser's question."""
ANSWER_HEADERS = tuple(
    f"access-control-{name}"
    for name in (
        *("allow-origin", "allow-credentials", "expose-headers", "allow-methods", "allow-headers", "max-age"),
        "allow-private-network",
    )
)
"""What answers say to browsers. The same names stand in deploy/envoy/lua/gateway.lua."""
_ORIGIN = re.compile(r"\*|https?://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")
_SDK = ("arch", "async", "custom-poll-interval", "helper-method", "lang", "os", "package-version", "poll-helper")
_SDK_MORE = ("retry-count", "runtime", "runtime-version", "timeout")
_ALLOWED = (
    *("authorization", "content-type", "idempotency-key", "model", "user", "routing-strategy", "config-profile"),
    *("external-filter", "x-session-id", "x-request-id", "x-api-key", "api-key"),
    *("anthropic-version", "anthropic-beta", "anthropic-dangerous-direct-browser-access"),
    *("openai-beta", "openai-organization", "openai-project"),
    *(f"x-stainless-{name}" for name in (*_SDK, *_SDK_MORE)),
)
_PREFLIGHT = {
    "access-control-allow-methods": "GET, HEAD, POST, DELETE",
    # "*" would leave out authorization.
    "access-control-allow-headers": ", ".join(_ALLOWED),
    "access-control-max-age": "7200",
}


def parse_origins(text: str) -> tuple[str, ...]:
    """The origins in a setting, separated by commas; raises ValueError that says what is allowed."""
    origins = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin; allowed: *, https://host[:port], https://*.host[:port]")
    return origins


class WebPages:
    """Those of some origins."""

    def __init__(self, origins: tuple[str, ...]) -> None:
        patterns = (re.escape(origin).replace(r"\*", "[^/]+" if origin != "*" else ".*") for origin in origins)
        self._allowed = re.compile("|".join(patterns))

    def headers(self, origin: str) -> dict[str, str]:
        """What answers to a page of this origin say; nothing where it may not read them."""
        if not origin or not self._allowed.fullmatch(origin):
            return {}
        return {"access-control-allow-origin": origin, "access-control-expose-headers": "*", "vary": "origin"}

    def preflight(self, origin: str) -> dict[str, str]:
        """The same for a question that comes before a request."""
        headers = self.headers(origin)
        return headers | _PREFLIGHT if headers else {}
