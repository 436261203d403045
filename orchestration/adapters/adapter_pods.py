"""Adapters that are wanted, and pods that could hold them, as far as either is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class AdapterPod:
    """A pod of the base model that is not being deleted."""

    name: str
    ready_for_seconds: float | None
    """None: not ready."""
    loaded: Mapping[str, str | None] = field(default_factory=dict)
    """By adapter: the identity of the artifact it was loaded from, None where the engine does not tell."""
    max_slots: int | None = None
    """Adapters that may run in one batch (`max_loras`); None: not known."""
    max_held: int | None = None
    """Adapters that stay in host memory (`max_cpu_loras`); None: not known."""
    running: frozenset[str] = frozenset()
    """Adapters with requests now."""
    latency_seconds: float = 0.0
    tokens_per_second: float = 0.0

    @property
    def room(self) -> int:
        """How many more adapters it can hold without dropping one; may be negative."""
        return (1 << 30 if self.max_held is None else self.max_held) - len(self.loaded)


@dataclass(frozen=True, slots=True)
class WantedAdapter:
    """One ModelAdapter."""

    name: str
    identity: str
    """Of its artifact."""
    pods: frozenset[str]
    """Those that its selector matches."""
    replicas: int | None = None
    """None: every pod that matches."""
    policy: str = "default"
    requests_per_second: float = 0.0
    deleted: bool = False
    first_use: bool = False
    """To be loaded when somebody asks for it, and not before."""
    waiting: int = 0
    """Requests that the gateway holds for it."""
    in_use: bool = False
    """It has requests now, or nobody can say."""
