"""A cluster in memory with engines that hold adapters: what a round of adapters reads, asks and writes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway_plugin.controller.adapters.adapter_round import AdapterRound
from gateway_plugin.controller.adapters.engine_calls import LoadAnswer, LoadOutcome
from gateway_plugin.controller.adapters.engine_client import EngineUnreachableError, Loader
from orchestration.adapters.artifact import Artifact

START = datetime(2026, 11, 27, 9, tzinfo=UTC)


def adapter(name: str = "sql", url: str = "hf://a/b", **spec: object) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "uid": name, "generation": 1}
    selector = {"matchLabels": {"model.aibrix.ai/name": "llama"}}
    return {
        "metadata": metadata,
        "spec": {"baseModel": "llama", "podSelector": selector, "artifactURL": url, **spec},
    }


class AdaptedCluster:
    """Pods are engines by name; each holds adapters with the path that it was given."""

    def __init__(self, *adapters: dict[str, Any], pods: int = 2, engine: str = "vllm") -> None:
        self.objects = {one["metadata"]["name"]: one for one in adapters}
        self.held: dict[str, dict[str, str]] = {f"p{number}": {} for number in range(pods)}
        self.engine = engine
        self.unready: set[str] = set()
        self.dead: set[str] = set()
        self.restarts = dict.fromkeys(self.held, 0)
        self.refusal: LoadAnswer | None = None
        self.calls: list[tuple[str, str, str]] = []
        self.published: dict[str, list[str]] = {}
        self.told: list[str] = []
        self.writes = 0
        self.using: int | None = 0
        self.held_for: dict[str, int] = {}
        self.rates: dict[str, float] = {}
        self.arguments: list[str] = []
        self.lists = True
        self.seconds = 60.0
        self.round = self.restarted()

    def restarted(self) -> AdapterRound:
        """A controller that knows nothing yet."""
        parts: Any = self
        return AdapterRound(
            parts,
            parts,
            parts,
            clock=lambda: self.seconds,
            now=lambda: START + timedelta(seconds=self.seconds),
            rng=random.Random(1),
        )

    async def look(self, times: int = 1, seconds: float = 2.0) -> None:
        for _ in range(times):
            await self.round.run()
            await self.round.runner.wait()
            self.seconds += seconds

    def restart_engine(self, pod: str) -> None:
        """It comes up empty."""
        self.held[pod].clear()
        self.restarts[pod] += 1

    def instances(self, name: str = "sql") -> list[str]:
        return list(self.objects[name].get("status", {}).get("instances", []))

    def condition(self, kind: str, name: str = "sql") -> tuple[str, str]:
        conditions = self.objects[name]["status"]["conditions"]
        return next((one["status"], one["reason"]) for one in conditions if one["type"] == kind)

    # The API.

    async def adapters(self, *asked: Any) -> Any:
        if asked:
            return await self._listed(*asked)
        return list(self.objects.values())

    async def pods(self, namespace: str, selector: str) -> Sequence[Mapping[str, Any]]:
        assert selector == "model.aibrix.ai/name=llama"
        return [self._pod(name) for name in self.held]

    def _pod(self, name: str) -> Mapping[str, Any]:
        ready = {"type": "Ready", "status": "False" if name in self.unready else "True"}
        statuses = [{"name": "engine", "restartCount": self.restarts[name]}]
        labels = {"model.aibrix.ai/name": "llama", "model.aibrix.ai/engine": self.engine}
        return {
            "metadata": {"name": name, "namespace": "default", "uid": name, "labels": labels},
            "spec": {"containers": [{"name": "engine", "args": self.arguments}]},
            "status": {
                "podIP": f"10.0.0.{name[1:]}",
                "phase": "Running",
                "conditions": [{**ready, "lastTransitionTime": START.isoformat()}],
                "containerStatuses": statuses,
            },
        }

    async def finalizers(self, raw: Mapping[str, Any], names: Sequence[str]) -> None:
        self.writes += 1
        metadata = self.objects[raw["metadata"]["name"]]["metadata"]
        metadata["finalizers"] = list(names)
        if not names and metadata.get("deletionTimestamp"):
            del self.objects[metadata["name"]]

    async def write_status(self, raw: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        self.writes += 1
        self.objects[raw["metadata"]["name"]]["status"] = dict(status)

    async def publish(self, raw: Mapping[str, Any], base: str, port: int, addresses: Mapping[str, str]) -> None:
        self.published[raw["metadata"]["name"]] = sorted(addresses)

    async def tell(self, raw: Mapping[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        self.told.append(reason)

    # The engines.

    def _engine(self, loader: Loader) -> str:
        pod = "p" + loader.engine_url.removeprefix("http://10.0.0.").removesuffix(":8000")
        if pod in self.dead:
            raise EngineUnreachableError("refused")
        return pod

    async def _listed(self, loader: Loader, base: str) -> dict[str, str | None]:
        held = self.held[self._engine(loader)]
        return dict(held) if self.lists else {}

    async def load(self, loader: Loader, name: str, artifact: Artifact, *, in_place: bool = False) -> LoadAnswer:
        pod = self._engine(loader)
        self.calls.append(("reload" if in_place else "load", pod, name))
        if self.refusal is not None:
            return self.refusal
        self.held[pod][name] = str(artifact.engine_path)
        return LoadAnswer(LoadOutcome.DONE)

    async def unload(self, loader: Loader, name: str) -> LoadAnswer:
        pod = self._engine(loader)
        self.calls.append(("unload", pod, name))
        self.held[pod].pop(name, None)
        return LoadAnswer(LoadOutcome.DONE)

    # The gateway.

    def in_flight(self, adapter: str) -> int | None:
        return self.using

    def waiting(self, adapter: str) -> int:
        return self.held_for.get(adapter, 0)

    def requests_per_second(self, adapter: str) -> float:
        return self.rates.get(adapter, 0.0)
