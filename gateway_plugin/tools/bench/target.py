"""What is asked, and how: the URL, the model, the headers, and the body of a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
STRATEGY_HEADER = "routing-strategy"
USER_HEADER = "user"


class TargetError(ValueError):
    """A URL or a header that cannot be used; the text says what is expected."""


@dataclass(frozen=True, slots=True)
class BenchTarget:
    """Where requests go. `strategy` empty: the gateway's own choice."""

    base_url: str
    path: str
    model: str
    stream: bool = True
    ignore_eos: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 120.0

    @property
    def url(self) -> str:
        """Of requests."""
        return self.base_url + self.path

    def headers_of(self, strategy: str, user: str) -> dict[str, str]:
        """Of one request."""
        sent = {"content-type": "application/json", **self.headers}
        if strategy:
            sent[STRATEGY_HEADER] = strategy
        if user:
            sent[USER_HEADER] = user
        return sent

    def body(self, prompt: bytes, output_tokens: int) -> bytes:
        """JSON; the prompt is ASCII without quotes, and put in as it is: encoding 100 KB per request would cost."""
        settings: dict[str, object] = {"model": self.model, "max_tokens": output_tokens, "stream": self.stream}
        if self.stream:
            settings["stream_options"] = {"include_usage": True}
        if self.ignore_eos:
            settings["ignore_eos"] = True
        opening, closing = (b'"prompt":"', b'"}')
        if self.path.endswith(CHAT):
            opening, closing = b'"messages":[{"role":"user","content":"', b'"}]}'
        return b"".join((msgspec.json.encode(settings)[:-1], b",", opening, prompt, closing))


def split_url(url: str) -> tuple[str, str]:
    """Base URL and path of the endpoint, from a host, a base URL with `/v1`, or a whole one; raises TargetError."""
    expected = (
        f"URL {url}: expected something like http://gateway:10080, or with a path that ends in {CHAT} or {COMPLETIONS}"
    )
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        known = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError as error:
        raise TargetError(f"{expected}: {error}") from error
    if not known or parts.query or parts.fragment or parts.username:
        raise TargetError(expected)
    path = parts.path.rstrip("/")
    host = f"{parts.scheme}://{parts.netloc}"
    for endpoint in (CHAT, COMPLETIONS):
        if path.endswith(endpoint):
            return host + path.removesuffix(endpoint), endpoint
    return host + path.removesuffix("/v1"), CHAT


def read_headers(pairs: list[str]) -> dict[str, str]:
    """From `key=value` or `key: value`; raises TargetError."""
    headers: dict[str, str] = {}
    for pair in pairs:
        mark = "=" if "=" in pair.partition(":")[0] or ":" not in pair else ":"
        name, _, value = pair.partition(mark)
        name = name.strip().lower()
        if not name or mark not in pair or not name.isascii() or any(sign in name for sign in ' \r\n\t"'):
            raise TargetError(f"--header {pair}: expected NAME=VALUE")
        if any(sign in value for sign in "\r\n\0"):
            raise TargetError(f"--header {name}: a value is one line")
        headers[name] = value.strip()
    return headers
