"""Which LoRA adapters lie in the card's slots: those in use stay, of the others the one used longest ago makes room."""

from __future__ import annotations

from collections import OrderedDict


class AdapterSlots:
    """Counts the running sequences of each adapter, and keeps those that were last used loaded."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._running: dict[str, int] = {}
        self._loaded: OrderedDict[str, None] = OrderedDict()

    @property
    def running(self) -> list[str]:
        """Adapters of running sequences."""
        return list(self._running)

    def has_room(self, adapter: str | None) -> bool:
        """Whether a sequence of the adapter may join the batch."""
        return adapter is None or adapter in self._running or len(self._running) < self._slots

    def is_loaded(self, adapter: str) -> bool:
        """Whether it lies in a slot."""
        return adapter in self._loaded

    def start(self, adapter: str | None) -> bool:
        """A sequence runs; True when its adapter has to be loaded first. `has_room` was asked before."""
        if adapter is None:
            return False
        self._running[adapter] = self._running.get(adapter, 0) + 1
        fresh = adapter not in self._loaded
        if fresh and len(self._loaded) >= self._slots:
            del self._loaded[next(name for name in self._loaded if name not in self._running)]
        self._loaded[adapter] = None
        self._loaded.move_to_end(adapter)
        return fresh

    def end(self, adapter: str | None) -> None:
        """A sequence runs no longer; its adapter stays loaded."""
        if adapter is None:
            return
        self._running[adapter] -= 1
        if not self._running[adapter]:
            del self._running[adapter]
