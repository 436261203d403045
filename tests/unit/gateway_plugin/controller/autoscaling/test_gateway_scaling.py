"""Scaling by the gateway's figures: nothing without them, growth at once, and a drain before pods go."""

from __future__ import annotations

from typing import Any

from gateway_plugin.controller.gateway_demand import ModelLoad, PodLoad
from gateway_plugin.controller.served_totals import ServedTotals
from orchestration.scaling.victims import DELETION_COST, DRAINING
from tests.unit.gateway_plugin.controller.autoscaling.autoscaled_cluster import AutoscaledCluster, autoscaler


class ServedCluster(AutoscaledCluster):
    """Requests of ten seconds; a pod holds twenty. The gateway sends nothing to pods that are marked."""

    def __init__(self, *, replicas: int = 3, rate: float = 5.0, **spec: Any) -> None:
        super().__init__(autoscaler("GATEWAY", **spec), replicas=replicas)
        self.rate = rate
        self.told_by_all = True
        self.totals = ServedTotals()
        self.busy: dict[str, int] = {}
        self.marks: dict[str, int] = {}
        self.names = [f"p{number}" for number in range(replicas)]

    async def look(self, seconds: float = 5.0) -> int:
        new = round(self.rate * seconds)
        # All first tokens come within a second.
        self.totals.add(ModelLoad(), ModelLoad(0, 0, new, [new, 0], 0.5 * new, new, 10.0 * new), [1.0])
        return await super().look(seconds)

    def in_flight(self, model: str) -> int | None:
        return round(self.rate * 10) if self.told_by_all else None

    def served(self, model: str) -> ServedTotals:
        return self.totals

    def pod(self, address: str) -> PodLoad:
        serving = [name for name in self.names if name not in self.marks]
        name = self.names[int(address.rpartition(".")[2])]
        own = self.busy.get(name, round(self.rate * 10 / max(1, len(serving))) if name in serving else 0)
        return PodLoad(own, min(1.0, own / 20))

    async def mark(self, namespace: str, pod: str, cost: int | None) -> None:
        self.writes.append(f"mark {pod} {cost}")
        if cost is None:
            self.marks.pop(pod)
        else:
            self.marks[pod] = cost

    async def resize(self, path: str, body: Any) -> None:
        """As a ReplicaSet does: those of the lowest cost go."""
        after = body["spec"]["replicas"]
        self.names.sort(key=lambda name: -self.marks.get(name, 0))
        self.names += [f"n{len(self.names) + number}" for number in range(after - len(self.names))]
        for gone in self.names[after:]:
            self.marks.pop(gone, None)
        del self.names[after:]
        await super().resize(path, body)

    def _pod(self, number: int) -> Any:
        pod: Any = super()._pod(number)
        name = self.names[number]
        marks = {DELETION_COST: str(self.marks[name]), DRAINING: "true"} if name in self.marks else {}
        metadata = {**pod["metadata"], "name": name, "uid": name, "annotations": marks}
        return {**pod, "metadata": metadata}


async def test_without_every_replicas_answer_nothing_changes_and_that_is_said():
    cluster = ServedCluster()
    cluster.told_by_all = False
    assert [await cluster.look() for _ in range(5)][-1] == 3
    assert cluster.condition("ScalingActive") == ("False", "NoMetrics")


async def test_it_grows_with_what_comes_and_a_steady_load_is_left_alone():
    cluster = ServedCluster()
    sizes = [await cluster.look() for _ in range(150)]
    assert sizes[-1] == sizes[-60]
    cluster.rate = 8.0
    assert [await cluster.look() for _ in range(6)][-1] >= 4


async def test_the_annotation_does_what_the_strategy_does():
    cluster = ServedCluster()
    cluster.objects["scaler"]["spec"]["scalingStrategy"] = "APA"
    cluster.objects["scaler"]["metadata"]["annotations"] = {"autoscaling.aibrix.ai/policy": "gateway"}
    cluster.usage = 0.95  # what pods tell is not asked for
    sizes = [await cluster.look() for _ in range(20)]
    assert max(sizes) <= 4  # by the usage it would double


async def test_a_pod_ends_what_it_has_before_the_workload_shrinks():
    cluster = ServedCluster(replicas=5, rate=3.0)
    cluster.busy = {"p0": 9, "p1": 9, "p2": 9, "p3": 9, "p4": 1}
    while not cluster.marks:
        await cluster.look()
    assert "p4" in cluster.marks
    before = cluster.replicas
    await cluster.look()
    await cluster.look()
    assert cluster.replicas == before
    cluster.busy = {}
    for _ in range(20):
        await cluster.look()
    assert "p4" not in cluster.names
    assert cluster.replicas < before


async def test_who_was_to_go_serves_on_when_it_is_needed_again():
    cluster = ServedCluster(replicas=5, rate=3.0)
    cluster.busy = {f"p{number}": 9 for number in range(5)}
    while not cluster.marks:
        await cluster.look()
    cluster.rate = 9.0
    cluster.busy = {}
    for _ in range(8):
        await cluster.look()
    assert cluster.marks == {}
    assert {f"p{number}" for number in range(5)} <= set(cluster.names)


async def test_options_that_cannot_be_read_are_said_with_their_key():
    cluster = ServedCluster(annotations={"autoscaling.aibrix.ai/ready-for": "always"})
    await cluster.look()
    assert cluster.condition("ValidSpec") == ("False", "MetricsConfigError")
