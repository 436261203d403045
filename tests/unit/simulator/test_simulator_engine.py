"""The engine in virtual time, against numbers worked by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulator import Engine, EngineConfig, EngineRequest, Sequence, SequenceState, TokenEvent

STEADY = EngineConfig(jitter=0.0)


def request(prompt_tokens: int, output_tokens: int, prefix: str = "", adapter: str | None = None) -> EngineRequest:
    blocks = (prompt_tokens + output_tokens) // 16
    hashes = tuple(hash((prefix, index)) for index in range(blocks)) if prefix else ()
    return EngineRequest(prompt_tokens=prompt_tokens, output_tokens=output_tokens, block_hashes=hashes, adapter=adapter)


def run_until_idle(engine: Engine) -> list[TokenEvent]:
    events: list[TokenEvent] = []
    while (at := engine.next_event_time()) is not None:
        events += engine.advance(at)
    return events


def times(events: list[TokenEvent], sequence: Sequence) -> list[float]:
    return [event.at_seconds for event in events if event.sequence is sequence]


def test_one_request_on_an_idle_engine():
    engine = Engine(STEADY)
    sequence = engine.submit(request(1000, 3), now=10.0)
    assert engine.next_event_time() == pytest.approx(10.030)
    events = run_until_idle(engine)
    # 30 ms overhead + 6 ms + 1000 x 0.125 ms, then two decodes of 6 + 0.35 ms
    assert times(events, sequence) == pytest.approx([10.161, 10.16735, 10.1737])
    assert [event.finish_reason for event in events] == [None, None, "stop"]
    assert [event.number for event in events] == [1, 2, 3]


def test_a_long_prompt_takes_one_base_per_chunk():
    engine = Engine(STEADY)
    sequence = engine.submit(request(5000, 1), now=0.0)
    assert times(run_until_idle(engine), sequence) == pytest.approx([0.030 + 3 * 0.006 + 5000 * 0.000125])


def test_time_between_tokens_grows_with_the_batch():
    engine = Engine(STEADY)
    sequences = [engine.submit(request(16, 3), now=0.0) for _ in range(10)]
    first, second, third = times(run_until_idle(engine), sequences[0])
    assert second - first == pytest.approx(0.006 + 10 * 0.00035)
    assert third - second == pytest.approx(0.006 + 10 * 0.00035)


def test_a_prompt_delays_the_tokens_of_others_by_its_chunk():
    engine = Engine(STEADY)
    old = engine.submit(request(16, 20), now=0.0)
    engine.submit(request(4000, 1), now=0.010)
    gaps = times(run_until_idle(engine), old)
    longest = max(later - earlier for earlier, later in pairwise(gaps))
    assert longest == pytest.approx(0.00635 + 2047 * 0.000125)  # one token of the budget of 2048 is the decode


def test_prefill_only_ends_without_a_token():
    engine = Engine(STEADY)
    engine.submit(request(1000, 0), now=0.0)
    (event,) = run_until_idle(engine)
    assert (event.number, event.finish_reason) == (0, "stop")
    assert event.at_seconds == pytest.approx(0.161)
    assert engine.counters.generation_tokens == 0


def test_late_advance_gives_the_same_times():
    engine = Engine(STEADY)
    sequence = engine.submit(request(1000, 3), now=0.0)
    assert times(engine.advance(99.0), sequence) == pytest.approx([0.161, 0.16735, 0.1737])
    assert engine.next_event_time() is None


def test_cached_prefix_costs_no_prefill():
    engine = Engine(STEADY)
    engine.submit(request(1000, 8, prefix="a"), now=0.0)
    run_until_idle(engine)
    again = engine.submit(request(1000, 8, prefix="a"), now=1.0)
    other = engine.submit(request(1000, 8, prefix="b"), now=2.0)
    events = run_until_idle(engine)
    # 62 full blocks of 16 are reused; 8 tokens are computed
    assert again.cached_tokens == 992
    assert times(events, again)[0] == pytest.approx(1.0 + 0.030 + 0.006 + 8 * 0.000125)
    assert other.cached_tokens == 0
    assert engine.counters.prefix_cache_queries == 3000
    assert engine.counters.prefix_cache_hits == 992


def test_the_last_prompt_token_is_always_computed():
    engine = Engine(STEADY)
    engine.submit(request(64, 1, prefix="a"), now=0.0)
    run_until_idle(engine)
    again = engine.submit(request(64, 1, prefix="a"), now=1.0)
    run_until_idle(engine)
    assert again.cached_tokens == 48


def test_an_answer_is_cached_for_the_next_turn():
    engine = Engine(STEADY)
    engine.submit(request(64, 65, prefix="talk"), now=0.0)
    run_until_idle(engine)
    next_turn = engine.submit(request(160, 1, prefix="talk"), now=5.0)
    run_until_idle(engine)
    assert next_turn.cached_tokens == 128


def test_requests_wait_for_blocks_and_are_served_in_order():
    engine = Engine(EngineConfig(jitter=0.0, num_blocks=64, max_model_len=1024))
    first, second, third = (engine.submit(request(400, 100), now=0.0) for _ in range(3))
    engine.advance(0.2)
    assert [s.state for s in (first, second, third)] == [
        SequenceState.RUNNING,
        SequenceState.RUNNING,
        SequenceState.WAITING,
    ]
    assert repr(engine) == "<Engine arriving=0 waiting=1 running=2 blocks=52/64>"
    run_until_idle(engine)
    assert third.scheduled_at == first.last_token_at


def test_at_most_max_num_seqs_run():
    engine = Engine(EngineConfig(jitter=0.0, max_num_seqs=2))
    for _ in range(5):
        engine.submit(request(16, 50), now=0.0)
    engine.advance(0.1)
    assert (len(engine.running), len(engine.waiting)) == (2, 3)


def test_decode_without_a_block_preempts_the_youngest():
    engine = Engine(EngineConfig(jitter=0.0, num_blocks=10, max_model_len=160))
    old = engine.submit(request(64, 40, prefix="old"), now=0.0)
    young = engine.submit(request(64, 40, prefix="young"), now=0.001)
    events = run_until_idle(engine)
    assert old.preemptions == 0
    assert young.preemptions == engine.counters.preemptions == 1
    assert [event.number for event in events if event.sequence is young] == list(range(1, 41))
    assert times(events, old)[-1] < times(events, young)[-1]
    assert engine.counters.time_to_first_token_seconds.count == 2
    assert engine.counters.inter_token_latency_seconds.count == 2 * 39
    assert engine.counters.prefix_cache_queries == 128  # the second admission is not a new lookup


def test_a_preempted_sequence_comes_before_those_that_wait():
    engine = Engine(EngineConfig(jitter=0.0, num_blocks=10, max_model_len=160))
    old, young, last = (engine.submit(request(64, 40), now=0.0) for _ in range(3))
    ends = {event.sequence: event.at_seconds for event in run_until_idle(engine)}
    assert young.preemptions > 0
    assert last.scheduled_at == ends[old]  # its four blocks were free before, but it was not its turn


def test_abort_frees_everything_wherever_the_sequence_is():
    engine = Engine(EngineConfig(jitter=0.0, max_num_seqs=1))
    running = engine.submit(request(3000, 50), now=0.0)
    waiting = engine.submit(request(100, 50), now=0.0)
    engine.advance(0.1)
    arriving = engine.submit(request(100, 50), now=0.1)
    for sequence in (running, waiting, arriving, running):
        engine.abort(sequence)
    assert repr(engine) == "<Engine arriving=0 waiting=0 running=0 blocks=0/8192>"
    assert engine.counters.finished["abort"] == 3
    assert run_until_idle(engine) == []


def test_adapters_beyond_max_loras_wait_and_others_pass_them():
    engine = Engine(EngineConfig(jitter=0.0, max_loras=1))
    first = engine.submit(request(16, 5, adapter="a"), now=0.0)
    second = engine.submit(request(16, 5, adapter="b"), now=0.0)
    base = engine.submit(request(16, 5), now=0.0)
    engine.advance(0.035)
    assert [s.state for s in (first, second, base)] == [
        SequenceState.RUNNING,
        SequenceState.WAITING,
        SequenceState.RUNNING,
    ]
    run_until_idle(engine)
    assert second.scheduled_at == first.last_token_at


def test_sequences_that_were_passed_over_keep_their_order():
    engine = Engine(EngineConfig(jitter=0.0, max_loras=1))
    _, *rest = (engine.submit(request(16, 5, adapter=adapter), now=0.0) for adapter in "abc")
    engine.advance(0.030)
    assert list(engine.waiting) == rest


def test_jitter_is_reproducible_by_seed():
    def last_time(seed: int) -> float:
        engine = Engine(EngineConfig(jitter=0.2, seed=seed))
        engine.submit(request(100, 50), now=0.0)
        return run_until_idle(engine)[-1].at_seconds

    assert last_time(1) == last_time(1) != last_time(2)


def test_speed_divides_durations():
    engine = Engine(EngineConfig(jitter=0.0).at_speed(10))
    sequence = engine.submit(request(1000, 1), now=0.0)
    assert times(run_until_idle(engine), sequence) == pytest.approx([0.0161])


@pytest.mark.parametrize(("prompt", "output"), [(0, 1), (32_768, 1), (1, 32_768)])
def test_requests_that_can_never_fit_are_refused(prompt: int, output: int):
    with pytest.raises(ValueError, match="tokens"):
        Engine(STEADY).submit(request(prompt, output), now=0.0)


@pytest.mark.parametrize(("field", "value"), [("num_blocks", 10), ("max_batched_tokens", 256), ("max_loras", 0)])
def test_configurations_that_would_stall_are_refused(field: str, value: int):
    with pytest.raises(ValueError, match=field):
        EngineConfig(**{field: value})
