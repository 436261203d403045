"""gRPC calls on streams: order, backpressure, statuses, and one end for every call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway_plugin.grpc.calls import Call
from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.http2.grpc_call import GrpcCall
from gateway_plugin.grpc.http2.grpc_framing import PREFIX, timeout_seconds
from gateway_plugin.grpc.http2.http2_errors import CANCEL, NO_ERROR
from gateway_plugin.grpc.http2.stream import Peer as PeerView
from tests.unit.gateway_plugin.grpc.http2.peer import GRPC, Frame, Peer, data

NO_HEADERS: Mapping[str, str] = {}


class Scripted:
    """A handler that does what the test says, and writes down what it hears."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.heard: list[Any] = []
        self.on_message: Callable[[bytes], asyncio.Future[Any] | None] = lambda message: None
        self.on_half_closed: Callable[[], None] = lambda: None

    def received(self, message: bytes) -> asyncio.Future[Any] | None:
        self.heard.append(message)
        return self.on_message(message)

    def half_closed(self) -> None:
        self.heard.append("half-closed")
        self.on_half_closed()

    def ended(self) -> None:
        self.heard.append("ended")


class Timer:
    def __init__(self, seconds: float, callback: Callable[[], object]) -> None:
        self.seconds = seconds
        self.fire = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Service:
    """A peer whose calls are scripted; one call is open."""

    def __init__(
        self,
        bounds: Bounds | None = None,
        settings: dict[int, int] | None = None,
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> None:
        self.handlers: list[Scripted] = []
        self.timers: list[Timer] = []
        methods = {"/t.T/Echo": self._begin, "/t.T/Broken": self._break}

        def call_later(seconds: float, callback: Callable[[], object]) -> Any:
            self.timers.append(Timer(seconds, callback))
            return self.timers[-1]

        def new_call(connection: PeerView, stream_id: int) -> GrpcCall:
            return GrpcCall(methods, call_later, connection, stream_id)

        self.peer = Peer(bounds, new_call).greet(settings)
        fields = {**dict(GRPC), **headers}
        self.peer.send(self.peer.headers(1, list(fields.items())))

    def _begin(self, call: Call) -> Scripted:
        self.handlers.append(Scripted(call))
        return self.handlers[-1]

    def _break(self, call: Call) -> Scripted:
        raise RuntimeError("broken")

    @property
    def handler(self) -> Scripted:
        return self.handlers[0]

    def say(self, *messages: bytes, end: bool = False) -> None:
        self.peer.send(data(1, b"".join(PREFIX.pack(0, len(m)) + m for m in messages), end=end))

    def answers(self) -> tuple[list[bytes], dict[str, str], int | None]:
        """Messages, trailers, and the code of RST_STREAM."""
        body, fields, reset = b"", dict[str, str](), None
        for frame in self.peer.receive():
            if frame.kind == frames.HEADERS:
                fields |= self.peer.fields(frame)
            elif frame.kind == frames.DATA:
                body += frame.payload
            elif frame.kind == frames.RST_STREAM:
                reset = frame.code
        return messages_of(body), {k: v for k, v in fields.items() if k in ("grpc-status", "grpc-message")}, reset


def messages_of(body: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(body):
        size = PREFIX.unpack_from(body, at)[1]
        found.append(body[at + 5 : at + 5 + size])
        at += 5 + size
    return found


def test_a_call_from_first_to_last():
    service = Service()
    handler = service.handler
    handler.on_message = lambda message: handler.call.send(message.upper())
    handler.on_half_closed = lambda: handler.call.finish(5, "no: 100 % wörse\n")
    service.say(b"a", b"b")
    service.say(b"c", end=True)
    assert handler.heard == [b"a", b"b", b"c", "half-closed", "ended"]
    answers, trailers, reset = service.answers()
    assert answers == [b"A", b"B", b"C"]
    assert trailers == {"grpc-status": "5", "grpc-message": "no: 100 %25 w%C3%B6rse%0A"}
    assert reset is None
    handler.call.send(b"late")
    handler.call.finish(1)
    assert service.peer.receive() == []


def test_a_call_that_we_finish_first_is_reset_without_error():
    service = Service()
    handler = service.handler
    handler.on_message = lambda message: handler.call.finish()
    service.say(b"a", b"b")
    assert handler.heard == [b"a", "ended"], "nothing comes after the end, and the end not within a message"
    assert service.answers() == ([], {"grpc-status": "0"}, NO_ERROR)
    service.say(b"under way")
    assert service.peer.receive() == []
    assert not service.peer.connection.streams


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({":path": "/t.T/Nobody"}, "12"),
        ({":path": "/t.T/Broken"}, "13"),
        ({"grpc-timeout": "soon"}, "13"),
        ({"x-large": "x" * 70_000}, "8"),
    ],
)
def test_refusals_are_trailers_only(headers: dict[str, str], status: str):
    service = Service(headers=headers)
    (response,) = (frame for frame in service.peer.receive() if frame.kind == frames.HEADERS)
    assert response.flags & frames.END_STREAM
    fields = service.peer.fields(response)
    assert (fields[":status"], fields["grpc-status"]) == ("200", status)
    assert fields["grpc-accept-encoding"] == "identity"
    assert not service.handlers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, "415"),
        ({"content-type": "application/grpc-web"}, "415"),
        ({":method": "PUT"}, "405"),
    ],
)
def test_who_does_not_speak_grpc_gets_http(headers: dict[str, str], status: str):
    service = Service(headers=headers)
    assert service.peer.receive() == []
    service.peer.send(data(1, b"ignored", end=True))
    response, content, end = service.peer.receive()
    assert service.peer.fields(response)[":status"] == status
    assert content.payload == b"This port speaks gRPC.\n"
    assert end == Frame(frames.DATA, frames.END_STREAM, 1)
    assert not service.handlers


