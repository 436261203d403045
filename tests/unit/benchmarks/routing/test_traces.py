"""Recorded traffic in both formats, and what stands in for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.routing.traces import like_mooncake, recorded
from gateway_plugin.tools.bench.traces import TraceError


def test_a_trace_in_the_format_of_mooncake(tmp_path: Path):
    rows = [
        {"timestamp": 0, "input_length": 1100, "output_length": 12, "hash_ids": [0, 1, 2]},
        {"timestamp": 2500, "input_length": 1536, "output_length": 3, "hash_ids": [0, 1, 3]},
        {"timestamp": 2600, "input_length": 512, "output_length": 3, "hash_ids": [1]},
    ]
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second, third = recorded(path)
    assert (second.at_seconds, second.prompt_tokens, first.output_tokens, second.output_tokens) == (2.5, 1536, 12, 3)
    assert len(first.prefix) == 2  # the third block is not full
    assert first.prefix == second.prefix[:2]
    assert third.prefix[0] not in second.prefix  # the same block, but not the same prompt
    assert [each.at_seconds for each in recorded(path, speed=5.0, most=2)] == [0.0, 0.5]
    path.write_text('{"timestamp": 0}')
    with pytest.raises(TraceError, match=r"trace\.jsonl, line 1: .*input_length"):
        recorded(path)


def test_a_trace_in_the_format_of_azure(tmp_path: Path):
    path = tmp_path / "trace.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2023-11-16 18:15:46.6805900,1100,44\n"
        "2023-11-16 18:15:48.1805900,1100,0\n"
    )
    first, second = recorded(path)
    assert (first.at_seconds, first.prompt_tokens, first.output_tokens) == (0.0, 1100, 44)
    assert second.at_seconds == pytest.approx(1.5)
    assert second.output_tokens == 1
    assert len(first.prefix) == 2
    assert not set(first.prefix) & set(second.prefix), "lengths tell of nothing shared"


def test_the_stand_in_resembles_mooncakes_trace():
    arrivals = like_mooncake(4000)
    seconds = arrivals[-1].at_seconds
    blocks = [key for each in arrivals for key in each.prefix]
    shared = 1.0 - len(set(blocks)) / len(blocks)
    assert len(arrivals) / seconds == pytest.approx(3.9, rel=0.1)
    assert shared == pytest.approx(0.65, abs=0.05)
    assert sum(each.prompt_tokens for each in arrivals) / 4000 == pytest.approx(17_000, rel=0.2)
    assert like_mooncake(50) == like_mooncake(50) != like_mooncake(50, seed=1)
