"""Engines of real cards and models, from data sheets and four constants; `docs/simulator.md` says how well they fit.

    a token           = 2 * active weights / (0.55 * FLOPS), of a prompt or of an answer
    a pair of tokens  = 4 * layers * heads * head size / (0.55 * FLOPS of BF16)      attention: scores and values
    a decode step     = weights / (0.85 * bandwidth) + 0.3 ms + 2 * layers * 15 us where cards work together
    a context token   = KV bytes / (0.85 * bandwidth)
    KV tokens         = (0.9 * memory - weights - 3 GiB a card) / KV bytes

Cards of one engine (tensor parallel) share all of it evenly, prefill at 95 % for each doubling. FP8 means weights and
KV of one byte, and the sheet's FP8 FLOPS. Of a mixture's experts a small batch reads those that it meets.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from simulator.config import EngineConfig

_FLOPS_SHARE, _BANDWIDTH_SHARE = 0.55, 0.85
_PARALLEL = 0.95
_STEP_SECONDS, _ALL_REDUCE_SECONDS = 0.0003, 0.000015
_RESERVED_BYTES = 3 * 1024**3
_LARGE_BYTES = 70 * 1024**3
_BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Card:
    """Of a data sheet: dense FLOPS in BF16 and FP8 (0 where it has none), bytes a second, bytes."""

    flops: float
    fp8_flops: float
    bandwidth: float
    memory: float


@dataclass(frozen=True, slots=True)
class Weights:
    """A model: parameters, those that a token meets, and the shape of its attention."""

    parameters: float
    active: float
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    expert_parameters: float = 0.0
    """Of the parameters, those of experts."""
    expert_share: float = 0.0
    """Of the experts, those that a token meets."""

    @property
    def kv_numbers(self) -> int:
        """Of one token: keys and values."""
        return 2 * self.layers * self.kv_heads * self.head_size


_GIB = 1024**3
CARDS: dict[str, Card] = {
    "A10": Card(125e12, 0.0, 0.6e12, 24 * _GIB),
    "L40S": Card(362e12, 733e12, 0.864e12, 48 * _GIB),
    "A100": Card(312e12, 0.0, 2.039e12, 80 * _GIB),
    "A100-40": Card(312e12, 0.0, 1.555e12, 40 * _GIB),
    "H100": Card(989e12, 1979e12, 3.35e12, 80 * _GIB),
    "H200": Card(989e12, 1979e12, 4.8e12, 141 * _GIB),
    "MI300X": Card(1307e12, 2615e12, 5.3e12, 192 * _GIB),
}
MODELS: dict[str, Weights] = {
    "8B": Weights(8.03e9, 8.03e9, 32, 32, 8, 128),
    "32B": Weights(32.8e9, 32.8e9, 64, 64, 8, 128),
    "70B": Weights(70.6e9, 70.6e9, 80, 64, 8, 128),
    "30B-A3B": Weights(30.5e9, 3.3e9, 48, 32, 4, 128, expert_parameters=29.0e9, expert_share=8 / 128),
}


def profile(card: str, model: str, cards: int = 1, *, fp8: bool = False, used_memory: float = 0.9) -> EngineConfig:
    """The engine of a model on so many cards, by their names in the tables.

    Raises KeyError for unknown names, and ValueError for a model that the cards cannot hold, or in FP8 not compute.
    """
    sheet, weights = CARDS[card], MODELS[model]
    if fp8 and not sheet.fp8_flops:
        raise ValueError(f"{card} computes no FP8")
    number_bytes = 1 if fp8 else 2
    share = cards * _FLOPS_SHARE * _PARALLEL ** log2(cards)
    flops = share * (sheet.fp8_flops if fp8 else sheet.flops)
    bandwidth = cards * _BANDWIDTH_SHARE * sheet.bandwidth
    together_seconds = 2 * weights.layers * _ALL_REDUCE_SECONDS if cards > 1 else 0.0
    read_bytes = number_bytes * (weights.parameters - weights.expert_parameters)
    kv_tokens = _kv_tokens(cards * (used_memory * sheet.memory - _RESERVED_BYTES), weights, number_bytes)
    is_large = sheet.memory >= _LARGE_BYTES and card != "A100"
    return EngineConfig(
        decode_base_seconds=_STEP_SECONDS + together_seconds + read_bytes / bandwidth,
        decode_seconds_per_sequence=2 * weights.active / flops,
        decode_seconds_per_context_token=number_bytes * weights.kv_numbers / bandwidth,
        prefill_seconds_per_token=2 * weights.active / flops,
        prefill_seconds_per_pair=4 * weights.layers * weights.heads * weights.head_size / (share * sheet.flops),
        experts_seconds=number_bytes * weights.expert_parameters / bandwidth,
        expert_share=weights.expert_share,
        # vLLM's own defaults, by the card's memory.
        max_batched_tokens=8192 if is_large else 2048,
        max_num_seqs=1024 if is_large else 256,
        max_model_len=min(131_072, kv_tokens),
        num_blocks=kv_tokens // _BLOCK_TOKENS,
    )


def _kv_tokens(memory_bytes: float, weights: Weights, number_bytes: int) -> int:
    free_bytes = memory_bytes - number_bytes * weights.parameters
    tokens = int(free_bytes / (number_bytes * weights.kv_numbers)) // _BLOCK_TOKENS * _BLOCK_TOKENS
    if tokens <= 0:
        raise ValueError("the cards cannot hold the model")
    return tokens
