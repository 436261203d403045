"""What the operator configured for all requests, and which of their headers that makes matter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gateway_plugin.endpoints.endpoint_table import EndpointTable
from gateway_plugin.endpoints.web_pages import PREFLIGHT_HEADER
from gateway_plugin.exchange.intent.identity import KEY_HEADERS, IdentityRules

if TYPE_CHECKING:
    from gateway_plugin.endpoints.web_pages import WebPages
WANTED_HEADERS = frozenset(
    {
        ":method",
        ":path",
        *KEY_HEADERS,
        "config-profile",
        "content-encoding",
        "content-length",
        "content-type",
        "external-filter",
        "model",
        "routing-strategy",
        "user",
        "x-aibrix-session-key",
        "x-forwarded-for",
        "x-request-id",
        "x-session-id",
    }
)
ANY_KEY = "*"
StreamUsage = Literal["inject", "require", "estimate"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator configured for all requests."""

    default_strategy: str = ""
    identity: IdentityRules = field(default_factory=IdentityRules)
    limited: bool = True
    """False when nobody's limits are enforced."""
    stream_usage: StreamUsage = "inject"
    filter_keys: frozenset[str] = frozenset({ANY_KEY})
    """Pod labels that clients may select by; "*" is all."""
    expose_pod: bool = True
    """Whether clients are told which pod served them."""
    max_body_bytes: int = 16 * 1024 * 1024
    """Of a body that came compressed; all others are bounded by Envoy and the transport."""
    endpoints: EndpointTable = field(default_factory=EndpointTable)
    web_pages: WebPages | None = None
    """Those that may send requests; None: no page may."""


def wanted_headers(rules: Rules, *, hides_credentials: bool = False) -> frozenset[str]:
    """The headers that `read_intent` looks at under these rules."""
    reads_credentials = rules.identity.reads_credentials or hides_credentials
    wanted = WANTED_HEADERS if reads_credentials else WANTED_HEADERS - frozenset(KEY_HEADERS)
    return wanted if rules.web_pages is None else wanted | {"origin", PREFLIGHT_HEADER}
