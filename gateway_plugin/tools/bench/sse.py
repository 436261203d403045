"""Server-sent events out of bytes that come in any pieces. One copy of the bytes, nothing decoded."""

from __future__ import annotations

MAX_EVENT_BYTES = 4 * 1024 * 1024


class SseError(ValueError):
    """An event that does not end."""


class SseReader:
    """Takes bytes, gives the data of whole events; comments and names of events are passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Data of the events that `data` completes; raises SseError beyond MAX_EVENT_BYTES."""
        if b"\r" in data:
            # Lines may end with CR LF. In JSON a CR is escaped, so each one here belongs to a line's end.
            data = data.replace(b"\r", b"")
        *events, self._rest = (self._rest + data).split(b"\n\n")
        if len(self._rest) > MAX_EVENT_BYTES:
            raise SseError(f"an event of more than {MAX_EVENT_BYTES} bytes")
        return [content for event in events if (content := _data(event)) is not None]


def _data(event: bytes) -> bytes | None:
    """Lines of data joined; None where there is none."""
    event = event.lstrip(b"\n")
    if b"\n" not in event:
        return event[5:].removeprefix(b" ") if event.startswith(b"data:") else None
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None
