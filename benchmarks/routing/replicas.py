"""`python -m benchmarks.routing.replicas`: what several replicas that share, or do not, make of the same traffic.

What they tell each other, and when: see `benchmarks.routing.cluster`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from benchmarks.routing import workloads
from benchmarks.routing.cluster import Cluster, equal_pods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.routing.workloads import Arrival
    from simulator import EngineConfig


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
                outcome = Cluster(strategy, engines, replicas=replicas, sharing=sharing).run(workload)
                name = f"{replicas}, sharing" if sharing else f"{replicas}, alone" if replicas > 1 else "1"
                ttft = f"{outcome.ttft.mean:.2f}  {outcome.ttft.p99:.2f}"
                skews = f"{outcome.request_skew:.2f}", f"{outcome.prefill_skew:.2f}"
                table.add_row(strategy, name, ttft, f"{outcome.token_hit_ratio:.1%}", *skews)
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
