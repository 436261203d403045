"""`gateway-plugin bench` as people run it, against the whole chain."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.tools.bench.results import read
from gateway_plugin.tools.chain.processes import script

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "BENCH_API_KEY"} | {"COLUMNS": "200"}


async def start(gateway: Gateway, *options: str) -> asyncio.subprocess.Process:
    argv = (script("gateway-plugin"), "bench", gateway.stack.gateway_url, *options)
    return await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=PIPE, env=ENVIRONMENT)


async def run(gateway: Gateway, *options: str) -> tuple[int | None, str]:
    process = await start(gateway, *options)
    out, err = await asyncio.wait_for(process.communicate(), 50)
    return process.returncode, (out + err).decode()


async def test_strategies_side_by_side(gateway: Gateway, tmp_path: Path) -> None:
    options = ("--model", "m", "--rate", "30", "--requests", "40", "--output-tokens", "8", "--repeats", "2")
    keys = ("--api-key", "secret-key", "--header", "x-some=secret-value")
    out = tmp_path / "out"
    code, printed = await run(gateway, *options, *keys, "--strategy", "random,least-request", "--out", str(out))
    assert code == 0, printed
    assert "least-request" in printed
    result = read(out / "bench.json")
    assert (result.repeats, result.errors, result.timeouts) == (2, {}, 0)
    for strategy in ("random", "least-request"):
        series = result.series[strategy]
        assert (series["sent"], series["answered"], series["named"]) == (80, 80, {strategy: 80})
        assert sum(series["pods"].values()) == 80
        assert len(result[f"{strategy}/TTFT p99"].values) == 2
        assert all(1.0 <= skew <= 3.0 for skew in result[f"{strategy}/skew"].values if skew is not None)
    page = (out / "report.md").read_text()
    assert "| sent | 80 | 80 |" in page
    assert {path.name for path in (out / "images").iterdir()} == {"bench-latency.svg", "bench-timeline.svg"}
    assert "secret" not in page + (out / "bench.json").read_text() + printed


async def test_a_trace_with_users(gateway: Gateway, tmp_path: Path) -> None:
    for user in ("bench-0", "bench-1"):
        await gateway.create_user(user, rpm=10_000, tpm=10_000_000)
    lines = [
        {"timestamp": 2000 * n, "input_length": 600, "output_length": 4, "hash_ids": [7, 100 + n]} for n in range(6)
    ]
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(map(json.dumps, lines)))
    options = ("--model", "m", "--trace", str(trace), "--speedup", "10", "--users", "2", "--out", str(tmp_path / "out"))
    code, printed = await run(gateway, *options, "--strategy", "prefix-cache")
    assert code == 0, printed
    result = read(tmp_path / "out/bench.json")
    assert result.load["trace"] == "trace.jsonl"
    # All but the first find the block that they share, of 512 of 600 tokens.
    assert result["prefix-cache/cached prompt tokens"].spread.median == pytest.approx(5 / 6 * 512 / 600 * 100, abs=8)


async def test_ctrl_c_ends_with_what_was_measured(gateway: Gateway) -> None:
    before = sum(pod["requests_total"] for pod in await gateway.pods())
    process = await start(gateway, "--model", "m", "--rate", "20", "--seconds", "300", "--output-tokens", "4")
    async with asyncio.timeout(30):
        while sum(pod["requests_total"] for pod in await gateway.pods()) < before + 15:  # noqa: ASYNC110 - HTTP
            await asyncio.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert "stopped by hand" in out.decode()
    assert "TTFT p99" in out.decode()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "nope"), "does not serve --model nope; it serves: m, org/other"),
        (("--model", "m", "--strategy", "best"), "incorrect routing strategy best"),
        (("--model", "m", "--header", "user=nobody"), "user: nobody does not exist"),
        (("--model", "m", "--trace", "/missing"), "/missing: No such file or directory"),
        (("--model", "m", "--rate", "1", "--concurrency", "1"), "--rate and --concurrency: give one of them"),
        (("--model", "m", "--prompt-tokens", "x"), "--prompt-tokens x: expected 512, 100-2000"),
        (("--model", "m", "--header", "x"), "--header x: expected NAME=VALUE"),
        (("--model", "m", "--speedup", "2"), "--speedup: only with --trace"),
        (("--model", "m", "--out", "/dev/null/x"), "--out /dev/null/x: Not a directory"),
    ],
)
async def test_mistakes_are_named_before_anything_is_measured(
    gateway: Gateway, options: tuple[str, ...], says: str
) -> None:
    code, printed = await run(gateway, *options)
    assert code == 2
    assert says in " ".join(printed.split())
