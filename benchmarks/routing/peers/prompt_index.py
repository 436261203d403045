"""Who was sent which prompts, as peers remember it; prompts are chained keys of blocks."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


class CommonIndex:
    """One map of blocks to pods, the block written longest ago goes first: AIBrix's.

    A prompt is written root first, so that its root is the first of it to go.
    """

    def __init__(self, capacity_blocks: int) -> None:
        self._capacity = capacity_blocks
        self._holders: OrderedDict[int, set[str]] = OrderedDict()

    def insert(self, keys: Iterable[int], address: str) -> None:
        """A pod is sent a prompt."""
        holders = self._holders
        for key in keys:
            holders.setdefault(key, set()).add(address)
            holders.move_to_end(key)
        while len(holders) > self._capacity:
            holders.popitem(last=False)

    def matches(self, keys: Sequence[int], among: Collection[str]) -> dict[str, int]:
        """Blocks from the first on that each pod was sent; those without any are left out."""
        found: dict[str, int] = {}
        alive = set(among)
        for count, key in enumerate(keys, start=1):
            alive &= self._holders.get(key, set())
            if not alive:
                break
            for address in alive:
                found[address] = count
        return found

    def longest(self, keys: Sequence[int], among: Collection[str]) -> tuple[int, set[str]]:
        """The longest match, and who has it."""
        found = self.matches(keys, among)
        most = max(found.values(), default=0)
        return most, {address for address, count in found.items() if count == most}


class IndexByPod:
    """One cache of blocks a pod, the one used longest ago goes first: llm-d's."""

    def __init__(self) -> None:
        self._blocks: dict[str, OrderedDict[int, None]] = {}

    def insert(self, keys: Iterable[int], address: str, capacity_blocks: int) -> None:
        """A pod is sent a prompt."""
        blocks = self._blocks.setdefault(address, OrderedDict())
        for key in keys:
            blocks[key] = None
            blocks.move_to_end(key)
        while len(blocks) > capacity_blocks:
            blocks.popitem(last=False)

    def drop(self, address: str) -> None:
        """A pod has gone."""
        self._blocks.pop(address, None)

    def match(self, keys: Sequence[int], address: str) -> int:
        """Blocks from the first on."""
        blocks = self._blocks.get(address)
        if not blocks:
            return 0
        for count, key in enumerate(keys):
            if key not in blocks:
                return count
        return len(keys)
