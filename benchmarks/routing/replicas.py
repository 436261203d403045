"""`python -m benchmarks.routing.replicas`: what several replicas that share, or do not, make of the same traffic.

Each request comes to a replica at random, and so does each entry of Envoy's log. Sharing replicas tell each other of
their work every 0.2 s, are read 0.1 s later, and pass on prompts and log entries; the others know their own, and polls.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.routing import workloads
from benchmarks.routing.cluster import MODEL, Cluster, equal_pods
from routing.pods.elsewhere import Elsewhere, Report
from routing.pods.pod_table import PodTable
from routing.pods.pod_work import own_work
from routing.router import Router
from routing.spec import ClusterState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.routing.cluster import _Open
    from benchmarks.routing.report import Report as Outcome
    from benchmarks.routing.report import Served
    from benchmarks.routing.workloads import Arrival
    from routing.prefix.prefix_blocks import PrefixKeys
    from routing.spec import PodSpec
    from routing.strategies.policy import Policy
    from simulator import EngineConfig

TELL_SECONDS = 0.2
READ_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Replica:
    table: PodTable
    router: Router
    policy: Policy
    elsewhere: Elsewhere


class ReplicatedCluster(Cluster):
    """The pods of one cluster behind several replicas of the gateway."""

    def __init__(
        self, strategy: str, pods: Sequence[EngineConfig], seed: int = 0, *, replicas: int, sharing: bool
    ) -> None:
        super().__init__(strategy, pods, seed)
        self._rng = np.random.default_rng(seed)
        self._sharing = sharing
        self._sequence = 0
        self._replicas = [self._new_replica(strategy, seed + number) for number in range(replicas)]

    def run(self, workload: Iterable[Arrival]) -> Outcome:
        """As one replica does."""
        if self._sharing:
            for number in range(len(self._replicas)):
                self.agenda.at(TELL_SECONDS * number / len(self._replicas), partial(self._tell, number))
            self.agenda.at(0.0, self._turn)
        return super().run(workload)

    def _new_replica(self, strategy: str, seed: int) -> _Replica:
        table = PodTable(self.agenda.clock)
        table.apply(ClusterState(tuple(pod.spec for pod in self._pods.values()), frozenset({MODEL})))
        router = Router(table, np.random.default_rng(seed))
        policy = router.policy(strategy)
        assert policy is not None
        replica = _Replica(table, router, policy, Elsewhere(table))
        if self._sharing:
            router.on_prefix = partial(self._tell_prefix, replica)
        return replica

    def _tell_prefix(self, teller: _Replica, pod: PodSpec, keys: PrefixKeys) -> None:
        def hear() -> None:
            for replica in self._replicas:
                row = replica.table.row_of(pod.address)
                if replica is not teller and row is not None:
                    replica.router.prefixes.insert(row, keys)

        self.agenda.at(self.agenda.now_seconds + (TELL_SECONDS + READ_SECONDS) / 2, hear)

    def _use(self, replica: _Replica) -> None:
        self.table, self.router, self._policy = replica.table, replica.router, replica.policy

    def _arrive(self, arrival: Arrival) -> None:
        self._use(self._replicas[self._rng.integers(len(self._replicas))])
        super()._arrive(arrival)

    def _log(self, opened: _Open, address: str, served: Served | None) -> None:
        heard = self._rng.permutation(len(self._replicas))
        for number in heard if self._sharing else heard[:1]:
            self._use(self._replicas[number])
            super()._log(opened, address, served)

    def _poll(self, address: str) -> None:
        for replica in self._replicas[1:]:
            self._use(replica)
            self._read(address)
        self._use(self._replicas[0])
        super()._poll(address)

    def _tell(self, number: int) -> None:
        if not self._unfinished:
            return
        self._sequence += 1
        report = Report(self._sequence, own_work(self._replicas[number].table).get(MODEL, ()))
        self.agenda.at(self.agenda.now_seconds + READ_SECONDS, partial(self._hear, number, report))
        self.agenda.at(self.agenda.now_seconds + TELL_SECONDS, partial(self._tell, number))

    def _hear(self, teller: int, report: Report) -> None:
        for number, replica in enumerate(self._replicas):
            if number != teller:
                replica.elsewhere.hear(MODEL, str(teller), report)
                replica.elsewhere.update()

    def _turn(self) -> None:
        for replica in self._replicas:
            replica.elsewhere.update()
        if self._unfinished:
            self.agenda.at(self.agenda.now_seconds + READ_SECONDS, self._turn)


def main() -> None:
    """Prints one table per workload."""
    pods, small = equal_pods(8), equal_pods(8, 160)
    scenarios: dict[str, tuple[Sequence[Arrival], Sequence[EngineConfig]]] = {
        "nothing shared, 9 requests/s": (workloads.unshared(2000, 9.0), pods),
        "chats of 6 turns, 24 requests/s": (workloads.chats(400, 4.0), pods),
        "one system prompt, 40 requests/s": (workloads.shared_system_prompt(2000, 40.0, documents=0), pods),
        "64 documents, 30 requests/s": (workloads.shared_system_prompt(2000, 30.0), small),
    }
    for title, (workload, engines) in scenarios.items():
        table = Table("strategy", "replicas", "TTFT mean, p99 (s)", "hits", "skew: requests", "prefill", title=title)
        for strategy in ("least-request", "prefix-cache-and-load", "least-utilization"):
            for replicas, sharing in ((1, False), (2, True), (2, False), (4, True), (4, False)):
                outcome = ReplicatedCluster(strategy, engines, replicas=replicas, sharing=sharing).run(workload)
                name = f"{replicas}, sharing" if sharing else f"{replicas}, alone" if replicas > 1 else "1"
                ttft = f"{outcome.ttft.mean:.2f}  {outcome.ttft.p99:.2f}"
                skews = f"{outcome.request_skew:.2f}", f"{outcome.prefill_skew:.2f}"
                table.add_row(strategy, name, ttft, f"{outcome.token_hit_ratio:.1%}", *skews)
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
