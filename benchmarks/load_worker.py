"""`python -m benchmarks.load_worker`: takes a Load as a line of JSON, sends it, answers its Outcome, and again."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import uvloop

from benchmarks.load import USERS, Load, Outcome
from benchmarks.procfs import raise_open_files
from gateway_plugin.tools.bench.load_loops import LoadLoop
from gateway_plugin.tools.bench.raw_http import Connections

if TYPE_CHECKING:
    from typing import Any

_END_BYTES = 64
JSON_MS = 15
"""Within which a client goes away that does not wait for its JSON."""


def request_of(load: Load, prompt: int) -> bytes:
    """One request, ready to be written."""
    user = prompt % USERS
    document: dict[str, Any] = {"model": "m", "stream": load.stream, "max_tokens": load.chunks, "gap_ms": load.gap_ms}
    if load.stream:
        document["stream_options"] = {"include_usage": True}
    document["messages"] = [{"role": "user", "content": ""}]
    filler = load.body_bytes - len(json.dumps(document))
    document["messages"][0]["content"] = f"{prompt:03d} tell me of a word " * (filler // 22) + "x" * (filler % 22)
    body = json.dumps(document).encode()
    headers = {"host": "gateway", "model": "m", "content-type": "application/json", "content-length": str(len(body))}
    if load.with_user:
        headers["user"] = f"user-{user}"
    headers |= load.headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + body


class Frames:
    """How many HTTP chunks of events a stream had, and its last bytes."""

    def __init__(self) -> None:
        self.frames = 0
        self.last = b""

    def add(self, data: bytes) -> None:
        """A chunk, or what came of it."""
        self.frames += data.startswith(b"data:")
        self.last = data if len(data) >= _END_BYTES else self.last[-_END_BYTES:] + data


def trouble_of(status: int, stream: Frames | None) -> str:
    """Of a whole response. A gateway that loses its engine may end the stream as if it were whole."""
    if status != 200:
        return str(status)
    return "cut stream" if stream is not None and b"[DONE]" not in stream.last else ""


class Generator:
    """Sends a Load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._outcome = Outcome()
        self._errors: Counter[str] = Counter()
        self._frames = 0
        self._requests = [request_of(load, prompt) for prompt in range(load.prompts)]
        self._random = random.Random(load.seed)
        self._connections = Connections(f"http://127.0.0.1:{load.port}")

    async def run(self) -> Outcome:
        """Until all requests have ended."""
        started, cpu = time.perf_counter(), time.process_time()
        jobs = (partial(self._one, number) for number in range(self._load.requests))
        loop, rate_per_second = LoadLoop(time.perf_counter), self._load.rate_per_second
        if rate_per_second:
            await loop.open_loop((number / rate_per_second, job) for number, job in enumerate(jobs))
        else:
            await loop.closed_loop(jobs, self._load.concurrency)
        outcome = self._outcome
        outcome.seconds, outcome.cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        outcome.errors = dict(self._errors)
        outcome.frames_per_stream = self._frames / max(outcome.completed, 1)
        self._connections.close()
        return outcome

    async def _one(self, number: int) -> None:
        if self._load.abort_share and self._random.random() < self._load.abort_share:
            await self._abort(number)
            return
        try:
            connection = await self._connections.take()
        except OSError as error:
            self._failed(type(error).__name__)
            return
        stream = Frames() if self._load.stream else None
        written = time.perf_counter()
        answered = connection.ask(self._requests[number % self._load.prompts], stream.add if stream else None)
        done, _ = await asyncio.wait([answered], timeout=self._load.timeout_seconds)
        if not done:
            self._outcome.timeouts += 1
            self._outcome.failed_at.append(time.time())
            connection.close()
        elif trouble := answered.result() or trouble_of(connection.status, stream):
            self._failed(trouble)
            connection.close()
        else:
            self._outcome.completed += 1
            self._outcome.ended_at.append(time.time())
            self._outcome.ttfb_ms.append((connection.first_seconds - written) * 1e3)
            self._frames += stream.frames if stream else 0
            self._connections.give_back(connection)

    def _failed(self, how: str) -> None:
        self._errors[how] += 1
        self._outcome.failed_at.append(time.time())

    async def _abort(self, number: int) -> None:
        """Half amid the request's body; the others at a random moment after it."""
        request = self._requests[number % self._load.prompts]
        try:
            connection = await self._connections.take()
        except OSError as error:
            self._failed(type(error).__name__)
            return
        if self._random.random() < 0.5:
            connection.ask(request[: -self._random.randrange(1, self._load.body_bytes)])
            await asyncio.sleep(self._random.random() * 0.005)
        else:
            connection.ask(request)
            lasts_ms = self._load.chunks * self._load.gap_ms if self._load.stream else JSON_MS
            await asyncio.sleep(self._random.random() * lasts_ms / 1e3)
        connection.close()
        self._outcome.aborted += 1


def main() -> None:
    """Until nobody asks any more."""
    raise_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            outcome = runner.run(send(Load(**json.loads(line))))
            print(json.dumps(asdict(outcome)), flush=True)


async def send(load: Load) -> Outcome:
    """One load; made in the loop, as it makes futures."""
    return await Generator(load).run()


if __name__ == "__main__":
    main()
