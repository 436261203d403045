"""What became of the last requests: decisions, refusals and what Envoy said at the end, kept as they fall.

A request costs two small records here, and nothing else: whoever asks searches the rings and renders what is found.
Each ring is bounded in number; texts that clients choose are cut, and no prompt ever comes here.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from protos.access_log import FinishedExchange
    from ratelimit import Decision
    from routing.booking import Booking

DEFAULT_SIZE = 1000
"""Of each ring: about half a MB in all."""
MAX_CHARACTERS = 256
"""Of a text that a client chose, kept in a story."""


class Routed(msgspec.Struct, frozen=True, gc=False):
    """A request that was sent on."""

    number: int
    """Counts all records of a process, so that readers can go on where they stopped."""
    at_seconds: float
    """Wall clock."""
    request_id: str
    charge_id: str
    user: str
    model: str
    path: str
    strategy: str
    """Empty where Envoy balances."""
    booking: Booking | None
    prompt_tokens: int
    reserved_tokens: int
    decided_after_seconds: float
    """From its headers to the reply, waiting for its body, the limiter and a pod with room included."""
    decision: Decision | None
    """The limiter's, with what the user has used; None for whoever has no limits."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A request that the gateway answered itself."""

    number: int
    at_seconds: float
    request_id: str
    user: str
    model: str
    """As the client named it; empty where it is not known yet."""
    path: str
    status: int
    reason: str
    message: str
    source: str
    """Where it came from."""


class Finished(msgspec.Struct, frozen=True, gc=False):
    """An exchange that is over, and when that was known here."""

    number: int
    at_seconds: float
    entry: FinishedExchange


class Story(msgspec.Struct, frozen=True):
    """All that is known here of one request id, oldest first; a client may use an id again."""

    routed: list[Routed]
    refused: list[Refused]
    finished: list[Finished]

    def __bool__(self) -> bool:
        return bool(self.routed or self.refused or self.finished)


class Stories:
    """`clock` is the wall clock."""

    def __init__(self, size: int = DEFAULT_SIZE, clock: Callable[[], float] = time.time) -> None:
        self.routed: deque[Routed] = deque(maxlen=size)
        self.refused: deque[Refused] = deque(maxlen=size)
        self.finished: deque[Finished] = deque(maxlen=size)
        self.on_refused: Callable[[Refused], None] = lambda refused: None
        self.on_finished: Callable[[FinishedExchange], None] | None = None
        """None: nobody writes lines of them."""
        self.on_traced: Callable[[FinishedExchange], None] | None = None
        """Of exchanges whose decision was traced; None: none is."""
        self._clock = clock
        self._next = itertools.count(1).__next__

    def sent_on(
        self,
        request_id: str,
        charge_id: str,
        user: str,
        model: str,
        path: str,
        strategy: str,
        booking: Booking | None,
        prompt_tokens: int,
        reserved_tokens: int,
        decided_after_seconds: float,
        decision: Decision | None = None,
    ) -> None:
        """A pod was chosen, or Envoy chooses one."""
        self.routed.append(
            Routed(
                self._next(),
                self._clock(),
                request_id,
                charge_id,
                user,
                model,
                path[:MAX_CHARACTERS],
                strategy,
                booking,
                prompt_tokens,
                reserved_tokens,
                decided_after_seconds,
                decision,
            )
        )

    def refuse(
        self, request_id: str, user: str, model: str, path: str, status: int, reason: str, message: str, source: str
    ) -> None:
        """The gateway itself answered. The query of a path may hold a key, and is left out."""
        refused = Refused(
            self._next(),
            self._clock(),
            request_id,
            user[:MAX_CHARACTERS],
            model[:MAX_CHARACTERS],
            path.partition("?")[0][:MAX_CHARACTERS],
            status,
            reason,
            message[: 2 * MAX_CHARACTERS],
            source,
        )
        self.refused.append(refused)
        self.on_refused(refused)

    def finish(self, entries: Sequence[FinishedExchange]) -> None:
        """Envoy says that they are over; this replica's requests, or another's."""
        now_seconds, number = self._clock(), self._next
        self.finished.extend([Finished(number(), now_seconds, entry) for entry in entries])
        if self.on_finished is not None:
            for entry in entries:
                self.on_finished(entry)
        if self.on_traced is not None:
            for entry in entries:
                if entry.trace:
                    self.on_traced(entry)

    def of(self, request_id: str) -> Story:
        """What is still known of the request, by its id or by its charge id."""
        routed = [one for one in self.routed if request_id in (one.request_id, one.charge_id)]
        charges = {one.charge_id for one in routed}
        finished = [
            one
            for one in self.finished
            if one.entry.charge_id in charges or request_id in (one.entry.request_id, one.entry.charge_id)
        ]
        return Story(routed, [one for one in self.refused if one.request_id == request_id], finished)

    def ends_by_charge(self) -> dict[str, Finished]:
        """What is known of ends, for whoever lists many decisions."""
        return {one.entry.charge_id: one for one in self.finished}

    def last_routed(self, count: int, *, user: str = "", model: str = "", pod: str = "") -> Iterator[Routed]:
        """The newest first, of a user, a model, a pod's name or address, where one is named."""
        found = (
            one
            for one in reversed(self.routed)
            if user in ("", one.user) and model in ("", one.model) and (not pod or _went_to(one, pod))
        )
        return itertools.islice(found, count)

    def last_refused(self, count: int, *, user: str = "", model: str = "", status: int = 0) -> Iterator[Refused]:
        """The same of refusals."""
        found = (
            one
            for one in reversed(self.refused)
            if user in ("", one.user) and model in ("", one.model) and status in (0, one.status)
        )
        return itertools.islice(found, count)


def _went_to(routed: Routed, pod: str) -> bool:
    return routed.booking is not None and pod in (routed.booking.pods[0].name, routed.booking.pods[0].address)
