"""A cluster in memory with a KubeRay that makes heads and workers: what a round of fleets reads and writes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_plugin.controller.fleets.fleet_cluster import DRAINING
from gateway_plugin.controller.fleets.fleet_round import FleetRound
from gateway_plugin.controller.kinds import ObjectKind
from gateway_plugin.controller.status_conditions import api_time

START = datetime(2026, 11, 27, 9, tzinfo=UTC)
LABELS = {"model.aibrix.ai/name": "qwen-coder", "model.aibrix.ai/port": "8000"}


def fleet(replicas: int = 1, image: str = "vllm:1") -> dict[str, Any]:
    """A fleet of a head and a worker, as the documents of AIBrix's users have it."""
    pod = {"metadata": {"labels": dict(LABELS)}, "spec": {"containers": [{"name": "ray", "image": image}]}}
    return {
        "apiVersion": "orchestration.aibrix.ai/v1alpha1",
        "kind": "RayClusterFleet",
        "metadata": {
            "name": "qwen-coder",
            "namespace": "default",
            "uid": "fleet-uid",
            "generation": 1,
            "creationTimestamp": api_time(START),
            "labels": dict(LABELS),
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"model.aibrix.ai/name": "qwen-coder"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": dict(LABELS), "annotations": {"ray.io/overwrite-container-cmd": "true"}},
                "spec": {
                    "rayVersion": "2.10.0",
                    "headGroupSpec": {"rayStartParams": {"dashboard-host": "0.0.0.0"}, "template": copy.deepcopy(pod)},
                    "workerGroupSpecs": [
                        {
                            "groupName": "small-group",
                            "replicas": 1,
                            "minReplicas": 1,
                            "maxReplicas": 5,
                            "rayStartParams": {},
                            "template": copy.deepcopy(pod),
                        }
                    ],
                },
            },
        },
    }


