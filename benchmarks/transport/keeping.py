"""What our transport keeps. A client of our own on loopback, without Envoy.

Memory per held stream: memory of a server process before and after so many ext_proc calls that had their answer to the
headers and stay open. Growth: private memory before and after so many whole calls, one connection, many at a time.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple, cast

import hpack

from benchmarks.procfs import rss_bytes
from benchmarks.transport.serving import METHOD, NATIVE, echo_command, process
from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.grpc_framing import PREFIX
from gateway_plugin.tools.chain.ports import Ports
from protos.ext_proc import ProcessingRequest

AT_ONCE = 64


class Client(asyncio.Protocol):
    """One HTTP/2 connection that opens ext_proc calls and, unless they are to be held, resets them when answered."""

    def __init__(self, calls: int, at_once: int, *, hold: bool) -> None:
        self._left = calls
        self._answers_left = calls
        self._at_once = at_once
        self._hold = hold
        self._next_id = 1
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        encoder = hpack.Encoder()
        fields = [(":method", "POST"), (":scheme", "http"), (":path", METHOD), (":authority", "plugin")]
        fields += [("te", "trailers"), ("content-type", "application/grpc")]
        self._first_block, self._block = encoder.encode(fields), encoder.encode(fields)
        message = example().SerializeToString()
        self._body = PREFIX.pack(0, len(message)) + message
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets and opens the first calls."""
        self._transport = cast("asyncio.Transport", transport)
        greeting = (
            frames.PREFACE + frames.settings({}) + frames.window_update(0, frames.MAX_WINDOW - frames.DEFAULT_WINDOW)
        )
        self._transport.write(greeting + self._calls(self._at_once))

    def data_received(self, data: bytes) -> None:
        """Counts answers; each makes room for another call."""
        data = self._rest + data
        at, out = 0, []
        while len(data) - at >= frames.HEADER_BYTES:
            word, flags, stream_id = frames.FRAME_HEADER.unpack_from(data, at)
            if len(data) - at < frames.HEADER_BYTES + (word >> 8):
                break
            at += frames.HEADER_BYTES + (word >> 8)
            if word & 0xFF == frames.DATA:
                self._answers_left -= 1
                if not self._hold:
                    out.append(frames.rst_stream(stream_id, 8))
                out.append(self._calls(1))
            elif word & 0xFF == frames.PING and not flags:
                out.append(frames.ping(data[at - 8 : at], frames.ACK))
            elif word & 0xFF == frames.GOAWAY:
                self.done.set_exception(RuntimeError(data[at - 40 : at]))
        self._rest = data[at:]
        if self._transport is not None:
            self._transport.write(b"".join(out))
        if not self._answers_left and not self.done.done():
            self.done.set_result(None)

    def _calls(self, count: int) -> bytes:
        """Opens so many, if there are so many left."""
        out = []
        for _ in range(min(count, self._left)):
            block = self._first_block if self._next_id == 1 else self._block
            out.append(frames.frame(frames.HEADERS, frames.END_HEADERS, self._next_id, block))
            out.append(frames.frame(frames.DATA, 0, self._next_id, self._body))
            self._next_id += 2
            self._left -= 1
        return b"".join(out)


def example() -> ProcessingRequest:
    """The headers of a usual request."""
    message = ProcessingRequest()
    usual = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "gateway", ":scheme": "http"}
    usual |= {f"x-header-{i}": "a value of usual length" for i in range(11)}
    for key, value in usual.items():
        header = message.request_headers.headers.headers.add()
        header.key, header.raw_value = key, value.encode()
    return message


async def run(port: int, calls: int, at_once: int, *, hold: bool) -> asyncio.Transport:
    """Makes the calls on a connection that stays open."""
    client = Client(calls, at_once, hold=hold)
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    await client.done
    return transport


class Kept(NamedTuple):
    """Of the server's process."""

    kib_per_held_stream: float
    mib_before: float
    mib_after: float


async def measure(held: int, calls: int) -> Kept:
    """Holds so many streams, then makes so many calls."""
    port = Ports(usual=False).pick(0)
    async with process(echo_command(NATIVE, port), port) as pid:
        (await run(port, min(2000, calls), AT_ONCE, hold=False)).close()
        before = rss_bytes(pid)
        holding = await run(port, held, AT_ONCE, hold=True)
        per_stream = (rss_bytes(pid) - before) / held / 1024
        holding.close()
        await asyncio.sleep(0.5)
        (await run(port, min(50_000, calls), AT_ONCE, hold=False)).close()
        before = rss_bytes(pid)
        (await run(port, calls, AT_ONCE, hold=False)).close()
        return Kept(per_stream, before / 2**20, rss_bytes(pid) / 2**20)
