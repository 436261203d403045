"""Names for the beginnings of a prompt: one hash per block, each standing for all bytes up to the block's end.

    h[-1] = H(model, adapter, cache_salt)        h[i] = H(block i, seed h[i-1])        H = XXH3, 64 bits

The same bytes give the same hashes in every process. Where a block ends depends on its offset alone, so that prompts
that begin alike share their first hashes however they go on. Blocks grow with the offset: 64 of 256 bytes (64 tokens
each), 64 of 512, and so on. What lies behind the last complete block is not named.

Of each h[i] the upper 60 bits are given, which CPython stores in 32 bytes instead of 48. Among two million blocks, the
probability that any two share a name is 2 in a million.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import msgspec
from xxhash import xxh3_64_intdigest

BYTES_PER_TOKEN = 4
"""Of JSON text in the engines' usual vocabularies, roughly."""
FIRST_BLOCK_BYTES = 256
BLOCKS_PER_SIZE = 64
MAX_BLOCKS = 512
"""The first 4,080 KiB of a prompt, about a million tokens."""

_BLOCK_ENDS = tuple(accumulate(FIRST_BLOCK_BYTES << i // BLOCKS_PER_SIZE for i in range(MAX_BLOCKS)))
MAX_KEY_BYTES = _BLOCK_ENDS[-1]
"""What lies behind is not named."""
_BLOCKS = tuple(map(slice, (0, *_BLOCK_ENDS), _BLOCK_ENDS))
_TOKENS = tuple(end / BYTES_PER_TOKEN for end in _BLOCK_ENDS)


class PrefixKeys(msgspec.Struct, frozen=True, gc=False):
    """The complete blocks of one prompt, root first."""

    hashes: tuple[int, ...]
    tokens: tuple[float, ...]
    """Estimated tokens of the prompt up to and including each block."""


def keys_of(hashes: tuple[int, ...]) -> PrefixKeys:
    """The keys of a prompt whose hashes somebody else has computed; raises ValueError for what no prompt has."""
    if not 0 < len(hashes) <= MAX_BLOCKS or any(block >> 60 for block in hashes):
        raise ValueError("not the blocks of a prompt")
    return PrefixKeys(hashes, _TOKENS[: len(hashes)])


def prefix_seed(model: str, adapter: str = "", cache_salt: str = "") -> int:
    """Where a chain begins: prompts share cached blocks only when all three are equal."""
    parts = [part.encode("utf-8", "surrogatepass") for part in (model, adapter, cache_salt)]
    return xxh3_64_intdigest(b"".join(len(part).to_bytes(8, "little") + part for part in parts))


def prefix_keys(seed: int, key: bytes) -> PrefixKeys:
    """The chain of a prompt; empty for prompts shorter than one block."""
    count = bisect_right(_BLOCK_ENDS, len(key))
    hashes = []
    for block in _BLOCKS[:count]:
        seed = xxh3_64_intdigest(key[block], seed)
        hashes.append(seed >> 4)
    return PrefixKeys(tuple(hashes), _TOKENS[:count])
