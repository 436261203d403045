"""What a card can do of each kind of request, computed from the simulator's engine: no GPU, and no measurement.

Of requests of P prompt tokens and O output tokens, with B of them in a batch, one engine finishes

    1 / (prefill(P) + O * step(B) / B)   a second,

`step(B)` with the contexts of all B. B is the largest with which a step, and the prefill that now and then delays it,
keep the time between tokens, and whose KV fits; 0 requests a second where an idle engine's first token is too late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestration.optimizer.gpu_profiles import GpuProfile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestration.optimizer.request_cells import Cell
    from simulator.config import EngineConfig


@dataclass(frozen=True, slots=True)
class LatencyTarget:
    """What users shall see."""

    ttft_seconds: float = 2.0
    tpot_seconds: float = 0.1


_QUEUE_SHARE = 0.5
"""Of the time to the first token, for the prompt itself: the other half is waiting."""


def computed_profile(
    name: str, gpu: str, cost: float, engine: EngineConfig, cells: Iterable[Cell], target: LatencyTarget
) -> GpuProfile:
    return GpuProfile(
        name, gpu, cost, {cell: engine_rate(engine, 2 ** cell[0], 2 ** cell[1], target) for cell in cells}
    )


def engine_rate(engine: EngineConfig, prompt_tokens: int, output_tokens: int, target: LatencyTarget) -> float:
    """Requests a second; 0 where the engine cannot keep the target at all."""
    length = prompt_tokens + output_tokens
    if length > engine.max_model_len:
        return 0.0
    pairs = prompt_tokens * prompt_tokens / 2
    prefill = engine.prefill_seconds_per_token * prompt_tokens + engine.prefill_seconds_per_pair * pairs
    first = engine.prefill_overhead_seconds + prefill + engine.decode_base_seconds
    if first > target.ttft_seconds * _QUEUE_SHARE:
        return 0.0
    most = min(engine.max_num_seqs, engine.num_blocks * engine.block_tokens // length)
    best = 0.0
    low, high = 1, most
    while low <= high:  # a larger batch is slower for each and faster for all
        batch = (low + high) // 2
        step = engine.step_seconds(0, batch, batch * (prompt_tokens + output_tokens // 2))
        # While one of the batch decodes O tokens, each of the others has been replaced once: B prefills.
        pace = step + batch * prefill / max(1, output_tokens)
        if pace <= target.tpot_seconds or output_tokens <= 1:
            best = 1.0 / (prefill + output_tokens * step / batch)
            low = batch + 1
        else:
            high = batch - 1
    return best
