"""What a pod object says to who scales it: whether it is ready, where its metrics are, which engine it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.controller.workloads import Raw

_MODEL_LABEL = "model.aibrix.ai/name"
_ENGINE_LABEL = "model.aibrix.ai/engine"
_DEFAULT_ENGINE = "vllm"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod that counts: neither ended nor being deleted."""

    name: str
    address: str
    """Empty while it has none."""
    ready: bool
    engine: str
    model: str

    def url(self, protocol: str, port: str, path: str) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{protocol}://{host}:{port}{path}"


def pod_facts(raw: Raw) -> PodFacts | None:
    """None for a pod that does not count any more."""
    metadata, status = raw.get("metadata") or {}, raw.get("status") or {}
    if metadata.get("deletionTimestamp") or status.get("phase") in _ENDED:
        return None
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ())
    labels = metadata.get("labels") or {}
    engine, model = str(labels.get(_ENGINE_LABEL) or _DEFAULT_ENGINE), str(labels.get(_MODEL_LABEL) or "")
    return PodFacts(str(metadata.get("name", "")), str(status.get("podIP") or ""), ready, engine, model)


def model_of(selector: str, pods: Sequence[PodFacts]) -> str:
    """The model of a workload: its pods say it, and where there are none often their selector; else it is empty."""
    named = next((pod.model for pod in pods if pod.model), "")
    parts = dict(part.partition("=")[::2] for part in selector.split(","))
    return named or parts.get(_MODEL_LABEL, "")
