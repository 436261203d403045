"""Any interleaving of submit, advance and abort keeps the books straight and leaks nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from simulator import Engine, EngineConfig, EngineRequest, Sequence, SequenceState

# Small enough that waiting, eviction, preemption and full batches are common.
CONFIG = EngineConfig(
    num_blocks=12, block_tokens=4, max_model_len=48, max_num_seqs=3, max_batched_tokens=8, max_loras=1
)


class EngineMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(CONFIG)
        self.now = 0.0
        self.sequences: list[Sequence] = []
        self.tokens: Counter[Sequence] = Counter()
        self.aborted: set[Sequence] = set()

    @rule(
        prompt=st.integers(1, 30),
        output=st.integers(0, 18),
        prefix=st.sampled_from("ab"),
        adapter=st.sampled_from([None, "x", "y"]),
    )
    def submit(self, prompt: int, output: int, prefix: str, adapter: str | None):
        hashes = tuple(hash((prefix, index)) for index in range((prompt + output) // 4))
        request = EngineRequest(prompt_tokens=prompt, output_tokens=output, block_hashes=hashes, adapter=adapter)
        self.sequences.append(self.engine.submit(request, self.now))

    @rule(seconds=st.floats(0.0, 0.1))
    def advance(self, seconds: float):
        self.now += seconds
        self.take(self.now)

    @rule(choice=st.integers(0, 1000))
    def abort(self, choice: int):
        if self.sequences:
            sequence = self.sequences[choice % len(self.sequences)]
            if sequence.state is not SequenceState.FINISHED:
                self.aborted.add(sequence)
            self.engine.abort(sequence)

    def take(self, now: float):
        for event in self.engine.advance(now):
            assert event.sequence not in self.aborted
            assert event.number == self.tokens[event.sequence] + (event.sequence.request.output_tokens > 0)
            self.tokens[event.sequence] = event.number

    @invariant()
    def references_are_what_sequences_hold(self):
        cache = self.engine.cache
        allocations = [sequence.allocation for sequence in self.sequences]
        assert cache._references == Counter(h for allocation in allocations for h in allocation.hashes)
        assert cache._private == sum(allocation.private for allocation in allocations)
        assert all(allocation.private >= 0 for allocation in allocations)
        assert cache.held_blocks + cache.idle_blocks <= cache.capacity_blocks
        assert not cache._references.keys() & cache._idle.keys()

    @invariant()
    def every_sequence_is_in_one_place(self):
        engine = self.engine
        places = Counter([*engine.arriving, *engine.waiting, *engine.running])
        assert places == Counter(s for s in self.sequences if s.state is not SequenceState.FINISHED)
        assert all(sequence.state is SequenceState.RUNNING for sequence in engine.running)
        assert not any(sequence.is_prefilling for sequence in engine.running[:-1])
        assert len({s.request.adapter for s in engine.running} - {None}) <= CONFIG.max_loras
        assert engine.next_event_time() is not None or not places

    def teardown(self):
        while (at := self.engine.next_event_time()) is not None:
            self.take(at)
        assert self.engine.cache.held_blocks == 0
        for sequence in self.sequences:
            assert sequence.state is SequenceState.FINISHED
            if sequence not in self.aborted:
                assert self.tokens[sequence] == sequence.request.output_tokens
        assert sum(self.engine.counters.finished.values()) == len(self.sequences)


TestEngineStates = EngineMachine.TestCase
TestEngineStates.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
