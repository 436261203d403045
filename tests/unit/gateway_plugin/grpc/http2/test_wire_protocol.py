"""The asyncio shell without sockets, in virtual time: one write per turn, backpressure, cut-offs."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from gateway_plugin.grpc.calls import Call
from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.http2.grpc_framing import PREFIX
from gateway_plugin.grpc.http2.protocol import OpenConnections, WireProtocol
from tests.unit.gateway_plugin.grpc.http2.peer import Peer, data

PREFACE = frames.PREFACE + frames.settings({})


class Transport(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self, alpn: str | None = None) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.ended = ""
        self.alpn = alpn

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "ssl_object" and self.alpn is not None else default

    def selected_alpn_protocol(self) -> str | None:
        return self.alpn

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 1024 * 1024

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Twice:
    """Answers twice at once, and once more later."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def received(self, message: bytes) -> None:
        self.call.send(message)
        self.call.send(message)
        asyncio.get_running_loop().call_later(1.0, self._later, message)

    def _later(self, message: bytes) -> None:
        self.call.send(message)
        self.call.finish()

    def half_closed(self) -> None:
        pass

    def ended(self) -> None:
        pass


class Open:
    """A protocol with its transport, connected."""

    def __init__(self, bounds: Bounds | None = None, transport: Transport | None = None, maximum: int = 10) -> None:
        self.connections = OpenConnections(maximum)
        self.transport = transport or Transport()
        self.protocol = self.connect(self.transport, bounds)

    def connect(self, transport: Transport, bounds: Bounds | None = None) -> WireProtocol:
        loop = asyncio.get_running_loop()
        protocol = WireProtocol({"/t.T/Echo": Twice}, bounds or Bounds(), loop, self.connections)
        protocol.connection_made(transport)
        return protocol


pytestmark = pytest.mark.looptime


async def test_everything_of_one_turn_leaves_in_one_write():
    opened = Open()
    opened.protocol.data_received(PREFACE + Peer().headers(1) + data(1, PREFIX.pack(0, 1) + b"x"))
    await asyncio.sleep(0)
    assert len(opened.transport.written) == 1
    await asyncio.sleep(2.0)
    assert len(opened.transport.written) == 2, "message and trailers, later"
    assert not opened.protocol.connection.streams


async def test_a_peer_that_does_not_read_is_not_read_and_then_cut_off():
    opened = Open()
    opened.protocol.data_received(PREFACE)
    reading = []
    for change in (opened.protocol.pause_writing, opened.protocol.resume_writing):
        change()
        reading.append(opened.transport.reading)
    assert reading == [False, True]
    opened.protocol.pause_writing()
    ends = []
    for seconds in (29.0, 1.0):
        await asyncio.sleep(seconds)
        opened.protocol.tick()
        ends.append(opened.transport.ended)
    assert ends == ["", "aborted"]


async def test_a_silent_peer_is_pinged_and_cut_off():
    opened = Open()
    opened.protocol.data_received(PREFACE)
    await asyncio.sleep(60.0)
    opened.protocol.tick()
    await asyncio.sleep(0)
    assert opened.transport.written[-1] == frames.ping(b"alive?\0\0")
    await asyncio.sleep(20.0)
    opened.protocol.tick()
    assert opened.transport.ended == "aborted"


async def test_a_preface_that_takes_too_long():
    opened = Open()
    opened.protocol.data_received(PREFACE[:30])
    await asyncio.sleep(10.0)
    opened.protocol.tick()
    assert opened.transport.ended == "aborted"


async def test_an_idle_connection_is_drained_and_closed():
    opened = Open(Bounds(idle_seconds=5.0))
    opened.protocol.data_received(PREFACE)
    await asyncio.sleep(5.0)
    opened.protocol.tick()
    assert frames.goaway(2**31 - 1, 0) in opened.transport.written[-1]
    ping = opened.transport.written[-1][-8:]
    opened.protocol.data_received(frames.ping(ping, frames.ACK))
    assert opened.transport.ended == "closed"


@pytest.mark.parametrize(("alpn", "ended"), [("h2", ""), ("http/1.1", "aborted"), ("", "aborted")])
async def test_tls_must_agree_on_h2(alpn: str, ended: str):
    opened = Open(transport=Transport(alpn))
    assert opened.transport.ended == ended
    assert len(opened.connections) == (0 if ended else 1)


async def test_connections_beyond_the_maximum_are_cut_off():
    opened = Open(maximum=1)
    second = Transport()
    refused = opened.connect(second)
    assert second.ended == "aborted"
    refused.connection_lost(None)
    assert len(opened.connections) == 1
    assert not opened.connections.none.is_set()
    opened.protocol.connection_lost(OSError("reset"))
    await asyncio.wait_for(opened.connections.none.wait(), 1)


@pytest.mark.parametrize(
    ("sent", "logged"), [(PREFACE + frames.ping(b"", 0), True), (b"GET / HTTP/1.1\r\n\r\n", False)]
)
async def test_a_fault_closes_and_is_logged_once(sent: bytes, logged: bool, caplog: pytest.LogCaptureFixture):
    opened = Open()
    with caplog.at_level(logging.INFO):
        opened.protocol.data_received(sent)
    assert opened.transport.ended == "closed"
    assert len(caplog.records) == logged


async def test_answers_after_the_end_go_nowhere():
    opened = Open()
    opened.protocol.data_received(PREFACE + Peer().headers(1) + data(1, PREFIX.pack(0, 1) + b"x"))
    opened.protocol.connection_lost(None)
    written = len(opened.transport.written)
    await asyncio.sleep(2.0)
    assert len(opened.transport.written) == written
