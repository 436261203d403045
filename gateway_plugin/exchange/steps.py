"""What an exchange wants done next, and what is left to do when it is over.

Whoever carries it does so, and tells the exchange what came of a step; of the rest nobody wants to hear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.accounting.limiting import GiveBack
    from protos.access_log import FinishedExchange
    from ratelimit import Admission


class Reply(msgspec.Struct, frozen=True, gc=False):
    """Send this serialized message; `final` means that nothing more will be said and the stream may be closed."""

    message: bytes
    final: bool = False


class Identify(msgspec.Struct, frozen=True):
    """Find the owner of an API key, then call `identified` or `refused`."""

    key_sha256: str
    source: str
    """Where the request comes from."""


class FindUser(msgspec.Struct, frozen=True):
    """Find out whether there is a user of this name, then call `user_found` or `refused`."""

    user: str


class Unpack(msgspec.Struct, frozen=True):
    """Let another thread call this, then call `unpacked` with what it returns, or `refused`."""

    unpack: Callable[[], bytes]


class Admit(msgspec.Struct, frozen=True, gc=False):
    """Ask the limiter, then call `admitted` or `refused`."""

    admission: Admission


class WaitForRoom(msgspec.Struct, frozen=True):
    """Every pod is full: wait, then call `resumed` or `refused`."""

    model: str
    turn: str
    """Who takes turns with others."""
    asked: str
    """The model as the client names it, for what it is told."""


class WaitForPod(msgspec.Struct, frozen=True):
    """The model has been scaled to zero: wait for its first pod, then call `resumed` or `refused`."""

    model: str
    turn: str
    """Who takes turns with others."""
    asked: str
    """The model as the client names it, for what it is told."""
    body_bytes: int


Step = Reply | Identify | FindUser | Unpack | Admit | WaitForRoom | WaitForPod


class Ending(msgspec.Struct, frozen=True):
    """What is left to do for one exchange."""

    back: GiveBack | None = None
    finished: FinishedExchange | None = None
    """What became of it, where responses are followed."""


NOTHING_LEFT = Ending()
