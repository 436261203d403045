"""The engine that leaps over decoding steps, against the one that takes each, and against the formulas."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean, stdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import Engine, EngineConfig, EngineRequest, LeapingEngine, Sequence, SequenceState

# Small enough that waiting, eviction, preemption and full batches are common.
CRAMPED = EngineConfig(
    num_blocks=24,
    block_tokens=8,
    max_model_len=160,
    max_num_seqs=4,
    max_batched_tokens=32,
    max_loras=1,
    decode_seconds_per_context_token=0.00001,
    prefill_seconds_per_pair=0.000002,
    experts_seconds=0.004,
    expert_share=0.1,
    lora_load_seconds=0.02,
    jitter=0.0,
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


def outcome(
    engine: Engine | LeapingEngine, drawn: Drawn, abort_every: int = 0
) -> tuple[list[Any], dict[str, Any], int]:
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
        (
            s.scheduled_at or -1.0,
            s.first_token_at or -1.0,
            # Of those that were aborted nobody hears when the last token was.
            s.last_token_at if s.first_token_at and s.generated_tokens == s.request.output_tokens else -1.0,
            s.generated_tokens,
            s.cached_tokens,
            s.preemptions,
        )
        for s in sequences
    ]
    return times, {name: _told(name, counter) for name, counter in vars(engine.counters).items()}, wakes


def _told(name: str, counter: Any) -> Any:
    """A leap's steps are all counted as long as their mean."""
    if not hasattr(counter, "counts"):
        return counter
    return (counter.count, pytest.approx(counter.sum)) if name.startswith("inter_token") else counter.counts


@settings(max_examples=200, deadline=None)
@given(drawn=REQUESTS, abort_every=st.sampled_from([0, 0, 3]))
def test_leaps_end_where_steps_do(drawn: Drawn, abort_every: int):
    times, counters, _ = outcome(Engine(CRAMPED), drawn, abort_every)
    leaping_times, leaping_counters, _ = outcome(LeapingEngine(CRAMPED), drawn, abort_every)
    assert len(leaping_times) == len(times)
    for leaping, stepping in zip(leaping_times, times, strict=True):
        assert leaping == pytest.approx(stepping, rel=1e-9)
    for name, value in counters.items():
        assert leaping_counters[name] == value, name


def test_jitter_of_a_leap_is_as_wide_as_that_of_its_steps():
    def ends(engine: type[Engine | LeapingEngine]) -> list[float]:
        config = EngineConfig(jitter=0.2, block_tokens=512, num_blocks=512)
        found = []
        for seed in range(300):
            times, _, _ = outcome(engine(replace(config, seed=seed)), [(0.0, 100, 200, "a", None)])
            found.append(times[0][2])
        return found

    stepping, leaping = ends(Engine), ends(LeapingEngine)
    assert mean(leaping) == pytest.approx(mean(stepping), rel=0.01)
    assert stdev(leaping) == pytest.approx(stdev(stepping), rel=0.25)


def test_a_leap_costs_one_event_whatever_its_length():
    config = EngineConfig(block_tokens=512, num_blocks=512, jitter=0.0)
    drawn: Drawn = [(0.05, 1000, 400, name, None) for name in "abcdefgh"]
    steps, leaps = (outcome(engine(config), drawn) for engine in (Engine, LeapingEngine))
    assert leaps[2] < steps[2] / 8


def test_the_formulas_hold_for_leaps():
    engine = LeapingEngine(EngineConfig(jitter=0.0, block_tokens=512, num_blocks=512))
    sequences = [
        engine.submit(EngineRequest(prompt_tokens=600, output_tokens=101, block_hashes=()), now=5.0) for _ in range(3)
    ]
    while (at := engine.next_event_time()) is not None:
        engine.advance(at)
    assert not engine.running
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
    assert not engine.running
