"""Whether the usage ledger equals what engines count, through the whole chain, while clients leave and replicas are
killed.

    python -m benchmarks.limits.ledger_sums [--requests 100000] [--abort-share 0.001] [--kills 3]

Four replicas behind one Envoy, three simulated pods, Valkey. What the ledger says in the end is divided by the sums of
the pods' own counters: 1 is all, and more must never be. What is missing was in the logs and rows of a killed replica,
or was computed for clients that left, which the ledger knows as estimates only.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from benchmarks.load import USERS, Load, LoadProcess
from gateway_plugin.tools.chain.stack import Stack, StackOptions
from ratelimit import RedisStore, UserRecord

REPLICAS = 4
_TOKENS, _BODY_BYTES = 8, 400
_SETTLE_SECONDS = 5.0
"""Until Envoy has told the last of it, and the ledger is written."""
_NAMES = ("prompt_tokens_total", "generation_tokens_total")


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits.ledger_sums")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--abort-share", type=float, default=0.001)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=48)
    asked = parser.parse_args()
    asyncio.run(_measure(asked))


async def _measure(asked: argparse.Namespace) -> None:
    options = StackOptions(
        {"m": 3},
        speed=1000,
        replicas=REPLICAS,
        separate_pods=True,
        plugin_environment={"GATEWAY_LEDGER": "true", "GATEWAY_LIMITER_TIMEOUT_SECONDS": "1"},
    )
    with tempfile.TemporaryDirectory() as folder:
        async with Stack(options, Path(folder)) as stack, LoadProcess() as process, httpx.AsyncClient() as http:
            await _create_users(stack)
            load = Load(
                stack.ports.gateway,
                asked.requests,
                concurrency=asked.concurrency,
                chunks=_TOKENS,
                body_bytes=_BODY_BYTES,
                with_user=True,
                abort_share=asked.abort_share,
            )
            killing = asyncio.create_task(_kill(stack, asked.kills))
            outcome = await process.run(load)
            killing.cancel()
            await asyncio.sleep(_SETTLE_SECONDS)
            _tell(outcome, await _ledger(stack, http), await _engines(stack, http))


async def _create_users(stack: Stack) -> None:
    store = RedisStore.from_url(f"redis://127.0.0.1:{stack.ports.redis}", timeout_seconds=30)
    for number in range(USERS):
        await store.create(UserRecord(f"user-{number}", rpm=10**9, tpm=10**12))
    await store.close()


async def _kill(stack: Stack, kills: int) -> None:
    """One replica after another, never the first, which is asked in the end."""
    for number in range(kills):
        await asyncio.sleep(10)
        replica = 1 + number % (REPLICAS - 1)
        await stack.stop_plugin(replica, signal.SIGKILL)
        await asyncio.sleep(1)
        await stack.start_plugin(replica)


async def _ledger(stack: Stack, http: httpx.AsyncClient) -> Counter[str]:
    answer = await http.get(f"{stack.api_url}/v1/usage")
    sums: Counter[str] = Counter()
    for bucket in answer.json()["data"]:
        for result in bucket["results"]:
            sums.update({name: value for name, value in result.items() if isinstance(value, int)})
    return sums


async def _engines(stack: Stack, http: httpx.AsyncClient) -> Counter[str]:
    counts: Counter[str] = Counter()
    pods: list[dict[str, Any]] = (await http.get(f"{stack.ops_url}/debug/pods")).json()
    for pod in pods:
        for line in (await http.get(f"http://{pod['address']}/metrics")).text.splitlines():
            name = line.removeprefix("vllm:").partition("{")[0]
            if name in _NAMES:
                counts[name] += int(float(line.rsplit(" ", 1)[1]))
    return counts


def _tell(outcome: Any, ledger: Counter[str], engines: Counter[str]) -> None:  # noqa: ANN401
    sent = f"{outcome.completed} answered, {outcome.aborted} left, {outcome.timeouts} late, errors {outcome.errors}"
    print(f"clients: {sent}, {outcome.seconds:.0f} s")
    print("ledger: ", ", ".join(f"{name} {count}" for name, count in sorted(ledger.items())))
    for name, field in zip(_NAMES, ("input_tokens", "output_tokens"), strict=True):
        print(f"{field} {ledger[field]}, pods {engines[name]}, ratio {ledger[field] / max(engines[name], 1):.6f}")


if __name__ == "__main__":
    main()
