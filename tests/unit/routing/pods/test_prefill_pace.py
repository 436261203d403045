"""What first tokens teach of a pod's pace, against queues whose truth is known."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.pods.books import Lease, Work
from routing.pods.pod_table import PodTable
from routing.pods.prefill_pace import rates, rates_of_few
from routing.spec import ClusterState, PodSpec

LOG_SECONDS = 1.0


@dataclass
class Queues:
    """Pods that compute prompts one after the other, each at its own rate, and a table that hears of it later."""

    rates: list[float]
    now: float = 0.0
    free_at: dict[int, float] = field(default_factory=dict)
    told: list[tuple[float, Lease, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = PodTable(lambda: self.now)
        specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(len(self.rates)))
        self.table.apply(ClusterState(specs, frozenset({"m"})))
        self.rows = [self.table.row_of(spec.address) or 0 for spec in specs]

    def send(self, at: float, pod: int, tokens: float, overhead_seconds: float = 0.0) -> None:
        while self.told and self.told[0][0] <= at:
            self.now, lease, ttft = self.told.pop(0)
            lease.release()
            lease.first_token_after(ttft)
        self.now = at
        lease = self.table.book(self.rows[pod], Work(tokens, tokens, 10.0))
        self.free_at[pod] = max(at, self.free_at.get(pod, 0.0)) + tokens / self.rates[pod]
        first_token_at = self.free_at[pod] + overhead_seconds
        self.told.append((first_token_at + 0.5 + LOG_SECONDS, lease, first_token_at - at))
        self.told.sort(key=lambda each: each[0])

    def learned(self, pod: int) -> float:
        return float(self.table.view("m").prefill_tokens_per_second[pod])

    def estimated_seconds(self, pod: int) -> float:
        return float(self.table.view("m").prefill_backlog_seconds[pod])

    def real_seconds(self, pod: int) -> float:
        return max(0.0, self.free_at[pod] - self.now)


@pytest.mark.parametrize("rate", [1500.0, 6000.0, 40_000.0])
def test_a_pods_rate_is_learned_under_load(rate: float):
    queues, rng = Queues([rate]), random.Random(1)
    for number in range(200):
        queues.send(number * 4000.0 / rate, 0, rng.uniform(500, 8000))
    assert queues.learned(0) == pytest.approx(rate, rel=0.05)


def test_the_estimated_queue_follows_the_real_one_through_an_overload():
    queues, rng, worst = Queues([5000.0]), random.Random(2), 0.0
    for number in range(600):
        load = 1.3 if 200 <= number < 400 else 0.7
        queues.send(queues.now + 2000.0 / 5000.0 / load, 0, rng.uniform(100, 3900))
        if number > 50:
            worst = max(worst, abs(queues.estimated_seconds(0) - queues.real_seconds(0)))
    assert max(queues.real_seconds(0), worst) < 2.0, worst


def test_what_is_not_prefill_makes_a_pod_look_little_slower():
    queues, rng = Queues([8000.0]), random.Random(3)
    for number in range(200):
        queues.send(number * 2.0, 0, rng.choice([16.0, 16.0, 6000.0]), overhead_seconds=0.05)
    assert queues.learned(0) == pytest.approx(8000.0, rel=0.08)


def test_fast_and_slow_pods_are_told_apart():
    queues, rng = Queues([4000.0, 16_000.0]), random.Random(4)
    for number in range(300):
        queues.send(number * 1.2, 0, rng.uniform(1000, 7000))
        queues.send(number * 1.2, 1, rng.uniform(1000, 7000))
    assert queues.learned(0) == pytest.approx(4000.0, rel=0.15)
    assert queues.learned(1) == pytest.approx(16_000.0, rel=0.15)


def test_a_new_pod_is_believed_to_be_as_the_others_of_its_model():
    queues = Queues([3000.0, 3000.0])
    for number in range(100):
        queues.send(number * 1.0, 0, 3000.0)
    assert queues.learned(1) == pytest.approx(3000.0, rel=0.1)


def test_the_engines_own_rate_counts_until_the_first_lesson_only():
    queues = Queues([8000.0])
    row = queues.rows[0]
    incarnation = queues.table.incarnation(row)
    assert queues.table.polled(row, incarnation, {"engine_prefill_tokens_per_second": 2500.0})
    assert queues.learned(0) == 2500.0
    for number in range(100):
        queues.send(number * 1.0, 0, 6000.0)
    assert queues.table.polled(row, incarnation, {"engine_prefill_tokens_per_second": 2500.0})
    assert queues.learned(0) == pytest.approx(8000.0, rel=0.1)


def test_old_and_foreign_first_tokens_teach_nothing():
    queues = Queues([8000.0])
    first = queues.table.book(queues.rows[0], Work(4000, 4000))
    second = queues.table.book(queues.rows[0], Work(4000, 4000))
    queues.now = 3.0
    second.first_token_after(1.0)
    known = queues.learned(0)
    first.first_token_after(0.001)  # later told than one that stood behind it
    assert queues.learned(0) == known
    queues.table.apply(ClusterState((), frozenset({"m"})))
    second.first_token_after(9.0)  # its pod has gone


def test_a_pod_that_moves_to_another_model_learns_with_that_ones_pods():
    queues = Queues([3000.0, 3000.0, 3000.0])
    for number in range(50):
        queues.send(number * 1.0, 0, 3000.0)
    specs = [PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(2)]
    moved = PodSpec("pod-2", "10.0.0.2:8000", ("other",))
    queues.table.apply(ClusterState((*specs, moved), frozenset()))
    before = queues.table.columns.prefill_tokens_per_second[queues.rows].tolist()
    for number in range(50, 100):
        queues.send(number * 1.0, 0, 9000.0)
    after = queues.table.columns.prefill_tokens_per_second[queues.rows].tolist()
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert before[2] == after[2]


LESSONS = st.lists(
    st.tuples(
        st.floats(0.0, 1e12), st.floats(0.0, 1e9), st.one_of(st.just(math.nan), st.floats(1.0, 1e6, allow_nan=False))
    ),
    min_size=1,
    max_size=20,
)


@given(LESSONS)
def test_few_pods_learn_what_many_do(lessons: list[tuple[float, float, float]]):
    columns = np.array(lessons).T
    assert rates_of_few(range(columns.shape[1]), *columns.tolist()) == pytest.approx(
        rates(*columns).tolist(), rel=1e-12
    )


def test_a_first_token_that_comes_after_a_later_ones_teaches_nothing():
    queues = Queues([1000.0])
    first, second = (queues.table.book(0, Work(1000.0, 1000.0, 1.0)) for _ in range(2))
    for lease in (first, second):
        lease.release()
    second.first_token_after(2.0)
    known = queues.learned(0)
    squares = float(queues.table.columns.pace_tokens_squared[0])
    first.first_token_after(60.0)
    assert queues.learned(0) == known
    assert queues.table.columns.pace_tokens_squared[0] == squares


def test_work_of_which_more_is_taken_back_than_is_left_leaves_an_empty_queue():
    queues = Queues([1000.0])
    queues.table.book(0, Work(10.0, 10.0, 1.0))
    queues.table.books.booked_elsewhere(0, 0, -500.0)
    assert queues.table.books.columns.prefill_backlog_tokens[0] == 0.0
    assert queues.table.view("m").prefill_backlog_tokens[0] == 0.0


def test_two_first_tokens_of_one_step_are_one_lesson():
    queues = Queues([1000.0])
    first, second = (queues.table.book(0, Work(1000.0, 1000.0, 1.0)) for _ in range(2))
    for lease in (first, second):
        lease.release()
        lease.first_token_after(2.0)
        squares = float(queues.table.columns.pace_tokens_squared[0])
    assert squares == 1000.0**2


def test_the_first_word_of_an_engine_counts_for_all_pods_of_its_model():
    # Shown to one pod alone, it would draw a second's requests there.
    queues = Queues([8000.0, 8000.0])
    queues.table.polled(
        queues.rows[0], queues.table.incarnation(queues.rows[0]), {"engine_prefill_tokens_per_second": 3e4}
    )
    assert queues.learned(0) == queues.learned(1) == pytest.approx(3e4)


def test_a_queue_that_only_a_wrong_rate_has_made_is_no_work_done():
    # Four times as fast as is assumed: half of the work that seems to be queued has long been computed.
    queues = Queues([32_000.0])
    for number in range(40):
        queues.send(0.2 * number, 0, 3000.0, overhead_seconds=0.02)
        assert queues.learned(0) < 40_000.0 if number > 12 else True
    queues.send(20.0, 0, 3000.0)
    assert queues.learned(0) == pytest.approx(32_000.0, rel=0.25)


def test_pods_that_are_very_unlike_are_soon_believed_by_themselves():
    seconds = [np.array([1.0, 0.25]), np.array([1.0, 0.9])]
    unlike, like = (8000.0 * each for each in seconds)
    told = np.array([np.nan, np.nan])
    squares = np.array([4e7, 4e7])
    mixed = rates(squares, squares / unlike, told)
    equal = rates(squares, squares / like, told)
    assert mixed[0] / mixed[1] > 2.0
    assert 1.0 <= equal[0] / equal[1] < 1.05
