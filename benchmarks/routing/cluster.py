"""Simulated engines behind one router, and the signals that a real gateway gets of them, as late as it gets them.

A request is routed and booked when it arrives. Its lease ends with its last token; Envoy's log tells tokens and timings
a second later; engines are polled every second, each at its own moment.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing.agenda import Agenda
from benchmarks.routing.polling import readings, samples
from benchmarks.routing.report import Report, Served
from benchmarks.routing.workloads import BLOCK_TOKENS, Arrival
from routing.pods.pod_table import PodTable
from routing.router import NoReadyPodError, Router
from routing.spec import ClusterState, PodSpec
from routing.strategies.policy import RoutingRequest
from simulator import EngineConfig, EngineRequest, LeapingEngine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway_plugin.pods.engines.readings import Readings
    from routing.pods.books import Lease
    from simulator import Sequence as EngineSequence

MODEL = "model"
POLL_SECONDS = 1.0
LOG_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Open:
    """A request in an engine."""

    charge_id: str
    arrival: Arrival
    lease: Lease


@dataclass(slots=True)
class _Pod:
    spec: PodSpec
    engine: LeapingEngine
    open: dict[EngineSequence, _Open] = field(default_factory=dict)
    wakes_at_seconds: float | None = None


def run(workload: Iterable[Arrival], strategy: str, pods: Sequence[EngineConfig], seed: int = 0) -> Report:
    """Sends a workload, in order of time, through a strategy to pods that begin idle and empty."""
    return Cluster(strategy, pods, seed).run(workload)


def equal_pods(count: int, num_blocks: int = 512) -> list[EngineConfig]:
    """Engines of one speed whose blocks are those of the workloads; 512 blocks are 262,144 tokens."""
    return [
        EngineConfig(
            block_tokens=BLOCK_TOKENS, num_blocks=num_blocks, max_model_len=num_blocks * BLOCK_TOKENS, seed=number
        )
        for number in range(count)
    ]


class Cluster:
    """Pods, their router, and the time in which they live."""

    def __init__(self, strategy: str, pods: Sequence[EngineConfig], seed: int = 0) -> None:
        """Raises ValueError for a strategy that the router does not know."""
        self.agenda = Agenda()
        self.table = PodTable(self.agenda.clock)
        self.router = Router(self.table, np.random.default_rng(seed))
        policy = self.router.policy(strategy)
        if policy is None:
            raise ValueError(f"{strategy!r} is none of {', '.join(self.router.strategies())}")
        self._policy = policy
        engines = map(LeapingEngine, pods)
        self._pods = {pod.address: _Pod(pod, engine) for pod, engine in zip(_specs(len(pods)), engines, strict=True)}
        self._addresses = tuple(self._pods)
        self._readings: dict[tuple[PodTable, str], Readings] = defaultdict(readings)
        self._served: list[Served] = []
        self._arrived = self._refused = self._failed = self._unfinished = 0
        self._apply()

    def run(self, workload: Iterable[Arrival]) -> Report:
        """Until the last answer has been given and logged."""
        arrivals = iter(workload)
        self._unfinished += 1  # the workload itself
        self._expect(arrivals)
        for number, address in enumerate(self._pods, start=1):
            self.agenda.at(
                self.agenda.now_seconds + POLL_SECONDS * number / len(self._pods), partial(self._poll, address)
            )
        self.agenda.run()
        return Report(self._addresses, tuple(self._served), self._refused, self._failed)

    def lose(self, address: str) -> None:
        """A pod dies with all that it has in hand, and discovery notices at once."""
        pod = self._pods.pop(address)
        self._apply()
        for sequence, lost in pod.open.items():
            pod.engine.abort(sequence)
            self._end(lost)
            self._failed += 1
            self._log_later(lost, pod, None)

    def _apply(self) -> None:
        self.table.apply(ClusterState(tuple(pod.spec for pod in self._pods.values()), frozenset({MODEL})))

    def _expect(self, arrivals: Iterator[Arrival]) -> None:
        arrival = next(arrivals, None)
        if arrival is None:
            self._unfinished -= 1
            return

        def arrive() -> None:
            self._arrive(arrival)
            self._expect(arrivals)

        self.agenda.at(arrival.at_seconds, arrive)

    def _arrive(self, arrival: Arrival) -> None:
        self._arrived += 1
        charge_id = str(self._arrived)
        try:
            booking = self.router.book(self._policy, self._request(arrival), charge_id)
        except NoReadyPodError:
            self._refused += 1
            return
        self._unfinished += 1
        pod, opened = self._pods[booking.pods[0].address], _Open(charge_id, arrival, booking.lease)
        try:
            self._submit(pod, opened)
        except ValueError:  # longer than the engine's context
            self._end(opened)
            self._refused += 1
            self._log_later(opened, pod, None)

    def _request(self, arrival: Arrival) -> RoutingRequest:
        return RoutingRequest(
            MODEL,
            user=arrival.user,
            session=arrival.session,
            prompt_tokens=arrival.prompt_tokens,
            output_tokens=self.router.outputs.expected(MODEL, None),
            prefix=arrival.prefix,
            prefix_tokens=tuple(float(BLOCK_TOKENS * (i + 1)) for i in range(len(arrival.prefix))),
        )

    def _submit(self, pod: _Pod, opened: _Open) -> None:
        sequence = pod.engine.submit(
            EngineRequest(
                prompt_tokens=opened.arrival.prompt_tokens,
                output_tokens=opened.arrival.output_tokens,
                block_hashes=opened.arrival.prefix,
            ),
            self.agenda.now_seconds,
        )
        pod.open[sequence] = opened
        self._wake(pod)

    def _wake(self, pod: _Pod) -> None:
        """A request that comes can make the engine's next event an earlier one."""
        at = pod.engine.next_event_time()
        if at is not None and at != pod.wakes_at_seconds:
            self.agenda.at(at, partial(self._advance, pod, at))
        pod.wakes_at_seconds = at

    def _advance(self, pod: _Pod, at_seconds: float) -> None:
        if at_seconds != pod.wakes_at_seconds:
            return
        pod.wakes_at_seconds = None
        for event in pod.engine.advance(self.agenda.now_seconds):
            if event.finish_reason is not None:
                self._finish(pod, event.sequence)
        self._wake(pod)

    def _finish(self, pod: _Pod, sequence: EngineSequence) -> None:
        opened = pod.open.pop(sequence)
        assert sequence.first_token_at is not None
        served = Served(
            opened.arrival,
            pod.spec.address,
            ttft_seconds=sequence.first_token_at - sequence.arrived_at,
            duration_seconds=self.agenda.now_seconds - sequence.arrived_at,
            cached_tokens=sequence.cached_tokens,
        )
        self._served.append(served)
        self._end(opened)
        self._log_later(opened, pod, served)

    def _end(self, opened: _Open) -> None:
        opened.lease.release()
        self._unfinished -= 1

    def _log_later(self, opened: _Open, pod: _Pod, served: Served | None) -> None:
        self.agenda.at(self.agenda.now_seconds + LOG_SECONDS, partial(self._log, opened, pod.spec.address, served))

    def _log(self, opened: _Open, address: str, served: Served | None) -> None:
        self.router.settle(
            opened.charge_id,
            address,
            succeeded=served is not None,
            prompt=opened.arrival.prompt_tokens if served else 0,
            cached=served.cached_tokens if served else 0,
            output=opened.arrival.output_tokens if served else 0,
            model=MODEL,
            ttft_seconds=served.ttft_seconds if served else None,
        )
        if served:
            self.table.observe(address, ttft_seconds=served.ttft_seconds, tpot_seconds=served.tpot_seconds)

    def _poll(self, address: str) -> None:
        if address not in self._pods or not self._unfinished:
            return
        self._read(address)
        self.agenda.at(self.agenda.now_seconds + POLL_SECONDS, partial(self._poll, address))

    def _read(self, address: str) -> None:
        row = self.table.row_of(address)
        assert row is not None
        read = self._readings[self.table, address].add(samples(self._pods[address].engine))
        self.table.polled(row, self.table.incarnation(row), read)


def _specs(count: int) -> Iterator[PodSpec]:
    for number in range(1, count + 1):
        yield PodSpec(f"pod-{number}", f"10.0.0.{number}:8000", (MODEL,), uid=str(number))
