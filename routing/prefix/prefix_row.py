"""What one pod is believed to have cached, in the order in which it would forget.

`blocks` is a dict in order of use. A chain is touched leaf first and root last, so that a block always stands before
its parent: whatever is dropped from the front, parents outlive their children, as they do in an engine.
A block is speculative while only requests still under way speak for it; each of these has a claim on it. All that is
known of a block is one integer, so that to use it, and to claim it or end a claim meanwhile, is one write:

    claims << 32 | speculative << 31 | tokens

Claims on a block that is forgotten are kept beside, for the case that it comes back before they end.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routing.prefix.prefix_keys import PrefixKeys

_SPECULATIVE = 1 << 31
_CLAIM = 1 << 32
_TOKENS = _SPECULATIVE - 1


class RowBlocks:
    """The blocks of one incarnation of a row."""

    __slots__ = ("_claims_on_forgotten", "bit", "blocks", "capacity_tokens", "tokens")

    def __init__(self, row: int, capacity_tokens: float) -> None:
        self.bit = 1 << row
        self.capacity_tokens = capacity_tokens
        self.blocks: dict[int, int] = {}
        """The state of each block; the next to be forgotten comes first."""
        self.tokens = 0
        self._claims_on_forgotten: dict[int, int] = {}

    def claim(self, keys: PrefixKeys) -> Sequence[int]:
        """Uses the chain for a request under way, which speaks for it; returns those of its blocks that are new."""
        hashes, blocks = keys.hashes, self.blocks
        held = self._held(hashes)
        if held < len(hashes):
            self._append(keys, held, _SPECULATIVE + _CLAIM)
        use = blocks.pop
        for block in reversed(hashes[:held]):
            blocks[block] = use(block) + _CLAIM
        return hashes[held:]

    def confirm(self, keys: PrefixKeys) -> Sequence[int]:
        """Uses the chain, which the pod has computed: it stays until it is forgotten; returns its new blocks."""
        hashes, blocks = keys.hashes, self.blocks
        held = self._held(hashes)
        if held < len(hashes):
            self._append(keys, held, 0)
        for block in reversed(hashes[:held]):
            blocks[block] = blocks.pop(block) & ~_SPECULATIVE
        return hashes[held:]

    def confirm_claimed(self, hashes: Sequence[int]) -> bool:
        """`confirm` and `withdraw` of a chain in one; False, and nothing done, when some of it was forgotten."""
        blocks = self.blocks
        if hashes and hashes[-1] not in blocks:
            return False
        for block in reversed(hashes):
            blocks[block] = (blocks.pop(block) & ~_SPECULATIVE) - _CLAIM
        return True

    def withdraw(self, hashes: Iterable[int]) -> list[int]:
        """Ends a claim; returns the blocks that nobody speaks for any more."""
        blocks, orphans = self.blocks, []
        for block in hashes:
            state = blocks.get(block)
            if state is None:
                self._withdraw_forgotten(block)
                continue
            blocks[block] = state = state - _CLAIM
            if _SPECULATIVE <= state < _CLAIM:
                orphans.append(block)
        return orphans

    def oldest(self, keep_tokens: float, keep_blocks: float) -> list[int]:
        """What must go, in order, so that no more than that stays."""
        doomed = []
        tokens, blocks = self.tokens, len(self.blocks)
        for block, state in self.blocks.items():
            if tokens <= keep_tokens and blocks <= keep_blocks:
                break
            doomed.append(block)
            tokens -= state & _TOKENS
            blocks -= 1
        return doomed

    def forget(self, hashes: Sequence[int]) -> None:
        """Drops blocks that are held."""
        for block in hashes:
            state = self.blocks.pop(block)
            self.tokens -= state & _TOKENS
            if state >= _CLAIM:
                self._claims_on_forgotten[block] = state - state % _CLAIM

    def clear(self) -> None:
        """Forgets everything, with all claims: the pod has gone."""
        self.blocks = {}
        self.tokens = 0
        self._claims_on_forgotten = {}

    def claims(self) -> int:
        """Claims on blocks, held or not: a request has one on each of its own."""
        return sum([state // _CLAIM for each in (self.blocks, self._claims_on_forgotten) for state in each.values()])

    def _held(self, hashes: Sequence[int]) -> int:
        """How many blocks of the chain are held: the first ones, as their parents are held with them."""
        blocks = self.blocks
        if not hashes or hashes[-1] in blocks:
            return len(hashes)
        return len(hashes) - bisect_left(hashes[::-1], True, key=blocks.__contains__)

    def _append(self, keys: PrefixKeys, held: int, state: int) -> None:
        """The blocks behind the first `held` ones, leaf first."""
        blocks, forgotten = self.blocks, self._claims_on_forgotten
        hashes, tokens = keys.hashes, keys.tokens
        for at in range(len(hashes) - 1, held - 1, -1):
            # Small integers are shared objects: a float each would cost 32 bytes a block.
            size = round(tokens[at] - tokens[at - 1] if at else tokens[0])
            self.tokens += size
            blocks[hashes[at]] = state + size + (forgotten.pop(hashes[at], 0) if forgotten else 0)

    def _withdraw_forgotten(self, block: int) -> None:
        claims = self._claims_on_forgotten.pop(block) - _CLAIM
        if claims:
            self._claims_on_forgotten[block] = claims
