"""`python -m benchmarks.load_worker`: takes a Load as a line of JSON, sends it, answers its Outcome, and again."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, cast

import uvloop

from benchmarks.load import USERS, Load, Outcome
from benchmarks.procfs import raise_open_files

if TYPE_CHECKING:
    from typing import Any

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


class Connection(asyncio.Protocol):
    """One connection; `ask` resolves when the response is whole."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._head = b""
        self._left: int | None = None
        self._tail = b""
        self._written = 0.0
        self._answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ttfb_seconds = 0.0
        self.frames = 0
        self._is_done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not say so

    def connection_lost(self, exc: Exception | None) -> None:
        """Before the end of a response this is an error."""
        self._finish("connection lost")

    def ask(self, request: bytes) -> asyncio.Future[str]:
        """The status of the response, or what went wrong."""
        self._head, self._left, self._tail, self.frames = b"", None, b"", 0
        self._is_done = b'"stream": true' not in request
        self._answered = asyncio.get_running_loop().create_future()
        if self._transport.is_closing():
            self._finish("connection lost")
            return self._answered
        self._written = time.perf_counter()
        self._transport.write(request)
        return self._answered

    def close(self) -> None:
        """Goes away, whatever is under way."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Looks for the end, and at nothing else."""
        if not self._head:
            self.ttfb_seconds = time.perf_counter() - self._written
        if self._left is None and not self._tail:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            lower = head.lower()
            if b"content-length:" in lower:
                self._left = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
            data = b"\r\n" + data
            if self._left is not None:
                self._left += 2
        self._body(data)

    def _body(self, data: bytes) -> None:
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._finish(self._head[9:12].decode())
            return
        seen = self._tail + data
        self.frames += seen.count(b"\r\ndata:")
        self._is_done = self._is_done or b"[DONE]" in seen
        self._tail = seen[-7:]
        if seen.endswith(b"\r\n0\r\n\r\n"):
            status = self._head[9:12].decode()
            # A gateway that loses its engine may end the stream as if it were whole.
            self._finish(status if self._is_done or status != "200" else "cut stream")

    def _finish(self, outcome: str) -> None:
        if not self._answered.done():
            self._answered.set_result(outcome)


class Generator:
    """Sends a Load."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._outcome = Outcome()
        self._errors: Counter[str] = Counter()
        self._frames = 0
        self._requests = [request_of(load, prompt) for prompt in range(load.prompts)]
        self._random = random.Random(load.seed)
        self._idle: list[Connection] = []

    async def run(self) -> Outcome:
        """Until all requests have ended."""
        started, cpu = time.perf_counter(), time.process_time()
        await (self._open_loop() if self._load.rate_per_second else self._closed_loop())
        outcome = self._outcome
        outcome.seconds, outcome.cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
        outcome.errors = dict(self._errors)
        outcome.frames_per_stream = self._frames / max(outcome.completed, 1)
        for connection in self._idle:
            connection.close()
        return outcome

    async def _closed_loop(self) -> None:
        numbers = iter(range(self._load.requests))

        async def one_after_another() -> None:
            for number in numbers:
                await self._one(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._load.concurrency):
                group.create_task(one_after_another())

    async def _open_loop(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time() + 0.1
        async with asyncio.TaskGroup() as group:
            for number in range(self._load.requests):
                await asyncio.sleep(max(0.0, began + number / self._load.rate_per_second - loop.time()))
                group.create_task(self._one(number))

    async def _one(self, number: int) -> None:
        if self._load.abort_share and self._random.random() < self._load.abort_share:
            await self._abort(number)
            return
        try:
            connection = await self._connection()
        except OSError as error:
            self._failed(type(error).__name__)
            return
        answered = connection.ask(self._requests[number % self._load.prompts])
        done, _ = await asyncio.wait([answered], timeout=self._load.timeout_seconds)
        if not done:
            self._outcome.timeouts += 1
            self._outcome.failed_at.append(time.time())
            connection.close()
        elif answered.result() != "200":
            self._failed(answered.result())
            connection.close()
        else:
            self._outcome.completed += 1
            self._outcome.ended_at.append(time.time())
            self._outcome.ttfb_ms.append(connection.ttfb_seconds * 1e3)
            self._frames += connection.frames
            self._idle.append(connection)

    def _failed(self, how: str) -> None:
        self._errors[how] += 1
        self._outcome.failed_at.append(time.time())

    async def _abort(self, number: int) -> None:
        """Half amid the request's body; the others at a random moment after it."""
        request = self._requests[number % self._load.prompts]
        try:
            connection = await self._connection()
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

    async def _connection(self) -> Connection:
        if self._idle:
            return self._idle.pop()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self._load.port)
        return connection


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
