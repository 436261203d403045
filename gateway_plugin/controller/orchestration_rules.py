"""Which of the controllers of adapters, autoscalers and fleets run, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OrchestrationRules:
    """What of it runs."""

    adapters: bool = True
    autoscalers: bool = True
    take_over: bool = False
    gateway: tuple[str, str] = ("", "")
    """Namespace and name of the Service of the gateway's replicas, which are asked for their load; empty: nobody is."""
    fleets: bool = False
    kvcaches: bool = False

    @property
    def any(self) -> bool:
        return self.adapters or self.autoscalers or self.fleets or self.kvcaches
