"""Counts by length, as AIBrix writes them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from orchestration.optimizer.gpu_profiles import GpuProfile, LearnedProfile, read_profile
from orchestration.optimizer.request_cells import RequestCells, cell_of, rates, read_trace, trace_key, trace_text


def test_cells_are_rounded_powers_of_two():
    assert cell_of(1024, 100) == (10, 7)
    assert cell_of(1, 0) == (0, 0)
    assert cell_of(1400, 1500) == (10, 11)
    assert cell_of(10**12, 1) == (24, 0)


def test_a_trace_as_it_stands_in_redis():
    cells = RequestCells()
    for _ in range(3):
        cells.count("m", 1000, 100)
    cells.count("m", 10, 10)
    taken = cells.take()
    assert cells.take() == {}
    found = json.loads(trace_text(taken["m"], pending=2))
    assert found["10:7"] == 3
    assert (found["meta_v"], found["meta_interval_sec"], found["meta_total_reqs"], found["meta_pending_reqs"]) == (
        3,
        10,
        4,
        2,
    )
    assert trace_key("org/m", 1234567.9) == "aibrix:org/m_request_trace_1234560"


@given(some.dictionaries(some.tuples(some.integers(0, 24), some.integers(0, 24)), some.integers(1, 10**6), max_size=20))
def test_what_is_written_can_be_read(cells):
    assert dict(read_trace(trace_text(cells))) == cells


def test_other_precisions_are_scaled():
    assert read_trace('{"100:70": 2, "101:70": 1, "meta_precision": 0.1}') == {(10, 7): 3}


@pytest.mark.parametrize("text", ["", "[]", '{"a:b": 1}', '{"1:2": "x"}'])
def test_no_trace(text: str):
    with pytest.raises(ValueError, match="no request trace"):
        read_trace(text)


def test_the_number_of_models_is_bounded():
    cells = RequestCells()
    for number in range(5000):
        cells.count(f"m{number}", 1, 1)
    assert len(cells.take()) == 4096


def test_rates_follow_a_burst_at_once():
    quiet, burst = {(8, 8): 10}, {(8, 8): 100}
    assert rates([quiet, quiet], 20) == {(8, 8): 1.0}
    assert rates([quiet, burst], 20) == {(8, 8): pytest.approx(10.0)}
    assert rates([burst, quiet], 20) == {(8, 8): pytest.approx(5.5)}
    assert rates([], 20) == {}


def test_a_profile_in_aibrixs_form():
    text = json.dumps({"gpu": "A10", "cost": 1.5, "tputs": [[4, 2], [1, 0]], "indexes": [[64, 512], [128, 1024]]})
    found = read_profile("m-a10", text)
    assert (found.gpu, found.cost) == ("A10", 1.5)
    assert found.rates == {(7, 6): 4, (10, 6): 2, (7, 9): 1, (10, 9): 0}
    for wrong in ("{}", '{"cost": 1, "tputs": [[1]], "indexes": [[64, 128], [128]]}', "x"):
        with pytest.raises(ValueError, match="profile m"):
            read_profile("m", wrong)


def test_cells_beyond_a_profile():
    one = GpuProfile("a", "A10", 1.0, {(8, 6): 4.0, (10, 6): 1.0})
    assert one.rate((8, 5)) == 4.0
    assert one.rate((11, 6)) == 0.5
    assert one.rate((12, 8)) == 0.25
    assert GpuProfile("a", "A10", 1.0, {}).rate((1, 1)) == 0.0


def test_a_profile_is_learned_in_ten_minutes():
    learned = LearnedProfile(output_weight=8)
    short, long = (6, 6), (10, 6)
    for _ in range(59):
        learned.saw({short: 576, long: 0}, 10.0)
        assert learned.profile("a", "A10", 1.0) is None
    learned.saw({long: 1536}, 10.0)
    found = learned.profile("a", "A10", 1.0)
    assert found is not None
    assert found.rates == {short: pytest.approx(57.6), long: pytest.approx(153.6)}
