"""The light check before a probe: no user's request is spent on a pod that does not even answer `/health`.

Healthy pods are never asked. A pod whose circuit is open is asked when its delay is over: any answer below 500 passes
(an engine without that path answers 404, and lives), a 5xx, a refusal or silence does not. vLLM says 503 when its
engine has died behind a living front end; engines that load or drain say 503, or refuse.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway_plugin.pods.engines.fetch import FetchOutcome, ScrapeError, http_fetch
from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.settings.pacing import next_moment
from routing.pods.circuit import CircuitState

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from gateway_plugin.pods.engines.fetch import Fetch
    from routing.pods.circuit import Circuit
    from routing.pods.pod_table import PodTable

logger = logging.getLogger(__name__)

# Delays begin at half a second; looking at a few circuits costs microseconds.
LOOK_SECONDS = 0.25
CALM_LOOK_SECONDS = 0.5
"""While all are well: no delay is shorter."""
TIMEOUT_SECONDS = 1.0
"""For /health, which engines answer from memory."""
# Pods that hang hold the others up for a second per so many of them.
AT_ONCE = 16
_MAX_ANSWER_BYTES = 64 * 1024
"""Of an answer of which only the status counts."""


class HealthChecks:
    """Looks after the pods of one table, and logs what becomes of them."""

    def __init__(
        self, table: PodTable, *, open_fetch: Callable[[], AbstractAsyncContextManager[Fetch]] | None = None
    ) -> None:
        self.outcomes = {"passed": 0, "failed": 0}
        """Checks since the start."""
        self._table = table
        self._open_fetch = open_fetch or (lambda: http_fetch(TIMEOUT_SECONDS, AT_ONCE, _MAX_ANSWER_BYTES))
        table.health.on_change = self._log

    async def run(self) -> None:
        """Checks until cancelled."""
        async with self._open_fetch() as fetch:
            while True:
                due = self._table.health.due()[:AT_ONCE]
                await asyncio.gather(*(self._check(row, circuit, fetch) for row, circuit in due))
                await next_moment(LOOK_SECONDS if self._table.health.sick else CALM_LOOK_SECONDS)

    async def _check(self, row: int, circuit: Circuit, fetch: Fetch) -> None:
        pod = self._table.spec(row)
        passed = await _answers(f"http://{pod.address}{engine_named(pod.engine).health_path}", fetch)
        self.outcomes["passed" if passed else "failed"] += 1
        # The circuit is the pod's own: when the row has changed hands meanwhile, nobody listens to it.
        circuit.checked(passed=passed)

    def _log(self, row: int, circuit: Circuit) -> None:
        pod = self._table.spec(row)
        if circuit.state is CircuitState.OPEN:
            wait = circuit.retry_at_seconds - self._table.books.clock()
            logger.warning("pod %s is sick (%s); next look in %.1f s", pod.name, circuit.reason, wait)
        elif circuit.state is CircuitState.HALF_OPEN:
            logger.info("pod %s answers; the next request is its probe", pod.name)
        else:
            logger.info("pod %s is well", pod.name)


async def _answers(url: str, fetch: Fetch) -> bool:
    try:
        await fetch(url)
    except ScrapeError as error:
        return error.outcome is FetchOutcome.TOO_LARGE or 0 < error.status < HTTPStatus.INTERNAL_SERVER_ERROR
    return True
