"""What one pod is believed to have cached, in the order in which it would forget.

`blocks` is a dict in order of use. A chain is touched leaf first and root last, so that a block always stands before
its parent: whatever is dropped from the front, parents outlive their children, as they do in an engine.
A block is speculative while only requests still under way speak for it; `pending` counts these requests per block.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routing.prefix_keys import PrefixKeys


class RowBlocks:
    """The blocks of one incarnation of a row."""

    __slots__ = ("_pending", "_speculative", "bit", "blocks", "capacity_tokens", "tokens")

    def __init__(self, row: int, capacity_tokens: float) -> None:
        self.bit = 1 << row
        self.capacity_tokens = capacity_tokens
        self.blocks: dict[int, int] = {}
        """Tokens of each block; the next to be forgotten comes first."""
        self.tokens = 0
        self._pending: dict[int, int] = {}
        self._speculative: set[int] = set()

    def touch(self, keys: PrefixKeys) -> tuple[int, ...]:
        """Makes the chain the most recently used; returns those of its blocks that were not held."""
        blocks, hashes, tokens = self.blocks, keys.hashes, keys.tokens
        # A held block's parents are held, so that the held part of a chain can be found by bisection.
        held = bisect_left(hashes, True, key=lambda block: block not in blocks)
        for i in range(len(hashes) - 1, held - 1, -1):
            # Small integers are shared objects: a float each would cost 32 bytes a block.
            blocks[hashes[i]] = size = round(tokens[i] - tokens[i - 1] if i else tokens[0])
            self.tokens += size
        for block in reversed(hashes[:held]):
            blocks[block] = blocks.pop(block)
        return hashes[held:]

    def claim(self, hashes: Iterable[int], new: Iterable[int]) -> None:
        """A request under way speaks for these blocks; `new` ones are there for its sake alone."""
        self._speculative.update(new)
        pending = self._pending
        for block in hashes:
            pending[block] = pending.get(block, 0) + 1

    def confirm(self, hashes: Iterable[int]) -> None:
        """The pod has computed these blocks: they stay until they are forgotten."""
        self._speculative.difference_update(hashes)

    def withdraw(self, hashes: Iterable[int]) -> list[int]:
        """Ends a claim; returns the blocks that nobody speaks for any more."""
        pending = self._pending
        orphans = []
        for block in hashes:
            pending[block] -= 1
            if not pending[block]:
                del pending[block]
                orphans.append(block)
        return [block for block in orphans if block in self._speculative]

    def oldest(self, keep_tokens: float, keep_blocks: float) -> list[int]:
        """What must go, in order, so that no more than that stays."""
        doomed = []
        tokens, blocks = self.tokens, len(self.blocks)
        for block, size in self.blocks.items():
            if tokens <= keep_tokens and blocks <= keep_blocks:
                break
            doomed.append(block)
            tokens -= size
            blocks -= 1
        return doomed

    def remove(self, hashes: Sequence[int]) -> None:
        """Forgets blocks that are held."""
        for block in hashes:
            self.tokens -= self.blocks.pop(block)
        self._speculative.difference_update(hashes)

    def clear(self) -> None:
        """Forgets everything; claims may still be withdrawn."""
        self.blocks = {}
        self.tokens = 0
        self._speculative = set()
