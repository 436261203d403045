"""Which pods are offered to requests: a circuit per pod that failed, sleeping engines, and a bound on mistrust.

    ejected <= share * candidates, and never all of them

Candidates are the ready pods that one request may go to: those of its model that pass the client's filter. When more of
them are sick than may be ejected, the least bad stay in: half-open before open, then those with the fewest attempts.
What fails everywhere at once (the network, a request that no engine can answer) must not take a whole model away.

A sleeping engine is not sick: it said so itself, and a request would fail or wait for ever. So it is left out however
many sleep, as long as one candidate is awake; the share is one of those that are awake.

A half-open pod is offered to exactly one request, its probe, which goes there whatever its strategy would prefer (or a
pod that no prefix or session leads to would never come back), with the strategy's own choices as candidates for
retries. Only where the share keeps a half-open pod in, others may meet it, too.

Circuits exist for pods that failed, so that healthy ones cost nothing; they are dropped with the row.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from routing.pods.circuit import DEFAULT_CIRCUIT, Circuit, CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.pods.books import Lease
    from routing.pods.circuit import CircuitSettings, Failure
    from routing.pods.columns import IntColumn

MAX_SICK_SHARE = 0.5
"""Default of the share of pods that may be left out."""
_UNNAMED = "unnamed"


class Offer(msgspec.Struct, frozen=True):
    """The rows that a request may be sent to, and the one that waits for a probe, if any."""

    rows: IntColumn
    probe: int | None


class PodHealth:
    """Health by row of the pod table. Not thread-safe: one event loop owns it."""

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random | None = None,
        max_sick_share: float = MAX_SICK_SHARE,
        settings: CircuitSettings = DEFAULT_CIRCUIT,
    ) -> None:
        self.transitions: Counter[tuple[CircuitState, Failure | None]] = Counter()
        """Since the start, by the state entered and what caused it."""
        self.version = 0
        """Grows with every change of a pod's health."""
        self.on_change: Callable[[int, Circuit], None] = lambda row, circuit: None
        """Called when the circuit of a row has changed its state."""
        self._clock = clock
        self._rng = rng or random.Random(0)
        self._max_sick_share = max_sick_share
        self._settings = settings
        self._circuits: dict[int, Circuit] = {}
        self.sick: set[int] = set()
        """Rows whose circuit is not closed; others only look."""
        self.asleep: set[int] = set()
        """Rows whose engine said that it sleeps; others only look."""
        self._since_seconds: dict[int, float] = {}

    def __repr__(self) -> str:
        return f"<PodHealth {len(self.sick)} sick, {len(self.asleep)} asleep>"

    def added(self, row: int) -> None:
        """A pod moved into the row."""
        self._since_seconds[row] = self._clock()

    def removed(self, row: int) -> None:
        """The row is nobody's; nothing of its pod is left."""
        self._since_seconds.pop(row, None)
        self._circuits.pop(row, None)
        self.sick.discard(row)
        self.asleep.discard(row)

    def lived(self, row: int, seconds: float) -> bool:
        """Whether the row's pod was there that long ago; what happened earlier is its predecessor's."""
        return row in self._since_seconds and self._clock() - self._since_seconds[row] >= seconds

    def failed(self, row: int, failure: Failure, charge_id: str = "") -> None:
        """A request to the row's pod, or a scrape of it, failed."""
        circuit = self._circuits.get(row)
        if circuit is None:
            circuit = Circuit(self._clock, self._rng, partial(self._changed, row), self._settings)
            self._circuits[row] = circuit
        circuit.failed(failure, charge_id)

    def succeeded(self, row: int, charge_id: str, took_seconds: float = math.inf) -> None:
        """A request was answered well, in so many seconds."""
        if row in self._circuits:
            self._circuits[row].succeeded(charge_id, took_seconds)

    def unclear(self, row: int, charge_id: str) -> None:
        """A request ended in a way that says nothing about the pod: a 4xx, or a client that left."""
        if row in self._circuits:
            self._circuits[row].unclear(charge_id)

    def scraped(self, row: int, *, asleep: bool) -> None:
        """The engine told its metrics, and whether it sleeps."""
        if row in self._circuits:
            self._circuits[row].scraped()
        if asleep != (row in self.asleep):
            (self.asleep.add if asleep else self.asleep.discard)(row)
            self.version += 1

    def is_asleep(self, row: int) -> bool:
        """Whether the engine said that it sleeps."""
        return row in self.asleep

    @property
    def has_circuits(self) -> bool:
        """Whether any of the pods has ever failed."""
        return bool(self._circuits)

    def circuit(self, row: int) -> Circuit | None:
        """The circuit of a pod that has ever failed."""
        return self._circuits.get(row)

    def state(self, row: int) -> CircuitState:
        """The circuit's state."""
        circuit = self._circuits.get(row)
        return CircuitState.CLOSED if circuit is None else circuit.state

    def describe(self, row: int) -> str:
        """One word for people: "asleep", or the circuit's state."""
        return "asleep" if row in self.asleep else self.state(row).value

    def due(self) -> list[tuple[int, Circuit]]:
        """Pods that it is time to look at, the longest waiting first. Settles probes of which nobody tells, too."""
        for row in tuple(self.sick):
            self._circuits[row].tick()
        due = [(row, self._circuits[row]) for row in self.sick if self._circuits[row].is_due]
        return sorted(due, key=lambda item: item[1].retry_at_seconds)

    def offer(self, rows: IntColumn) -> Offer:
        """Those of the candidates that a request should be sent to: at least one, if there is any."""
        known = rows.tolist()
        if self.sick.isdisjoint(known) and self.asleep.isdisjoint(known):
            return Offer(rows, None)
        awake = [row for row in known if row not in self.asleep] or known
        sick = [row for row in awake if row in self.sick]
        ejected = self._worst(sick, len(awake))
        probe = next((row for row in ejected if self._circuits[row].wants_probe), None)
        return Offer(np.array([row for row in awake if row not in ejected], dtype=np.int64), probe)

    def booked(self, lease: Lease, charge_id: str) -> None:
        """A request goes to the lease's row; if that waits for a probe, this is it."""
        circuit = self._circuits.get(lease.row) if lease.row in self.sick else None
        if circuit is not None and circuit.wants_probe:
            circuit.probe(charge_id or _UNNAMED, lambda: lease.released)

    def _worst(self, sick: list[int], candidates: int) -> list[int]:
        # A share of 0.29 of 100 pods is 29 of them, whatever binary fractions make of it.
        most = min(int(candidates * self._max_sick_share + 1e-9), candidates - 1)
        return sorted(sick, key=self._badness, reverse=True)[:most] if most > 0 else []

    def _badness(self, row: int) -> tuple[bool, int, float]:
        circuit = self._circuits[row]
        return circuit.state is CircuitState.OPEN, circuit.attempts, circuit.retry_at_seconds

    def _changed(self, row: int, circuit: Circuit) -> None:
        # A check of a pod that has gone may still come back; its circuit is nobody's.
        if self._circuits.get(row) is not circuit:
            return
        self.transitions[circuit.state, circuit.reason] += 1
        if circuit.state is CircuitState.CLOSED:
            self.sick.discard(row)
        else:
            self.sick.add(row)
        self.version += 1
        self.on_change(row, circuit)
