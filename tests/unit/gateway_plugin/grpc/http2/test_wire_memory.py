"""One budget for what all connections keep of messages: who gets room, who waits for it, and who is refused."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.grpc.calls import Call, TooMuch
from gateway_plugin.grpc.http2 import frames, stream
from gateway_plugin.grpc.http2.bounds import MIB, Bounds
from gateway_plugin.grpc.http2.grpc_call import GrpcCall
from gateway_plugin.grpc.http2.grpc_framing import PREFIX
from gateway_plugin.grpc.http2.memory import MessageMemory
from tests.unit.gateway_plugin.grpc.http2.peer import Peer, data
from tests.unit.gateway_plugin.grpc.http2.test_wire_calls import Scripted, Timer

BOUNDS = Bounds(stream_window_bytes=4 * MIB, connection_window_bytes=64 * MIB, max_frame_bytes=4 * MIB)


class LastWord(Scripted):
    """A handler that answers when its message is not taken."""

    def message_refused(self, text: str, what: TooMuch) -> None:
        self.heard.append(what)
        self.call.send(b"sorry")
        self.call.finish()


class Calls:
    """Connections with one memory, and calls on them that are numbered."""

    def __init__(self, memory: MessageMemory, handler: type[Scripted] = LastWord, connections: int = 2) -> None:
        self.memory = memory
        self.handlers: list[Scripted] = []
        self.timers: list[Timer] = []
        self.peers = []
        for _ in range(connections):
            peer = Peer(BOUNDS, self._new_call)
            peer.connection.memory = memory
            self.peers.append(peer.greet())
        self._handler = handler

    def _new_call(self, connection: stream.Peer, stream_id: int) -> GrpcCall:
        return GrpcCall({"/t.T/Echo": self._begin}, self._call_later, connection, stream_id)

    def _begin(self, call: Call) -> Scripted:
        self.handlers.append(self._handler(call))
        return self.handlers[-1]

    def _call_later(self, seconds: float, callback: Any) -> Any:
        self.timers.append(Timer(seconds, callback))
        return self.timers[-1]

    def begin(self, peer: int, stream_id: int, size: int, sent: int) -> Scripted:
        """Opens a call and sends the beginning of a message."""
        self.peers[peer].send(self.peers[peer].headers(stream_id))
        self.peers[peer].send(data(stream_id, (PREFIX.pack(0, size) + bytes(size))[:sent]))
        return self.handlers[-1]

    def windows(self, peer: int) -> list[int]:
        """The streams that got more window since this was asked."""
        return [f.stream_id for f in self.peers[peer].receive() if f.kind == frames.WINDOW_UPDATE and f.stream_id]


def test_a_message_takes_its_whole_size_and_gives_it_back():
    memory = MessageMemory(40 * MIB)
    calls = Calls(memory)
    handler = calls.begin(0, 1, 10 * MIB, 3 * MIB)
    assert memory.used_bytes == 10 * MIB + 5
    calls.peers[0].send(data(1, bytes(4 * MIB)), data(1, bytes(3 * MIB + 5)))
    assert [len(message) for message in handler.heard] == [10 * MIB]
    assert memory.used_bytes == 0


def test_who_finds_no_room_gets_no_window_until_there_is():
    memory = MessageMemory(20 * MIB)
    calls = Calls(memory)
    first = calls.begin(0, 1, 10 * MIB, 3 * MIB)
    second = calls.begin(1, 1, 10 * MIB, 3 * MIB)
    assert calls.windows(0) == [1]
    assert calls.windows(1) == [], "of 15 MiB for large ones, five are left"
    assert [timer.seconds for timer in calls.timers] == [BOUNDS.memory_wait_seconds]
    calls.peers[0].send(data(1, bytes(4 * MIB)), data(1, bytes(3 * MIB + 5)))
    assert len(first.heard) == 1
    assert calls.windows(1) == [1], "on another connection, in the same turn"
    assert calls.timers[0].cancelled
    calls.peers[1].send(data(1, bytes(4 * MIB)), data(1, bytes(3 * MIB + 5)))
    assert [len(message) for message in second.heard] == [10 * MIB]
    assert memory.used_bytes == 0


def test_first_come_first_served_but_small_ones_need_not_wait():
    memory = MessageMemory(20 * MIB)
    calls = Calls(memory)
    calls.begin(0, 1, 10 * MIB, MIB)
    calls.begin(0, 3, 10 * MIB, MIB)
    calls.begin(0, 5, 2 * MIB, MIB)
    assert memory.used_bytes == 10 * MIB + 5, "there would be room for the third, but it is not its turn"
    small = calls.begin(0, 7, MIB - 5, MIB // 2)
    assert memory.used_bytes == 11 * MIB + 5
    calls.peers[0].send(data(7, bytes(MIB // 2)))
    assert [len(message) for message in small.heard] == [MIB - 5]


def test_who_waits_too_long_is_refused_with_a_last_word():
    memory = MessageMemory(20 * MIB)
    calls = Calls(memory)
    calls.begin(0, 1, 10 * MIB, MIB)
    late = calls.begin(1, 1, 10 * MIB, MIB)
    calls.timers[0].fire()
    assert late.heard == [TooMuch.MEMORY, "ended"]
    assert any(f.kind == frames.DATA and b"sorry" in f.payload for f in calls.peers[1].receive())
    calls.peers[0].connection.abandon()
    assert memory.used_bytes == 0, "who was refused gets nothing any more"


def test_a_message_beyond_the_limit_is_refused_with_a_last_word():
    calls = Calls(MessageMemory(200 * MIB))
    handler = calls.begin(0, 1, 66 * MIB, MIB)
    assert handler.heard == [TooMuch.MESSAGE, "ended"]


def test_without_a_last_word_the_status_says_it():
    calls = Calls(MessageMemory(MIB), Scripted)
    handler = calls.begin(0, 1, 10 * MIB, MIB)
    assert handler.heard == ["ended"], "more than there will ever be"
    fields: dict[str, str] = {}
    for frame in calls.peers[0].receive():
        if frame.kind == frames.HEADERS:
            fields |= calls.peers[0].fields(frame)
    assert fields["grpc-status"] == "8"


def test_a_message_that_comes_whole_within_its_window_need_not_wait_for_memory():
    memory = MessageMemory(20 * MIB)
    calls = Calls(memory)
    calls.begin(0, 1, 10 * MIB, MIB)
    second = calls.begin(1, 1, 6 * MIB, MIB)
    calls.windows(1)
    calls.peers[1].send(data(1, bytes(3 * MIB)))
    assert second.heard == []
    memory.give(memory.used_bytes)
    assert calls.windows(1) == [1]


async def test_what_a_busy_handler_keeps_counts_until_it_is_free():
    memory = MessageMemory(40 * MIB)
    calls = Calls(memory)
    busy: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    calls.begin(0, 1, 10, 5)
    calls.handlers[0].on_message = lambda message: busy
    calls.peers[0].send(data(1, bytes(10)))
    assert memory.used_bytes == 15
    calls.begin(0, 3, 100, 0)
    calls.handlers[1].on_message = lambda message: busy
    calls.peers[0].send(data(3, PREFIX.pack(0, 100) + bytes(100)))
    assert memory.used_bytes == 115, "also what came in one piece"
    busy.set_result(None)
    await asyncio.sleep(0)
    assert memory.used_bytes == 0


async def test_a_second_message_while_the_handler_is_busy_leaves_nothing_behind():
    memory = MessageMemory(40 * MIB)
    calls = Calls(memory)
    busy: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    handler = calls.begin(0, 1, 100, 0)
    handler.on_message = lambda message: busy
    calls.peers[0].send(data(1, PREFIX.pack(0, 100) + bytes(100)))
    calls.peers[0].send(data(1, PREFIX.pack(0, 200) + bytes(50)))
    assert memory.used_bytes == 305, "both count"
    busy.set_result(None)
    await asyncio.sleep(0)
    assert memory.used_bytes == 205, "the second is still on its way"
    calls.peers[0].send(data(1, bytes(150)))
    assert [len(message) for message in handler.heard] == [100, 200]
    assert memory.used_bytes == 0


def test_streams_that_are_reset_leave_nothing():
    memory = MessageMemory(20 * MIB)
    calls = Calls(memory)
    calls.begin(0, 1, 10 * MIB, MIB)
    calls.begin(0, 3, 10 * MIB, MIB)
    calls.peers[0].send(frames.rst_stream(3, 8), frames.rst_stream(1, 8))
    assert memory.used_bytes == 0
    calls.begin(0, 5, 10 * MIB, MIB)
    assert memory.used_bytes == 10 * MIB + 5


class Claimant:
    def __init__(self) -> None:
        self.has = False

    def granted(self) -> None:
        self.has = True


@given(st.lists(st.tuples(st.sampled_from(["take", "give", "leave"]), st.integers(0, 7))))
def test_the_budget_is_never_exceeded_and_nobody_is_forgotten(moves: list[tuple[str, int]]):
    limit = 16 * MIB
    memory = MessageMemory(limit)
    sizes = [MIB // 2, MIB, 2 * MIB, 3 * MIB, 5 * MIB, 8 * MIB, 12 * MIB, 1]
    having: list[int] = []
    waiting: dict[Claimant, int] = {}
    for what, number in moves:
        if what == "take":
            size, claimant = sizes[number], Claimant()
            if memory.take(size):
                having.append(size)
            elif memory.wait(size, claimant):
                waiting[claimant] = size
        elif what == "give" and having:
            memory.give(having.pop(number % len(having)))
        elif what == "leave" and waiting:
            claimant = list(waiting)[number % len(waiting)]
            memory.forget(claimant)
            del waiting[claimant]
        having += [waiting.pop(claimant) for claimant in list(waiting) if claimant.has]
        assert memory.used_bytes == sum(having) <= limit
    while having:
        memory.give(having.pop())
        having += [waiting.pop(claimant) for claimant in list(waiting) if claimant.has]
    assert (memory.used_bytes, waiting) == (0, {})
