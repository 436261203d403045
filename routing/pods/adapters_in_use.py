"""Which LoRA adapters each pod is computing, by what was booked there, and what one more of them would wait for.

An engine computes at most `slots` adapters in a batch (vLLM's max_loras, which its page tells). A request whose adapter
runs there joins it; with a free slot it waits until the adapter is loaded, unless the slot still holds it; with none,
it waits until the last request of another adapter has ended, however short the queue looks.

    wait = 0 | load | load + answers of the adapter that has fewest under way, in seconds

Without word of slots nothing is known, and nothing is priced.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# From the host's memory, rank 16, 8B: some hundred milliseconds; from disk longer. Only whether it is nothing, or as
# long as an answer, matters for the choice.
LOAD_SECONDS = 0.3
# Names that are remembered for having been adapters; more are forgotten all at once, and known again when used.
_MAX_KNOWN = 10_000
# Of each row, those used last; more than any engine has slots.
_MAX_LOADED = 256


class AdaptersInUse:
    """By row: the adapters of open requests, and those used last."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        """Names that were booked as adapters."""
        self._running: dict[int, dict[str, int]] = {}
        self._loaded: dict[int, OrderedDict[str, None]] = {}

    def reset(self, row: int) -> None:
        """Gives the row to a new pod."""
        self._running.pop(row, None)
        self._loaded.pop(row, None)

    def began(self, row: int, adapter: str) -> None:
        """A request of the adapter was booked."""
        if len(self.known) >= _MAX_KNOWN:
            self.known.clear()
        self.known.add(adapter)
        running = self._running.setdefault(row, {})
        running[adapter] = running.get(adapter, 0) + 1
        loaded = self._loaded.setdefault(row, OrderedDict())
        loaded[adapter] = None
        loaded.move_to_end(adapter)
        if len(loaded) > _MAX_LOADED:
            loaded.popitem(last=False)

    def ended(self, row: int, adapter: str) -> None:
        """It is over; what was not counted is not taken off."""
        running = self._running.get(row, {})
        left = running.get(adapter, 0) - 1
        if left > 0:
            running[adapter] = left
        else:
            running.pop(adapter, None)

    def wait_seconds(self, row: int, adapter: str, slots: float, answer_seconds: float) -> float:
        """What the row's pod with so many slots (NaN: not known) makes the adapter wait; `answer_seconds` of one."""
        running = self._running.get(row)
        if not slots >= 1.0 or (running and adapter in running):
            return 0.0
        if running and len(running) >= slots:
            return LOAD_SECONDS + answer_seconds * min(running.values())
        loaded = self._loaded.get(row)
        if loaded and adapter in loaded and _place(loaded, adapter) < slots:
            return 0.0
        return LOAD_SECONDS

    def running(self, row: int) -> Sequence[str]:
        """For people: the adapters under way."""
        return sorted(self._running.get(row, ()))


def _place(loaded: OrderedDict[str, None], adapter: str) -> int:
    """0 for the one that was used last."""
    for place, name in enumerate(reversed(loaded)):
        if name == adapter:
            return place
    return len(loaded)
