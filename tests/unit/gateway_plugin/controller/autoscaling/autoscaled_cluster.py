"""A cluster in memory with one workload, its pods' pages and its autoscalers: what a round reads and writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_plugin.controller.autoscaling.autoscaling_round import AutoscalingRound
from gateway_plugin.controller.route_client import KubeError

START = datetime(2026, 11, 27, 9, tzinfo=UTC)
USAGE = "vllm:kv_cache_usage_perc"


def autoscaler(
    strategy: str = "APA",
    target: str = "0.5",
    metric: str = "gpu_cache_usage_perc",
    *,
    name: str = "scaler",
    annotations: Mapping[str, str] | None = None,
    created: str = "2026-11-27T08:00:00Z",
    **spec: object,
) -> dict[str, Any]:
    source = {
        "metricSourceType": "pod",
        "protocolType": "http",
        "port": "8000",
        "path": "metrics",
        "targetMetric": metric,
        "targetValue": target,
    }
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": name,
            "generation": 1,
            "creationTimestamp": created,
            "annotations": dict(annotations or {}),
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "llama"},
            "minReplicas": 1,
            "maxReplicas": 10,
            "metricsSources": [source],
            "scalingStrategy": strategy,
            **spec,
        },
    }


class AutoscaledCluster:
    """Pods start at once unless `starting` holds them back; pages are what `usage` says."""

    def __init__(self, *autoscalers: dict[str, Any], replicas: int = 2) -> None:
        self.objects = {one["metadata"]["name"]: one for one in autoscalers}
        self.replicas = replicas
        self.starting = 0
        self.usage: float | None = 0.5
        self.series = USAGE
        self.silent: set[str] = set()
        self.seconds = 0.0
        self.writes: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.asked_paths: list[str] = []
        self.refuse_resizing = False
        self.leaders = False
        self.idle, self.held = 0.0, 0
        self.round = self.restarted()

    def restarted(self) -> AutoscalingRound:
        """A controller that knows nothing yet."""
        parts: Any = self  # it plays them all
        return AutoscalingRound(
            parts, parts, parts, clock=lambda: self.seconds, now=lambda: START + timedelta(seconds=self.seconds)
        )

    async def look(self, seconds: float = 5.0) -> int:
        await self.round.run()
        self.seconds += seconds
        return self.replicas

    def condition(self, kind: str, name: str = "scaler") -> tuple[str, str]:
        conditions = self.objects[name]["status"]["conditions"]
        return next((one["status"], one["reason"]) for one in conditions if one["type"] == kind)

    # What a round reads and writes.

    async def autoscalers(self) -> Sequence[Mapping[str, Any]]:
        return list(self.objects.values())

    async def scale(self, path: str) -> Mapping[str, Any]:
        self.asked_paths.append(path)
        self.leaders = "rayclusterfleets" in path
        if not path.endswith(("/deployments/llama/scale", "/rayclusterfleets/llama/scale")):
            raise KubeError(404, f"{path} not found")
        return {"spec": {"replicas": self.replicas}, "status": {"selector": "app=llama"}}

    async def pods(self, namespace: str, selector: str) -> Sequence[Mapping[str, Any]]:
        assert (namespace, selector) == ("default", "app=llama" + ",ray.io/node-type=head" * self.leaders)
        return [self._pod(number) for number in range(self.replicas)]

    def _pod(self, number: int) -> Mapping[str, Any]:
        ready = "True" if number < self.replicas - self.starting else "False"
        conditions = [{"type": "Ready", "status": ready}]
        return {
            "metadata": {"name": f"p{number}", "labels": {"model.aibrix.ai/name": "llama"}},
            "status": {"podIP": f"10.0.0.{number}", "phase": "Running", "conditions": conditions},
        }

    async def resize(self, path: str, body: Mapping[str, Any]) -> None:
        replicas = body["spec"]["replicas"]
        if self.refuse_resizing:
            raise KubeError(403, "forbidden")
        self.writes.append(f"scale {replicas}")
        self.replicas = replicas

    async def write_status(self, raw: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        self.writes.append("status")
        self.objects[raw["metadata"]["name"]]["status"] = dict(status)

    async def tell(self, raw: Mapping[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        self.told.append((reason, message))

    async def pages(self, urls: Collection[str]) -> Mapping[str, dict[str, list[float]]]:
        if self.usage is None:
            return {}
        page = {self.series: [self.usage]}
        return {url: page for url in urls if not any(f"10.0.0.{pod[1:]}:" in url for pod in self.silent)}

    def idle_seconds(self, model: str) -> float:
        assert model == "llama"
        return self.idle

    def waiting(self, model: str) -> int:
        assert model == "llama"
        return self.held
