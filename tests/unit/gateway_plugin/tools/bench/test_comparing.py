"""What counts as a change, over any values; and what else two results tell each other."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import compare as command
from gateway_plugin.tools.bench.comparing import CompareError, Comparison, change_of, compare
from gateway_plugin.tools.bench.results import Better, Figure, Line, Result, write

Values = tuple[float | None, ...]
VALUES = st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=6).map(tuple)
BETTER: st.SearchStrategy[Better] = st.sampled_from(("lower", "higher"))
MIRRORED = {"better": "worse", "worse": "better", "same": "same", "changed": "changed"}


def figure(*values: float | None, better: Better = "lower", path: str = "a") -> Figure:
    return Figure(path, "ms", values, better)


def result(*figures: Figure, **fields: object) -> Result:
    made = Result(name="some", machine={"python": "3.13"}, load={"rate": 1}, repeats=1, figures=list(figures))
    return replace(made, **fields)  # type: ignore[arg-type]


@given(VALUES, VALUES, BETTER, st.floats(0, 2))
def test_the_other_way_round_better_is_worse(old: Values, new: Values, better: Better, threshold: float) -> None:
    forth = change_of(figure(*old, better=better), figure(*new, better=better), threshold)
    back = change_of(figure(*new, better=better), figure(*old, better=better), threshold)
    assert MIRRORED[forth.verdict] == back.verdict


@given(VALUES, BETTER, st.floats(0, 2))
def test_nothing_differs_from_itself(values: Values, better: Better, threshold: float) -> None:
    change = change_of(figure(*values, better=better), figure(*values, better=better), threshold)
    assert (change.verdict, change.ratio) == ("same", 1.0)


@given(VALUES, VALUES, st.floats(0, 2), st.floats(0, 2))
def test_a_higher_threshold_finds_less(old: Values, new: Values, one: float, other: float) -> None:
    strict, lax = (change_of(figure(*old), figure(*new), threshold) for threshold in sorted((one, other)))
    assert lax.verdict in {strict.verdict, "same"}


@given(VALUES, VALUES, BETTER)
def test_ranges_that_overlap_are_noise(old: Values, new: Values, better: Better) -> None:
    shared = (*new, old[0])
    assert change_of(figure(*old, better=better), figure(*shared, better=better), 0.0).verdict == "same"


@pytest.mark.parametrize(
    ("old", "new", "better", "verdict"),
    [
        ((10, 11, 12), (13, 14, 15), "lower", "worse"),
        ((10, 11, 12), (13, 14, 15), "higher", "better"),
        ((10, 11, 12), (13, 14, 15), "neither", "changed"),
        ((10, 11, 12), (12, 14, 15), "lower", "same"),  # they touch
        ((100,), (104,), "lower", "same"),  # within the threshold
        ((100,), (106,), "lower", "worse"),
        ((0,), (1,), "lower", "worse"),
        ((0,), (0,), "lower", "same"),
        ((10,), (None,), "lower", "worse"),  # cannot be measured any more
        ((10,), (None,), "higher", "worse"),
        ((None,), (10,), "lower", "better"),
        ((10, 10, 10), (10, 10, None), "lower", "same"),
        ((), (10,), "lower", "better"),
    ],
)
def test_verdicts(old: Values, new: Values, better: Better, verdict: str) -> None:
    assert change_of(figure(*old, better=better), figure(*new, better=better), 0.05).verdict == verdict


def test_ratios_say_nothing_of_zero_and_failures() -> None:
    assert math.isnan(change_of(figure(0.0), figure(1.0), 0.05).ratio)
    assert math.isnan(change_of(figure(None), figure(1.0), 0.05).ratio)
    assert change_of(figure(2.0), figure(3.0), 0.05).ratio == 1.5


def test_new_and_vanished_figures_are_not_worse() -> None:
    found = compare(result(figure(1.0, path="old")), result(figure(1.0, path="new")))
    assert (found.new, found.vanished, found.worse) == (["new"], ["old"], False)


def test_promises() -> None:
    held, broken = Line("quick", 1.0, 2.0, "ms"), Line("quick", 3.0, 2.0, "ms")
    found = compare(result(lines=[held]), result(lines=[broken, Line("new", None, 1.0)]))
    assert found.broken_promises == ["quick: 3 ms, at most 2"]
    assert found.worse
    assert found.warnings == ["does not hold, nor did it: new"]
    assert not compare(result(lines=[broken]), result(lines=[held])).worse


def test_errors_and_timeouts_that_grew() -> None:
    found = compare(
        result(errors={"503": 100, "gone": 3}, timeouts=0), result(errors={"503": 105, "500": 1}, timeouts=2)
    )
    assert found.grown_trouble == ["500: 0 -> 1", "timeouts: 0 -> 2"]
    assert found.worse


def test_circumstances() -> None:
    machine = {
        "python": "3.12",
        "cpus": 2,
        "load_average_before": 1.5,
        "versions": {"numpy": "2", "gateway-plugin": "9"},
    }
    found = compare(result(), result(machine=machine, load={"rate": 2}, repeats=3))
    assert found.warnings == [
        "cpus differs: - -> 2",
        "load rate differs: 1 -> 2",
        "python differs: 3.13 -> 3.12",
        "repeats differs: 1 -> 3",
        "version of numpy differs: - -> 2",
        "the machine was busy before the new one: load 1.5 on 2 CPUs",
    ]
    assert found == Comparison("some", warnings=found.warnings)


def test_different_benchmarks() -> None:
    with pytest.raises(CompareError, match="results of different benchmarks: some and other"):
        compare(result(), result(name="other"))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write(result(figure(10.0, path="TTFT")), tmp_path / "old")
    new = write(result(figure(20.0, path="TTFT")), tmp_path / "new")
    write(result(name="alone"), tmp_path / "new")
    assert command.main([str(old), str(new)]) == 1
    assert "2.000" in (printed := capsys.readouterr().out)
    assert "1 worse, 0 better, 0 changed, 0 same" in printed
    assert command.main([str(new), str(old)]) == 0
    assert command.main([str(old), str(new), "--threshold", "110%"]) == 0
    capsys.readouterr()
    assert command.main([str(old.parent), str(new.parent)]) == 1
    assert "alone.json is in one of the folders only" in capsys.readouterr().out


def test_what_cannot_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(result(), tmp_path / "old")
    (tmp_path / "empty").mkdir()
    for one, other, says in (
        (path, tmp_path, "two files or two folders"),
        (path.parent, tmp_path / "empty", "no result is in both"),
        (path, tmp_path / "missing.json", "No such file"),
    ):
        assert command.main([str(one), str(other)]) == 2
        assert says in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main([str(path), str(path), "--threshold", "much"])


def test_single_values_say_nothing_of_noise() -> None:
    assert compare(result(figure(1.0)), result(figure(2.0))).warnings == [
        "where both sides have one value, only the threshold decides: noise is not known"
    ]
    assert not compare(result(figure(1.0)), result(figure(1.0))).warnings
    assert not compare(result(figure(1.0, 1.1)), result(figure(2.0, 2.1))).warnings
