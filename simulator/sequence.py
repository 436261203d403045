"""What the engine works on: a request, the sequence it becomes, and the events that come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal, NamedTuple

from simulator.kv_cache import Allocation

FinishReason = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A prompt, and how much will be answered: the simulation knows its own future."""

    prompt_tokens: int
    output_tokens: int  # 0: prefill only, as for an embedding
    block_hashes: tuple[int, ...] = ()  # of the prompt's full blocks, then of prompt and answer together; may end early
    finish_reason: FinishReason = "stop"
    adapter: str | None = None


class SequenceState(Enum):
    WAITING = "waiting"  # also while on its way to the engine, and after preemption
    RUNNING = "running"
    FINISHED = "finished"


@dataclass(slots=True, eq=False)
class Sequence:
    """A request inside the engine. Times are None until they have happened."""

    request: EngineRequest
    arrived_at: float
    ready_at: float
    state: SequenceState = SequenceState.WAITING
    allocation: Allocation = field(default_factory=Allocation)
    computed_tokens: int = 0  # with KV in memory by the end of the current step
    prefill_target: int = 0  # prompt, and after a preemption also what had been generated
    generated_tokens: int = 0
    cached_tokens: int = 0  # prompt tokens found in the cache at first admission
    scheduled_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    preemptions: int = 0

    @property
    def known_tokens(self) -> int:
        return self.request.prompt_tokens + self.generated_tokens

    @property
    def is_prefilling(self) -> bool:
        return self.computed_tokens < self.prefill_target


class TokenEvent(NamedTuple):
    """The `number`-th token of a sequence (from 1; 0 ends a prefill-only one); the last carries the reason."""

    sequence: Sequence
    number: int
    at_seconds: float
    finish_reason: FinishReason | None
