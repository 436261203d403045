"""Free ports: the usual ones when nobody has them, others when they are taken."""

from __future__ import annotations

import socket


class Ports:
    """Hands out ports of loopback, none of them twice."""

    def __init__(self, *, usual: bool = True) -> None:
        self._usual = usual
        self._given: set[int] = set()

    def pick(self, usual: int) -> int:
        """The usual port, or another when it is taken or when this instance avoids usual ports."""
        if self._usual and usual not in self._given and _is_free(usual):
            self._given.add(usual)
            return usual
        while (port := _ephemeral()) in self._given:
            pass
        self._given.add(port)
        return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _ephemeral() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port
