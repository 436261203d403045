"""What nobody thought of: good requests with random damage, by seed, so that each can be had again."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.attack import http1
from tests.attack.arena import Account, Arena, Used
from tests.attack.attacks import Attack, Findings, judged
from tests.attack.engine import MARK
from tests.attack.kinds.bodies import chat

KIND = "fuzzed"
_REQUESTS = 20
_SEEDS = 40

Damage = Callable[[random.Random, list[bytes]], None]
"""Of the request line and the header lines; the last of the list is the body."""

_TOKENS = (
    b"\x00", b"\r", b"\n", b"\r\n", b"\t", b" ", b"  ", b";", b"//", b"/../", b"/./", b"%2f", b"%2e%2e", b"%00", b"%0a",
    b"\\", b"?", b"#", b"@", b":", b"::", b",", b"\xff", b"\xc0\xaf", b"\xe2\x80\xae", b"'", b'"', b"{", b"[", b"}",
    b"\r\n\r\n", b"0\r\n\r\n", b"chunked", b"HTTP/1.1", b"*", b"/v1/load_lora_adapter", b"/metrics",
)  # fmt: skip
_LINES = (
    b"transfer-encoding: chunked", b"transfer-encoding: identity", b"content-length: 0", b"content-length: 5",
    b"content-length: 99", b"connection: close", b"connection: upgrade", b"upgrade: websocket", b"expect: 100-continue",
    b"target-pod: 127.0.0.1:1", b"model: secret", b"model: m", b"user: anonymous/x", b"x-http-method-override: DELETE",
    b"content-encoding: gzip", b"content-type: multipart/form-data; boundary=b", b"te: trailers", b"host: other",
    b"x-forwarded-for: 127.0.0.1", b":path: /metrics", b"routing-strategy: random", b"accept-encoding: gzip",
)  # fmt: skip
_METHODS = (b"GET", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE", b"PATCH", b"post", b"POS T", b"")
_PATHS = (
    b"/v1/completions", b"/v1/embeddings", b"/v1/responses", b"/v1/responses/x", b"/v1/messages", b"/tokenize",
    b"/v1/models", b"/v1/models/events", b"/metrics", b"/generate", b"/v1/load_lora_adapter", b"/v1/audio/speech",
)  # fmt: skip


def _insert(rng: random.Random, parts: list[bytes]) -> None:
    at = rng.randrange(len(parts))
    where = rng.randrange(len(parts[at]) + 1)
    parts[at] = parts[at][:where] + rng.choice(_TOKENS) + parts[at][where:]


def _flip(rng: random.Random, parts: list[bytes]) -> None:
    at = rng.randrange(len(parts))
    if parts[at]:
        where = rng.randrange(len(parts[at]))
        parts[at] = parts[at][:where] + bytes([rng.randrange(256)]) + parts[at][where + 1 :]


def _cut(rng: random.Random, parts: list[bytes]) -> None:
    at = rng.randrange(len(parts))
    start = rng.randrange(len(parts[at]) + 1)
    parts[at] = parts[at][:start] + parts[at][start + rng.randrange(1, 9) :]


def _add_line(rng: random.Random, parts: list[bytes]) -> None:
    parts.insert(rng.randrange(1, len(parts)), rng.choice(_LINES))


def _repeat_line(rng: random.Random, parts: list[bytes]) -> None:
    parts.insert(rng.randrange(1, len(parts)), rng.choice(parts[1:-1]))


def _swap_case(rng: random.Random, parts: list[bytes]) -> None:
    at = rng.randrange(len(parts))
    parts[at] = parts[at].swapcase()


def _method(rng: random.Random, parts: list[bytes]) -> None:
    parts[0] = rng.choice(_METHODS) + b" " + parts[0].partition(b" ")[2]


def _path(rng: random.Random, parts: list[bytes]) -> None:
    method, _, rest = parts[0].partition(b" ")
    parts[0] = method + b" " + rng.choice(_PATHS) + b" " + rest.rpartition(b" ")[2]


def _behind(rng: random.Random, parts: list[bytes]) -> None:
    parts[-1] += rng.choice((b"GET /metrics HTTP/1.1\r\nhost: g\r\nmodel: m\r\n\r\n", b"0\r\n\r\n", b" " * 300))


_DAMAGES: tuple[Damage, ...] = (
    _insert, _insert, _flip, _flip, _cut, _add_line, _add_line, _repeat_line, _swap_case, _method, _path, _behind,
)  # fmt: skip


def damaged(rng: random.Random, proof: bytes, mark: str) -> bytes:
    """A request that was good once. The mark stays whole, as the engines' record is read by it."""
    body = chat()
    parts = [
        b"POST /v1/chat/completions HTTP/1.1",
        b"host: gateway",
        b"content-type: application/json",
        proof,
        b"content-length: %d" % len(body),
        body,
    ]
    for _ in range(rng.randrange(1, 4)):
        rng.choice(_DAMAGES)(rng, parts)
    line, *headers, body = parts
    return b"\r\n".join([line, f"{MARK}: {mark}".encode(), *headers, b"", b""]) + body


def _seed(number: int, insider: bool) -> Attack:
    async def run(arena: Arena) -> Findings:
        rng = random.Random(number)
        account = await arena.account()
        proof = f"authorization: Bearer {account.key}" if insider else f"user: {account.name}"
        found = []
        for _ in range(_REQUESTS):
            sent = damaged(rng, proof.encode(), account.name)
            heard = await http1.talk(arena.port, [sent], patience_seconds=0.25, linger_seconds=0.02)
            found += [f"answered {status}: {sent[:300]!r}" for status in heard.statuses if status in (500, 502)]
        return found + await _judged(arena, account, insider)

    return Attack(KIND, f"seed {number} [{'insider' if insider else 'stranger'}]", run)


async def _judged(arena: Arena, account: Account, insider: bool) -> Findings:
    seen = arena.engines.of(account.name)
    tokens = sum(one.tokens for one in seen)
    used = await arena.settled(account.name, len(seen), tokens) if insider and seen else Used(0, 0)
    return judged(seen, used, account, insider=insider)


ATTACKS = tuple(_seed(number, insider) for number in range(_SEEDS) for insider in (True, False))
