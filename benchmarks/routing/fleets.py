"""The pods that workloads meet, by name."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.routing.workloads import BLOCK_TOKENS
from simulator import EngineConfig
from simulator.cards import profile

Fleet = tuple[EngineConfig, ...]
_MIXED = ("A10", "L40S", "A100", "H100")


def fleet(name: str, count: int) -> Fleet:
    """So many pods; their blocks are those of the workloads. Raises KeyError for an unknown name."""
    if name == "mixed":
        return tuple(_blocks(profile(_MIXED[number % 4], "8B"), number) for number in range(count))
    return tuple(_blocks(_KINDS[name], number) for number in range(count))


def _blocks(config: EngineConfig, seed: int) -> EngineConfig:
    """The same memory in blocks of 512 tokens, and no context too long for it."""
    tokens = config.num_blocks * config.block_tokens
    blocks = tokens // BLOCK_TOKENS
    return replace(config, block_tokens=BLOCK_TOKENS, num_blocks=blocks, max_model_len=blocks * BLOCK_TOKENS, seed=seed)


def _default(blocks: int = 512, **fields: float) -> EngineConfig:
    """The simulator's plain engine, with so many blocks of 512 tokens."""
    return replace(EngineConfig(), num_blocks=blocks * BLOCK_TOKENS // 16, **fields)  # type: ignore[arg-type]


_KINDS: dict[str, EngineConfig] = {
    "default": _default(),
    "small": _default(160),
    "lora": _default(max_loras=4, lora_load_seconds=0.3),
    "seqs-32": _default(max_num_seqs=32),
    "chunk-512": _default(max_batched_tokens=512),
    "h100-8b": profile("H100", "8B"),
    "h100-70b-tp4": profile("H100", "70B", cards=4),
    "h100-moe": profile("H100", "30B-A3B"),
}
