"""The blocks of a prompt: what each is called, and which rows hold it.

Names: one hash per block, each standing for all bytes up to the block's end.

    h[-1] = H(model, adapter, cache_salt)        h[i] = H(block i, seed h[i-1])        H = XXH3, 64 bits

The same bytes give the same hashes in every process. Where a block ends depends on its offset alone, so that prompts
that begin alike share their first hashes however they go on. Blocks grow with the offset: 16 of 256 bytes (64 tokens
each), 16 of 512, and so on, so that what lies behind the last complete block, and is not named, is at most an eighth of
the prompt, and a block costs its booking (1 us) seldom enough: 16 KiB are 36 blocks, 64 KiB 65.

Of each h[i] the upper 60 bits are given, which CPython stores in 32 bytes instead of 48. Among two million blocks, the
probability that any two share a name is 2 in a million.

Holders: one bit mask of rows per block hash, so that one walk of a chain serves all pods at once.

    alive = candidates;  at block i:  still = alive & mask[h_i];  rows of alive ^ still matched i blocks

A row that holds a block holds its parents, so that masks only lose rows along a chain: where they do is bisected.
Neighbours in a chain mostly have the same holders and share one mask object: a held block costs its dict entry.
The dict is split into shards, because a dict that outgrows its table moves all entries at once: half a second for two
million.

Tokens: how many tokens a prompt will have, by its bytes: four a token, set right by what engines said of earlier ones.

    tokens = bytes / 4 * ratio,    ratio = (P + sum of real tokens) / (P + sum of bytes / 4),    P = 4,000 tokens

one ratio for each model and kind of text, over its last fifty prompts or so. English needs about what is assumed, but
Chinese has three bytes a character and less than a token, or six bytes where the client escapes it: half and double.
A ratio is rounded to 2 %, so that the ends of a prompt's blocks in tokens are a table made once.

A client can move the ratio of the model that it asks for, and only by what it truly sends: a prompt counts with 8,000
tokens at most, a ratio is bounded, and what differs from its bytes more than any text does (pictures, mistakes) is left
out. Replicas learn alone.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from math import log2
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from xxhash import xxh3_64_intdigest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from routing.pods.columns import IntColumn


BYTES_PER_TOKEN = 4
"""Of JSON text in the engines' usual vocabularies, roughly."""
FIRST_BLOCK_BYTES = 256
"""64 tokens: a few cache blocks of an engine."""
BLOCKS_PER_SIZE = 16
"""Then blocks are twice as long."""
MAX_BLOCKS = 160
"""The first 4,092 KiB of a prompt, about a million tokens."""

