"""Simulated vLLM pods: the scheduling of continuous batching, without a model.

Modelled: steps whose length grows with the batch and the prompt tokens in them; chunked prefill; a finite KV cache of
blocks shared by prompt prefix, with eviction, waiting and preemption; adapters limited per batch; vLLM's metrics under
its old and new names; the OpenAI and Anthropic APIs with streams, usage and errors. `Engine` is synchronous and takes
the time as an argument, so benchmarks run it in virtual time; `start` and `run` put it behind HTTP in real time.

Not modelled: meaning (answers are random short words), a real tokenizer (four bytes are a token), sampling parameters,
tool calls and structured output, speculative decoding, tensor or data parallel engines, disaggregated prefill, KV
offloading and KV events, and the bandwidth of attention over long contexts (a decode costs the same at any length).
"""

from simulator.config import EngineConfig, MetricsGeneration, SimulatedPod
from simulator.engine import Engine
from simulator.leaping import LeapingEngine
from simulator.metrics_page import render as render_metrics
from simulator.sequence import EngineRequest, FinishReason, Sequence, SequenceState, TokenEvent
from simulator.server import RunningPod, run, start
from simulator.tokens import block_hashes

__all__ = [
    "Engine",
    "EngineConfig",
    "EngineRequest",
    "FinishReason",
    "LeapingEngine",
    "MetricsGeneration",
    "RunningPod",
    "Sequence",
    "SequenceState",
    "SimulatedPod",
    "TokenEvent",
    "block_hashes",
    "render_metrics",
    "run",
    "start",
]
