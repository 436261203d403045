"""What is measured of a simulated pod is what the pod did."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway_plugin.tools.bench.asks import Ask
from gateway_plugin.tools.bench.outcome import result_of
from gateway_plugin.tools.bench.summary import Objective
from gateway_plugin.tools.bench.target import COMPLETIONS
from tests.integration.bench.conftest import Bench

ASKS = [Ask(0.01 * number, 40, 10) for number in range(20)]


@pytest.mark.parametrize("path", ["/v1/chat/completions", COMPLETIONS])
async def test_streams(bench: Bench, path: str) -> None:
    bench.change(path=path)
    tally = await bench.run(ASKS)
    assert (tally.sent, tally.ended, tally.failed, tally.in_flight) == (20, 20, 0, 0), tally.messages
    for sample in tally.samples:
        assert sample.ok
        assert (sample.output_tokens, sample.from_usage, sample.pod) == (10, True, "pod-1")
        assert 40 <= sample.prompt_tokens < 60, "the words, and what the chat template adds"
        assert sample.first_seconds is not None
        assert sample.last_seconds is not None
        assert 0 < sample.first_seconds <= sample.last_seconds <= sample.total_seconds
    assert tally.gaps.count == 20 * 9


async def test_answers_at_once(bench: Bench) -> None:
    bench.change(stream=False)
    tally = await bench.run(ASKS)
    assert [(sample.trouble, sample.output_tokens, sample.first_seconds) for sample in tally.samples] == [
        ("", 10, None)
    ] * 20
    result = result_of([tally], Objective(), {}, {"stream": False})
    assert not [figure.path for figure in result.figures if "TTFT" in figure.path or "goodput" in figure.path]


async def test_prompts_that_share_blocks_hit_the_cache_of_the_pod(bench: Bench) -> None:
    shared = [Ask(0.3 * number, 70, 2, (5,)) for number in range(2)]
    first, second = (await bench.run(shared)).samples
    assert (first.cached_tokens, second.cached_tokens) == (0, 64)
    alone = (await bench.run([Ask(0.0, 70, 2, (6,))])).samples[0]
    assert alone.cached_tokens == 0


async def test_clients_that_wait_for_answers(bench: Bench) -> None:
    generator = bench.generator()
    await generator.closed_loop(iter(ASKS), concurrency=4, seconds=None)
    assert (generator.tally.sent, generator.tally.failed) == (20, 0)


async def test_the_result(bench: Bench) -> None:
    tallies = [await bench.run(ASKS), await bench.run(ASKS)]
    tallies[1].repeat = 1
    result = result_of(tallies, Objective(ttft_seconds=20.0, tpot_seconds=20.0), {}, {"stream": True})
    assert result.repeats == 2
    assert len(result["default/TTFT p99"].values) == 2
    assert result["default/failed"].values == (0.0, 0.0)
    assert result["default/skew"].values == (1.0, 1.0)
    assert result["default/goodput"].values == result["default/answered"].values
    assert result.series["default"]["pods"] == {"pod-1": 40}
    strict = result_of(tallies[:1], Objective(ttft_seconds=0.0), {}, {"stream": True})
    assert strict["default/goodput"].values == (0.0,)


async def test_failures_make_quantiles_infinite_and_are_counted(bench: Bench) -> None:
    await bench.break_pod(status=503, times=5)
    tally = await bench.run([replace(ask, at_seconds=0.1 * number) for number, ask in enumerate(ASKS)])
    result = result_of([tally], Objective(), {}, {"stream": True})
    assert result.errors == {"503": 5}
    assert result["default/failed"].values == (25.0,)
    assert result["default/TTFT p50"].values[0] is not None
    assert result["default/TTFT p90"].values == (None,)