_BLOCK_ENDS = tuple(accumulate(FIRST_BLOCK_BYTES << i // BLOCKS_PER_SIZE for i in range(MAX_BLOCKS)))
MAX_KEY_BYTES = _BLOCK_ENDS[-1]
"""What lies behind is not named."""
_BLOCKS = tuple(map(slice, (0, *_BLOCK_ENDS), _BLOCK_ENDS))
BLOCK_TOKENS = tuple(end / BYTES_PER_TOKEN for end in _BLOCK_ENDS)
"""Of a prompt up to and including each of its blocks, by its bytes alone."""


class PrefixKeys(msgspec.Struct, frozen=True, gc=False):
    """The complete blocks of one prompt, root first."""

    hashes: tuple[int, ...]
    tokens: tuple[float, ...]
    """Estimated tokens of the prompt up to and including each block."""


def keys_of(hashes: tuple[int, ...]) -> PrefixKeys:
    """The keys of a prompt whose hashes somebody else has computed; raises ValueError for what no prompt has."""
    if not 0 < len(hashes) <= MAX_BLOCKS or any(block >> 60 for block in hashes):
        raise ValueError("not the blocks of a prompt")
    return PrefixKeys(hashes, BLOCK_TOKENS[: len(hashes)])


def prefix_seed(model: str, adapter: str = "", cache_salt: str = "") -> int:
    """Where a chain begins: prompts share cached blocks only when all three are equal."""
    parts = [part.encode("utf-8", "surrogatepass") for part in (model, adapter, cache_salt)]
    return xxh3_64_intdigest(b"".join(len(part).to_bytes(8, "little") + part for part in parts))


def prefix_keys(seed: int, key: bytes, block_tokens: Sequence[float] = BLOCK_TOKENS) -> PrefixKeys:
    """The chain of a prompt, of so many tokens up to each block; empty for prompts shorter than one block."""
    count = bisect_right(_BLOCK_ENDS, len(key))
    hashes = []
    for block in _BLOCKS[:count]:
        seed = xxh3_64_intdigest(key[block], seed)
        hashes.append(seed >> 4)
    return PrefixKeys(tuple(hashes), tuple(block_tokens[:count]))


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


LEAST_RATIO, MOST_RATIO = 0.2, 4.0
"""Escapes alone are 0.2 of what their bytes say; 4 is a token a byte."""
# Two prompts of usual length say that bytes are right.
_PRIOR_TOKENS = 4000.0
# One long prompt must not speak louder than several usual ones.
_MOST_TOKENS = 8000.0
# The last fifty prompts make up 63 % of what is known.
_KEPT = 0.98
# What lies beyond has other parts than text.
_OUTLIER = 8.0
# Steps of 2 %: finer than anybody can tell, and 140 tables in all.
_STEPS_PER_OCTAVE = 32
_HALF_STEP = 2.0 ** (0.5 / _STEPS_PER_OCTAVE)
_MAX_MODELS = 4096
"""Those that were asked for last are learned anew: more than any deployment serves."""

# Of a prompt, its end tells the kind: there stands what was written last. To look through that takes a microsecond.
_SAMPLE_BYTES = 1024
_BACKSLASH, _ESCAPE, _ESCAPE_BYTES = b"\\", b"\\u", 6
_ESCAPED_SHARE = 0.25
# Characters a byte: accents among ASCII, scripts of two bytes a letter with spaces between words, scripts of three.
_FEW, _TWO_BYTES = 0.85, 0.48
KINDS = ("ascii", "accents", "two bytes", "three bytes", "escaped")


def kind_of(text: bytes) -> int:
    """Which of `KINDS` a prompt is: what its tokens are likely to be over its bytes."""
    sample = text[-_SAMPLE_BYTES:]
    if sample.isascii():
        if _BACKSLASH not in sample:  # a tenth of the time that it takes to count
            return 0
        return 4 if sample.count(_ESCAPE) * _ESCAPE_BYTES > _ESCAPED_SHARE * len(sample) else 0
    density = len(sample.decode("utf-8", "ignore")) / len(sample)
    return 1 if density >= _FEW else 2 if density >= _TWO_BYTES else 3


class TokenRatio(msgspec.Struct, gc=False):
    """What is known of one model and kind of text."""

    ratio: float = 1.0
    """Tokens over a quarter of the bytes."""
    block_tokens: Sequence[float] = BLOCK_TOKENS
    """Of a prompt up to and including each of its blocks."""
    real_tokens: float = 0.0
    plain_tokens: float = 0.0
    least: float = 1.0
    most: float = 1.0
    """Between them `ratio` stays as it is."""

    def observe(self, plain_tokens: float, real_tokens: float) -> None:
        """A prompt of so many quarters of bytes had so many tokens."""
        if not plain_tokens / _OUTLIER <= real_tokens <= plain_tokens * _OUTLIER or plain_tokens <= 0.0:
            return
        weight = min(1.0, _MOST_TOKENS / plain_tokens)
        self.real_tokens = self.real_tokens * _KEPT + weight * real_tokens
        self.plain_tokens = self.plain_tokens * _KEPT + weight * plain_tokens
        ratio = (_PRIOR_TOKENS + self.real_tokens) / (_PRIOR_TOKENS + self.plain_tokens)
        if self.least < ratio < self.most:
            return  # most prompts move it by less than a step
        step = round(log2(min(max(ratio, LEAST_RATIO), MOST_RATIO)) * _STEPS_PER_OCTAVE)
        self.ratio, self.block_tokens = _of_step(step)
        self.least, self.most = self.ratio / _HALF_STEP, self.ratio * _HALF_STEP


@lru_cache(maxsize=256)
def _of_step(step: int) -> tuple[float, Sequence[float]]:
    ratio = 2.0 ** (step / _STEPS_PER_OCTAVE)
    return ratio, tuple(tokens * ratio for tokens in BLOCK_TOKENS)


class PromptEstimates:
    """The ratios of all models."""

    def __init__(self) -> None:
        self._models: dict[str, tuple[TokenRatio, ...]] = {}

    def of(self, model: str, text: bytes) -> TokenRatio:
        """What prompts like this one have."""
        return self.of_kind(model, kind_of(text))

    def of_kind(self, model: str, kind: int) -> TokenRatio:
        """The same, for one of `KINDS`, by its place there."""
        ratios = self._models.get(model)
        if ratios is None:
            if len(self._models) >= _MAX_MODELS:
                self._models.clear()
            ratios = self._models[model] = tuple(TokenRatio() for _ in KINDS)
        return ratios[kind]
