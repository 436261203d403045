"""What a simulated pod is, and how fast its engine works.

The defaults describe an 8B model on one A100-like card without the price of long contexts, so that numbers are easily
worked by hand; real cards and models stand in `simulator.cards`. Durations are seconds of the clock the engine is
driven with; `EngineConfig.at_speed` divides them all, so that a demo or a test can run faster than real time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

MetricsGeneration = Literal["both", "v0", "v1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One step of the engine lasts, with P prompt tokens and B decoding sequences in it,

        decode_base + experts * (1 - (1 - expert_share) ^ (P + B)) + decode_per_sequence * B + decode_per_context * C
        + prefill_per_token * P + prefill_per_pair * sum of p * (before + p / 2) + lora_load * adapters loaded

    C is the sum of the decoding sequences' contexts, p a chunk's tokens, before what its sequence had computed before.
    """

    decode_base_seconds: float = 0.006  # a step reads all weights once, whatever the batch
    decode_seconds_per_sequence: float = 0.00035  # 256 sequences then see 96 ms between tokens
    decode_seconds_per_context_token: float = 0.0  # attention reads the KV of all that came before
    prefill_seconds_per_token: float = 0.000125  # 8,000 uncached prompt tokens a second
    prefill_seconds_per_pair: float = 0.0  # attention of a prompt's token to one before it
    experts_seconds: float = 0.0  # reading all experts of a mixture; a small batch reads those it meets
    expert_share: float = 0.0  # of all experts, those that one token meets
    lora_load_seconds: float = 0.0  # an adapter comes into a slot; the step waits for it
    prefill_overhead_seconds: float = 0.030  # HTTP, tokenizer, hand-over: delays one request, occupies no step
    max_batched_tokens: int = 2048  # a long prompt then delays the others by 0.26 s a step, not by its whole length
    max_num_seqs: int = 256  # vLLM's own default
    max_model_len: int = 32_768  # takes a 100 KB prompt (25,000 tokens)
    block_tokens: int = 16  # vLLM's own default
    num_blocks: int = 8192  # 131,072 tokens: 16 GiB at 128 KiB a token; small enough that eviction shows in a demo
    max_loras: int = 4  # adapters computed in one batch
    max_loaded_loras: int = 64  # adapters a pod remembers
    output_tokens_min: int = 16  # where the model ends by itself, drawn evenly
    output_tokens_max: int = 128
    jitter: float = 0.05  # standard deviation of a step's duration, as a fraction of it
    startup_seconds: float = 0.0  # every answer is 503 for so long; 0 lets tests begin at once
    seed: int = 0

    def __post_init__(self) -> None:
        if self.num_blocks * self.block_tokens < self.max_model_len:
            raise ValueError("num_blocks * block_tokens must hold one sequence of max_model_len tokens")
        if self.max_batched_tokens <= self.max_num_seqs:
            raise ValueError("max_batched_tokens must exceed max_num_seqs, or prefills would starve")
        if self.max_loras < 1:
            raise ValueError("max_loras must be at least 1, or adapters would wait for ever")

    def step_seconds(
        self,
        prefill_tokens: int,
        decoding_sequences: int,
        context_tokens: int = 0,
        prefill_pairs: float = 0.0,
        adapters_loaded: int = 0,
    ) -> float:
        seconds = (
            self.decode_base_seconds
            + self.decode_seconds_per_sequence * decoding_sequences
            + self.prefill_seconds_per_token * prefill_tokens
            + self.decode_seconds_per_context_token * context_tokens
            + self.prefill_seconds_per_pair * prefill_pairs
            + self.lora_load_seconds * adapters_loaded
        )
        if self.experts_seconds:
            seconds += self.experts_seconds * (1.0 - (1.0 - self.expert_share) ** (prefill_tokens + decoding_sequences))
        return seconds

    def at_speed(self, speed: float) -> EngineConfig:
        """The same engine, `speed` times faster."""
        durations = [field.name for field in fields(self) if "_seconds" in field.name]
        return replace(self, **{name: getattr(self, name) / speed for name in durations})


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPod:
    """Who the pod says it is."""

    name: str
    model: str
    adapters: tuple[str, ...] = ()  # loaded from the start; more come over /v1/load_lora_adapter
    engine: Literal["vllm"] = "vllm"
    metrics_generation: MetricsGeneration = "both"
    speed: float = 1.0  # 10 = ten times faster than real time
