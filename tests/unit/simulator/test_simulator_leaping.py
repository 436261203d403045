"""The engine that leaps over decoding steps, against the one that takes each, and against the formulas."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import Engine, EngineConfig, EngineRequest, LeapingEngine, Sequence, SequenceState

# Small enough that waiting, eviction, preemption and full batches are common.
CRAMPED = EngineConfig(
    num_blocks=24, block_tokens=8, max_model_len=160, max_num_seqs=4, max_batched_tokens=32, max_loras=1
)
REQUESTS = st.lists(
    st.tuples(
        st.floats(0.0, 0.3),  # after the one before
        st.integers(1, 80),
        st.integers(0, 60),
        st.sampled_from("ab"),
        st.sampled_from([None, "x", "y"]),
    ),
    max_size=30,
)
Drawn = list[tuple[float, int, int, str, str | None]]


def outcome(engine: Engine, drawn: Drawn, abort_every: int = 0) -> tuple[list[Any], dict[str, Any], int]:
    """All times of all requests, all counters, and how often the engine had to be woken."""
    now, wakes, sequences = 0.0, 0, list[Sequence]()

    def run_until(end: float) -> None:
        nonlocal wakes
        while (at := engine.next_event_time()) is not None and at <= end:
            engine.advance(at)
            wakes += 1
        if end < float("inf"):
            engine.advance(end)

    for number, (after, prompt, output, prefix, adapter) in enumerate(drawn):
        now += after
        run_until(now)
        hashes = tuple(hash((prefix, index)) for index in range((prompt + output) // engine.config.block_tokens))
        request = EngineRequest(prompt_tokens=prompt, output_tokens=output, block_hashes=hashes, adapter=adapter)
        sequences.append(engine.submit(request, now))
        if abort_every and number % abort_every == 0:
            engine.abort(sequences[number // 2])
    run_until(float("inf"))
    assert all(sequence.state is SequenceState.FINISHED for sequence in sequences)
    times = [
        (s.scheduled_at, s.first_token_at, s.last_token_at, s.generated_tokens, s.cached_tokens, s.preemptions)
        for s in sequences
    ]
    return times, {name: getattr(c, "counts", c) for name, c in vars(engine.counters).items()}, wakes


@settings(max_examples=150, deadline=None)
@given(drawn=REQUESTS, jitter=st.sampled_from([0.0, 0.2]), abort_every=st.sampled_from([0, 0, 3]))
def test_leaps_end_where_steps_do_to_the_last_bit(drawn: Drawn, jitter: float, abort_every: int):
    config = EngineConfig(**{**asdict(CRAMPED), "jitter": jitter})
    times, counters, _ = outcome(Engine(config), drawn, abort_every)
    leaping_times, leaping_counters, _ = outcome(LeapingEngine(config), drawn, abort_every)
    assert leaping_times == times
    assert leaping_counters == counters


def test_a_leap_costs_one_event_whatever_its_length():
    config = EngineConfig(block_tokens=512, num_blocks=512)
    drawn: Drawn = [(0.05, 1000, 400, name, None) for name in "abcdefgh"]
    steps, leaps = (outcome(engine(config), drawn) for engine in (Engine, LeapingEngine))
    assert leaps[0] == steps[0]
    assert leaps[2] < steps[2] / 8


def test_the_formulas_hold_for_leaps():
    engine = LeapingEngine(EngineConfig(jitter=0.0, block_tokens=512, num_blocks=512))
    sequences = [
        engine.submit(EngineRequest(prompt_tokens=600, output_tokens=101, block_hashes=()), now=5.0) for _ in range(3)
    ]
    while (at := engine.next_event_time()) is not None:
        engine.advance(at)
    first_token_at = 5.0 + 0.030 + 0.006 + 1800 * 0.000125
    for sequence in sequences:
        assert sequence.first_token_at == pytest.approx(first_token_at)
        assert sequence.last_token_at == pytest.approx(first_token_at + 100 * (0.006 + 3 * 0.00035))


def test_a_long_prompt_amid_a_leap_waits_for_the_step_under_way_only():
    engine = LeapingEngine(EngineConfig(jitter=0.0, block_tokens=512, num_blocks=512))
    engine.submit(EngineRequest(prompt_tokens=16, output_tokens=400), now=0.0)
    engine.advance(0.5)
    late = engine.submit(EngineRequest(prompt_tokens=1000, output_tokens=2), now=0.5)
    engine.advance(3.0)
    assert late.scheduled_at is not None
    assert 0.530 <= late.scheduled_at <= 0.530 + 0.00635
    assert engine.running == []
