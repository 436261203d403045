"""Each bound of `Bounds` holds, and what stays below it is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2 import http2_errors as errors
from gateway_plugin.grpc.http2.bounds import Bounds, Budget, Rate
from gateway_plugin.grpc.http2.hpack import Decoder
from tests.unit.gateway_plugin.grpc.http2.peer import GRPC, Peer, data, goaway_of, resets_of

CALM = errors.ENHANCE_YOUR_CALM
FLOODS: dict[str, tuple[str, Callable[[Peer, int], bytes]]] = {
    "PING": ("pings", lambda *_: frames.ping(bytes(8))),
    "SETTINGS": ("settings_frames", lambda *_: frames.settings({})),
    "empty DATA": ("empty_frames", lambda *_: data(1)),
    "PRIORITY": ("empty_frames", lambda *_: frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\3\0")),
    "unknown frames": ("empty_frames", lambda *_: frames.frame(77, 0, 0, b"?")),
    "rapid reset": ("unanswered_resets", lambda peer, i: peer.headers(2 * i + 3) + frames.rst_stream(2 * i + 3, 8)),
    "malformed requests": ("faulty_streams", lambda peer, i: peer.headers(2 * i + 3, [])),
}


def bounds_with(name: str, rate: Rate) -> Bounds:
    changed: dict[str, Any] = {name: rate}
    return replace(Bounds(), **changed)


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection_and_no_sooner(name: str):
    bound, flood = FLOODS[name]
    peer = Peer(bounds_with(bound, Rate(10, 2))).greet()
    peer.send(peer.headers(1))
    spent = 1 if bound == "settings_frames" else 0  # the preface has one
    for i in range(10 - spent):
        peer.send(flood(peer, i))
    peer.now += 1.0
    for i in range(10, 12):
        peer.send(flood(peer, i))
    assert peer.connection.fault is None, "two more after a second"
    peer.receive()
    peer.send(flood(peer, 12))
    assert goaway_of(peer)[0] == CALM


def test_a_budget_fills_up_to_its_burst():
    now = [0.0]
    budget = Budget(Rate(3, 1), lambda: now[0])
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]
    now[0] = 0.5
    assert not budget.spend()
    now[0] = 1.5
    assert [budget.spend(), budget.spend()] == [True, False]
    now[0] = 100.0
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]


def test_answered_streams_may_be_reset_freely():
    peer = Peer(Bounds(unanswered_resets=Rate(1, 0))).greet()
    for i in range(1, 100, 2):
        peer.send(peer.headers(i))
        peer.connection.sender.headers(peer.connection.streams[i], ((b":status", b"200"),))
        peer.send(frames.rst_stream(i, 8))
    assert peer.connection.fault is None


def test_streams_beyond_the_limit_are_refused():
    peer = Peer(Bounds(max_concurrent_streams=2)).greet()
    peer.send(*[peer.headers(i) for i in (1, 3, 5)])
    assert resets_of(peer) == [(5, errors.REFUSED_STREAM)]
    peer.send(frames.rst_stream(1, 8), peer.headers(7))
    assert [event[1] for event in peer.events if event[0] == "opened"] == [1, 3, 7]


def test_a_header_list_beyond_the_bound_is_refused_and_the_connection_lives():
    peer = Peer(Bounds(header_list_bytes=2000)).greet()
    peer.send(peer.headers(1, [*GRPC, ("x-large", "a" * 1000)]))
    repeated = peer.encoder.encode(GRPC) + b"\xbe" * 100
    peer.send(frames.frame(frames.HEADERS, frames.END_HEADERS, 3, repeated))
    peer.send(peer.headers(5))
    assert peer.events == [("opened", 1, b"/t.T/Echo"), ("too large", 3), ("opened", 5, b"/t.T/Echo")]


def test_header_blocks_are_bounded_in_bytes_and_frames():
    for parts, text in (
        ([b"\x00" * 900] * 3, "a header block is too large"),
        ([b""] * 40, "too many CONTINUATION frames"),
    ):
        peer = Peer(Bounds(header_list_bytes=2000)).greet()
        peer.send(frames.frame(frames.HEADERS, 0, 1, b"\x82"))
        peer.send(*[frames.frame(frames.CONTINUATION, 0, 1, part) for part in parts])
        assert goaway_of(peer) == (CALM, text)


def test_only_data_may_be_large():
    peer = Peer(Bounds(header_list_bytes=2000)).greet()
    peer.send(frames.FRAME_HEADER.pack(2001 << 8 | frames.HEADERS, frames.END_HEADERS, 1))
    assert goaway_of(peer)[0] == CALM
    peer = Peer(Bounds(header_list_bytes=2000)).greet()
    peer.send(frames.frame(frames.SETTINGS, 0, 0, bytes(2004)))
    assert goaway_of(peer)[0] == CALM


def test_a_frame_of_data_is_handed_on_before_it_is_complete():
    peer = Peer(Bounds(stream_window_bytes=2**20)).greet()
    peer.send(peer.headers(1), frames.FRAME_HEADER.pack(2**20 << 8, 0, 1), bytes(500_000))
    assert peer.events[-1] == ("data", 1, bytes(500_000))
    assert len(peer.connection._rest) == 0, "nothing is kept"


def test_the_decoder_remembers_little_of_a_hostile_peer():
    decoder = Decoder(4096, 65_536)
    for i in range(5000):
        decoder.decode(b"\x00\x03" + b"%03d" % (i % 1000) + b"\x7f\x81\x01" + b"v" * 256)
    kept = sum(len(block) for block in decoder.kept)
    assert kept <= 64 * 512


def test_replies_that_nobody_takes_are_bounded():
    peer = Peer(Bounds(buffered_bytes=100_000)).greet({frames.INITIAL_WINDOW_SIZE: 0})
    peer.send(peer.headers(1), peer.headers(3))
    sender = peer.connection.sender
    one, three = peer.connection.streams[1], peer.connection.streams[3]
    sender.data(one, bytes(60_000))
    assert resets_of(peer) == []
    sender.data(three, bytes(60_000))
    assert resets_of(peer) == [(3, CALM)]
    assert sender._queued_bytes == 60_000
