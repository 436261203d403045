"""Keeps the pod table's engine columns fresh: every ready pod is asked once per interval, eight of them at a moment.

    delay_seconds = interval * 2**failures, at most 15 (never less than the interval), +- 10 % jitter,
                    to the nearest of the interval's ceil(pods / 8) moments

A process that wakes for one page pays for its cold caches more than for the page: asked together, pages cost a third.

Pods that fail share a quarter of the connections and leave the rest to those that answer, so that however many pods
hang, the others are asked in time. The table takes a result only while the row belongs to the incarnation that was
asked. A failed scrape writes no numbers: the old ones age into "unknown" by themselves. But it speaks against the pod
(see `routing.pods.circuit`) where its metrics are served by the engine itself, at the address that requests go to.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from gateway_plugin.pods.engines.fetch import Fetch, FetchOutcome, ScrapeError, http_fetch
from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.page import Samples, first_of, read_page
from gateway_plugin.pods.engines.readings import Readings
from gateway_plugin.settings.pacing import next_moment, seconds_to_moment
from routing.pods.circuit import Failure

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from routing.pods.pod_table import PodTable

logger = logging.getLogger(__name__)

MAX_DELAY_SECONDS = 15.0
"""Between two tries at a page that does not come."""
_JITTER_RATIO = 0.1
_MAX_DOUBLINGS = 16
"""So that the exponent stays small."""
AT_A_MOMENT = 8


@dataclass(frozen=True, slots=True)
class _Target:
    """One incarnation of a pod, and where its page is. A change of any of it is a new target."""

    row: int
    incarnation: int
    name: str
    url: str
    engine: str
    is_the_pod: bool
    """Whether the page comes from the address that requests go to, and not from an exporter beside it."""


class Scraper:
    """`outcomes` counts scrapes since the start."""

    def __init__(
        self,
        table: PodTable,
        rng: random.Random,
        interval_seconds: float = 1.0,
        timeout_seconds: float = 1.0,
        concurrency: int = 16,
        max_page_bytes: int = 4 * 1024 * 1024,
        *,
        open_fetch: Callable[[], AbstractAsyncContextManager[Fetch]] | None = None,
    ) -> None:
        self.outcomes = dict.fromkeys(FetchOutcome, 0)
        self._table = table
        self._rng = rng
        self._interval_seconds = interval_seconds
        failing = max(1, concurrency // 4)
        healthy = max(1, concurrency - failing)
        self._failing_lane = asyncio.Semaphore(failing)
        self._healthy_lane = asyncio.Semaphore(healthy)
        self._open_fetch = open_fetch or (lambda: http_fetch(timeout_seconds, failing + healthy, max_page_bytes))
        # Replicas of one host share a clock, and shall not ask one engine all at once.
        self._phase_seconds = rng.uniform(0.0, interval_seconds)
        self._moment_seconds = interval_seconds
        """Between two moments at which pods are asked."""

    async def run(self) -> None:
        """Scrapes until cancelled; looks for new and lost pods once per interval."""
        tasks: dict[_Target, asyncio.Task[None]] = {}
        async with self._open_fetch() as fetch, asyncio.TaskGroup() as group:
            while True:
                wanted = self._targets()
                self._moment_seconds = self._interval_seconds / max(1, math.ceil(len(wanted) / AT_A_MOMENT))
                for target in [target for target in tasks if target not in wanted]:
                    tasks.pop(target).cancel()
                for target in wanted:
                    if target not in tasks:
                        tasks[target] = group.create_task(self._follow(target, fetch))
                await next_moment(self._interval_seconds)

    def _targets(self) -> dict[_Target, None]:
        targets: dict[_Target, None] = {}
        for row, pod in self._table.items():
            # An engine without a metrics page is not asked for one.
            if pod.ready and engine_named(pod.engine).columns:
                url = f"http://{pod.metrics_address or pod.address}{engine_named(pod.engine).path}"
                is_the_pod = pod.metrics_address in ("", pod.address)
                targets[_Target(row, self._table.incarnation(row), pod.name, url, pod.engine, is_the_pod)] = None
        return targets

    async def _follow(self, target: _Target, fetch: Fetch) -> None:
        failures = 0
        readings = Readings(engine_named(target.engine))
        await self._moment_after(self._rng.uniform(0.0, self._interval_seconds) - self._moment_seconds / 2)
        while True:
            async with self._failing_lane if failures else self._healthy_lane:
                failures = await self._attempt(target, readings, fetch, failures)
            await self._moment_after(self._delay_seconds(failures) - self._moment_seconds / 2)

    async def _moment_after(self, seconds: float) -> None:
        """Sleeps until the first moment after so long."""
        seconds = max(seconds, 0.0)
        at = asyncio.get_running_loop().time() + seconds + self._phase_seconds
        await asyncio.sleep(seconds + seconds_to_moment(at, self._moment_seconds))

    async def _attempt(self, target: _Target, readings: Readings, fetch: Fetch, failures: int) -> int:
        """Scrapes once; returns how often in a row it has failed now."""
        try:
            samples = await _scrape(target, fetch)
        except ScrapeError as error:
            self.outcomes[error.outcome] += 1
            if not failures:
                logger.warning("no engine metrics of pod %s from %s: %s", target.name, target.url, error)
            failure = _failure(error)
            if target.is_the_pod and failure is not None:
                self._table.not_polled(target.row, target.incarnation, failure)
            return failures + 1
        self.outcomes[FetchOutcome.OK] += 1
        if failures:
            logger.info("engine metrics of pod %s from %s are back", target.name, target.url)
        asleep = first_of(engine_named(target.engine).awake, samples) == 0.0
        self._table.polled(target.row, target.incarnation, readings.add(samples), asleep=asleep)
        return 0

    def _delay_seconds(self, failures: int) -> float:
        backoff_seconds = min(MAX_DELAY_SECONDS, self._interval_seconds * 2.0 ** min(failures, _MAX_DOUBLINGS))
        delay_seconds = max(self._interval_seconds, backoff_seconds)
        return delay_seconds * self._rng.uniform(1.0 - _JITTER_RATIO, 1.0 + _JITTER_RATIO)


def _failure(error: ScrapeError) -> Failure | None:
    """What a failed scrape says against the pod, if anything: a strange page is no sign of sickness."""
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return Failure.UNAVAILABLE
    return {FetchOutcome.REFUSED: Failure.SCRAPE_REFUSED, FetchOutcome.TIMEOUT: Failure.SCRAPE_TIMEOUT}.get(
        error.outcome
    )


async def _scrape(target: _Target, fetch: Fetch) -> Samples:
    samples = read_page(await fetch(target.url), engine_named(target.engine))
    if not samples:
        raise ScrapeError(FetchOutcome.BAD_PAGE, f"no metric of engine {target.engine} on the page")
    return samples
