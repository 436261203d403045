"""Asks every ready engine what it serves: its `/v1/models`, and once its `/version`.

A pod is asked as soon as it is ready, then every interval; after failures at ever longer intervals, and with a quarter
of the connections, so that hanging pods delay nobody else. A failure changes nothing that is known: an engine that is
too busy to answer has not lost its adapters.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.pods.engines.engine_checks import not_a_list, other_engine, served_names
from gateway_plugin.pods.engines.engine_doctor import explained
from gateway_plugin.pods.engines.fetch import Fetch, FetchOutcome, ScrapeError, http_fetch
from gateway_plugin.pods.engines.findings_book import FindingsBook
from gateway_plugin.pods.engines.known_models import EngineReport
from gateway_plugin.pods.engines.metric_names import engine_named
from gateway_plugin.pods.engines.model_lists import BadModelList, read_model_list, read_version
from gateway_plugin.settings.engine_keys import NO_ENGINE_KEYS, EngineKeys
from gateway_plugin.settings.pacing import next_moment, seconds_to_moment

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterable
    from contextlib import AbstractAsyncContextManager

    from gateway_plugin.pods.engines.known_models import KnownModels, ModelCard
    from routing.pods.pod_table import PodTable
    from routing.spec import PodSpec

logger = logging.getLogger(__name__)

MAX_DELAY_SECONDS = 60.0
"""Between two tries at an engine that does not answer."""
_LOOK_SECONDS = 0.25
"""Between two looks for who is due."""
_CALM_LOOK_SECONDS = 0.5
"""Once everybody has been heard."""
_JITTER_RATIO = 0.1
_MAX_DOUBLINGS = 10
"""So that the exponent stays small."""
_MAX_PAGE_BYTES = 1024 * 1024
"""Of /v1/models: 512 cards with all their fields."""
_CONNECTIONS = 16
"""At once."""
_FAILING_CONNECTIONS = 4
"""Of them for engines that failed, so that dead ones hold up nobody."""
_FAILURES_TO_TELL = 2
"""An engine that starts refuses its first visitor."""


@dataclass(frozen=True, slots=True)
class _Target:
    row: int
    incarnation: int
    name: str
    address: str
    uid: str
    key: str
    """What the engine wants to be sent; empty: nothing."""


class ModelPoller:
    """`settled` becomes true when every pod that was ready at the start has answered or failed."""

    def __init__(
        self,
        table: PodTable,
        known: KnownModels,
        rng: random.Random,
        interval_seconds: float = 5.0,
        timeout_seconds: float = 2.0,
        *,
        keys: EngineKeys = NO_ENGINE_KEYS,
        open_fetch: Callable[[], AbstractAsyncContextManager[Fetch]] | None = None,
    ) -> None:
        self.settled = False
        self.findings = FindingsBook()
        """Where what engines say contradicts what was configured."""
        self._table = table
        self._known = known
        self._rng = rng
        self._keys = keys
        self._interval_seconds = interval_seconds
        self._lane = asyncio.Semaphore(_CONNECTIONS - _FAILING_CONNECTIONS)
        self._failing_lane = asyncio.Semaphore(_FAILING_CONNECTIONS)
        self._open_fetch = open_fetch or (lambda: http_fetch(timeout_seconds, _CONNECTIONS, _MAX_PAGE_BYTES))
        self._asked: set[_Target] = set()

    async def run(self) -> None:
        """Asks until cancelled."""
        tasks: dict[_Target, asyncio.Task[None]] = {}
        version = -1
        async with self._open_fetch() as fetch, asyncio.TaskGroup() as group:
            while True:
                if version != self._table.version:
                    version = self._table.version
                    wanted = self._targets()
                    for target in tasks.keys() - wanted:
                        tasks.pop(target).cancel()
                    self._asked &= wanted
                    self.findings.keep({target.address for target in wanted})
                    for target in wanted - tasks.keys():
                        tasks[target] = group.create_task(self._follow(target, fetch))
                self._known.flush()
                self.settled = self.settled or (bool(tasks) and self._asked >= tasks.keys())
                await next_moment(_CALM_LOOK_SECONDS if self.settled else _LOOK_SECONDS)

    def _targets(self) -> set[_Target]:
        return {
            _Target(row, self._table.incarnation(row), pod.name, pod.address, pod.uid, self._key_of(pod.models))
            for row, pod in self._table.rows()
            if pod.ready
        }

    async def _follow(self, target: _Target, fetch: Fetch) -> None:
        failures = 0
        version: str | None = None
        metrics_seen = False
        while True:
            async with self._failing_lane if failures else self._lane:
                try:
                    version = await self._version(target, fetch) if version is None else version
                    cards = read_model_list(await self._ask(target, fetch, "/v1/models"))
                except (ScrapeError, BadModelList) as error:
                    if not failures:
                        logger.info("pod %s does not tell what it serves: %s", target.name, error)
                    failures += 1
                    await self._find_why(target, error, failures)
                else:
                    failures = 0
                    self._known.reported(target.address, target.uid, EngineReport(cards, version))
                    self._compare(target, cards)
                    metrics_seen = metrics_seen or await self._look_at_metrics(target, fetch)
            self._asked.add(target)
            await self._moment_after(self._delay_seconds(failures))

    async def _moment_after(self, seconds: float) -> None:
        """Sleeps so long, and until the process wakes anyway."""
        at_seconds = asyncio.get_running_loop().time() + seconds
        await asyncio.sleep(seconds + seconds_to_moment(at_seconds, _CALM_LOOK_SECONDS))

    def _compare(self, target: _Target, cards: Collection[ModelCard]) -> None:
        pod = self._pod(target)
        if pod is not None:
            self.findings.put(target.address, "models", served_names(pod, cards, self._known.adapters))

    def _pod(self, target: _Target) -> PodSpec | None:
        """As discovery sees it now; None when it has gone while it was asked."""
        row = self._table.row_of(target.address)
        same = row == target.row and self._table.incarnation(target.row) == target.incarnation
        return self._table.spec(target.row) if same else None

    async def _find_why(self, target: _Target, error: ScrapeError | BadModelList, failures: int) -> None:
        pod = self._pod(target)
        if failures < _FAILURES_TO_TELL or pod is None:
            return
        if isinstance(error, BadModelList):
            found = not_a_list(pod, error)
        else:
            found = await explained(pod, "/v1/models", error, had_key=bool(target.key))
        self.findings.put(target.address, "models", found)

    async def _look_at_metrics(self, target: _Target, fetch: Fetch) -> bool:
        """Whether the page was there: once is enough, a pod does not become another engine."""
        pod = self._pod(target)
        if pod is None:
            return False
        try:
            page = await fetch(f"http://{pod.metrics_address or pod.address}{engine_named(pod.engine).path}")
        except ScrapeError:
            return False  # the scraper tells
        self.findings.put(target.address, "metrics", other_engine(pod, page))
        return True

    async def _ask(self, target: _Target, fetch: Fetch, path: str) -> bytes:
        url = f"http://{target.address}{path}"
        return await (fetch(url, target.key) if target.key else fetch(url))

    def _key_of(self, models: Iterable[str]) -> str:
        return next((key for model in models if (key := self._keys.of(model))), "")

    async def _version(self, target: _Target, fetch: Fetch) -> str:
        try:
            return read_version(await self._ask(target, fetch, "/version"))
        except ScrapeError as error:
            if error.outcome is FetchOutcome.BAD_STATUS:
                return ""  # not every engine tells
            raise

    def _delay_seconds(self, failures: int) -> float:
        longest = max(MAX_DELAY_SECONDS, self._interval_seconds)
        delay_seconds = min(longest, self._interval_seconds * 2.0 ** min(failures, _MAX_DOUBLINGS))
        return delay_seconds * self._rng.uniform(1.0 - _JITTER_RATIO, 1.0 + _JITTER_RATIO)
