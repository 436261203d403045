"""From a run of the benchmark to its section of the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.results import Result, read
from benchmarks.routing.__main__ import main
from benchmarks.routing.figures import KINDS
from benchmarks.routing.losses import REASONS, loss_lines, losses
from benchmarks.routing.measuring import Outcome, Task, measure
from benchmarks.routing.outcome import Numbers, load_curves, result
from benchmarks.routing.promises import promises
from benchmarks.routing.scenarios import Scenario, rising_load
from benchmarks.routing.section import section
from routing.strategies.every import all_policies

STRATEGIES = ["random", "least-request", "prefix-cache-and-load"]


def scenario(name: str, *, shares_prefixes: bool = True) -> Scenario:
    return Scenario(name, f"some {name}", lambda seed: [], (), shares_prefixes)


def made_up(seconds: dict[str, dict[str, float]]) -> Numbers:
    """TTFTs by workload and strategy; everything else is 1."""
    outcomes = {
        (name, strategy, seed): Outcome(
            {**dict.fromkeys(KINDS, 1.0), "TTFT mean": value + seed, "TTFT p99": 2 * value, "refused": 0, "failed": 0},
            [0.1, value],
        )
        for name, values in seconds.items()
        for strategy, value in values.items()
        for seed in range(3)
    }
    scenarios = [scenario(name, shares_prefixes=name != "unshared") for name in seconds]
    made = result(scenarios, STRATEGIES, 3, outcomes)
    rising = rising_load(0.03)
    outcomes |= {
        (each.name, strategy, 0): outcomes["chats", strategy, 0] for each in rising.values() for strategy in STRATEGIES
    }
    made.series["load"] = load_curves(outcomes, rising, STRATEGIES)
    made.lines = promises(Numbers.of(made))
    return Numbers.of(made)


NUMBERS = made_up(
    {
        "chats": {"random": 10.0, "least-request": 8.0, "prefix-cache-and-load": 3.0},
        "unshared": {"random": 3.0, "least-request": 1.0, "prefix-cache-and-load": 1.2},
    }
)


def test_medians_of_the_seeds_are_compared():
    assert NUMBERS("chats", "random", "TTFT mean") == 11.0
    assert NUMBERS("chats", "random", "TTFT p50") == 1.0
    assert NUMBERS.best("chats", "TTFT p99") == ("prefix-cache-and-load", 6.0)
    with pytest.raises(KeyError):
        NUMBERS("chats", "fastest", "TTFT p99")


def test_promises_hold_or_do_not():
    lines = {line.what: line for line in NUMBERS.result.lines}
    for what, measured, holds in (
        ("chats: mean TTFT / random's", 4 / 11, True),
        ("chats: p99 TTFT / the best of all", 1.0, True),
        ("unshared: p99 TTFT / the best of all", 1.2, False),
        ("unshared: mean TTFT / least-request's", 1.1, False),
    ):
        assert lines[what].measured == pytest.approx(measured)
        assert lines[what].holds == holds
    assert "chats: mean TTFT / least-request's" not in lines


def test_losses_are_named_worst_first_with_the_best_and_the_reason():
    assert [(loss.workload, loss.factor) for loss in losses(NUMBERS, "random", "TTFT p99")] == [
        ("chats", pytest.approx(10 / 3)),
        ("unshared", 3.0),
    ]
    text = dict(zip(STRATEGIES, loss_lines(NUMBERS), strict=True))
    assert "loses by p99 TTFT on 2 of 2 workloads: chats 3.3x, unshared 3.0x." in text["random"]
    assert "TTFT mean, chats: 11.000 s against 4.000 s by prefix-cache-and-load" in text["random"]
    assert "unshared +20 %" in text["prefix-cache-and-load"]
    assert text["random"].endswith(REASONS["random"])


def test_every_strategy_has_a_reason_to_lose():
    assert set(REASONS) == set(all_policies(lambda: 0.0, None))  # type: ignore[arg-type]  # nothing is drawn


def test_a_section_is_made_from_the_result_alone(tmp_path: Path):
    text = section(NUMBERS.result, tmp_path / "images")
    assert text.startswith("## Routing")
    for part in ("| random | 11.000, 1.000, 20.00 |", "**Where each strategy loses**", "medians of 3 seeds", "**no**"):
        assert part in text
    shown = [line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(shown) == 3
    assert all((tmp_path / image).read_text().startswith("<?xml") for image in shown)


def test_processes_change_nothing():
    tasks = [Task(each, "power-of-two", 1) for each in rising_load(0.03).values()]
    advanced: list[None] = []
    pooled, inline = measure(tasks, lambda: advanced.append(None), processes=2), measure(tasks, lambda: None, 0)
    assert {key: repr(outcome) for key, outcome in pooled.items()} == {key: repr(o) for key, o in inline.items()}
    assert len(advanced) == len(tasks)


def test_the_command_line_writes_a_result_that_has_a_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "150")
    trace = tmp_path / "mooncake_tiny.jsonl"
    trace.write_text('{"timestamp": 0, "input_length": 1100, "output_length": 12, "hash_ids": [0, 1, 2]}')
    main(["--quick", "--trace", str(trace), "--strategies", "random,least-request", "--out", str(tmp_path)])
    measured: Result = read(tmp_path / "routing.json")
    assert measured.load["strategies"] == ["random", "least-request"]
    assert set(measured.load["workloads"]) >= {"mooncake", "chats", "agents", "bursts", "mixed-pods", "flood"}
    assert "by the authors of Mooncake" in section(measured, tmp_path)
    assert "least-request" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--strategies", "fastest"], "--strategies: 'fastest' is none of random"),
        (["--trace", "/nowhere.jsonl"], "--trace: /nowhere.jsonl: No such file"),
        (["--seeds", "0"], "--seeds: 0 is less than 1"),
    ],
)
def test_bad_words_are_named(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(words)
    assert complaint in capsys.readouterr().err
