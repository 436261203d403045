"""Bytes of a watch to whole lines. Half a line waits for its other half; it is lost with the connection."""

from __future__ import annotations

MAX_LINE_BYTES = 16 * 1024 * 1024
"""No object is larger than etcd takes (1.5 MiB by default), but a proxy may send anything."""


class LineTooLongError(ValueError):
    """This is no watch."""


class Lines:
    """One stream."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._max_line_bytes = max_line_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends; raises LineTooLongError."""
        head, separator, tail = data.partition(b"\n")
        if not separator:
            self._keep(head)
            return []
        lines = [b"".join((*self._rest, head)), *tail.split(b"\n")]
        self._rest, self._rest_bytes = [], 0
        self._keep(lines.pop())
        return [line for line in lines if line.strip()]

    def _keep(self, data: bytes) -> None:
        if data:
            self._rest.append(data)
            self._rest_bytes += len(data)
        if self._rest_bytes > self._max_line_bytes:
            raise LineTooLongError(f"a line of a watch is longer than {self._max_line_bytes} bytes")
