"""Asks one engine everything that can contradict what was configured; for `gateway-plugin doctor --endpoints`."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

from gateway_plugin.pods.addresses import parse_host_port
from gateway_plugin.pods.engines import engine_checks
from gateway_plugin.pods.engines.fetch import ScrapeError
from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.model_lists import BadModelList, read_model_list

if TYPE_CHECKING:
    from gateway_plugin.pods.engines.engine_checks import EngineFinding
    from gateway_plugin.pods.engines.fetch import Fetch
    from routing.spec import PodSpec

TLS_SECONDS = 1.0
"""For a handshake on a port that may not speak it."""


async def ask_engine(pod: PodSpec, fetch: Fetch, key: str = "") -> list[EngineFinding]:
    """All that is found."""
    try:
        page = await _ask(fetch, f"http://{pod.address}/v1/models", key)
        found = [engine_checks.served_names(pod, read_model_list(page))]
    except BadModelList as error:
        found = [engine_checks.not_a_list(pod, error)]
    except ScrapeError as error:
        return [await explained(pod, "/v1/models", error, had_key=bool(key))]
    found.append(await _metrics(pod, fetch))
    return [one for one in found if one is not None]


async def explained(pod: PodSpec, path: str, error: ScrapeError, *, had_key: bool) -> EngineFinding:
    """Why it did not answer; where TLS is likely, by trying."""
    tls = engine_checks.might_speak_tls(error) and await speaks_tls(pod.address)
    return engine_checks.no_answer(pod, path, error, had_key=had_key, speaks_tls=tls)


async def speaks_tls(address: str, timeout_seconds: float = TLS_SECONDS) -> bool:
    """Whether a handshake succeeds there; whose certificate it is does not matter."""
    at = parse_host_port(address)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(timeout_seconds):
            _, writer = await asyncio.open_connection(at.host, at.port, ssl=context)
    except (OSError, TimeoutError):  # ssl.SSLError is an OSError
        return False
    writer.close()
    return True


async def _metrics(pod: PodSpec, fetch: Fetch) -> EngineFinding | None:
    url = f"http://{pod.metrics_address or pod.address}{engine_named(pod.engine).path}"
    try:
        page = await fetch(url)
    except ScrapeError as error:
        fix = "let it serve Prometheus metrics there, or set metrics_port; without them queue and KV cache are unknown"
        return engine_checks.EngineFinding("NoMetrics", pod.name, f"no metrics at {url}: {error}", fix)
    return engine_checks.other_engine(pod, page)


async def _ask(fetch: Fetch, url: str, key: str) -> bytes:
    return await (fetch(url, key) if key else fetch(url))
