"""Who holds which block: one bit mask of rows per block hash, so that one walk of a chain serves all pods at once.

    alive = candidates;  at block i:  still = alive & mask[h_i];  rows of alive ^ still matched i blocks

Neighbours in a chain mostly have the same holders and share one mask object: a held block costs its dict entry.
The dict is split into shards, because a dict that outgrows its table moves all entries at once: half a second for two
million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routing.columns import IntColumn

_SHARDS = 200
# As many models find what is known of their rows. A table that changes, or a client's filter, brings new ones.
_MAX_FEW = 256


class _Few(NamedTuple):
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

    def matched_tokens(self, hashes: Sequence[int], tokens: Sequence[float], rows: IntColumn) -> list[float]:
        """For each of few rows, the tokens of the blocks that `matched` counts: without numpy, which is slow for few.

        Item i of `tokens` is the sum up to and with block i.
        """
        few = self._few.get(id(rows))
        if few is None or few.rows is not rows:
            few = self._remember(rows)
        alive, shards = few.mask, self._shards
        matched = [0.0] * len(few.bits)
        for depth, block in enumerate(hashes):
            still = alive & shards[block % _SHARDS].get(block, 0)
            if still != alive:
                if depth:
                    _set(matched, few.bits, alive ^ still, tokens[depth - 1])
                alive = still
                if not alive:
                    return matched
        if alive == few.mask:
            return [tokens[-1]] * len(matched) if hashes else matched
        _set(matched, few.bits, alive, tokens[-1])
        return matched

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
        shards = self._shards
        for depth, block in enumerate(hashes):
            still = alive & shards[block % _SHARDS].get(block, 0)
            if still != alive:
                depths.append(depth)
                masks.append(alive ^ still)
                alive = still
                if not alive:
                    return depths, masks
        return [*depths, len(hashes)], [*masks, alive]

    def __len__(self) -> int:
        return sum(map(len, self._shards))


def _set(matched: list[float], bits: Sequence[int], mask: int, tokens: float) -> None:
    for position, bit in enumerate(bits):
        if mask & bit:
            matched[position] = tokens


def _mask(rows: IntColumn, width_bytes: int) -> int:
    flags = np.zeros(width_bytes * 8, dtype=np.uint8)
    flags[rows] = 1
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")