def test_a_refusal_that_cannot_be_kept_resets_its_stream_alone():
    service = Service(Bounds(buffered_bytes=30), {frames.INITIAL_WINDOW_SIZE: 0})
    handler, peer = service.handler, service.peer
    handler.on_message = lambda message: handler.call.send(message)
    service.say(b"kept back")
    peer.receive()
    browser = {**dict(GRPC), "content-type": "text/html"}
    peer.send(peer.headers(3, list(browser.items()), end=True))
    assert [(frame.kind, frame.stream_id) for frame in peer.receive()] == [(frames.HEADERS, 3), (frames.RST_STREAM, 3)]
    peer.send(frames.window_update(1, 100))
    assert service.answers()[0] == [b"kept back"]


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc; x=y"])
def test_content_types_of_grpc(content_type: str):
    assert Service(headers={"content-type": content_type}).handlers


@pytest.mark.parametrize(
    ("prefix", "status", "text"),
    [
        (PREFIX.pack(0, 1001), "8", "a message of 1001 bytes exceeds the limit of 1000"),
        (PREFIX.pack(1, 3), "12", "messages must not be compressed"),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_messages_that_are_refused(prefix: bytes, status: str, text: str, split: bool):
    service = Service(Bounds(max_message_bytes=1000))
    for part in (prefix[:2], prefix[2:]) if split else (prefix,):
        service.peer.send(data(1, part))
    assert service.answers() == ([], {"grpc-status": status, "grpc-message": text}, NO_ERROR)
    assert service.handler.heard == ["ended"]
    assert service.peer.connection.buffered_bytes == 0


def test_the_end_inside_a_message():
    service = Service()
    service.peer.send(data(1, PREFIX.pack(0, 10) + b"abc", end=True))
    assert service.answers()[1]["grpc-status"] == "13"
    assert service.handler.heard == ["ended"]


async def test_a_busy_handler_holds_its_stream_and_nobody_else():
    bounds = Bounds(stream_window_bytes=65_535)
    service = Service(bounds)
    handler = service.handler
    busy: list[asyncio.Future[None]] = []

    def take(_: bytes) -> asyncio.Future[None]:
        busy.append(asyncio.get_running_loop().create_future())
        return busy[-1]

    handler.on_message = take
    service.say(bytes(20_000), b"b")
    service.say(bytes(20_000), end=True)
    service.peer.send(service.peer.headers(3), data(3, PREFIX.pack(0, 1) + b"x"))
    assert handler.heard == [bytes(20_000)]
    assert service.handlers[1].heard == [b"x"]
    assert [frame for frame in service.peer.receive() if frame.kind == frames.WINDOW_UPDATE] == []
    assert service.peer.connection.buffered_bytes > 20_000
    for expected in (b"b", bytes(20_000), "half-closed"):
        busy[-1].set_result(None)
        await asyncio.sleep(0)
        assert handler.heard[-1] == expected
    assert service.peer.connection.buffered_bytes == 0


async def test_windows_are_given_back_when_the_handler_is_free():
    service = Service(Bounds(stream_window_bytes=65_535))
    busy = asyncio.get_running_loop().create_future()
    service.handler.on_message = lambda _: busy
    service.say(bytes(60_000))
    assert service.peer.receive() == []
    busy.set_result(None)
    await asyncio.sleep(0)
    (update,) = service.peer.receive()
    assert update == Frame(frames.WINDOW_UPDATE, 0, 1, (60_005).to_bytes(4, "big"))


@pytest.mark.parametrize("how", ["reset", "lost", "finished"])
async def test_the_end_while_busy_drops_what_waits(how: str):
    service = Service()
    handler = service.handler
    busy = asyncio.get_running_loop().create_future()
    handler.on_message = lambda _: busy
    service.say(b"a", b"b", b"c")
    if how == "reset":
        service.peer.send(frames.rst_stream(1, CANCEL))
    elif how == "lost":
        service.peer.connection.abandon()
    else:
        handler.call.finish()
    assert handler.heard == [b"a", "ended"]
    busy.set_result(None)
    await asyncio.sleep(0)
    assert handler.heard == [b"a", "ended"]
    assert service.peer.connection.buffered_bytes == 0


async def test_a_failure_later_ends_the_call(caplog: pytest.LogCaptureFixture):
    service = Service()
    busy = asyncio.get_running_loop().create_future()
    service.handler.on_message = lambda _: busy
    service.say(b"a", b"b")
    busy.set_exception(RuntimeError("broken"))
    await asyncio.sleep(0)
    assert service.answers()[1] == {"grpc-status": "13", "grpc-message": "internal error"}
    assert service.handler.heard == [b"a", "ended"]
    assert "a call failed" in caplog.text


def test_messages_that_wait_are_bounded_however_small():
    bounds = Bounds(stream_window_bytes=70_000, max_message_bytes=1000)
    service = Service(bounds)
    loops: list[asyncio.AbstractEventLoop] = []

    def busy(_: bytes) -> asyncio.Future[None]:
        loops.append(asyncio.new_event_loop())
        return loops[-1].create_future()

    service.handler.on_message = busy
    service.peer.send(data(1, PREFIX.pack(0, 0) * 10_000))
    assert service.answers()[1]["grpc-message"] == "too many messages wait"
    assert service.peer.connection.buffered_bytes == 0
    for loop in loops:
        loop.close()


def test_incomplete_messages_of_a_connection_are_bounded():
    service = Service(Bounds(buffered_bytes=10_000))
    peer = service.peer
    peer.send(*[peer.headers(i) for i in range(3, 10, 2)])
    for i in range(1, 10, 2):
        peer.send(data(i, PREFIX.pack(0, 5000) + bytes(2500)))
    assert [handler.heard for handler in service.handlers] == [[], [], [], ["ended"], ["ended"]]
    assert peer.connection.buffered_bytes == 3 * 2505


def test_a_client_that_takes_no_replies_is_not_read():
    service = Service(settings={frames.INITIAL_WINDOW_SIZE: 0})
    handler = service.handler
    handler.on_message = lambda message: handler.call.send(message)
    for _ in range(10):
        service.say(bytes(20_000))
    assert len(handler.heard) == 4, "64 KiB of replies wait"
    service.peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 1_000_000}), frames.window_update(0, 1_000_000))
    assert len(handler.heard) == 10
    assert service.answers()[0] == [bytes(20_000)] * 10


