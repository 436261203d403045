"""What is computed from a report, against numbers worked by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.routing.fairness import alone_seconds, jain, max_min, user_fairness
from benchmarks.routing.figures import KINDS, fast_share, figures, meets_slo
from benchmarks.routing.report import Report, Served
from benchmarks.routing.workloads import arrival
from simulator import Engine, EngineConfig, EngineRequest

PODS = ("a", "b")


def served(
    ttft: float, duration: float, *, at: float = 0.0, output: int = 11, user: str = "", pod: str = "a", cached: int = 0
) -> Served:
    return Served(arrival(at, [1], output, user=user), pod, ttft, duration, cached)


def report(*answers: Served, refused: int = 0, failed: int = 0) -> Report:
    return Report(PODS, answers, refused, failed)


def test_an_answer_is_good_when_first_and_later_tokens_come_in_time():
    assert meets_slo(served(2.0, 2.5))
    assert not meets_slo(served(2.1, 2.2)), "the first token is late"
    assert not meets_slo(served(1.0, 1.51)), "51 ms per token"
    assert meets_slo(served(1.0, 1.0, output=1)), "one token has no time per token"


def test_goodput_counts_what_got_no_answer():
    numbers = figures(report(served(1.0, 1.2), served(3.0, 3.2, at=0.8), refused=1, failed=1))
    assert numbers["goodput"] == pytest.approx(25.0)
    assert numbers["good requests"] == pytest.approx(1 / 4.0)
    assert numbers["output tokens"] == pytest.approx(22 / 4.0)
    assert (numbers["refused"], numbers["failed"]) == (1, 1)
    assert set(numbers) == set(KINDS)


def test_nothing_served_is_not_perfect():
    numbers = figures(report(refused=3))
    assert math.isnan(numbers["TTFT p99"])
    assert numbers["goodput"] == 0.0


def test_jains_index():
    assert jain([1.0, 1.0, 1.0]) == pytest.approx(1.0)
    assert jain([1.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([1.0, 0.5]) == pytest.approx(2.25 / 2.5)
    assert jain([]) == jain([0.0, 0.0]) == 1.0


def test_a_fair_division():
    assert max_min({"light": 1.0, "flood": 100.0, "other": 6.0}, 12.0) == {"light": 1.0, "other": 5.5, "flood": 5.5}
    assert max_min({"a": 1.0, "b": 2.0}, 10.0) == {"a": 1.0, "b": 2.0}


@given(
    demands=st.dictionaries(st.text(max_size=3), st.floats(0.0, 1e6), min_size=1, max_size=8),
    total=st.floats(0.0, 1e6),
)
def test_a_fair_division_gives_all_there_is_and_nobody_too_much(demands: dict[str, float], total: float):
    due = max_min(demands, total)
    assert sum(due.values()) == pytest.approx(min(total, sum(demands.values())), abs=1e-3)
    assert all(due[user] <= demands[user] for user in demands)
    for (_, less), (_, more) in pairwise(sorted((demands[user], due[user]) for user in demands)):
        assert more >= less - 1e-6


def test_waiting_behind_a_flood_is_unfair_and_being_let_through_is_not():
    alone = alone_seconds(arrival(0.0, [1], 11))
    flood = [served(1.0, 20 * alone, user="flood") for _ in range(95)]
    behind = report(*flood, *(served(1.0, 20 * alone, user="light") for _ in range(5)))
    let_through = report(*flood, *(served(0.1, alone, user="light") for _ in range(5)))
    assert user_fairness(behind) < 0.7
    assert user_fairness(let_through) == pytest.approx(1.0, abs=0.02)
    assert math.isnan(user_fairness(report(*flood))), "of one user nothing can be said"
    assert figures(let_through)["light users' TTFT p50"] == pytest.approx(0.1)
    assert math.isnan(figures(report(served(1, 2, user="a"), served(1, 2, user="b"), served(1, 2, user="c")))[
        "light users' TTFT p50"
    ])  # fmt: skip


def test_alone_is_what_an_idle_engine_takes():
    engine = Engine(EngineConfig(jitter=0.0))
    sequence = engine.submit(EngineRequest(prompt_tokens=5120, output_tokens=40), 0.0)
    while (at := engine.next_event_time()) is not None:
        engine.advance(at)
    assert sequence.last_token_at == pytest.approx(alone_seconds(arrival(0.0, range(10), 40)))


def test_the_share_of_fast_pods_is_measured_in_work():
    # Twice as fast: two thirds of the work are its share.
    even = report(served(1, 2, pod="a"), served(1, 2, pod="a"), served(1, 2, pod="b"))
    assert fast_share(even, 1) == pytest.approx(1.0)
    assert fast_share(report(served(1, 2, pod="b")), 1) == 0.0
    assert math.isnan(fast_share(report(), 1))
    assert math.isnan(figures(even)["fast pods' share"]), "where all are equal nobody is fast"
