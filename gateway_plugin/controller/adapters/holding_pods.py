"""What a pod object says to who loads adapters into it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gateway_plugin.controller.adapters.engine_calls import LoaderKind
from gateway_plugin.controller.adapters.engine_client import Loader

if TYPE_CHECKING:
    from gateway_plugin.controller.workloads import Raw

ENGINE_PORT = 8000
SIDECAR_PORT = 8080
SIDECAR_CONTAINER = "aibrix-runtime"
_PORT_LABEL = "model.aibrix.ai/port"
_ENGINE_LABEL = "model.aibrix.ai/engine"
_MODEL_LABEL = "model.aibrix.ai/name"
_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class HoldingPod:
    """A pod that runs and stays."""

    namespace: str
    name: str
    address: str
    base: str
    """The model that its label says it serves."""
    port: int
    loader: Loader
    ready_since: datetime | None
    life: str
    """Changes when any of its containers starts anew: what an engine had loaded is gone then."""
    max_held: int | None = None
    """Adapters that its engine keeps in host memory, as its command line says."""

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"


def holding_pod(raw: Raw, engine_key: str = "") -> HoldingPod | None:
    """None for a pod that ends, or has no address yet."""
    metadata, status = raw.get("metadata") or {}, raw.get("status") or {}
    address = str(status.get("podIP") or "")
    if metadata.get("deletionTimestamp") or status.get("phase") in _ENDED or not address:
        return None
    labels = metadata.get("labels") or {}
    text = str(labels.get(_PORT_LABEL) or "")
    port = int(text) if text.isascii() and text.isdecimal() else ENGINE_PORT
    return HoldingPod(
        str(metadata.get("namespace", "")),
        str(metadata.get("name", "")),
        address,
        str(labels.get(_MODEL_LABEL) or ""),
        port,
        _loader(raw, address, port, str(labels.get(_ENGINE_LABEL) or ""), engine_key),
        _ready_since(status),
        _life(metadata, status),
        _max_held(raw),
    )


def _max_held(raw: Raw) -> int | None:
    """vLLM's `--max-cpu-loras`, else SGLang's `--max-loaded-loras`; None where neither is given."""
    for container in (raw.get("spec") or {}).get("containers") or ():
        words = [part for word in (*(container.get("command") or ()), *(container.get("args") or ()))
                 for part in str(word).replace("=", " ").split()]  # fmt: skip
        for option, value in pairwise(words):
            if option in ("--max-cpu-loras", "--max-loaded-loras") and value.isdecimal():
                return int(value)
    return None


def _loader(raw: Raw, address: str, port: int, engine: str, key: str) -> Loader:
    host = f"[{address}]" if ":" in address else address
    engine_url = f"http://{host}:{port}"
    spec = raw.get("spec") or {}
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    if any(one.get("name") == SIDECAR_CONTAINER for one in containers):
        return Loader(LoaderKind.SIDECAR, engine_url, f"http://{host}:{SIDECAR_PORT}", key)
    kind = LoaderKind.SGLANG if engine == LoaderKind.SGLANG.value else LoaderKind.VLLM
    return Loader(kind, engine_url, engine_url, key)


def _ready_since(status: dict[str, Any]) -> datetime | None:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            try:
                return datetime.fromisoformat(str(condition.get("lastTransitionTime")))
            except ValueError:
                return datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    return None


def _life(metadata: dict[str, Any], status: dict[str, Any]) -> str:
    restarts = [f"{one.get('name')}:{one.get('restartCount', 0)}" for one in status.get("containerStatuses") or ()]
    return ",".join([str(metadata.get("uid", "")), *sorted(restarts)])
