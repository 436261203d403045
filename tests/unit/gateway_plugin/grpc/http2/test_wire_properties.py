"""What must hold for any bytes: splits change nothing, and no frames break more than their own connection."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_plugin.grpc.calls import Call
from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.bounds import Bounds, Rate
from gateway_plugin.grpc.http2.grpc_call import GrpcCall
from gateway_plugin.grpc.http2.grpc_framing import PREFIX
from gateway_plugin.grpc.http2.stream import CLOSED
from gateway_plugin.grpc.http2.stream import Peer as PeerView
from tests.unit.gateway_plugin.grpc.http2.peer import GRPC, Peer, data

FLAGS = st.sampled_from([0, 1, 4, 5, 8, 9, 0x20, 0x24, 0x25, 0x2D, 0xFF])
STREAM_IDS = st.sampled_from([0, 1, 3, 5, 7, 2, 4, 2**31 - 1])
BLOCK = Peer().encoder.encode(GRPC, huffman=False)
PAYLOADS = (
    st.binary(max_size=24)
    | st.sampled_from([BLOCK, BLOCK[:20], b"\x82", PREFIX.pack(0, 3) + b"abc", PREFIX.pack(0, 100), PREFIX.pack(1, 1)])
    | st.integers(0, 2**32 - 1).map(lambda number: number.to_bytes(4, "big"))
    | st.builds(lambda name, value: frames.SETTING.pack(name, value), st.integers(0, 7), st.integers(0, 2**32 - 1))
)
FRAMES = st.builds(frames.frame, st.integers(0, 11), FLAGS, STREAM_IDS, PAYLOADS)
REQUESTS = st.builds(
    lambda i, ends: frames.frame(frames.HEADERS, 4 | ends, 2 * i + 1, BLOCK), st.integers(0, 20), st.booleans()
)
TINY = Bounds(
    max_message_bytes=1000,
    max_concurrent_streams=3,
    stream_window_bytes=70_000,
    buffered_bytes=5000,
    pings=Rate(5, 0),
    unanswered_resets=Rate(5, 0),
)


class Reader:
    """Half of the time busy with what it got."""

    def __init__(self, call: Call, ledger: list[int]) -> None:
        self.call = call
        self.ledger = ledger
        ledger[0] += 1

    def received(self, message: bytes) -> None:
        assert self.ledger[0] > 0
        self.call.send(message)
        if message.endswith(b"c"):
            self.call.send(bytes(70_000))
        if message.startswith(b"\x00"):
            self.call.finish()

    def half_closed(self) -> None:
        self.call.finish(3, "done")

    def ended(self) -> None:
        self.ledger[0] -= 1


def grpc_peer(bounds: Bounds, ledger: list[int]) -> Peer:
    methods = {"/t.T/Echo": lambda call: Reader(call, ledger)}

    def call_later(*_: Any) -> Any:
        raise AssertionError("no deadlines here")

    def new_call(connection: PeerView, stream_id: int) -> GrpcCall:
        return GrpcCall(methods, call_later, connection, stream_id)

    return Peer(bounds, new_call)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAMES | REQUESTS, max_size=30), st.lists(st.integers(1, 60), max_size=20))
def test_random_frames_neither_raise_nor_leak(sequence: list[bytes], cuts: list[int]):
    ledger = [0]
    peer = grpc_peer(TINY, ledger)
    stream = frames.PREFACE + frames.settings({}) + b"".join(sequence)
    peer.connection.receive(stream[: len(frames.PREFACE) + 9])
    at = len(frames.PREFACE) + 9
    for cut in [*cuts, len(stream)]:
        peer.connection.receive(stream[at : at + cut])
        at += cut
        streams = peer.connection.streams
        assert len(streams) <= 3
        assert ledger[0] <= len(streams), "a handler lives no longer than its stream"
        assert all(one.state != CLOSED for one in streams.values())
        assert 0 <= peer.connection.buffered_bytes <= 5000
        assert sum(one.queued_bytes for one in streams.values()) == peer.connection.sender._queued_bytes
    peer.connection.receive(b"")
    peer.connection.abandon()
    assert ledger == [0]
    assert not peer.connection.streams
    assert peer.connection.buffered_bytes == 0
    assert peer.connection.sender._queued_bytes == 0
    assert not peer.connection.sender._blocked
    if peer.connection.fault is not None:
        assert [frame.kind for frame in peer.receive()].count(frames.GOAWAY) == 1


def conversation(contents: list[bytes], *, padded: bool) -> bytes:
    """Several streams with messages, in a valid order."""
    peer = Peer()
    parts = [frames.PREFACE, frames.settings({})]
    for i, content in enumerate(contents):
        stream_id = 2 * i + 1
        parts.append(peer.headers(stream_id))
        if padded:
            parts.append(frames.frame(frames.DATA, frames.PADDED, stream_id, b"\x05" + content + bytes(5)))
        else:
            parts.append(data(stream_id, content))
        parts.append(frames.ping(b"12345678"))
        parts.append(data(stream_id, content, end=True))
    return b"".join(parts)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5), st.booleans(), st.data())
def test_any_split_gives_the_same_events_and_the_same_answers(contents: list[bytes], padded: bool, draw: st.DataObject):
    stream = conversation(contents, padded=padded)
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(stream)), max_size=30)))
    whole, split = Peer(), Peer()
    whole.connection.receive(stream)
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        split.connection.receive(stream[start:end])
    assert split.events == whole.events
    assert split.connection.sender.take() == whole.connection.sender.take()
    assert [event for event in whole.events if event[0] == "data"] == [
        ("data", 2 * i + 1, content * 2) for i, content in enumerate(contents) if content
    ]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8), st.data())
def test_messages_come_out_of_any_split(messages: list[bytes], draw: st.DataObject):
    body = b"".join(PREFIX.pack(0, len(message)) + message for message in messages)
    seen: list[bytes] = []

    class Collect(Reader):
        def received(self, message: bytes) -> None:
            seen.append(message)

    def new_call(connection: PeerView, stream_id: int) -> GrpcCall:
        return GrpcCall({"/t.T/Echo": lambda call: Collect(call, [0])}, Any, connection, stream_id)  # type: ignore[arg-type]

    peer = Peer(new_stream=new_call).greet()
    peer.send(peer.headers(1))
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(body)), max_size=20)))
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        peer.send(data(1, body[start:end]))
    assert seen == messages
    assert peer.connection.buffered_bytes == 0
