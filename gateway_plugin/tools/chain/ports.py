"""Free ports: the usual ones when nobody has them, others when they are taken.

Others lie below the range from which the kernel gives clients their ports: there, any connection of a neighbour could
take a port between the moment it was found free and the moment the program that it is for listens on it.
"""

from __future__ import annotations

import itertools
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOWEST = 15_000
_CLIENTS_FROM = 32_768
"""Linux' own default, for where it cannot be read."""
_CLIENT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


class Ports:
    """Hands out ports of loopback, none of them twice."""

    def __init__(self, *, usual: bool = True) -> None:
        self._usual = usual
        self._given: set[int] = set()

    def pick(self, usual: int) -> int:
        """The usual port, or another when it is taken or when this instance avoids usual ports."""
        port = usual if self._usual and usual not in self._given and is_free(usual) else free_port()
        while port in self._given:
            port = free_port()
        self._given.add(port)
        return port


def free_port() -> int:
    """A port that nobody listens on and no client is given; the same one comes again only after a full round."""
    return next(port for port in _rounds if is_free(port))


def begin_at(share: float) -> None:
    """From now on, free ports are looked for from that far on in their range (0 to 1), and round it."""
    global _rounds  # noqa: PLW0603 - where a process looks next
    _rounds = _round(share)


def _round(share: float) -> Iterator[int]:
    end = max(_first_client_port(), _LOWEST + 1)
    first = _LOWEST + int(share * (end - _LOWEST))
    return itertools.chain(range(first, end), itertools.cycle(range(_LOWEST, end)))


def _first_client_port() -> int:
    try:
        return int(_CLIENT_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _CLIENTS_FROM


def is_free(port: int) -> bool:
    """Whether nobody listens on it."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


# Each process begins elsewhere: those that start beside each other shall not look for the same port at once.
_rounds = _round(random.random())
