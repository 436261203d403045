"""An attack, and the judge: what came through, from the engines' record and the gateway's own accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.attack import http1, http2
from tests.attack.arena import Account, Arena, Used
from tests.attack.contract import CREDENTIALS, GATEWAY_ONLY, SPOOFED, is_published
from tests.attack.engine import Seen
from tests.attack.http1 import Heard

Findings = list[str]
"""What came through, in words; empty: nothing did."""


@dataclass(frozen=True)
class Attack:
    """One attempt. `run` tells what came through."""

    kind: str
    name: str
    run: Callable[[Arena], Awaitable[Findings]]

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@dataclass(frozen=True)
class Way:
    """How an attempt is sent and watched."""

    patience_seconds: float = 3.0
    """For a first answer."""
    linger_seconds: float = 0.0
    """For what may come after it: smuggled requests are late."""
    pause_seconds: float = 0.0
    """Between pieces."""
    must_answer: bool = True
    """Whether silence until then counts as a hang."""


Pieces = Callable[[Account], Sequence[bytes]]
"""The bytes to send, for somebody with an account; strangers know its name, and not its key."""


def over_http1(kind: str, name: str, pieces: Pieces, *, insider: bool, way: Way = Way()) -> Attack:
    """Raw bytes on a connection of their own."""

    async def send(arena: Arena, account: Account) -> Heard:
        return await http1.talk(
            arena.port,
            [http1.marked(piece, account.name) for piece in pieces(account)],
            pause_seconds=way.pause_seconds,
            patience_seconds=way.patience_seconds,
            linger_seconds=way.linger_seconds,
        )

    return Attack(kind, _named(name, insider), lambda arena: _watched(arena, send, insider=insider, way=way))


def over_http2(
    kind: str, name: str, script: Callable[[http2.Writer, Account], Sequence[bytes]], *, insider: bool, way: Way = Way()
) -> Attack:
    """Frames on a connection of their own."""

    async def send(arena: Arena, account: Account) -> Heard:
        return await http2.talk(
            arena.port,
            account.name,
            lambda writer: script(writer, account),
            pause_seconds=way.pause_seconds,
            patience_seconds=way.patience_seconds,
            linger_seconds=way.linger_seconds,
        )

    return Attack(kind, _named(name, insider), lambda arena: _watched(arena, send, insider=insider, way=way))


def _named(name: str, insider: bool) -> str:
    return f"{name} [{'insider' if insider else 'stranger'}]"


async def _watched(
    arena: Arena, send: Callable[[Arena, Account], Awaitable[Heard]], *, insider: bool, way: Way
) -> Findings:
    account = await arena.account()
    heard = await send(arena, account)
    await asyncio.sleep(0.01 if not way.linger_seconds else 0)
    seen = arena.engines.of(account.name)
    used = await _counted(arena, account, seen) if seen and insider else Used(0, 0)
    found = judged(seen, used, account, insider=insider) + [
        f"answered {status}" for status in heard.statuses if status in (500, 502)
    ]
    if way.must_answer and not heard.answers and not heard.closed:
        found.append("no answer")
    return found


async def _counted(arena: Arena, account: Account, seen: Sequence[Seen]) -> Used:
    return await arena.settled(account.name, len(seen), sum(one.tokens for one in seen))


def judged(seen: Sequence[Seen], used: Used, account: Account, *, insider: bool) -> Findings:
    """What the engines saw and should not have, or what nobody counted."""
    found = [finding for one in seen for finding in _wrong_with(one, account)]
    if not insider:
        return found + [f"unidentified: {one}" for one in seen]
    if len(seen) > used.requests:
        found.append(f"uncounted: {len(seen)} reached pods, {used.requests} counted; {seen[0]}")
    elif (tokens := sum(one.tokens for one in seen)) > used.tokens:
        found.append(f"tokens for free: {tokens} computed, {used.tokens} charged")
    return found


def _wrong_with(one: Seen, account: Account) -> Findings:
    found = []
    if not is_published(one.method, one.target):
        found.append(f"not in the table: {one}")
    if one.model != "m":
        found.append(f"reached a pod of another model: {one}")
    if one.ambiguous:
        found.append(f"ambiguous framing at the pod: {one.ambiguous}")
    found += [
        f"a pod saw the client's {name}" for name, value in one.headers if SPOOFED in value and _is_forbidden(name)
    ]
    if any(account.key in value for name, value in one.headers if name in CREDENTIALS):
        found.append("a pod saw the gateway's key")
    if SPOOFED.encode() in one.trailers:
        found.append("a pod saw the client's trailers")
    return found


def _is_forbidden(name: str) -> bool:
    return any(name == known or (known.endswith("-") and name.startswith(known)) for known in GATEWAY_ONLY)
