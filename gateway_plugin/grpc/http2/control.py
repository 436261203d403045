"""Frames about the connection or about flow and order: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.grpc.http2 import frames
from gateway_plugin.grpc.http2.bounds import Budget
from gateway_plugin.grpc.http2.frames import ACK, MAX_WINDOW, UINT32
from gateway_plugin.grpc.http2.header_frames import check_priority
from gateway_plugin.grpc.http2.http2_errors import (
    ENHANCE_YOUR_CALM,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    ConnectionFault,
    StreamFault,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.grpc.http2.stream import Peer

_DRAIN_PING = b"draining"
_LENGTHS = {
    frames.PRIORITY: 5,
    frames.PING: 8,
    frames.WINDOW_UPDATE: 4,
}
_OF_CONNECTION = (frames.SETTINGS, frames.PING, frames.GOAWAY)


class ControlFrames:
    """What these frames do to one connection."""

    def __init__(self, connection: Peer, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._streams = connection.streams
        bounds = connection.bounds
        self._pings = Budget(bounds.pings, clock)
        self._settings = Budget(bounds.settings_frames, clock)
        self._useless = Budget(bounds.empty_frames, clock)
        self._resets = Budget(bounds.unanswered_resets, clock)
        self.settings_seen = False
        self.draining = False
        self.going_away = False
        """True once the last GOAWAY is sent: no stream opens any more."""
        self._handlers = {
            frames.SETTINGS: self._on_settings,
            frames.PING: self._on_ping,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.GOAWAY: self._on_goaway,
        }

    def check_first(self, kind: int, flags: int) -> None:
        """SETTINGS must come before anything else (3.4)."""
        if not self.settings_seen:
            if kind != frames.SETTINGS or flags & ACK:
                raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS must come first")
            self.settings_seen = True

    def on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Any frame but DATA, HEADERS, CONTINUATION and RST_STREAM."""
        _check_shape(kind, stream_id, payload)
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(flags, stream_id, payload)
            return
        if kind == frames.PUSH_PROMISE:
            raise ConnectionFault(PROTOCOL_ERROR, "a client cannot push")
        if not self._useless.spend():
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames without use")
        if kind == frames.PRIORITY:
            check_priority(stream_id, payload)

    def on_reset(self, _: int, stream_id: int, __: bytes, ___: int, length: int) -> None:
        """RST_STREAM, for whatever reason: apart, as Envoy ends most streams so."""
        if length != UINT32.size:
            raise ConnectionFault(FRAME_SIZE_ERROR, "a frame of a wrong length")
        stream = self._streams.get(stream_id)
        if stream is not None:
            if not stream.answered and not self._resets.spend():
                raise ConnectionFault(ENHANCE_YOUR_CALM, "too many streams reset before an answer")
            self._connection.close(stream, ours=False)
        else:
            self._check_not_idle(stream_id)

    def drain(self) -> None:
        """Announces the end, and asks for an echo: what the peer opened before it read that, comes before the echo."""
        if not self.draining:
            self.draining = True
            self._connection.sender.control(frames.goaway(MAX_WINDOW, 0))
            self._connection.sender.control(frames.ping(_DRAIN_PING))

    def _on_settings(self, flags: int, _: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise ConnectionFault(FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with a payload")
            return
        if not self._settings.spend():
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many SETTINGS")
        sender = self._connection.sender
        values = frames.read_settings(payload)
        sender.control(frames.SETTINGS_ACK)  # before any DATA that the new values allow
        for name, value in values:
            if name == frames.INITIAL_WINDOW_SIZE:
                sender.change_initial_window(value, list(self._connection.streams.values()))
            elif name == frames.MAX_FRAME_SIZE:
                sender.max_frame(value)
            elif name == frames.HEADER_TABLE_SIZE:
                sender.header_table(value)

    def _on_ping(self, flags: int, _: int, payload: bytes) -> None:
        if flags & ACK:
            if payload == _DRAIN_PING and self.draining and not self.going_away:
                self.going_away = True
                self._connection.max_streams = 0
                self._connection.sender.control(frames.goaway(self._connection.last_stream_id, 0))
            return
        if not self._pings.spend():
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many PINGs")
        self._connection.sender.control(frames.ping(payload, ACK))

    def _on_window_update(self, _: int, stream_id: int, payload: bytes) -> None:
        increment = UINT32.unpack(payload)[0] & MAX_WINDOW
        stream = self._connection.streams.get(stream_id)
        if stream is not None or not stream_id:
            self._connection.sender.window_update(stream, increment)
        else:
            self._check_not_idle(stream_id)

    def _on_goaway(self, _: int, __: int, payload: bytes) -> None:
        # A client that goes away opens no more streams; those that are open go on.
        if len(payload) < 2 * UINT32.size:
            raise ConnectionFault(FRAME_SIZE_ERROR, "GOAWAY is too short")

    def _check_not_idle(self, stream_id: int) -> None:
        if stream_id > self._connection.last_stream_id or not stream_id % 2:
            raise ConnectionFault(PROTOCOL_ERROR, "a frame on an idle stream")


def _check_shape(kind: int, stream_id: int, payload: bytes) -> None:
    if (kind in _OF_CONNECTION and stream_id) or (kind == frames.PRIORITY and not stream_id):
        raise ConnectionFault(PROTOCOL_ERROR, "a frame on the wrong kind of stream")
    if len(payload) != _LENGTHS.get(kind, len(payload)):
        if kind == frames.PRIORITY:
            raise StreamFault(stream_id, FRAME_SIZE_ERROR, "PRIORITY of a wrong length")
        raise ConnectionFault(FRAME_SIZE_ERROR, "a frame of a wrong length")
