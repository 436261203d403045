"""Tracing as the process has it: none, or with OpenTelemetry's SDK, which is imported only then."""

from __future__ import annotations

import asyncio
import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gateway_plugin.settings.start_error import StartError

if TYPE_CHECKING:
    from gateway_plugin.metrics.tracing import Tracing
    from gateway_plugin.settings.settings import Settings

_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.json.http")
_STOP_SECONDS = 2.0
"""For the last spans to leave."""

logger = logging.getLogger(__name__)


def tracing_of(settings: Settings) -> Tracing | None:
    """None where nothing is traced; raises StartError where what it needs is not installed."""
    tracing = settings.tracing
    if not tracing.otlp_endpoint:
        return None
    if not all(map(_is_installed, _NEEDED)):
        raise StartError("tracing.otlp_endpoint needs the extra `otel`: pip install 'gateway-plugin[otel]'")
    # The SDK takes a quarter of a second to import, and who traces nothing need not have it.
    from gateway_plugin.metrics.trace_export import new_tracing  # noqa: PLC0415

    logger.info("traces go to %s", tracing.otlp_endpoint)
    return new_tracing(tracing.otlp_endpoint, tracing.trace_sample_ratio, settings.process.replica)


async def stop_tracing(tracing: Tracing | None) -> None:
    """Sends what is left, and waits a little for it."""
    if tracing is None:
        return
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await asyncio.to_thread(tracing.shut_down)
    except TimeoutError:
        logger.warning("the last spans are lost: the collector does not answer")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a package above it
        return False
