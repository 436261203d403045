"""One connection, frame by frame: streams' states, faults, windows, draining."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2 import http2_errors as errors
from gateway_plugin.grpc.http2.bounds import Bounds
from gateway_plugin.grpc.http2.stream import CLOSED, TRANSITIONS, Stream
from tests.unit.gateway_plugin.grpc.http2.peer import GRPC, Frame, Peer, RecordingStream, data, goaway_of, resets_of

WINDOW = frames.INITIAL_WINDOW_SIZE
RST = frames.rst_stream


def test_the_preface_and_a_whole_exchange():
    peer = Peer()
    first = peer.receive()
    assert [frame.kind for frame in first] == [frames.SETTINGS, frames.WINDOW_UPDATE]
    peer.send(frames.PREFACE, frames.settings({}))
    assert peer.receive() == [Frame(frames.SETTINGS, frames.ACK, 0)]
    peer.send(peer.headers(1), data(1, b"abc"), data(1, b"def", end=True))
    assert peer.events == [("opened", 1, b"/t.T/Echo"), ("data", 1, b"abcdef"), ("half_closed", 1)]
    stream = peer.connection.streams[1]
    sender = peer.connection.sender
    sender.headers(stream, ((b":status", b"200"),))
    sender.data(stream, b"answer")
    sender.finish(stream, ((b"grpc-status", b"0"),))
    headers, content, trailers = peer.receive()
    assert peer.fields(headers) == {":status": "200"}
    assert content == Frame(frames.DATA, 0, 1, b"answer")
    assert peer.fields(trailers) == {"grpc-status": "0"}
    assert trailers.flags & frames.END_STREAM
    assert peer.events[-1] == ("closed", 1)
    assert not peer.connection.streams


def test_trailers_wait_for_the_turns_end_and_not_for_a_stream_that_is_reset_meanwhile():
    peer = Peer().greet()

    def finish(stream_id: int) -> None:
        stream = peer.connection.streams[stream_id]
        peer.connection.sender.headers(stream, ((b":status", b"200"),))
        peer.connection.sender.finish(stream, ((b"grpc-status", b"0"),))

    peer.send(peer.headers(1, end=True), peer.headers(3, end=True))
    finish(1)
    finish(3)
    assert list(peer.connection.streams) == [1, 3], "not ended before the others had their turn"
    peer.send(RST(1, errors.CANCEL))
    assert peer.events[-1] == ("closed", 1)
    left = peer.receive()
    assert [(frame.stream_id, bool(frame.flags & frames.END_STREAM)) for frame in left] == [
        (1, False),
        (3, False),
        (3, True),
    ]
    assert [peer.fields(frame) for frame in left] == [{":status": "200"}, {":status": "200"}, {"grpc-status": "0"}]
    assert peer.events[-1] == ("closed", 3)
    assert not peer.connection.streams
    peer.send(peer.headers(5, end=True))
    finish(5)
    assert [peer.fields(frame) for frame in peer.receive()] == [{":status": "200"}, {"grpc-status": "0"}]


def test_padding_and_priority_are_taken_off():
    peer = Peer().greet()
    block = peer.encoder.encode(GRPC)
    flags = frames.END_HEADERS | frames.PADDED | frames.PRIORITY_FLAG
    peer.send(frames.frame(frames.HEADERS, flags, 1, b"\x03" + b"\0\0\0\x07\x10" + block + b"\0\0\0"))
    peer.send(frames.frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\x02abc\0\0"))
    assert peer.events == [("opened", 1, b"/t.T/Echo"), ("data", 1, b"abc"), ("half_closed", 1)]
    assert peer.connection.streams[1].receive_window == Bounds().stream_window_bytes - 6, "padding counts"


def test_header_blocks_in_parts_and_trailers():
    peer = Peer().greet()
    block = peer.encoder.encode(GRPC)
    peer.send(frames.frame(frames.HEADERS, 0, 1, block[:3]), frames.frame(frames.CONTINUATION, 0, 1, block[3:9]))
    peer.send(frames.frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[9:]))
    peer.send(data(1, b"x"), peer.headers(1, [("x-checksum", "1")], end=True))
    assert peer.events == [("opened", 1, b"/t.T/Echo"), ("data", 1, b"x"), ("half_closed", 1)]


@pytest.mark.parametrize(
    ("length", "content", "trailers", "ends", "code"),
    [
        ("", b"x", [("x-checksum", "1")], True, None),
        ("1", b"x", [("x-checksum", "1")], True, None),
        ("", b"x", [("x-checksum", "1")], False, errors.PROTOCOL_ERROR),
        ("2", b"x", [("x-checksum", "1")], True, errors.PROTOCOL_ERROR),
        ("", b"x", [(":path", "/other")], True, errors.PROTOCOL_ERROR),
        ("", b"x", [("connection", "close")], True, errors.PROTOCOL_ERROR),
    ],
    ids=["plain", "after all of the content", "without an end", "too early", "pseudo header", "of the connection"],
)
def test_trailers_end_a_stream_well_or_not(
    length: str, content: bytes, trailers: list[tuple[str, str]], ends: bool, code: int | None
):
    peer = Peer().greet()
    fields = [*GRPC, ("content-length", length)] if length else GRPC
    peer.send(peer.headers(1, fields), data(1, content), peer.headers(1, trailers, end=ends))
    if code is None:
        assert peer.events[-1] == ("half_closed", 1)
        assert resets_of(peer) == []
    else:
        assert ("half_closed", 1) not in peer.events
        assert resets_of(peer) == [(1, code)]


def test_trailers_after_the_end_are_no_second_end():
    peer = Peer().greet()
    peer.send(peer.headers(1, end=True), peer.headers(1, [("x-checksum", "1")], end=True))
    assert resets_of(peer) == [(1, errors.STREAM_CLOSED)]
    assert peer.events.count(("half_closed", 1)) == 1


def test_trailers_that_are_too_large_end_the_stream_all_the_same():
    peer = Peer(Bounds(header_list_bytes=300)).greet()
    peer.send(peer.headers(1), data(1, b"x"), peer.headers(1, [("x-checksum", "1" * 280)], end=True))
    assert peer.events[-1] == ("half_closed", 1)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (data(1), errors.PROTOCOL_ERROR),  # idle
        (data(0, b"x"), errors.PROTOCOL_ERROR),
        (RST(1, 8), errors.PROTOCOL_ERROR),
        (RST(0, 8), errors.PROTOCOL_ERROR),
        (frames.frame(frames.RST_STREAM, 0, 1, bytes(3)), errors.FRAME_SIZE_ERROR),
        (frames.window_update(1, 5), errors.PROTOCOL_ERROR),
        (frames.window_update(0, 0), errors.PROTOCOL_ERROR),
        (frames.window_update(0, 2**31 - 1), errors.FLOW_CONTROL_ERROR),
        (frames.frame(frames.WINDOW_UPDATE, 0, 0, b"\0\0\1"), errors.FRAME_SIZE_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 2, b"\x82"), errors.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 0, b"\x82"), errors.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff"), errors.COMPRESSION_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PADDED, 1, b"\x09\x82"), errors.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, frames.END_HEADERS | frames.PRIORITY_FLAG, 1, b"\0"), errors.FRAME_SIZE_ERROR),
        (frames.frame(frames.HEADERS, 0, 1, b"\x82") + frames.ping(bytes(8)), errors.PROTOCOL_ERROR),
        (frames.frame(frames.HEADERS, 0, 1, b"\x82") + data(1), errors.PROTOCOL_ERROR),
        (frames.frame(frames.CONTINUATION, 4, 1, b"\x82"), errors.PROTOCOL_ERROR),
        (frames.frame(frames.PUSH_PROMISE, 4, 1, bytes(4)), errors.PROTOCOL_ERROR),
        (frames.frame(frames.SETTINGS, 0, 1), errors.PROTOCOL_ERROR),
        (frames.frame(frames.SETTINGS, 0, 0, b"\0"), errors.FRAME_SIZE_ERROR),
        (frames.frame(frames.SETTINGS, frames.ACK, 0, bytes(6)), errors.FRAME_SIZE_ERROR),
        (frames.settings({frames.ENABLE_PUSH: 2}), errors.PROTOCOL_ERROR),
        (frames.settings({frames.MAX_FRAME_SIZE: 1}), errors.PROTOCOL_ERROR),
        (frames.settings({WINDOW: 2**31}), errors.FLOW_CONTROL_ERROR),
        (frames.frame(frames.PING, 0, 0, b"1234567"), errors.FRAME_SIZE_ERROR),
        (frames.frame(frames.PING, 0, 1, bytes(8)), errors.PROTOCOL_ERROR),
        (frames.frame(frames.GOAWAY, 0, 1, bytes(8)), errors.PROTOCOL_ERROR),
        (frames.frame(frames.GOAWAY, 0, 0, bytes(7)), errors.FRAME_SIZE_ERROR),
        (frames.frame(frames.PRIORITY, 0, 0, bytes(5)), errors.PROTOCOL_ERROR),
        (frames.FRAME_HEADER.pack(2**24 - 1 << 8, 0, 1), errors.FRAME_SIZE_ERROR),
    ],
)
def test_faults_that_end_the_connection(sent: bytes, code: int):
    peer = Peer().greet()
    peer.send(sent)
    assert goaway_of(peer)[0] == code
    peer.send(frames.ping(bytes(8)))
    assert peer.receive() == [], "nothing is read after the end"


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n", b"P", frames.PREFACE + frames.ping(bytes(8)), frames.PREFACE + frames.SETTINGS_ACK]
)
def test_a_wrong_preface(first: bytes):
    peer = Peer()
    peer.receive()
    peer.send(first, b"?" * 30)
    assert goaway_of(peer)[0] == errors.PROTOCOL_ERROR
    assert not peer.connection.greeted


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ([], errors.PROTOCOL_ERROR),
        (GRPC[1:], errors.PROTOCOL_ERROR),
        ([*GRPC, (":path", "/again")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("late", "1"), (":late", "2")], errors.PROTOCOL_ERROR),
        ([(":strange", "1"), *GRPC], errors.PROTOCOL_ERROR),
        ([*GRPC, ("Upper", "case")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("new", "li\nne")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("nul", "\0")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("sp ace", "")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("space", " lead")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("space", "trail\t")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("connection", "close")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("transfer-encoding", "chunked")], errors.PROTOCOL_ERROR),
        ([*GRPC[:4], ("te", "gzip")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("content-length", "1"), ("content-length", "2")], errors.PROTOCOL_ERROR),
        ([*GRPC, ("content-length", "-1")], errors.PROTOCOL_ERROR),
    ],
)
def test_malformed_requests_end_their_stream_only(fields: list[tuple[str, str]], code: int):
    peer = Peer().greet()
    peer.send(peer.headers(1, fields), peer.headers(3), data(1, b"under way"))
    assert resets_of(peer) == [(1, code)]
    assert peer.events == [("opened", 3, b"/t.T/Echo")]


@pytest.mark.parametrize(
    ("length", "parts", "fits"),
    [(3, [b"abc"], True), (3, [b"a", b"bc"], True), (0, [b""], True), (4, [b"abc"], False), (2, [b"abc"], False)],
)
def test_content_length_is_kept(length: int, parts: list[bytes], fits: bool):
    peer = Peer().greet()
    peer.send(peer.headers(1, [*GRPC, ("content-length", str(length))]))
    for part in parts[:-1]:
        peer.send(data(1, part))
    peer.send(data(1, parts[-1], end=True))
    assert resets_of(peer) == ([] if fits else [(1, errors.PROTOCOL_ERROR)])
    assert (("half_closed", 1) in peer.events) == fits


def test_frames_on_closed_streams():
    peer = Peer().greet()
    peer.send(peer.headers(1), peer.headers(3), RST(1, 8))
    assert peer.events[-1] == ("closed", 1)
    peer.send(data(1, b"late"))
    assert resets_of(peer) == [(1, errors.STREAM_CLOSED)]
    peer.connection.reset(peer.connection.streams[3])
    assert resets_of(peer) == [(3, errors.CANCEL)]
    peer.send(data(3, b"under way"), peer.headers(3, end=True), RST(3, 8), frames.window_update(3, 1))
    assert resets_of(peer) == [], "what was under way when we reset a stream is ignored"
    peer.send(peer.headers(5, end=True))
    peer.send(data(5, b"after the end"))
    assert resets_of(peer) == [(5, errors.STREAM_CLOSED)]
    peer.send(peer.headers(7, end=True), RST(7, 8), peer.headers(7))
    assert goaway_of(peer)[0] == errors.STREAM_CLOSED


def test_stream_numbers_only_grow():
    peer = Peer().greet()
    peer.send(peer.headers(5), peer.headers(3))
    assert goaway_of(peer)[0] == errors.PROTOCOL_ERROR


def test_priority_is_ignored_unless_it_is_nonsense():
    peer = Peer().greet()
    peer.send(frames.frame(frames.PRIORITY, 0, 9, b"\0\0\0\1\x10"), peer.headers(1))
    assert resets_of(peer) == []
    peer.send(frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\1\x10"), frames.frame(frames.PRIORITY, 0, 3, b"\0"))
    assert resets_of(peer) == [(1, errors.PROTOCOL_ERROR), (3, errors.FRAME_SIZE_ERROR)]


def test_data_waits_for_windows_and_leaves_in_order():
    peer = Peer().greet({WINDOW: 10})
    peer.send(peer.headers(1), peer.headers(3))
    one, three = peer.connection.streams[1], peer.connection.streams[3]
    sender = peer.connection.sender
    for stream in (one, three):
        sender.headers(stream, ((b":status", b"200"),))
        sender.data(stream, b"0123456789")
        sender.data(stream, b"abcdef")
        sender.finish(stream, ((b"grpc-status", b"0"),))
    assert sent(peer) == {1: b"0123456789", 3: b"0123456789"}
    assert one.queued_bytes == 6
    peer.send(frames.window_update(3, 2))
    assert sent(peer) == {3: b"ab"}
    peer.send(frames.settings({WINDOW: 0}), frames.window_update(1, 10))
    assert sent(peer) == {}, "a smaller initial window reaches below zero"
    peer.send(frames.settings({WINDOW: 16}))
    frames_sent = peer.receive()
    assert [frame.kind for frame in frames_sent] == [frames.SETTINGS, 0, 1, 3, 0, 1, 3]
    assert b"".join(f.payload for f in frames_sent if f.kind == frames.DATA and f.stream_id == 1) == b"abcdef"
    assert not peer.connection.streams


def test_the_connection_window_is_shared_fairly():
    peer = Peer().greet({WINDOW: 2**20})
    peer.send(peer.headers(1), peer.headers(3))
    sender = peer.connection.sender
    for stream in list(peer.connection.streams.values()):
        sender.headers(stream, ((b":status", b"200"),))
        sender.data(stream, bytes(100_000))
    assert {i: len(b) for i, b in sent(peer).items()} == {1: 65_535}
    peer.send(frames.window_update(0, 65_536))
    assert {i: len(b) for i, b in sent(peer).items()} == {1: 32_768, 3: 32_768}


def test_messages_that_leave_at_once_use_up_the_window_of_the_connection():
    peer = Peer().greet({WINDOW: 2**20})
    peer.send(*(peer.headers(number) for number in (1, 3, 5, 7)))
    sender = peer.connection.sender
    for stream in list(peer.connection.streams.values()):
        sender.headers(stream, ((b":status", b"200"),))
    one, three, five, seven = peer.connection.streams.values()
    sender.data(one, bytes(16_384))
    sender.data(three, bytes(16_384))
    sender.data(five, bytes(16_384))
    sender.data(one, bytes(16_383))
    assert {i: len(b) for i, b in sent(peer).items()} == {1: 32_767, 3: 16_384, 5: 16_384}, "all of 65,535 bytes"
    sender.data(seven, b"x")
    assert sent(peer) == {}, "not a byte more"
    peer.send(frames.window_update(0, 3))
    assert sent(peer) == {7: b"x"}
    sender.data(one, b"ab")
    assert sent(peer) == {1: b"ab"}, "two were left"
    sender.data(one, b"y")
    assert sent(peer) == {}


def test_what_leaves_late_uses_up_both_windows():
    peer = Peer().greet({WINDOW: 2**20})
    peer.send(peer.headers(1))
    (stream,) = peer.connection.streams.values()
    sender = peer.connection.sender
    sender.headers(stream, ((b":status", b"200"),))
    sender.data(stream, bytes(80_000))
    assert len(sent(peer)[1]) == 65_535
    peer.send(frames.window_update(0, 14_466))
    assert len(sent(peer)[1]) == 14_465, "all that was queued"
    sender.data(stream, b"ab")
    assert sent(peer) == {1: b"a"}, "of the window one byte was left"
    assert stream.send_window == 2**20 - 80_001


def sent(peer: Peer) -> dict[int, bytes]:
    """DATA that left, by stream."""
    found: dict[int, bytes] = {}
    for frame in peer.receive():
        if frame.kind == frames.DATA:
            assert len(frame.payload) <= frames.DEFAULT_FRAME
            found[frame.stream_id] = found.get(frame.stream_id, b"") + frame.payload
    return found


def test_windows_overflow():
    peer = Peer().greet()
    peer.send(peer.headers(1), frames.window_update(1, 2**31 - 1), frames.window_update(1, 1))
    assert resets_of(peer) == [(1, errors.FLOW_CONTROL_ERROR)]
    peer.send(peer.headers(3), frames.window_update(3, 0))
    assert resets_of(peer) == [(3, errors.PROTOCOL_ERROR)]
    peer.send(peer.headers(5), frames.window_update(5, 2**31 - 1 - 65_535), frames.settings({WINDOW: 65_536}))
    assert goaway_of(peer)[0] == errors.FLOW_CONTROL_ERROR


def test_windows_that_we_give_are_kept_and_given_back():
    bounds = Bounds(stream_window_bytes=65_535, connection_window_bytes=200_000)
    peer = Peer(bounds).greet()
    peer.send(peer.headers(1), data(1, bytes(30_000)))
    assert peer.receive() == []
    peer.send(data(1, bytes(10_000)))
    assert peer.receive() == [Frame(frames.WINDOW_UPDATE, 0, 1, (40_000).to_bytes(4, "big"))]
    peer.connection.streams[1].holding = True
    peer.send(data(1, bytes(65_000)))
    (update,) = peer.receive()
    assert update.stream_id == 0, "the connection's window is given back, that of a stream that is busy is not"
    peer.send(data(1, bytes(536)))
    assert resets_of(peer) == [(1, errors.FLOW_CONTROL_ERROR)]


def test_the_window_of_a_connection_cannot_be_overdrawn():
    peer = Peer(Bounds(stream_window_bytes=10**6, connection_window_bytes=65_535, max_frame_bytes=100_000)).greet()
    peer.send(peer.headers(1), data(1, bytes(65_536)))
    assert goaway_of(peer)[0] == errors.FLOW_CONTROL_ERROR


def test_draining_takes_what_was_under_way_and_nothing_later():
    peer = Peer().greet()
    peer.send(peer.headers(1))
    peer.connection.drain()
    goaway, ping = peer.receive()
    assert goaway.payload == (2**31 - 1).to_bytes(4, "big") + bytes(4)
    peer.send(peer.headers(3), frames.ping(ping.payload, frames.ACK), peer.headers(5))
    last, refused = peer.receive()
    assert last.payload == (3).to_bytes(4, "big") + bytes(4)
    assert (refused.kind, refused.stream_id, refused.code) == (frames.RST_STREAM, 5, errors.REFUSED_STREAM)
    peer.send(RST(1, 8))
    open_yet = peer.connection.finished
    peer.send(RST(3, 8))
    assert (open_yet, peer.connection.finished) == (False, True)
    assert peer.connection.fault is None


def test_one_wake_up_for_everything_that_leaves_in_a_turn():
    peer = Peer().greet()
    peer.wake_ups = 0
    peer.connection.sender.hold()
    peer.send(frames.ping(b"12345678"), peer.headers(1))
    assert peer.receive() == [Frame(frames.PING, frames.ACK, 0, b"12345678")]
    assert peer.wake_ups == 0, "whoever reads also writes"
    for _ in range(3):
        peer.connection.sender.headers(peer.connection.streams[1], ((b":status", b"100"),))
    assert peer.wake_ups == 1


def test_a_lost_connection_closes_every_stream_once():
    peer = Peer().greet()
    peer.send(*[peer.headers(i) for i in range(1, 20, 2)])
    peer.connection.abandon()
    peer.connection.abandon()
    assert sorted(event[1] for event in peer.events if event[0] == "closed") == list(range(1, 20, 2))


def test_states_are_closed_or_lead_there():
    states = {state for state, _ in TRANSITIONS}
    reachable = {state: {after for (before, _), after in TRANSITIONS.items() if before == state} for state in states}
    assert CLOSED not in states, "nothing leaves the closed state"
    assert all(CLOSED in after for state, after in reachable.items() if state)


def test_streams_say_what_they_are():
    stream: Any = Stream(Peer().connection, 5)
    assert repr(stream) == "<Stream 5 idle, 0 bytes queued>"
    assert isinstance(stream, Stream)
    assert issubclass(RecordingStream, Stream)
