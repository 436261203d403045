"""What discovery knows of a pod: an engine replica behind one address."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routing.profiles import ModelConfig


@dataclass(frozen=True, slots=True)
class PodSpec:
    """One serving port of one pod.

    `address` is written as Envoy names the host: "10.0.0.1:8000" or "[fd00::1]:8000". `uid` tells a pod from its
    successor at the same address (Kubernetes reuses addresses); a new uid is a new incarnation with empty books.
    """

    name: str
    address: str
    models: tuple[str, ...]
    """What it loaded at its start comes first, adapters after: replicas tell each other of the pod under the first."""
    uid: str = ""
    engine: str = "vllm"
    metrics_address: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ready: bool = True


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """A LoRA adapter: the model that it adapts, and where its weights are; empty where that is not known."""

    parent: str = ""
    root: str = ""


@dataclass(frozen=True, slots=True)
class ClusterState:
    """Everything discovery sees at one moment. A model may be known while no pod serves it."""

    pods: tuple[PodSpec, ...]
    models: frozenset[str]
    configs: Mapping[str, ModelConfig] = field(default_factory=dict)
    """What the operator configured for a model, by its name."""
    adapters: Mapping[str, AdapterSpec] = field(default_factory=dict)
    """Which of the models are adapters."""
