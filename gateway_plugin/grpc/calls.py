"""What a gRPC transport and the handler of one call say to each other. Neither knows of which kind the other is.

    transport -> handler   received(message) for each message, half_closed() after the client's last, ended() once
    handler -> transport   send(message), finish(status, text)

Everything is synchronous and happens on the event loop's thread. Messages are serialized protobuf.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import asyncio

OK = 0
CANCELLED = 1
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14


class Call(Protocol):
    """One open call, as its handler sees it. After `finish` or `ended` both methods do nothing."""

    @property
    def traceparent(self) -> str:
        """The span that the client says the call is part of, as W3C's Trace Context writes it; empty: none."""

    @property
    def fingerprint(self) -> bytes:
        """What the client's configuration was made for, as it says; empty: it does not."""

    def send(self, message: bytes) -> None:
        """Queues one message; it leaves with all others of this turn of the event loop."""

    def finish(self, status: int = OK, text: str = "") -> None:
        """Ends the call with a gRPC status; messages queued before leave first."""


class CallHandler(Protocol):
    """One open call, as the transport sees it."""

    def received(self, message: bytes) -> asyncio.Future[Any] | None:
        """Takes the next message. A future means: no further message, please, before it is done."""

    def half_closed(self) -> None:
        """The client will send nothing more."""

    def ended(self) -> None:
        """The call is over, whatever the cause: finished, reset, cancelled, connection lost. Called exactly once."""


class TooMuch(Enum):
    """Why a message is not taken."""

    MESSAGE = "it is larger than any message may be"
    MEMORY = "there is no memory for it now"


@runtime_checkable
class Refusing(Protocol):
    """A handler that has a last word when a message of its call cannot be taken."""

    def message_refused(self, text: str, what: TooMuch) -> None:
        """What it sends now still leaves; then the call ends, with RESOURCE_EXHAUSTED unless it said otherwise."""


Method = Callable[[Call], CallHandler]
Methods = Mapping[str, Method]
"""By path: "/package.Service/Method"."""
