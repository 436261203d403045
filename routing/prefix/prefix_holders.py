"""Who holds which block, seen from both sides: the rows of a block (`Holders`), and the blocks of a row (`RowBlocks`).

`Holders` keeps one bit mask of rows per block hash, so that one walk of a chain serves all pods at once:

    alive = candidates;  at block i:  still = alive & mask[h_i];  rows of alive ^ still matched i blocks

A row that holds a block holds its parents, so that masks only lose rows along a chain: where they do is bisected.
Neighbours in a chain mostly have the same holders and share one mask object: a held block costs its dict entry.
The dict is split into shards, because a dict that outgrows its table moves all entries at once: half a second for two
million.

`RowBlocks` keeps a row's blocks in order of use. A chain is touched leaf first and root last, so that a block always
stands before its parent: whatever is dropped from the front, parents outlive their children, as they do in an engine.
A block is speculative while only requests still under way speak for it; each of these has a claim on it. All that is
known of a block is one integer, so that to use it, and to claim it or end a claim meanwhile, is one write:

    claims << 32 | speculative << 31 | tokens

Claims on a block that is forgotten are kept beside, for the case that it comes back before they end.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routing.pods.columns import IntColumn
    from routing.prefix.prefix_keys import PrefixKeys


_SHARDS = 200
# As many models find what is known of their rows. A table that changes, or a client's filter, brings new ones.
_MAX_FEW = 256


class Matched(msgspec.Struct, frozen=True, gc=False):
    """What few rows hold of a prompt."""

    tokens: list[float]
    """Of each row."""
    best_tokens: float
    holders: int
    """How many rows hold that much; 1 when nobody holds anything."""


class _Few(msgspec.Struct, frozen=True):
    """Rows that were asked for, which nobody changes: that they are held here makes their `id` theirs alone."""

    rows: IntColumn
    bits: list[int]
    mask: int


class Holders:
    """Block hash -> mask of the rows that hold it; no hash is kept without a holder."""

    __slots__ = ("_few", "_mask", "_rows", "_shards", "_width_bytes")

    def __init__(self) -> None:
        self._shards: list[dict[int, int]] = [{} for _ in range(_SHARDS)]
        # Of the rows that were asked for last: mostly the same object, as the pods of a model seldom change.
        self._rows: IntColumn | None = None
        self._mask = self._width_bytes = 0
        self._few: dict[int, _Few] = {}

    def add(self, bit: int, hashes: Iterable[int]) -> None:
        """The row of `bit` holds these blocks now."""
        shards = self._shards
        before, after = 0, bit
        for block in hashes:
            masks = shards[block % _SHARDS]
            mask = masks.get(block, 0)
            if mask != before:
                before, after = mask, mask | bit
            masks[block] = after

    def remove(self, bit: int, hashes: Iterable[int]) -> None:
        """The row of `bit`, which held these blocks, does so no longer."""
        shards = self._shards
        before, after = bit, 0
        for block in hashes:
            masks = shards[block % _SHARDS]
            mask = masks[block]
            if mask != before:
                before, after = mask, mask ^ bit
            if after:
                masks[block] = after
            else:
                del masks[block]

    def matched(self, hashes: Sequence[int], rows: IntColumn) -> IntColumn:
        """For every row, how many leading blocks of the chain it holds."""
        if not hashes or not len(rows):
            return np.zeros(len(rows), dtype=np.int64)
        if self._rows is not rows:
            self._rows, self._width_bytes = rows, int(rows.max()) // 8 + 1
            self._mask = _mask(rows, self._width_bytes)
        width_bytes = self._width_bytes
        depths, masks = self._walk(hashes, self._mask)
        if len(masks) == 1:
            return np.full(len(rows), depths[0])
        lost = np.frombuffer(b"".join(mask.to_bytes(width_bytes, "little") for mask in masks), dtype=np.uint8)
        bits = np.unpackbits(lost.reshape(len(masks), width_bytes), axis=1, bitorder="little")
        matched: IntColumn = np.array(depths, dtype=np.int64) @ bits[:, rows]
        return matched

    def matched_tokens(self, hashes: Sequence[int], tokens: Sequence[float], rows: IntColumn) -> Matched:
        """The tokens of the blocks that `matched` counts, for few rows: without numpy, which is slow for few.

        Item i of `tokens` is the sum up to and with block i.
        """
        few = self._few.get(id(rows))
        if few is None or few.rows is not rows:
            few = self._remember(rows)
        matched = [0.0] * len(few.bits)
        depth, alive = 0, few.mask
        best_tokens, holders = 0.0, 1
        while alive:
            depth, left = self._together(hashes, alive, depth)
            if depth:
                best_tokens, holders = tokens[depth - 1], alive.bit_count()
                for position, bit in enumerate(few.bits):
                    if alive & bit:
                        matched[position] = best_tokens
            depth, alive = depth + 1, left
        return Matched(matched, best_tokens, holders)

    def _remember(self, rows: IntColumn) -> _Few:
        if len(self._few) >= _MAX_FEW:
            self._few.clear()
        bits = [1 << row for row in rows.tolist()]
        self._few[id(rows)] = few = _Few(rows, bits, sum(bits))
        return few

    def _walk(self, hashes: Sequence[int], alive: int) -> tuple[list[int], list[int]]:
        """Depths, and which rows got exactly so far: every row is in one of the masks."""
        depths: list[int] = []
        masks: list[int] = []
        depth = 0
        while alive:
            depth, left = self._together(hashes, alive, depth)
            depths.append(depth)
            masks.append(alive ^ left)
            depth, alive = depth + 1, left
        return depths, masks

    def _together(self, hashes: Sequence[int], alive: int, depth: int) -> tuple[int, int]:
        """How many blocks all of these rows hold, at least `depth`, and which of them hold one more.

        Steps that double find the end of a long chain after few blocks, and that of a short one as soon as any.
        """
        shards, end = self._shards, len(hashes)
        step, lost, left = 1, end + 1, 0
        while depth + 1 < lost:
            at = depth + step if depth + step < end else end  # noqa: FURB136 - min() takes four times as long
            block = hashes[at - 1]
            still = alive & shards[block % _SHARDS].get(block, 0)
            if still == alive:
                depth = at
            else:
                lost, left = at, still
            step = 2 * step if lost > end else (lost - depth) // 2
        return depth, left

    def __len__(self) -> int:
        return sum(map(len, self._shards))


def _mask(rows: IntColumn, width_bytes: int) -> int:
    flags = np.zeros(width_bytes * 8, dtype=np.uint8)
    flags[rows] = 1
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


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