def test_a_large_reply_to_the_last_message():
    service = Service()
    handler = service.handler

    def answer() -> None:
        handler.call.send(bytes(60_000))
        handler.call.finish()

    handler.on_half_closed = answer
    service.say(b"a", end=True)
    assert handler.heard == [b"a", "half-closed", "ended"]
    assert service.answers() == ([bytes(60_000)], {"grpc-status": "0"}, None)


def test_deadlines():
    service = Service(headers={"grpc-timeout": "1500m"})
    (timer,) = service.timers
    assert timer.seconds == 1.5
    timer.fire()
    assert service.answers()[1] == {"grpc-status": "4", "grpc-message": "deadline exceeded"}
    assert service.handler.heard == ["ended"]
    service = Service(headers={"grpc-timeout": "1H"})
    service.handler.call.finish()
    assert service.timers[0].cancelled


def test_a_deadline_does_not_wait_for_windows():
    service = Service(settings={frames.INITIAL_WINDOW_SIZE: 0}, headers={"grpc-timeout": "1S"})
    service.handler.call.send(b"x")
    service.timers[0].fire()
    assert service.answers()[2] == CANCEL
    assert service.handler.heard == ["ended"]
    assert not service.peer.connection.streams


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"1H", 3600.0), (b"2M", 120.0), (b"30S", 30.0), (b"20m", 0.02), (b"5u", 5e-6), (b"99999999n", 0.099999999)],
)
def test_timeouts(text: bytes, seconds: float):
    assert timeout_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"1", b"S", b"123456789S", b"-1S", b"1s", b"1.5S"])
def test_what_is_no_timeout(text: bytes):
    assert timeout_seconds(text) is None