class RayWorld:
    """Clusters come up after `start_seconds`, unless their image is in `bad_images`."""

    def __init__(self, *fleets: dict[str, Any], start_seconds: float = 30.0) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {
            "RayClusterFleet": {one["metadata"]["name"]: one for one in fleets},
            "RayClusterReplicaSet": {},
            "RayCluster": {},
            "Pod": {},
        }
        self.start_seconds = start_seconds
        self.bad_images: set[str] = set()
        self.kuberay = True
        self.seconds = 0.0
        self.busy: dict[str, float] = {}
        self.told: list[str] = []
        self.writes = 0
        self.made = 0
        self.deleted: list[str] = []
        self.sent_to_the_dead = 0
        self.lowest_serving: int | None = None
        self.round = FleetRound(self, clock=lambda: self.seconds, now=self.now)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def look(self, times: int = 1, seconds: float = 3.0) -> None:
        for _ in range(times):
            self._operate()
            await self.round.run()
            self.seconds += seconds
            if self.lowest_serving is not None:
                self.lowest_serving = min(self.lowest_serving, len(self.serving()))

    def serving(self) -> list[str]:
        """Images of heads that the gateway sends to."""
        return [
            pod["image"]
            for name, pod in self.objects["Pod"].items()
            if pod["ready"] and DRAINING not in pod["metadata"]["annotations"]
        ]

    def set(self, path: str, value: object) -> None:
        """Of the one fleet's spec."""
        at = self.objects["RayClusterFleet"]["qwen-coder"]
        at["metadata"]["generation"] += 1
        at = at["spec"]
        *parents, last = path.split(".")
        for key in parents:
            at = at[key]
        at[last] = value

    def set_image(self, image: str) -> None:
        at = self.objects["RayClusterFleet"]["qwen-coder"]
        spec = copy.deepcopy(at["spec"])
        spec["template"]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"] = image
        at["spec"] = spec

    def break_worker(self, cluster: str) -> None:
        self.objects["RayCluster"][cluster]["broken"] = True

    def condition(self, kind: str) -> tuple[str, str]:
        conditions = self.objects["RayClusterFleet"]["qwen-coder"]["status"]["conditions"]
        return next((one["status"], one["reason"]) for one in conditions if one["type"] == kind)

    def _operate(self) -> None:
        """What KubeRay does meanwhile."""
        for name, one in self.objects["RayCluster"].items():
            image = one["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
            age = self.now().timestamp() - datetime.fromisoformat(one["metadata"]["creationTimestamp"]).timestamp()
            up = age >= self.start_seconds and image not in self.bad_images
            labels = {**one["spec"]["headGroupSpec"]["template"]["metadata"]["labels"]}
            labels |= {"ray.io/cluster": name, "ray.io/node-type": "head"}
            pod = self.objects["Pod"].setdefault(
                f"{name}-head", {"metadata": {"name": f"{name}-head", "namespace": "default", "annotations": {}}}
            )
            pod["metadata"]["labels"] = labels
            pod["image"], pod["ready"] = image, up and not one.get("broken")
            if up:
                self._provisioned(one)

    def _provisioned(self, one: dict[str, Any]) -> None:
        old = one.get("status")
        workers = 0 if one.get("broken") else 1
        if old and old["readyWorkerReplicas"] == workers:
            return
        at = api_time(self.now())
        since = old["conditions"][0]["lastTransitionTime"] if old else at
        kinds = ("RayClusterProvisioned", "HeadPodReady")
        one["status"] = {
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": since} for kind in kinds],
            "readyWorkerReplicas": workers,
            "desiredWorkerReplicas": 1,
            "lastUpdateTime": at,
        }

    # What a round asks for and writes.

    async def fleets(self) -> Sequence[Mapping[str, Any]]:
        return copy.deepcopy(list(self.objects["RayClusterFleet"].values()))

    async def sets(self) -> Sequence[Mapping[str, Any]]:
        return copy.deepcopy(list(self.objects["RayClusterReplicaSet"].values()))

    async def clusters(self) -> Sequence[Mapping[str, Any]] | None:
        return copy.deepcopy(list(self.objects["RayCluster"].values())) if self.kuberay else None

    async def heads(self) -> Sequence[Mapping[str, Any]]:
        return copy.deepcopy(list(self.objects["Pod"].values()))

    async def in_flight(self, heads: Sequence[Mapping[str, Any]]) -> Mapping[str, float | None]:
        return {one["metadata"]["name"]: self.busy.get(one["metadata"]["name"], 0.0) for one in heads}

    async def create(self, kind: ObjectKind, body: Mapping[str, Any]) -> None:
        self.made += kind.name == "RayCluster"
        new = copy.deepcopy(dict(body))
        metadata = new["metadata"]
        name = metadata.setdefault("name", f"{metadata.get('generateName', '')}{self.made}")
        metadata |= {"uid": f"{kind.name}-{name}", "creationTimestamp": api_time(self.now()), "generation": 1}
        assert name not in self.objects[kind.name]
        self.objects[kind.name][name] = new

    async def change(self, kind: ObjectKind, raw: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        self.writes += 1
        at = self.objects[kind.name][raw["metadata"]["name"]]
        at.get("spec", {}).update(body.get("spec", {}))
        at["metadata"].setdefault("annotations", {}).update(body.get("metadata", {}).get("annotations", {}))

    async def delete(self, kind: ObjectKind, raw: Mapping[str, Any]) -> None:
        name = raw["metadata"]["name"]
        del self.objects[kind.name][name]
        self.deleted.append(name)
        if kind.name == "RayCluster":
            head = self.objects["Pod"].pop(f"{name}-head")
            self.sent_to_the_dead += bool(head["ready"] and self.busy.get(f"{name}-head"))

    async def write_status(self, kind: ObjectKind, raw: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        self.writes += 1
        self.objects[kind.name][raw["metadata"]["name"]]["status"] = copy.deepcopy(dict(status))

    async def tell(
        self, kind: ObjectKind, raw: Mapping[str, Any], reason: str, message: str, *, warning: bool = False
    ) -> None:
        self.told.append(f"{reason}: {message}")
