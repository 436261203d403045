"""`gateway-plugin doctor --endpoints FILE`: asks every engine of the file, and the store of limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from gateway_plugin.pods.endpoints_file import read_endpoints
from gateway_plugin.pods.engines.engine_checks import EngineFinding
from gateway_plugin.pods.engines.engine_doctor import ask_engine
from gateway_plugin.pods.engines.fetch import http_fetch
from gateway_plugin.pods.file import cluster_state
from gateway_plugin.pods.resolver import HostBook, system_addresses
from gateway_plugin.settings.engine_keys import read_engine_keys
from ratelimit import RedisStore, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from gateway_plugin.pods.engines.fetch import Fetch
    from gateway_plugin.settings.settings import Settings
    from routing.spec import ClusterState, PodSpec

_TIMEOUT_SECONDS = 3.0
_AT_ONCE = 32
_MAX_PAGE_BYTES = 4 * 1024 * 1024


def examine(endpoints: Path, settings: Settings) -> tuple[int, list[EngineFinding]]:
    """How many pods were asked, and all that is found; raises EndpointsError, EngineKeysError, ValueError."""
    return asyncio.run(_examine(endpoints, settings))


def print_findings(pods: int, findings: list[EngineFinding]) -> None:
    """One row each."""
    console = Console()
    if findings:
        table = Table("what", "about", "found", "mend", show_edge=False)
        for one in findings:
            table.add_row(one.code, one.about, one.message, one.fix)
        console.print(table, markup=False)
    console.print(f"{pods} pods asked, {len(findings)} findings", highlight=False)


async def _examine(endpoints: Path, settings: Settings) -> tuple[int, list[EngineFinding]]:
    keys = read_engine_keys(settings.engines.api_key.get_secret_value(), settings.engines.api_keys_file)
    state, findings = await _resolved(endpoints)
    places = asyncio.Semaphore(_AT_ONCE)

    async def ask(pod: PodSpec, fetch: Fetch) -> list[EngineFinding]:
        key = next((key for model in pod.models if (key := keys.of(model))), "")
        async with places:
            return await ask_engine(pod, fetch, key)

    async with http_fetch(_TIMEOUT_SECONDS, _AT_ONCE, _MAX_PAGE_BYTES) as fetch:
        found = await asyncio.gather(*(ask(pod, fetch) for pod in state.pods if pod.ready))
    findings += [one for of_a_pod in found for one in of_a_pod]
    findings += [
        EngineFinding("NoPods", model, "no pod of the file serves it", "give it endpoints, or take it out")
        for model in sorted(state.models - {model for pod in state.pods for model in pod.models})
    ]
    return len(state.pods), findings + await _store(settings)


async def _resolved(endpoints: Path) -> tuple[ClusterState, list[EngineFinding]]:
    file = read_endpoints(endpoints)
    hosts = HostBook(system_addresses, _TIMEOUT_SECONDS)
    await hosts.refresh(pod.at.host for pod in file.pods)
    problems = {pod.name: (pod.at.host, hosts[pod.at.host].problem) for pod in file.pods}
    return cluster_state(file, hosts), [
        EngineFinding("NoSuchHost", pod, f"{host} does not resolve: {problem}", "correct the name, or the name server")
        for pod, (host, problem) in problems.items()
        if problem
    ]


async def _store(settings: Settings) -> list[EngineFinding]:
    url = settings.redis.effective_url
    if not url:
        return []
    store = RedisStore.from_url(url, timeout_seconds=_TIMEOUT_SECONDS)
    try:
        await store.ping()
    except StoreUnavailable as error:
        fix = "start it, or correct GATEWAY_REDIS_URL"
        return [EngineFinding("NoStore", "redis", f"the store of limits does not answer: {error}", fix)]
    finally:
        await store.close()
    return []
