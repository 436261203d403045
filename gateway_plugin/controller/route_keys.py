"""Labels and annotations of models, all below one prefix."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RouteKeys:
    """`prefix` ends with a slash."""

    prefix: str

    @property
    def name(self) -> str:
        """Label or annotation: the model."""
        return f"{self.prefix}name"

    @property
    def port(self) -> str:
        """Label: where the engine answers."""
        return f"{self.prefix}port"

    @property
    def ranks(self) -> str:
        """Label: data parallel ranks, each on a port of its own."""
        return f"{self.prefix}data-parallel-size"

    @property
    def service_name(self) -> str:
        """Annotation of a workload: the Service in front of its pods."""
        return f"{self.prefix}service-name"

    @property
    def custom_paths(self) -> str:
        """Annotation of a workload: further paths of the model, separated by commas."""
        return f"{self.prefix}model-router-custom-paths"
