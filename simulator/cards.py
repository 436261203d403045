"""Engines of real cards and models, from data sheets, as `../docs/simulator.md` derives and checks them.

    prefill a token   = 2 * active weights / (0.5 * FLOPS)             half of the dense BF16 FLOPS of the sheet
    prefill a pair    = 4 * layers * heads * head size / (0.5 * FLOPS)  attention: scores and values
    decode base       = weights / (0.75 * bandwidth) + 1 ms            three quarters of the sheet's bandwidth
    decode a context token = KV bytes / (0.75 * bandwidth)
    decode a sequence = 30 us                                          sampling and the host's part
    KV tokens         = (0.9 * memory - weights - 3 GiB a card) / KV bytes

Cards of one engine (tensor parallel) share all of it evenly, at 95 % for each doubling of prefill.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from simulator.config import EngineConfig

_FLOPS_SHARE, _BANDWIDTH_SHARE = 0.5, 0.75
_PARALLEL = 0.95
_STEP_SECONDS, _SEQUENCE_SECONDS = 0.001, 0.00003
_RESERVED_BYTES = 3 * 1024**3
_USED_MEMORY = 0.9
_BYTES = 2
_LARGE_BYTES = 70 * 1024**3
_BLOCK_TOKENS = 16


@dataclass(frozen=True, slots=True)
class Card:
    """Of a data sheet: dense BF16 FLOPS, bytes a second, bytes."""

    flops: float
    bandwidth: float
    memory: float


@dataclass(frozen=True, slots=True)
class Weights:
    """A model in BF16: parameters, those that a token meets, and the shape of its attention."""

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
    def kv_bytes(self) -> int:
        """Of one token: keys and values."""
        return 2 * self.layers * self.kv_heads * self.head_size * _BYTES


_GIB = 1024**3
CARDS: dict[str, Card] = {
    "A10": Card(125e12, 0.6e12, 24 * _GIB),
    "L40S": Card(362e12, 0.864e12, 48 * _GIB),
    "A100": Card(312e12, 2.039e12, 80 * _GIB),
    "H100": Card(989e12, 3.35e12, 80 * _GIB),
    "H200": Card(989e12, 4.8e12, 141 * _GIB),
    "MI300X": Card(1307e12, 5.3e12, 192 * _GIB),
}
MODELS: dict[str, Weights] = {
    "8B": Weights(8.03e9, 8.03e9, 32, 32, 8, 128),
    "32B": Weights(32.8e9, 32.8e9, 64, 64, 8, 128),
    "70B": Weights(70.6e9, 70.6e9, 80, 64, 8, 128),
    "30B-A3B": Weights(30.5e9, 3.3e9, 48, 32, 4, 128, expert_parameters=29.0e9, expert_share=8 / 128),
}


def profile(card: str, model: str, cards: int = 1) -> EngineConfig:
    """The engine of a model on so many cards, by their names in the tables; raises KeyError, and ValueError for a model
    that they cannot hold.
    """
    sheet, weights = CARDS[card], MODELS[model]
    flops = cards * _FLOPS_SHARE * sheet.flops * _PARALLEL ** log2(cards)
    bandwidth = cards * _BANDWIDTH_SHARE * sheet.bandwidth
    kv_tokens = _kv_tokens(sheet, weights, cards)
    is_large = sheet.memory >= _LARGE_BYTES and card != "A100"
    return EngineConfig(
        decode_base_seconds=_STEP_SECONDS + _BYTES * (weights.parameters - weights.expert_parameters) / bandwidth,
        decode_seconds_per_sequence=_SEQUENCE_SECONDS,
        decode_seconds_per_context_token=weights.kv_bytes / bandwidth,
        prefill_seconds_per_token=2 * weights.active / flops,
        prefill_seconds_per_pair=4 * weights.layers * weights.heads * weights.head_size / flops,
        experts_seconds=_BYTES * weights.expert_parameters / bandwidth,
        expert_share=weights.expert_share,
        # vLLM's own defaults, by the card's memory.
        max_batched_tokens=8192 if is_large else 2048,
        max_num_seqs=1024 if is_large else 256,
        max_model_len=min(131_072, kv_tokens),
        num_blocks=kv_tokens // _BLOCK_TOKENS,
    )


def _kv_tokens(sheet: Card, weights: Weights, cards: int) -> int:
    free_bytes = cards * (_USED_MEMORY * sheet.memory - _RESERVED_BYTES) - _BYTES * weights.parameters
    tokens = int(free_bytes / weights.kv_bytes) // _BLOCK_TOKENS * _BLOCK_TOKENS
    if tokens <= 0:
        raise ValueError("the cards cannot hold the model")
    return tokens
