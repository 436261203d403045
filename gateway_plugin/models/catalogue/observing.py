"""The pods of every model at one moment, off the pod table.

Ten thousand pods take some 20 ms to look at, so this is done in steps between which others may run. A table that
changes meanwhile is looked at again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from routing.pods.circuit import CircuitState

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from gateway_plugin.pods.engines.known_models import AdapterInfo, EngineReport
    from routing.pods.pod_table import PodTable
    from routing.spec import PodSpec

PODS_PER_STEP = 500
"""Between two breaths of the event loop."""


class Condition(StrEnum):
    """What a pod can do now."""

    READY = "ready"
    SICK = "sick"
    ASLEEP = "asleep"
    NOT_READY = "not_ready"
    NOT_LOADED = "not_loaded"
    """It is ready, but does not list the adapter yet."""


class SeenPod(NamedTuple):
    """One pod; equal when nothing that the catalogue shows has changed."""

    spec: PodSpec
    condition: Condition
    detail: str
    report: EngineReport | None


class World(NamedTuple):
    """Everything that is served. A model may be known without a pod."""

    models: Sequence[str]
    pods: Mapping[str, Sequence[SeenPod]]
    adapters: Mapping[str, AdapterInfo]
    synced: bool
    """Whether discovery knows all pods by now."""
    settled: bool
    """Whether engines have been asked what they serve."""


class Reports(Protocol):
    """What engines say of themselves."""

    @property
    def adapters(self) -> Mapping[str, AdapterInfo]:
        """Adapters by name, declared or reported."""

    def report(self, address: str) -> EngineReport | None:
        """The last report of the engine at the address."""


def observe(table: PodTable, reports: Reports, *, synced: bool, settled: bool) -> Generator[None, None, World]:
    """The world; yields between steps."""
    models = table.models()
    pods: dict[str, list[SeenPod]] = {}
    for number, (row, spec) in enumerate(table.rows()):
        if number % PODS_PER_STEP == PODS_PER_STEP - 1:
            yield
        seen = SeenPod(spec, *_condition(table, row, spec), reports.report(spec.address))
        for model in spec.models:
            pods.setdefault(model, []).append(seen)
    return World(models, pods, reports.adapters, synced, settled)


def _condition(table: PodTable, row: int, spec: PodSpec) -> tuple[Condition, str]:
    if not spec.ready:
        return Condition.NOT_READY, ""
    if table.health.is_asleep(row):
        return Condition.ASLEEP, ""
    circuit = table.health.circuit(row)
    if circuit is not None and circuit.state is not CircuitState.CLOSED:
        return Condition.SICK, circuit.reason.value if circuit.reason is not None else ""
    return Condition.READY, ""
