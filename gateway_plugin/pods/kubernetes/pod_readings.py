"""What objects of the cluster mean for routing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway_plugin.pods.kubernetes.complaints import Complaint, ObjectRef
    from routing.profiles import ModelConfig
    from routing.spec import PodSpec


@dataclass(frozen=True, slots=True)
class PodReading:
    """`specs`: one for each port that serves; none while there is no address, or after a mistake."""

    ref: ObjectRef
    created_at: str
    specs: tuple[PodSpec, ...] = ()
    models: tuple[str, ...] = ()
    config: ModelConfig | None = None
    terminating: bool = False
    complaints: tuple[Complaint, ...] = ()

    @property
    def claim(self) -> tuple[bool, bool, str, str]:
        """Of two pods at one address, the greater claim wins: ready, staying, newer."""
        return any(spec.ready for spec in self.specs), not self.terminating, self.created_at, self.ref.uid


@dataclass(frozen=True, slots=True)
class AdapterReading:
    """A model under the adapter's name, served by the pods of these names in its namespace."""

    ref: ObjectRef
    created_at: str
    instances: tuple[str, ...] = ()
    base_model: str = ""
    """As the object names it; empty when it leaves that to its pods."""
    artifact: str = ""
    config: ModelConfig | None = None
    complaints: tuple[Complaint, ...] = ()
