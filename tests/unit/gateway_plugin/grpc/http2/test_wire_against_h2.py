"""`h2`, the library that others use, as the oracle: what it sends we understand, what we send it understands.

Calls open and close, send messages in any parts and answer in any order, under windows that h2 opens as it likes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_plugin.grpc.calls import Call
from gateway_plugin.grpc.http2.grpc_call import GrpcCall
from gateway_plugin.grpc.http2.grpc_framing import PREFIX
from tests.unit.gateway_plugin.grpc.http2.peer import GRPC, Peer


@dataclass
class Echo:
    """Answers each message with itself, and ends when the client does."""

    call: Call

    def received(self, message: bytes) -> None:
        self.call.send(message)

    def half_closed(self) -> None:
        self.call.finish()

    def ended(self) -> None:
        pass


@dataclass
class Answer:
    status: str = ""
    body: bytearray = field(default_factory=bytearray)
    ended: bool = False
    reset: int | None = None


class Client:
    """h2's client side, joined to our server side without sockets."""

    def __init__(self, initial_window: int) -> None:
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.answers: dict[int, Answer] = {}

        def new_call(connection: Any, stream_id: int) -> GrpcCall:
            return GrpcCall({"/t.T/Echo": Echo}, _no_timer, connection, stream_id)

        self.peer = Peer(new_stream=new_call)
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: initial_window})
        self.exchange()

    def exchange(self) -> None:
        """Bytes to and fro until nobody has any more."""
        while True:
            there = self.h2.data_to_send()
            if there:
                self.peer.connection.receive(there)
            back = self.peer.connection.sender.take()
            if back:
                self._hear(self.h2.receive_data(bytes(back)))  # raises where our bytes are no HTTP/2
            if not there and not back:
                return

    def _hear(self, events: list[h2.events.Event]) -> None:
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                self.answers[event.stream_id].status = {str(name): str(value) for name, value in event.headers}[
                    ":status"
                ]
            elif isinstance(event, h2.events.DataReceived):
                self.answers[event.stream_id].body += event.data
                if event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.answers[event.stream_id].ended = True
            elif isinstance(event, h2.events.StreamReset):
                self.answers[event.stream_id].reset = int(event.error_code)
            assert not isinstance(event, h2.events.ConnectionTerminated), event

    def open(self) -> int:
        stream_id = self.h2.get_next_available_stream_id()
        self.answers[stream_id] = Answer()
        self.h2.send_headers(stream_id, GRPC)
        return stream_id

    def send(self, stream_id: int, content: bytes, part_bytes: int) -> None:
        at = 0
        while at < len(content):
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, part_bytes)
            if room <= 0:
                self.exchange()
                assert self.h2.local_flow_control_window(stream_id) > 0, "the window is never given back"
                continue
            self.h2.send_data(stream_id, content[at : at + room], pad_length=None)
            at += room


def _no_timer(*_: Any) -> Any:
    raise AssertionError("no deadlines here")


MESSAGES = st.one_of(st.binary(max_size=200), st.integers(0, 90_000).map(bytes))


@settings(max_examples=40)
@given(
    st.lists(st.lists(MESSAGES, max_size=4), min_size=1, max_size=5),
    st.integers(1, 70_000),
    st.sampled_from([900, 20_000, 65_535, 1_000_000]),
    st.randoms(use_true_random=False),
)
def test_what_h2_sends_is_heard_and_what_we_answer_it_understands(
    calls: list[list[bytes]], part_bytes: int, initial_window: int, order: Any
):
    client = Client(initial_window)
    wanted: dict[int, bytes] = {}
    todo: list[tuple[int, bytes | None]] = []
    for messages in calls:
        stream_id = client.open()
        framed = [PREFIX.pack(0, len(message)) + message for message in messages]
        wanted[stream_id] = b"".join(framed)
        todo.append((stream_id, b"".join(framed)))
    order.shuffle(todo)
    for stream_id, content in todo:
        client.send(stream_id, content or b"", max(part_bytes, len(content or b"") // 50))
        client.h2.end_stream(stream_id)
        client.exchange()
    client.exchange()
    for stream_id, content in wanted.items():
        answer = client.answers[stream_id]
        assert (answer.status, answer.ended, answer.reset) == ("200", True, None)
        assert bytes(answer.body) == content
    assert not client.peer.connection.streams


@given(st.lists(st.sampled_from(["open", "reset", "end", "ping", "settings"]), max_size=30), st.integers(0, 2**32))
def test_streams_that_come_and_go_in_any_order_end_as_h2_believes(steps: list[str], seed: int):
    client = Client(65_535)
    opened: list[int] = []
    for number, step in enumerate(steps):
        if step == "open" and len(opened) < 20:
            opened.append(client.open())
        elif step == "ping":
            client.h2.ping(number.to_bytes(8, "big"))
        elif step == "settings":
            client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000 + (seed >> number) % 70_000})
        elif opened:
            stream_id = opened.pop(0)
            if step == "reset":
                client.h2.reset_stream(stream_id)
                client.answers.pop(stream_id)
            else:
                client.h2.end_stream(stream_id)
                client.exchange()
                assert client.answers[stream_id].ended
        client.exchange()
    assert set(client.peer.connection.streams) == set(opened)
