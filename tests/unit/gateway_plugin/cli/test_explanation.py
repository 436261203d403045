"""The table of `gateway-plugin explain`."""

from __future__ import annotations

from typing import Any

import pytest

from gateway_plugin.cli.explanation import print_explanation


def candidate(pod: str, place: int | None, health: str = "closed", cost: float | None = 1.0) -> dict[str, Any]:
    terms = {} if cost is None else {"inflight_requests": cost}
    return {"pod": pod, "place": place, "health": health, "cost": cost, "terms": terms, "matched_tokens": 0.0}


def printed(capsys: pytest.CaptureFixture[str], *candidates: dict[str, Any]) -> list[list[str]]:
    """The cells of the table, header first."""
    explanation = {"model": "m", "strategy": "s", "profile": "", "prompt_tokens": 1.0, "output_tokens": 2.0}
    print_explanation(explanation | {"candidates": list(candidates)})
    lines = capsys.readouterr().out.splitlines()[1:]
    return [
        [cell.strip() for cell in line.replace("┃", "│").split("│")] for line in lines if "┃" in line or "│" in line
    ]


def test_what_is_learned_stands_below(capsys: pytest.CaptureFixture[str]):
    explanation = {"model": "m", "strategy": "s", "profile": "", "prompt_tokens": 1.0, "output_tokens": 2.0}
    learned = {"prefill": "7,400 tokens/s (first token 2.1 s ago)", "speed": "as ever"}
    print_explanation(explanation | {"candidates": [candidate("a", 1) | {"learned": learned}]})
    assert "a: prefill 7,400 tokens/s (first token 2.1 s ago); speed as ever" in capsys.readouterr().out.splitlines()


def test_health_is_shown_only_where_somebody_is_not_well(capsys: pytest.CaptureFixture[str]):
    rows = printed(capsys, candidate("a", 1), candidate("b", 2, cost=3.0))
    assert rows == [
        ["pod", "cached tokens", "cost", "inflight requests"],
        ["a", "0", "1", "1"],
        ["b", "0", "3", "3"],
    ]


def test_a_probe_comes_first_and_who_is_left_out_last(capsys: pytest.CaptureFixture[str]):
    rows = printed(
        capsys,
        candidate("probe", 1, "half_open", None),
        candidate("well", 2),
        candidate("kept", 3, "open"),
        candidate("sick", None, "open", None),
        candidate("tired", None, "asleep", None),
    )
    assert rows[0][-1] == "health"
    assert {row[0]: (row[2], row[-1]) for row in rows[1:]} == {
        "probe": ("?", "to be probed"),
        "well": ("1", "well"),
        "kept": ("1", "sick"),
        "sick": ("?", "sick, left out"),
        "tired": ("?", "asleep, left out"),
    }
