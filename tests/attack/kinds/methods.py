"""Methods, versions, `Expect` and `Upgrade`."""

from __future__ import annotations

from tests.attack.arena import Account
from tests.attack.attacks import Attack, Way, over_http1, over_http2
from tests.attack.http1 import request
from tests.attack.http2 import Writer, usual
from tests.attack.kinds.bodies import JSON, MODEL, chat

KIND = "methods"

_METHODS = (
    "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND", "SEARCH", "QUERY", "PURGE",
    "post", "Post", "POSTX", "FOO", "M-SEARCH", "*", "A" * 3000,
)  # fmt: skip
_ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings", "/v1/responses", "/tokenize", "/v1/responses/id")
_PATHS = (*_ENDPOINTS, "/v1/load_lora_adapter", "/metrics", "*")
Upgrade = tuple[str, str, tuple[tuple[str, str], ...]]
_UPGRADES: tuple[Upgrade, ...] = (
    ("websocket", "Upgrade", (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13"))),
    ("h2c", "Upgrade, HTTP2-Settings", (("http2-settings", "AAMAAABkAAQAAP__"),)),
    ("TLS/1.2", "Upgrade", ()),
    ("CONNECT-UDP", "Upgrade", ()),
)
_UPGRADED_PATHS = ("/v1/responses", "/v1/chat/completions", "/v1/realtime", "/generate", "/v1/load_lora_adapter", "/")
_BRIEF = Way(patience_seconds=1.0, linger_seconds=0.05, must_answer=False)


def _proof(account: Account, insider: bool) -> tuple[str, str]:
    return account.bearer if insider else ("user", account.name)


def _method(method: str, path: str, insider: bool) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        return [request(method, path, [MODEL, JSON, _proof(account, insider)])]

    shown = method if len(method) < 20 else f"{method[:5]}...({len(method)})"
    return over_http1(KIND, f"{shown} {path}", pieces, insider=insider, way=_BRIEF)


def _method_over_2(method: str, path: str) -> Attack:
    def script(writer: Writer, account: Account) -> list[bytes]:
        return [writer.headers(1, usual(method, path, MODEL, JSON, account.bearer), end=True)]

    return over_http2(KIND, f"h2 {method} {path}", script, insider=True, way=_BRIEF)


def _upgrade(upgrade: Upgrade, path: str, insider: bool) -> Attack:
    """Behind an upgrade nobody would look at what is said: here, an unidentified request."""
    protocol, connection, more = upgrade

    def pieces(account: Account) -> list[bytes]:
        headers = [MODEL, ("upgrade", protocol), ("connection", connection), *more, _proof(account, insider)]
        behind = request("POST", "/v1/load_lora_adapter", [MODEL], b"{}")
        return [request("GET", path, headers), behind]

    way = Way(patience_seconds=1.0, linger_seconds=0.1, pause_seconds=0.05, must_answer=False)
    return over_http1(KIND, f"upgrade to {protocol} at {path}", pieces, insider=insider, way=way)


def _version(version: str, path: str, insider: bool) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        return [request("POST", path, [MODEL, JSON, _proof(account, insider)], chat(), version)]

    return over_http1(KIND, f"{version or 'no version'} {path}", pieces, insider=insider, way=_BRIEF)


def _expect(value: str, insider: bool) -> Attack:
    """The body is sent late, and not at all by whom the answer satisfies."""

    def pieces(account: Account) -> list[bytes]:
        head = request(
            headers=[JSON, _proof(account, insider), ("expect", value), ("content-length", str(len(chat())))]
        )
        return [head, chat()]

    way = Way(patience_seconds=2.0, pause_seconds=0.05, must_answer=insider)
    return over_http1(KIND, f"expect: {value}", pieces, insider=insider, way=way)


_VERSIONS = ("HTTP/1.0", "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3", "http/1.1", "HTTP/1.1 x", "", "ICAP/1.0")
_EXPECTATIONS = ("100-continue", "200-ok", "100-continue, x", "")

ATTACKS = (
    *(_method(method, path, insider=True) for method in _METHODS[:9] for path in _PATHS),
    *(_method(method, _PATHS[0], insider=True) for method in _METHODS[9:]),
    *(_method(method, path, insider=False) for method in _METHODS[:9] for path in (_PATHS[0], _PATHS[4])),
    *(_method_over_2(method, path) for method in _METHODS if len(method) < 99 for path in _ENDPOINTS[:2]),
    *(_upgrade(upgrade, path, insider=True) for upgrade in _UPGRADES for path in _UPGRADED_PATHS),
    *(_upgrade(upgrade, _UPGRADED_PATHS[0], insider=False) for upgrade in _UPGRADES),
    *(_version(version, path, insider=False) for version in _VERSIONS for path in (_ENDPOINTS[0], "/metrics")),
    *(_version(version, _ENDPOINTS[0], insider=True) for version in _VERSIONS),
    *(_expect(value, insider) for value in _EXPECTATIONS for insider in (True, False)),
)
