"""Names of the labels and annotations that say what a pod serves. AIBrix's, unless the prefix is another."""

from __future__ import annotations

from dataclasses import dataclass

AIBRIX_PREFIX = "model.aibrix.ai"

RAY_NODE_TYPE = "ray.io/node-type"
POD_GROUP_INDEX = "stormservice.orchestration.aibrix.ai/pod-group-index"
DATA_PARALLEL_VARIABLE = "data-parallel-size"
"""A variable in a container's environment, as AIBrix has it; the label of that name goes before it."""


@dataclass(frozen=True, slots=True)
class LabelKeys:
    """`prefix` without a slash."""

    prefix: str = AIBRIX_PREFIX

    @property
    def name(self) -> str:
        """The model, as a label, or as an annotation where it has characters that labels may not have."""
        return f"{self.prefix}/name"

    @property
    def port(self) -> str:
        """Where the engine serves; the first of several for data-parallel ranks."""
        return f"{self.prefix}/port"

    @property
    def metric_port(self) -> str:
        """Where the engine's metrics are; default: where it serves."""
        return f"{self.prefix}/metric-port"

    @property
    def engine(self) -> str:
        """Which engine, as a label or an annotation."""
        return f"{self.prefix}/engine"

    @property
    def config(self) -> str:
        """The model's profiles, as an annotation in JSON."""
        return f"{self.prefix}/config"

    @property
    def draining(self) -> str:
        """An annotation of a pod that goes: it ends what it has, and gets nothing new."""
        return f"{self.prefix}/draining"

    @property
    def data_parallel_size(self) -> str:
        """How many ranks serve, each at a port of its own."""
        return f"{self.prefix}/data-parallel-size"
