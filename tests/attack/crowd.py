"""`python -m tests.attack.crowd PORT ATTACK SECONDS [SHARE]`: one client that does its worst, in a process of its own.

SHARE is how much of a core it may use: what it does with the same is worth comparing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import aiohttp

from benchmarks.procfs import raise_open_files
from tests.h2_client import CHAT, H2Client

Attack = Callable[[int, Counter[str]], Awaitable[None]]
SOURCE = "127.0.0.2"
"""Of the attacker; those who behave have another address."""
_MIB = 1024 * 1024
_UNLIMITED = aiohttp.ClientTimeout(total=None)


async def _together(number: int, one: Callable[[], Awaitable[None]]) -> None:
    """So many at once, each again and again."""

    async def again() -> None:
        while True:
            with contextlib.suppress(OSError, aiohttp.ClientError, TimeoutError):
                await one()
            await asyncio.sleep(0.01)

    await asyncio.gather(*(again() for _ in range(number)))


async def _post(session: aiohttp.ClientSession, said: Counter[str], body: bytes, **headers: str) -> None:
    sent = {"content-type": "application/json", **headers}
    async with session.post(CHAT, data=body, headers=sent) as answer:
        await answer.read()
        said[str(answer.status)] += 1


async def big_bodies(port: int, said: Counter[str]) -> None:
    """Forty bodies of 15 MiB at a time, full of small items."""
    body = b'{"model":"m","max_tokens":1,"messages":[' + b"0," * (15 * _MIB // 2) + b"0]}"
    async with _session(port) as session:
        await _together(40, lambda: _post(session, said, body))


async def half_sent(port: int, said: Counter[str]) -> None:
    """1,000 requests on each of 22 connections, whose bodies never end."""
    await _open_requests(port, said, content=b'{"model"')


async def idle_streams(port: int, said: Counter[str]) -> None:
    """The same without a byte of a body, and 2,000 connections that say nothing."""
    silent = [await asyncio.open_connection("127.0.0.1", port, local_addr=(SOURCE, 0)) for _ in range(2000)]
    said["connections"] += len(silent)
    await _open_requests(port, said, content=b"")


async def _open_requests(port: int, said: Counter[str], *, content: bytes) -> None:
    async def one() -> None:
        client = await H2Client.connect(port, SOURCE)
        streams = [client.begin(headers={"content-length": "500"}) for _ in range(1000)]
        for stream_id in streams if content else ():
            client.send(stream_id, content)
        await client.flush()
        said["opened"] += len(streams)
        for stream_id in streams:
            answer = await client.answer(stream_id, 3600)
            said[str(answer.status)] += 1
        await client.close()

    await _together(22, one)


async def slow_readers(port: int, said: Counter[str]) -> None:
    """Streams of long answers of which nothing is read."""
    body = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 2000}
    )

    async def one() -> None:
        client = await H2Client.connect(port, SOURCE, window=0, reads=False)
        streams = [client.begin() for _ in range(20)]
        for stream_id in streams:
            client.send(stream_id, body.encode(), end=True)
        await client.flush()
        said["opened"] += len(streams)
        await asyncio.sleep(3600)

    await _together(3, one)


async def event_streams(port: int, said: Counter[str]) -> None:
    """1,000 streams of events."""

    async def one() -> None:
        async with session.get("/v1/models/events") as answer:
            said[str(answer.status)] += 1
            async for _ in answer.content.iter_any():
                pass

    async with _session(port) as session:
        await _together(1000, one)


async def model_lists(port: int, said: Counter[str]) -> None:
    """The gateway's own API, which costs more than a request of an engine, as fast as fifty connections can."""

    async def one() -> None:
        async with session.get("/v1/models") as answer:
            await answer.read()
            said[str(answer.status)] += 1

    async with _session(port) as session:
        await _together(50, one)


async def floods_of_429(port: int, said: Counter[str]) -> None:
    """A user far beyond its limit, as fast as a hundred connections can."""
    body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}'
    async with _session(port) as session:
        await _together(100, lambda: _post(session, said, body, user="greedy"))


async def resets(port: int, said: Counter[str]) -> None:
    """Requests that are given up at once."""

    async def one() -> None:
        client = await H2Client.connect(port, SOURCE)
        try:
            while not client.closed:
                for _ in range(50):
                    client.reset(client.begin())
                said["reset"] += 50
                await client.flush()
                await asyncio.sleep(0.005)
        finally:
            await client.close()

    await _together(10, one)


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (big_bodies, half_sent, idle_streams, slow_readers, event_streams, model_lists, floods_of_429, resets)
}


def _session(port: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        f"http://127.0.0.1:{port}", timeout=_UNLIMITED, connector=aiohttp.TCPConnector(limit=0, local_addr=(SOURCE, 0))
    )


async def _throttle(share: float) -> None:
    """Stops this whole process for as long as it is ahead of its share of a core."""
    started, used = time.monotonic(), time.process_time()
    while True:
        await asyncio.sleep(0.01)
        ahead = (time.process_time() - used) / share - (time.monotonic() - started)
        if ahead > 0:
            time.sleep(ahead)  # noqa: ASYNC251 - everything here is to stand still


async def main(port: int, attack: str, seconds: float, share: float = 1.0) -> None:
    """Attacks for a while, and prints what it was told, and its own CPU seconds, as JSON."""
    raise_open_files()
    said: Counter[str] = Counter()
    throttle = asyncio.create_task(_throttle(share))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ATTACKS[attack](port, said)
    throttle.cancel()
    sys.stdout.write(json.dumps({"cpu": round(time.process_time(), 1), **said}))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], *map(float, sys.argv[3:])))
