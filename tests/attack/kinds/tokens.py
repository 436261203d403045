"""Tokens for free: requests that make an engine do more than is charged, and limits that are passed."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.attack import http1, http2
from tests.attack.arena import Account, Arena
from tests.attack.attacks import Attack, Findings, Way, over_http1
from tests.attack.http1 import request
from tests.attack.kinds.bodies import JSON, chat

KIND = "tokens"
_TPM = 1000


def _asked(name: str, path: str = "/v1/chat/completions", *headers: tuple[str, str], **fields: Any) -> Attack:
    """One request; what the engine computed must have been charged."""

    def pieces(account: Account) -> list[bytes]:
        return [request("POST", path, [JSON, account.bearer, *headers], chat(**fields))]

    return over_http1(KIND, name, pieces, insider=True, way=Way(patience_seconds=5))


async def _send(arena: Arena, account: Account, body: bytes, path: str, patience: float = 5.0) -> http1.Heard:
    message = http1.marked(request("POST", path, [JSON, account.bearer], body), account.name)
    return await http1.talk(arena.port, [message], patience_seconds=patience, linger_seconds=0)


def _flood(name: str, count: int, path: str = "/v1/chat/completions", **fields: Any) -> Attack:
    """Many at once by one with few tokens: reservations must hold them back before engines have answered.

    What is likely is reserved, and not the ceiling; of a user of whom nothing is known, the ceiling is.
    """

    async def run(arena: Arena) -> Findings:
        account = await arena.account(tpm=_TPM)
        await asyncio.gather(*(_send(arena, account, chat(**fields), path) for _ in range(count)))
        spent = sum(one.tokens for one in arena.engines.of(account.name))
        largest = max((one.tokens for one in arena.engines.of(account.name)), default=0)
        return [f"{spent} tokens of {_TPM} a minute"] if spent > _TPM + largest else []

    return Attack(KIND, f"{count} at once with {_TPM} tokens a minute: {name}", run)


def _one_after_the_other(name: str, count: int, **fields: Any) -> Attack:
    """The same, each after the answer to the last; the charge of the last may still be under way."""

    async def run(arena: Arena) -> Findings:
        account = await arena.account(tpm=_TPM)
        for _ in range(count):
            await _send(arena, account, chat(**fields), "/v1/chat/completions")
            await asyncio.sleep(0.15)
        seen = arena.engines.of(account.name)
        spent, largest = sum(one.tokens for one in seen), max((one.tokens for one in seen), default=0)
        return [f"{spent} tokens of {_TPM} a minute"] if spent > _TPM + largest else []

    return Attack(KIND, f"{count} in a row with {_TPM} tokens a minute: {name}", run)


def _gone_early(name: str, **fields: Any) -> Attack:
    """The client leaves when the engine has begun: what it was asked to do is charged all the same."""

    async def run(arena: Arena) -> Findings:
        account = await arena.account()
        body = chat(engine="hold", messages=[{"role": "user", "content": "word " * 2000}], **fields)
        await _send(arena, account, body, "/v1/chat/completions", patience=0.3)
        await asyncio.sleep(0.3)
        seen = arena.engines.of(account.name)
        used = await arena.settled(account.name, len(seen), sum(one.prompt_tokens for one in seen))
        asked = sum(one.prompt_tokens for one in seen) * 3 // 4  # bytes / 4 is an estimate
        if not seen:
            return ["nothing reached an engine"]
        return [f"{used.tokens} charged of a prompt of about {asked}"] if used.tokens < asked else []

    return Attack(KIND, f"leaving early: {name}", run)


def _taught(count: int) -> Attack:
    """Short answers first, so that little is expected; then all at once the longest. The documented bound holds."""

    async def run(arena: Arena) -> Findings:
        account, ceiling = await arena.account(tpm=10_000), 10_000
        for _ in range(8):
            await _send(arena, account, chat(max_tokens=1), "/v1/chat/completions")
        await asyncio.sleep(0.3)
        await asyncio.gather(
            *(_send(arena, account, chat(max_tokens=ceiling), "/v1/chat/completions") for _ in range(count))
        )
        spent = sum(one.tokens for one in arena.engines.of(account.name))
        return [f"{spent} tokens of 10000 a minute"] if spent > 10_000 + 5 * (ceiling + 100) else []

    return Attack(KIND, f"{count} long ones at once, after short ones", run)


def _debt_is_paid() -> Attack:
    """What was spent too much is paid before more is given."""

    async def run(arena: Arena) -> Findings:
        account = await arena.account(tpm=_TPM)
        await asyncio.gather(*(_send(arena, account, chat(max_tokens=500), "/v1/chat/completions") for _ in range(20)))
        await asyncio.sleep(0.5)
        before = len(arena.engines.of(account.name))
        for _ in range(10):
            await _send(arena, account, chat(max_tokens=500), "/v1/chat/completions")
        more = len(arena.engines.of(account.name)) - before
        return [f"{more} more requests by one in debt"] if more else []

    return Attack(KIND, "a debt is paid first", run)


def _slots_after_resets() -> Attack:
    """Requests that are reset as they come hold no slot for ever."""

    async def run(arena: Arena) -> Findings:
        account = await arena.account(max_parallel=2)

        def script(writer: http2.Writer) -> list[bytes]:
            fields = http2.usual("POST", "/v1/chat/completions", JSON, account.bearer)
            streams = range(1, 60, 2)
            return [
                writer.headers(at, fields) + writer.data(at, chat(engine="hold")) + writer.reset(at) for at in streams
            ]

        await http2.talk(arena.port, account.name, script, pause_seconds=0.005, patience_seconds=0.2, linger_seconds=0)
        await asyncio.sleep(0.5)
        heard = await _send(arena, account, chat(), "/v1/chat/completions")
        return [] if heard.statuses == [200] else [f"the slots were not given back: {heard.statuses}"]

    return Attack(KIND, "slots after 30 resets", run)


def _over_requests() -> Attack:
    async def run(arena: Arena) -> Findings:
        account = await arena.account(rpm=5)
        await asyncio.gather(*(_send(arena, account, chat(), "/v1/chat/completions") for _ in range(40)))
        passed = len(arena.engines.of(account.name))
        return [f"{passed} requests of 5 a minute"] if passed > 5 else []

    return Attack(KIND, "40 at once with 5 requests a minute", run)


def _over_parallel() -> Attack:
    """Slots are taken until the exchange ends, and are given back when the client leaves."""

    async def run(arena: Arena) -> Findings:
        account = await arena.account(max_parallel=2)
        held = chat(engine="hold")
        await asyncio.gather(*(_send(arena, account, held, "/v1/chat/completions", patience=0.7) for _ in range(10)))
        passed = len(arena.engines.of(account.name))
        found = [f"{passed} at the same time of 2"] if passed > 2 else []
        await asyncio.sleep(0.2)
        heard = await _send(arena, account, chat(), "/v1/chat/completions")
        return found + ([] if heard.statuses == [200] else [f"the slots were not given back: {heard.statuses}"])

    return Attack(KIND, "10 at once with 2 in parallel", run)


_FAKE_USAGE = '"}}],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}'
_LIST = ["a b c d"] * 50
_GZIP = ("accept-encoding", "gzip, br")

ATTACKS = (
    _asked("n", n=50, max_tokens=100),
    _asked("n in quotes", n="50", max_tokens=100),
    _asked("n as a float", n=50.0, max_tokens=100),
    _asked("a list of prompts", "/v1/completions", prompt=_LIST, max_tokens=100),
    _asked("a list of prompts and n", "/v1/completions", prompt=_LIST, n=4, max_tokens=100),
    _asked("best_of", "/v1/completions", prompt="a", best_of=20, n=1, max_tokens=100),
    _asked("max_completion_tokens above max_tokens", max_tokens=1, max_completion_tokens=5000),
    _asked("no maximum", max_tokens=None),
    _asked("a stream without usage", stream=True),
    _asked("a stream that refuses usage", stream=True, stream_options={"include_usage": False}),
    _asked("a stream with usage null", stream=True, stream_options={"include_usage": None}),
    _asked("a stream with usage in quotes", stream=True, stream_options={"include_usage": "false"}),
    _asked("an answer that looks like usage", say=_FAKE_USAGE, max_tokens=500),
    _asked("a stream whose text looks like usage", say=_FAKE_USAGE, max_tokens=500, stream=True),
    _asked("a list of inputs", "/v1/embeddings", input=_LIST),
    _asked("documents", "/v1/rerank", query="a", documents=_LIST),
    _asked("/v1/messages", "/v1/messages", max_tokens=500),
    _asked("/v1/responses", "/v1/responses", input="hi", max_output_tokens=500),
    _flood("n", 20, n=10, max_tokens=100),
    _flood("best_of", 20, "/v1/completions", prompt="a", best_of=10, max_tokens=100),
    _flood("prompts", 20, "/v1/completions", prompt=_LIST[:10], max_tokens=100),
    _flood("no maximum", 40, max_tokens=None),
    _flood("max_tokens", 20, max_tokens=500),
    _flood("max_completion_tokens", 20, max_tokens=1, max_completion_tokens=500),
    _flood("a maximum in quotes", 20, max_tokens="500"),
    _flood("streams", 20, max_tokens=500, stream=True),
    _one_after_the_other("max_tokens", 8, max_tokens=600),
    _one_after_the_other("n", 8, n=10, max_tokens=60),
    _gone_early("a whole answer"),
    _gone_early("a stream", stream=True),
    _asked("a packed answer", "/v1/chat/completions", _GZIP, max_tokens=5000),
    _asked("a packed answer without a maximum", "/v1/chat/completions", _GZIP, max_tokens=None, n=100),
    _asked("a packed stream", "/v1/chat/completions", _GZIP, max_tokens=5000, stream=True),
    _taught(60),
    _debt_is_paid(),
    _slots_after_resets(),
    _over_requests(),
    _over_parallel(),
)
