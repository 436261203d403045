"""A circuit breaker for one pod: when to stop sending it requests, and how it comes back.

    CLOSED --failures--> OPEN --delay over, and a light check passed--> HALF_OPEN (one request is the probe)
    OPEN --check failed--> OPEN, with the next delay
    HALF_OPEN --probe succeeded--> CLOSED        HALF_OPEN --probe failed--> OPEN, with the next delay

    delay = min(first * 2^n, longest) * (1 - random / 2), seconds      n: openings and failed checks since it was calm

503 does not add to n: it is the engine's own word for "not now", and whether it lives is what the check finds out.

A circuit opens after n failures of a kind in a row (`IN_A_ROW`); kinds that mix add their shares up to one. A request
that succeeds clears everything; a scrape that succeeds clears only what scrapes said, or a pod that answers `/metrics`
and fails every request would never be found. Evidence older than `forget_seconds` does not count.

The probe's outcome is told by its charge id, so that answers to requests of an earlier state change nothing; only a
success of a request that surely began half-open closes the circuit, too (where Envoy balances, nobody is sent as a
probe). A probe that still runs after `probe_seconds` (a long generation, or a pod that hangs) lets another one out, at
ever longer intervals.

Silence of `told_within_seconds` after a probe's end counts as a success: its outcome goes to another replica, or nobody
logs outcomes, and whoever sees failures here opens the circuit again. After failures that show at once (refused, 503)
silence after the probe's beginning is enough, or a pod would be left out for as long as one long generation takes.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable


class Failure(StrEnum):
    """What spoke against a pod; also a metric label."""

    UNAVAILABLE = "unavailable"
    """It said 503: it is loading or draining, or its queue is full."""
    CONNECTION = "connection"
    """A connection was refused, or not made in time."""
    PASSED_OVER = "passed_over"
    """Envoy tried it and went on to the next candidate."""
    RESET = "reset"
    """It broke off a request or its answer."""
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    """It answered 5xx, other than 503."""
    SCRAPE_REFUSED = "scrape_refused"
    SCRAPE_TIMEOUT = "scrape_timeout"
    CHECK = "check"
    """It did not pass the light check that precedes the probe."""


class CircuitState(Enum):
    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


IN_A_ROW = {
    Failure.UNAVAILABLE: 1,  # the engine's own word
    Failure.CONNECTION: 2,  # one may meet a full accept queue
    Failure.PASSED_OVER: 2,
    Failure.RESET: 3,
    Failure.TIMEOUT: 3,
    Failure.SERVER_ERROR: 5,  # a request may be at fault; Envoy's own outlier detection waits for 5, too
    Failure.SCRAPE_REFUSED: 2,
    Failure.SCRAPE_TIMEOUT: 5,  # a busy engine is late with its metrics first
    Failure.CHECK: 1,
}
_FULL = 30  # a common multiple, so that shares add up without rounding
_NOT_NOW = (Failure.UNAVAILABLE, Failure.PASSED_OVER)
_AT_ONCE = (*_NOT_NOW, Failure.CONNECTION, Failure.SCRAPE_REFUSED)
_BY_SCRAPES = (Failure.SCRAPE_REFUSED, Failure.SCRAPE_TIMEOUT)


@dataclass(frozen=True, slots=True)
class CircuitSettings:
    """All in seconds."""

    first_delay_seconds: float = 1.0
    longest_delay_seconds: float = 30.0
    calm_seconds: float = 60.0
    """Closed for so long, a circuit starts with the first delay again."""
    forget_seconds: float = 60.0
    probe_seconds: float = 10.0
    told_within_seconds: float = 5.0
    """Envoy's log is flushed once a second."""


DEFAULT_CIRCUIT = CircuitSettings()


@dataclass(slots=True)
class _Probe:
    is_over: Callable[[], bool]
    silent_since_seconds: float | None
    """When somebody could have begun to tell of a failure."""


