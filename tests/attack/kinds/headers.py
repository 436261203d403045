"""Control headers, forged: every name and spelling, in headers, duplicates, folds and trailers."""

from __future__ import annotations

from tests.attack.arena import Account, Arena
from tests.attack.attacks import Attack, Findings, over_http1, over_http2
from tests.attack.contract import SPOOFED
from tests.attack.http1 import chunked, request
from tests.attack.http2 import Writer, usual
from tests.attack.kinds.bodies import JSON, chat

KIND = "headers"

_CONTROL = (
    "target-pod",
    "target-pod-ip",
    "request-id",
    "x-went-into-req-headers",
    "x-envoy-original-path",
    "x-envoy-original-dst-host",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-retry-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-status-codes",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-force-trace",
    "x-envoy-internal",
    "x-envoy-decorator-operation",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-external-address",
    "x-envoy-attempt-count",
    "x-envoy-ip-tags",
)
_SECRET_POD_HEADERS = (
    "target-pod",
    "Target-Pod",
    "TARGET-POD",
    "target_pod",
    "target-pod-ip",
    "x-gateway-destination-endpoint",
    "x-envoy-original-dst-host",
    "x-aibrix-target-pod",
    "x-original-url",
    "x-rewrite-url",
    "x-http-method-override",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "forwarded",
)
"""With the address of a pod that the caller must not reach."""


def _forged(name: str, insider: bool) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        proof = account.bearer if insider else ("user", account.name)
        return [request(headers=[JSON, (name, SPOOFED), proof, (name.upper(), SPOOFED)], body=chat())]

    return over_http1(KIND, f"{name}, twice", pieces, insider=insider)


def _forged_over_2(name: str) -> Attack:
    def script(writer: Writer, account: Account) -> list[bytes]:
        fields = usual("POST", "/v1/chat/completions", JSON, account.bearer, (name, SPOOFED), (name, SPOOFED))
        return [writer.headers(1, fields), writer.data(1, chat())]

    return over_http2(KIND, f"h2 {name}, twice", script, insider=True)


def _in_trailers(name: str) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        headers = [JSON, account.bearer, ("transfer-encoding", "chunked"), ("trailer", name)]
        trailers = f"{name}: {SPOOFED}\r\n".encode()
        return [request(headers=headers), chunked(chat(), trailers=trailers)]

    return over_http1(KIND, f"{name} in a trailer", pieces, insider=True)


def _in_trailers_over_2(name: str) -> Attack:
    def script(writer: Writer, account: Account) -> list[bytes]:
        fields = usual("POST", "/v1/chat/completions", JSON, account.bearer)
        return [
            writer.headers(1, fields),
            writer.data(1, chat(), end=False),
            writer.headers(1, [(name, SPOOFED)], end=True),
        ]

    return over_http2(KIND, f"h2 {name} in a trailer", script, insider=True)


def _folded(name: str) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        head = request(headers=[JSON, account.bearer, ("x-a", f"b\r\n {name}: {SPOOFED}")], body=chat())
        return [head]

    return over_http1(KIND, f"{name} in an obs-fold", pieces, insider=True)


def _odd_spelling(spelling: str) -> Attack:
    def pieces(account: Account) -> list[bytes]:
        head = request(headers=[JSON, account.bearer], body=chat())
        return [head.replace(b"host:", spelling.encode("latin-1") + b"\r\nhost:", 1)]

    return over_http1(KIND, repr(spelling), pieces, insider=True)


def _to_secret_pod(name: str, model: str) -> Attack:
    async def run(arena: Arena) -> Findings:
        address = arena.pod_address("secret")

        def pieces(account: Account) -> list[bytes]:
            chosen = [("model", model)] if model else []
            return [request(headers=[JSON, account.bearer, (name, address), *chosen], body=chat())]

        return await over_http1(KIND, name, pieces, insider=True).run(arena)

    return Attack(KIND, f"{name}: the address of another model's pod, model: {model or '-'}", run)


