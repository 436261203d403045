"""What a pod object says to who scales it: whether it is ready, where its metrics are, which engine it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from orchestration.scaling.victims import DELETION_COST, DRAINING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    uid: str = ""
    created_at_seconds: float = 0.0
    start_seconds: float | None = None
    """From its creation until it was ready; None while it is not, and where a container started anew in between."""
    mark: int | None = None
    """The deletion cost that it was given when it was chosen to go."""

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
    created = _seconds(metadata.get("creationTimestamp"))
    name, address = str(metadata.get("name", "")), str(status.get("podIP") or "")
    uid, mark = str(metadata.get("uid", "")), _mark(metadata.get("annotations") or {})
    return PodFacts(name, address, ready, engine, model, uid, created or 0.0, _start(created, status), mark)


def _mark(annotations: Mapping[str, str]) -> int | None:
    """Only where it is ours: others may have a deletion cost of their own."""
    try:
        return int(annotations[DELETION_COST]) if DRAINING in annotations else None
    except (KeyError, ValueError):
        return 0


def _start(created: float | None, status: Mapping[str, Any]) -> float | None:
    if created is None or any(one.get("restartCount") for one in status.get("containerStatuses") or ()):
        return None
    conditions = status.get("conditions") or ()
    ready: Mapping[str, Any] = next((one for one in conditions if one.get("type") == "Ready"), {})
    since = _seconds(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None
    return None if since is None else max(0.0, since - created)


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None


def model_of(selector: str, pods: Sequence[PodFacts]) -> str:
    """The model of a workload: its pods say it, and where there are none often their selector; else it is empty."""
    named = next((pod.model for pod in pods if pod.model), "")
    parts = dict(part.partition("=")[::2] for part in selector.split(","))
    return named or parts.get(_MODEL_LABEL, "")