class Circuit:
    """`clock` is monotonic; `changed` is called after every change of `state`."""

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random,
        changed: Callable[[Circuit], None],
        settings: CircuitSettings = DEFAULT_CIRCUIT,
    ) -> None:
        self.state = CircuitState.CLOSED
        self.reason: Failure | None = None
        """What opened it, until it is closed."""
        self.failures: Counter[Failure] = Counter()
        self.attempts = 0
        """n of the delay."""
        self.retry_at_seconds = 0.0
        self._clock = clock
        self._rng = rng
        self._changed = changed
        self._settings = settings
        self._requests = self._scrapes = 0
        self._last_failure_at_seconds = self._closed_at_seconds = self._entered_at_seconds = -math.inf
        self._probes: dict[str, _Probe] = {}
        self._probes_begun = 0
        self._next_probe_at_seconds = 0.0

    def __repr__(self) -> str:
        reason = f" after {self.reason}" if self.reason else ""
        return f"<Circuit {self.state.value}{reason}, {self.attempts} attempts>"

    def failed(self, failure: Failure, charge_id: str = "") -> None:
        """A request (its charge id, where there is one) or a scrape failed."""
        self.failures[failure] += 1
        if charge_id in self._probes:
            self._open(failure)
        elif self.state is CircuitState.CLOSED:
            self._count(failure)
            if max(self._requests, self._scrapes) >= _FULL:
                self._open(failure)

    def succeeded(self, charge_id: str = "", took_seconds: float = math.inf) -> None:
        """A request was answered well; it took so long, and its log some seconds more."""
        began_seconds = self._clock() - took_seconds - self._settings.told_within_seconds
        if charge_id in self._probes or (
            self.state is CircuitState.HALF_OPEN and began_seconds > self._entered_at_seconds
        ):
            self._close()
        elif self.state is CircuitState.CLOSED:
            self._requests = self._scrapes = 0

    def unclear(self, charge_id: str) -> None:
        """A request ended without a word about the pod; if it was the probe, another one may go."""
        if self._probes.pop(charge_id, None) is not None and not self._probes:
            self._next_probe_at_seconds = self._clock()

    def scraped(self) -> None:
        """The pod answered with its metrics."""
        self._scrapes = 0

    @property
    def is_due(self) -> bool:
        """Whether it is time for the light check."""
        return self.state is CircuitState.OPEN and self._clock() >= self.retry_at_seconds

    def checked(self, *, passed: bool) -> None:
        """The light check's result; passed over when none was due."""
        if not self.is_due:
            return
        if passed:
            self._next_probe_at_seconds = self._clock()
            self._enter(CircuitState.HALF_OPEN)
        else:
            self.failures[Failure.CHECK] += 1
            self._delay(Failure.CHECK)

    @property
    def wants_probe(self) -> bool:
        """Whether the next request should be the probe."""
        return self.state is CircuitState.HALF_OPEN and self._clock() >= self._next_probe_at_seconds

    def probe(self, charge_id: str, is_over: Callable[[], bool]) -> None:
        """The request of that charge id is the probe; `is_over` says when its lease has ended."""
        self._probes[charge_id] = _Probe(is_over, self._clock() if self.reason in _AT_ONCE else None)
        # The exponent is bounded by the time that generations take: ten are two hours.
        self._next_probe_at_seconds = self._clock() + self._settings.probe_seconds * 2 ** min(self._probes_begun, 10)
        self._probes_begun += 1

    def tick(self) -> None:
        """Closes the circuit when a probe went well as far as anybody would have told."""
        now = self._clock()
        for probe in self._probes.values():
            if probe.silent_since_seconds is None and probe.is_over():
                probe.silent_since_seconds = now
        since = [p.silent_since_seconds for p in self._probes.values() if p.silent_since_seconds is not None]
        if since and now - min(since) >= self._settings.told_within_seconds:
            self._close()

    def _count(self, failure: Failure) -> None:
        now = self._clock()
        if now - self._last_failure_at_seconds > self._settings.forget_seconds:
            self._requests = self._scrapes = 0
        self._last_failure_at_seconds = now
        if failure in _BY_SCRAPES:
            self._scrapes += _FULL // IN_A_ROW[failure]
        else:
            self._requests += _FULL // IN_A_ROW[failure]

    def _open(self, failure: Failure) -> None:
        if self._clock() - self._closed_at_seconds >= self._settings.calm_seconds and self.state is CircuitState.CLOSED:
            self.attempts = 0
        self.reason = failure
        self._delay(failure)
        self._enter(CircuitState.OPEN)

    def _close(self) -> None:
        self.reason = None
        self._closed_at_seconds = self._clock()
        self._enter(CircuitState.CLOSED)

    def _delay(self, failure: Failure) -> None:
        settings = self._settings
        # The exponent is bounded: a pod may be away for weeks.
        delay = min(settings.first_delay_seconds * 2 ** min(self.attempts, 30), settings.longest_delay_seconds)
        self.attempts += failure not in _NOT_NOW
        self.retry_at_seconds = self._clock() + delay * (1 - self._rng.random() / 2)

    def _enter(self, state: CircuitState) -> None:
        self.state = state
        self._entered_at_seconds = self._clock()
        self._requests = self._scrapes = self._probes_begun = 0
        self._probes.clear()
        self._changed(self)
