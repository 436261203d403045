"""A circuit breaker: when to stop asking a server that does not answer, and when to try it again.

    CLOSED --failure: 5th in a row, or 10th of the last 20 calls--> OPEN --delay over--> HALF_OPEN (one probe is out)
    HALF_OPEN --probe succeeded--> CLOSED        HALF_OPEN --probe failed--> OPEN, with the next delay

    delay = min(first * 2^n, longest) * (1 - random / 2)        n: openings since the breaker was last calm

It is calm when it was closed for `calm_seconds` before it opened: a server that answers the probe and then fails its
calls is asked less and less often, up to `longest` (1 s, so that a server that is back is noticed within it). The
random share keeps replicas from probing at the same instant.

Every permit belongs to the state it was given in. What a call says that was sent before the state changed is passed
over, so that answers which arrive late neither close nor open anything.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, NewType

import msgspec

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

Permit = NewType("Permit", int)


class BreakerState(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerSettings(msgspec.Struct, frozen=True):
    failures_in_a_row: int = 5
    window_calls: int = 20
    failure_share: float = 0.5
    first_delay_seconds: float = 0.1
    longest_delay_seconds: float = 1.0
    calm_seconds: float = 10.0


DEFAULT_BREAKER = BreakerSettings()


class Breaker:
    """`clock` is monotonic. Each permit is answered by at most one of `succeeded`, `failed` and `abandoned`."""

    def __init__(
        self, clock: Callable[[], float], rng: random.Random, settings: BreakerSettings = DEFAULT_BREAKER
    ) -> None:
        self.state = BreakerState.CLOSED
        self.times_opened = 0
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._era = Permit(0)
        self._failed: deque[bool] = deque(maxlen=settings.window_calls)
        self._in_a_row = 0
        self._attempts = 0
        self._closed_at: float | None = None
        self._probe_at = 0.0

    def __repr__(self) -> str:
        return f"Breaker({self.state.value}, {self._in_a_row} failures in a row, opened {self.times_opened} times)"

    def permit(self) -> Permit | None:
        """For an ordinary call: only while closed."""
        return self._era if self.state is BreakerState.CLOSED else None

    def probe(self) -> Permit | None:
        """For the one call that tries an open breaker's server, when its delay is over."""
        if self.state is not BreakerState.OPEN or self.seconds_until_probe() > 0:
            return None
        return self._enter(BreakerState.HALF_OPEN)

    def seconds_until_probe(self) -> float:
        return max(0.0, self._probe_at - self._clock())

    def succeeded(self, permit: Permit) -> None:
        if permit != self._era:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._closed_at = self._clock()
            self._enter(BreakerState.CLOSED)
        else:
            self._in_a_row = 0
            self._failed.append(False)

    def failed(self, permit: Permit) -> None:
        if permit != self._era:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._delay()
            self._enter(BreakerState.OPEN)
            return
        self._in_a_row += 1
        self._failed.append(True)
        if self._is_too_much():
            self._open()

    def abandoned(self, permit: Permit) -> None:
        """The call ended without a word about the server: nothing to count, but a probe has to be sent again."""
        if self.state is BreakerState.HALF_OPEN:
            self.failed(permit)

    def _is_too_much(self) -> bool:
        if self._in_a_row >= self._settings.failures_in_a_row:
            return True
        calls = self._settings.window_calls
        return len(self._failed) == calls and sum(self._failed) >= calls * self._settings.failure_share

    def _open(self) -> None:
        self.times_opened += 1
        if self._closed_at is None or self._clock() - self._closed_at >= self._settings.calm_seconds:
            self._attempts = 0
        self._delay()
        self._enter(BreakerState.OPEN)

    def _delay(self) -> None:
        settings = self._settings
        # The exponent is bounded: a server may be away for weeks.
        longest = min(settings.first_delay_seconds * 2 ** min(self._attempts, 30), settings.longest_delay_seconds)
        self._attempts += 1
        self._probe_at = self._clock() + longest * (1 - self._rng.random() / 2)

    def _enter(self, state: BreakerState) -> Permit:
        self.state = state
        self._era = Permit(self._era + 1)
        self._in_a_row = 0
        self._failed.clear()
        return self._era
