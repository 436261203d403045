"""One small request per strategy before anything is measured: mistakes are named at once, and not a thousand times."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.tools.bench.load_client import CANNOT_CONNECT, CERTIFICATE, Client
from gateway_plugin.tools.bench.raw_http import NOT_HTTP
from gateway_plugin.tools.bench.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway_plugin.tools.bench.target import BenchTarget

PROBE_SECONDS = 30.0
_LIST_SECONDS = 10.0
_SHOWN_MODELS = 10


class BenchError(Exception):
    """Nothing can be measured; the text says why, and what to do."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def probe(target: BenchTarget, strategies: Sequence[str], user: str) -> list[str]:
    """What is odd, but may pass (a full or slow server); raises BenchError on what cannot get better."""
    quick = replace(target, timeout_seconds=min(target.timeout_seconds, PROBE_SECONDS))
    odd = []
    with contextlib.closing(Client(quick, asyncio.get_running_loop().time)) as client:
        for strategy in strategies:
            sample = Sample(0.0)
            # Two tokens: some engines give the first one without content.
            await client.send(sample, quick.body(b"Say one word.", 2), quick.headers_of(strategy, user))
            if sample.trouble:
                await _explain(client, sample, strategy, user)
                odd.append(f"a first request failed: {sample.trouble}: {sample.message}")
    return odd


async def _explain(client: Client, sample: Sample, strategy: str, user: str) -> None:
    target = client.target
    if sample.trouble in {CANNOT_CONNECT, CERTIFICATE, NOT_HTTP}:
        raise BenchError(f"{target.base_url} cannot be used ({sample.trouble}): {sample.message}")
    if not 300 <= sample.status < 500 or sample.status in {408, 429}:
        return
    said = f"{target.url} answers {sample.status}: {sample.message or '(nothing)'}"
    if sample.status in {401, 403}:
        who = f"; create the users that --users asks for, first `gateway-plugin users create {user}`" if user else ""
        raise BenchError(f"{said}; give a valid --api-key or $BENCH_API_KEY{who}")
    models = await _models(client)
    if models is not None and target.model not in models:
        served = ", ".join(models[:_SHOWN_MODELS]) + (" ..." if len(models) > _SHOWN_MODELS else "")
        raise BenchError(f"{target.base_url} does not serve --model {target.model}; it serves: {served or 'nothing'}")
    asked = f" (with --strategy {strategy})" if strategy else ""
    raise BenchError(said + asked)


async def _models(client: Client) -> list[str] | None:
    """Ids of all models there are; None where they are not listed."""
    try:
        async with asyncio.timeout(_LIST_SECONDS):
            status, page = await client.get("/v1/models")
        listed = msgspec.json.decode(page, type=_Models) if status == 200 else None
    except (OSError, TimeoutError, msgspec.DecodeError):
        return None
    return None if listed is None else [model.id for model in listed.data]
