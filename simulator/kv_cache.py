"""The engine's KV memory: a pool of blocks, some of them shared by prompt prefix.

A block is one of four things, and their numbers add up to the capacity: *active* (named by its hash, referenced by at
least one sequence), *private* (held by one sequence, not reusable: partly filled, or a duplicate of an active block),
*idle* (named, referenced by nobody, kept until room is needed) or free. Only idle blocks are evicted, least recently
released first; a sequence releases its last block first, so that prefixes outlive their continuations.

A block's hash covers everything before it, hence equal hashes mean equal prefixes. Only numbers and hashes are kept:
which physical block holds what makes no difference to time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Allocation:
    """The blocks that one sequence holds: named ones in order of the prompt, and a number of private ones."""

    hashes: list[int] = field(default_factory=list)
    private: int = 0


class KvCache:
    def __init__(self, capacity_blocks: int) -> None:
        self.capacity_blocks = capacity_blocks
        self._references: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._private = 0

    @property
    def held_blocks(self) -> int:
        return len(self._references) + self._private

    @property
    def idle_blocks(self) -> int:
        return len(self._idle)

    @property
    def usage(self) -> float:
        """Share of blocks that sequences hold; idle blocks count as free, as in vLLM."""
        return self.held_blocks / self.capacity_blocks

    def admit(self, hashes: Sequence[int], blocks: int, reusable: int) -> Allocation | None:
        """Hold `blocks` blocks, reusing cached ones among the first `reusable` hashes; None when they do not fit."""
        hits = self._cached_prefix(hashes, reusable)
        woken = sum(block_hash in self._idle for block_hash in hits)
        fresh = blocks - len(hits)
        if self.held_blocks + woken + fresh > self.capacity_blocks:
            return None
        for block_hash in hits:
            self._reference(block_hash)
        self._take(fresh)
        return Allocation(hashes=hits, private=fresh)

    def grow(self, allocation: Allocation) -> bool:
        """One more private block, if there is one."""
        if self.held_blocks >= self.capacity_blocks:
            return False
        self._take(1)
        allocation.private += 1
        return True

    def publish(self, allocation: Allocation, hashes: Sequence[int]) -> None:
        """Private blocks have been filled: name them, so that other sequences can reuse them."""
        for block_hash in hashes:
            if block_hash in self._references:
                continue  # somebody computes the same at the same time; our copy stays private
            self._reference(block_hash)
            allocation.hashes.append(block_hash)
            allocation.private -= 1
            self._private -= 1

    def release(self, allocation: Allocation) -> None:
        for block_hash in reversed(allocation.hashes):
            self._dereference(block_hash)
        self._private -= allocation.private
        allocation.hashes = []
        allocation.private = 0

    def cached_blocks(self, hashes: Sequence[int]) -> int:
        """How many blocks of a prompt are held or kept, from the first on."""
        for count, block_hash in enumerate(hashes):
            if block_hash not in self._references and block_hash not in self._idle:
                return count
        return len(hashes)

    def _cached_prefix(self, hashes: Sequence[int], reusable: int) -> list[int]:
        hits: list[int] = []
        for block_hash in hashes[:reusable]:
            if block_hash not in self._references and block_hash not in self._idle:
                break
            hits.append(block_hash)
        return hits

    def _reference(self, block_hash: int) -> None:
        self._idle.pop(block_hash, None)
        self._references[block_hash] = self._references.get(block_hash, 0) + 1

    def _dereference(self, block_hash: int) -> None:
        self._references[block_hash] -= 1
        if self._references[block_hash] == 0:
            del self._references[block_hash]
            self._idle[block_hash] = None

    def _take(self, blocks: int) -> None:
        free = self.capacity_blocks - self.held_blocks - len(self._idle)
        for _ in range(blocks - free):
            self._idle.popitem(last=False)
        self._private += blocks
