"""`gateway-plugin optimize` as a person uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway_plugin.cli.application import cli
from gateway_plugin.cli.optimize_profiles import LatencyTarget, engine_rate
from gateway_plugin.cli.optimize_trace import read_lengths
from simulator.cards import profile as engine_of

pytest.importorskip("scipy")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    lines = [{"timestamp": at * 100, "input_length": 256, "output_length": 128} for at in range(1, 1201)]
    lines += [{"timestamp": at * 1000, "input_length": 8192, "output_length": 256} for at in range(1, 121)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(cli, ["optimize", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_plan_for_people(trace: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "plan.png"
    code, text = run(trace, "--gpu", "A10=1.01", "--gpu", "H100=7.52", "--plot", picture)
    assert code == 0, text
    assert "requests a second" in text
    assert "x H100" in text
    assert "H100 alone: " in text
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_plan_for_programs(trace: Path, tmp_path: Path):
    profiles = tmp_path / "profiles.json"
    one = {"gpu": "X", "cost": 2.0, "tputs": [[5.0]], "indexes": [[128], [256]]}
    profiles.write_text(json.dumps({"m-x": one}))
    code, text = run(trace, "--profiles", profiles, "--utilization", 1, "--json")
    assert code == 0, text
    (found,) = json.loads(text)
    assert found["pods"]["m-x"] >= 2
    assert found["cost_per_hour"] == 2.0 * found["pods"]["m-x"]
    assert found["requests_per_second"] == pytest.approx(11, rel=0.02)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--gpu NAME=COST or --profiles FILE is wanted"),
        (("--gpu", "A10"), "NAME=NUMBER is wanted"),
        (("--gpu", "TPU=1"), "--gpu TPU: one of A10"),
        (("--gpu", "A10=1", "--size", "900B"), "--size 900B: one of 8B"),
        (("--gpu", "A10=1", "--size", "70B"), "the cards cannot hold the model"),
        (("--gpu", "H100=7", "--available", "H100=0"), "no plan for all"),
    ],
)
def test_mistakes_are_named(trace: Path, options: tuple[str, ...], words: str):
    code, text = run(trace, *options)
    assert code == 1
    assert words in text


def test_traces(tmp_path: Path):
    azure = tmp_path / "azure.csv"
    rows = ["TIMESTAMP,ContextTokens,GeneratedTokens", "2023-11-16 18:15:46.6805900,374,44"]
    azure.write_text("\n".join([*rows, "2023-11-16 18:15:50.9951690,396,109"]))
    found = read_lengths(azure)
    assert found.seconds == pytest.approx(4.3146, abs=0.001)
    assert found.models["all"] == {(9, 5): 1, (9, 7): 1}
    for text, words in (("{}", "request 1"), ("", "no requests"), ('{"at": 1, "prompt_tokens": "x"}', "request 1")):
        path = tmp_path / "bad.jsonl"
        path.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_lengths(path)


def test_a_computed_rate_falls_with_length_and_ends_where_the_target_does():
    engine = engine_of("A10", "8B")
    target = LatencyTarget(2.0, 0.1)
    rates = [engine_rate(engine, prompt, 128, target) for prompt in (64, 256, 1024, 2048)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] > 0
    assert engine_rate(engine, 16_384, 128, target) == 0
    assert engine_rate(engine, 1024, 128, LatencyTarget(2.0, 0.01)) == 0
