"""Simulated engines behind replicas of a gateway, and the signals that these get, as late as they get them.

A request is routed and booked when it arrives. Its lease ends with its last token; Envoy's log tells tokens and timings
a second later; engines are polled every second, each at its own moment. Of several replicas each request comes to one
at random, and so does each entry of the log. Those that share tell each other of their work every 0.2 s, are read 0.1 s
later, and pass on prompts and log entries; the others know their own, and polls.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.routing.agenda import Agenda
from benchmarks.routing.gateway import MODEL, OwnGateway
from benchmarks.routing.peers.every import PEERS, peer_replicas
from benchmarks.routing.report import Report, Served
from benchmarks.routing.talk import Talk
from benchmarks.routing.workloads import BLOCK_TOKENS, Arrival
from routing.spec import PodSpec
from simulator import EngineConfig, EngineRequest, LeapingEngine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.routing.gateway import Gateway
    from routing.pods.pod_table import PodTable
    from routing.router import Router
    from simulator import Sequence as EngineSequence
    from simulator import TokenEvent

__all__ = ["MODEL", "Cluster", "equal_pods", "run"]

LOG_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Open:
    """A request in an engine."""

    charge_id: str
    arrival: Arrival
    gateway: Gateway
    told_live: bool


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
    """Pods, the replicas of their gateway, and the time in which they live."""

    def __init__(
        self,
        strategy: str,
        pods: Sequence[EngineConfig],
        seed: int = 0,
        *,
        replicas: int = 1,
        sharing: bool = False,
        adapters: Sequence[str] = (),
        told_live: float = 0.0,
    ) -> None:
        """Raises ValueError for a strategy that neither the router nor a peer has.

        `told_live` is the share of requests whose first token the gateway is told of when it comes. Peers, through
        which answers pass, always are.
        """
        self.agenda = Agenda()
        self._rng = np.random.default_rng(seed)
        self._adapters = tuple(adapters)
        self._pods: dict[str, _Pod] = {}
        self._addresses: list[str] = []
        self._served: list[Served] = []
        self._arrived = self._refused = self._failed = self._unfinished = 0
        self._told_live = 1.0 if strategy in PEERS else told_live
        self._sharing = sharing
        self.gateways: list[Gateway] = []
        if strategy in PEERS:
            self.gateways = peer_replicas(strategy, self.agenda.clock, seed, replicas, sharing=sharing)
            self._talk = Talk((), self.agenda)
        else:
            own = [OwnGateway(strategy, self.agenda.clock, seed + number) for number in range(replicas)]
            self.gateways = [*own]
            self._talk = Talk(own if sharing else (), self.agenda)
        for config in pods:
            self._new_pod(config)
        self._discovered()

    @property
    def own(self) -> OwnGateway:
        """The first replica, where it is one of this gateway."""
        first = self.gateways[0]
        assert isinstance(first, OwnGateway)
        return first

    @property
    def table(self) -> PodTable:
        """Of the first replica."""
        return self.own.table

    @property
    def router(self) -> Router:
        """Of the first replica."""
        return self.own.router

    def run(self, workload: Iterable[Arrival]) -> Report:
        """Until the last answer has been given and logged."""
        arrivals = iter(workload)
        self._unfinished += 1  # the workload itself
        self._expect(arrivals)
        self._talk.begin(lambda: self._unfinished > 0)
        for number, address in enumerate(self._pods, start=1):
            self._poll_from(address, number / len(self._pods))
        self.agenda.run()
        return Report(tuple(self._addresses), tuple(self._served), self._refused, self._failed)

    def add(self, config: EngineConfig) -> None:
        """A pod comes, and discovery notices at once."""
        pod = self._new_pod(config)
        self._discovered()
        self._poll_from(pod.spec.address, 1.0)

    def lose(self, address: str) -> None:
        """A pod dies with all that it has in hand, and discovery notices at once."""
        pod = self._pods.pop(address)
        self._discovered()
        self._settle(pod)
        for sequence, lost in pod.open.items():
            pod.engine.abort(sequence)
            self._end(lost)
            self._failed += 1
            self._log_later(lost, pod, None)
        pod.open.clear()

    def drain(self, address: str) -> None:
        """A pod gets nothing more, and ends what it has."""
        del self._pods[address]
        self._discovered()

    def slow(self, address: str, slowness: float) -> None:
        """A pod's steps take so many times as long from now on; nobody is told."""
        self._pods[address].engine.slowness = slowness

    def address(self, number: int) -> str:
        """Of the pod that came as the number-th, from 0."""
        return self._addresses[number]

    def _new_pod(self, config: EngineConfig) -> _Pod:
        number = len(self._addresses) + 1
        address = f"10.0.{number // 250}.{number % 250}:8000"
        spec = PodSpec(f"pod-{number}", address, (MODEL, *self._adapters), uid=str(number))
        self._pods[address] = pod = _Pod(spec, LeapingEngine(config))
        self._addresses.append(address)
        return pod

    def _discovered(self) -> None:
        engines = {address: pod.engine for address, pod in self._pods.items()}
        for gateway in self.gateways:
            gateway.discovered([pod.spec for pod in self._pods.values()], engines)

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
        number = self._rng.integers(len(self.gateways)) if len(self.gateways) > 1 else 0
        gateway = self.gateways[number]
        address = gateway.book(arrival, charge_id)
        if address is None:
            self._refused += 1
            return
        self._unfinished += 1
        told_live = self._told_live >= 1.0 or (self._told_live > 0.0 and self._rng.random() < self._told_live)
        pod, opened = self._pods[address], _Open(charge_id, arrival, gateway, told_live)
        try:
            self._submit(pod, opened)
        except ValueError:  # longer than the engine's context
            self._end(opened)
            self._refused += 1
            self._log_later(opened, pod, None)

    def _submit(self, pod: _Pod, opened: _Open) -> None:
        arrival = opened.arrival
        sequence = pod.engine.submit(
            EngineRequest(
                prompt_tokens=arrival.prompt_tokens,
                output_tokens=arrival.output_tokens,
                block_hashes=arrival.prefix + arrival.kept,
                adapter=arrival.adapter or None,
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
        self._settle(pod)
        self._wake(pod)

    def _settle(self, pod: _Pod) -> None:
        """All that the engine has done by now is told."""
        for event in pod.engine.advance(self.agenda.now_seconds):
            self._tell(pod, event)

    def _tell(self, pod: _Pod, event: TokenEvent) -> None:
        sequence = event.sequence
        opened = pod.open[sequence]
        if event.number == 1 and opened.told_live:
            opened.gateway.first_token(opened.charge_id, event.at_seconds - sequence.arrived_at)
        if event.finish_reason is not None:
            self._finish(pod, sequence)

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
        for following in opened.arrival.followed_by:
            self._ask_later(following)

    def _ask_later(self, following: Arrival) -> None:
        at_seconds = self.agenda.now_seconds + following.at_seconds
        self._unfinished += 1

        def ask() -> None:
            self._unfinished -= 1
            self._arrive(replace(following, at_seconds=at_seconds))

        self.agenda.at(at_seconds, ask)

    def _end(self, opened: _Open) -> None:
        opened.gateway.ended(opened.charge_id)
        self._unfinished -= 1

    def _log_later(self, opened: _Open, pod: _Pod, served: Served | None) -> None:
        self.agenda.at(self.agenda.now_seconds + LOG_SECONDS, partial(self._log, opened, pod.spec.address, served))

    def _log(self, opened: _Open, address: str, served: Served | None) -> None:
        heard: Sequence[Gateway] = self.gateways
        if len(heard) > 1:
            order = self._rng.permutation(len(heard)).tolist()
            heard = [self.gateways[number] for number in (order if self._sharing else order[:1])]
        for gateway in heard:
            gateway.logged(opened.charge_id, opened.arrival, address, served)

    def _poll_from(self, address: str, share: float) -> None:
        """Each replica reads each engine at its own moment: `share` of an interval from now, at first."""
        for gateway in self.gateways:
            if gateway.poll_seconds:
                first_seconds = self.agenda.now_seconds + gateway.poll_seconds * share
                self.agenda.at(first_seconds, partial(self._poll, gateway, address))

    def _poll(self, gateway: Gateway, address: str) -> None:
        pod = self._pods.get(address)
        if pod is None or not self._unfinished:
            return
        self._settle(pod)
        self._wake(pod)
        gateway.polled(address)
        self.agenda.at(self.agenda.now_seconds + gateway.poll_seconds, partial(self._poll, gateway, address))