def _allowed(name: str, value: str) -> Attack:
    """What clients may say, said badly: a refusal, or a route; never a mistake of ours."""

    def pieces(account: Account) -> list[bytes]:
        return [request(headers=[JSON, account.bearer, (name, value)], body=chat())]

    shown = value if len(value) < 30 else f"{value[:20]}...({len(value)})"
    return over_http1(KIND, f"{name}: {shown!r}", pieces, insider=True)


def _bomb(references: int) -> Attack:
    """A field of 4 kB, and thousands of references to it: a few kB that are many MB when they are read."""

    def script(writer: Writer, account: Account) -> list[bytes]:
        usual_fields = usual("POST", "/v1/chat/completions", JSON, account.bearer)
        large = ("x-bomb", "b" * 3800)
        return [writer.headers(1, [*usual_fields, large, *[large] * references]), writer.data(1, chat())]

    return over_http2(KIND, f"h2 a field with {references} references", script, insider=True)


def _hop_by_hop(names: str) -> Attack:
    """`Connection` may name headers to drop: after the gateway has looked, or before?"""

    def pieces(account: Account) -> list[bytes]:
        headers = [JSON, account.bearer, ("connection", names), ("te", "trailers")]
        return [request(headers=headers, body=chat())]

    return over_http1(KIND, f"connection: {names}", pieces, insider=True)


_SPELLINGS = (
    f"target-pod : {SPOOFED}",
    f"target-pod\t: {SPOOFED}",
    f" target-pod: {SPOOFED}",
    f"target-pod\x0b: {SPOOFED}",
    f"target-pod\x00: {SPOOFED}",
    f"target-pod: {SPOOFED}\x00",
    f"target-pod:{SPOOFED}\n target-pod: {SPOOFED}",
    f"x: y\rtarget-pod: {SPOOFED}",
    f"x: y\ntarget-pod: {SPOOFED}",
    f": {SPOOFED}",
    f"\xe4: {SPOOFED}",
    f":path: /v1/load_lora_adapter\r\n:authority: {SPOOFED}",
    ":method: DELETE",
    "host: other\r\nhost: third",
    "no-colon",
)
_HOP_BY_HOP = (
    "authorization",
    "model, target-pod",
    "x-request-id",
    "x-forwarded-for",
    "content-length",
    "close, content-length",
    "transfer-encoding",
    "te, authorization, host",
    "upgrade, http2-settings",
)
_VALUES = (
    "",
    " ",
    "\xff\xfe",
    "%00",
    "nan",
    "1e400",
    "-1",
    "'\";--",
    "a" * 10_000,
    "a," * 5_000,
    "least-request:nan",
    "least-request:1e308,prefix-cache:1e308",
    "least-request:-1,random:0",
    "random:0",
    "random,random,random",
    "(" * 3000,
    "a in (b",
    "!a,!a,!a,a!=b,a notin (c)",
    "gpu>1,gpu<1e9,gpu>x",
    "{{7*7}}${jndi:ldap://127.0.0.1/a}",
    "../../etc/passwd",
)
_ALLOWED = (
    "routing-strategy",
    "config-profile",
    "external-filter",
    "x-session-id",
    "x-aibrix-session-key",
    "x-request-id",
    "x-forwarded-for",
    "accept",
    "origin",
)

ATTACKS = (
    *(_forged(name, insider) for name in _CONTROL for insider in (True, False)),
    *(_forged_over_2(name) for name in _CONTROL),
    *(_in_trailers(name) for name in ("target-pod", "authorization", "model", "content-length", ":path")),
    *(_in_trailers_over_2(name) for name in ("target-pod", "authorization", "model", "content-length", ":path")),
    *(_folded(name) for name in ("target-pod", "model", "authorization")),
    *(_odd_spelling(spelling) for spelling in _SPELLINGS),
    *(_allowed(name, value) for name in _ALLOWED for value in _VALUES),
    *(_bomb(references) for references in (14, 1000, 4000)),
    *(_hop_by_hop(names) for names in _HOP_BY_HOP),
    *(_to_secret_pod(name, model) for name in _SECRET_POD_HEADERS for model in ("", "m", "secret")),
)
