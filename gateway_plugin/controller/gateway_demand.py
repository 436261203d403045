"""What the gateway's replicas tell of requests: in flight, waiting for pods, and since when there were none.

Every replica is asked for its `/v1/load`, and what they tell is added up. Where one of them cannot be asked, its last
answer counts for a while, and after that nothing is known: then no adapter leaves early and no model goes to zero.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger(__name__)

OLD_SECONDS = 15.0
"""An answer that is older says nothing: three looks have failed."""
_ASK_SECONDS = 2.0
_MOST_BYTES = 8 << 20


class ModelLoad(msgspec.Struct, frozen=True):
    """One model at one replica."""

    in_flight: int = 0
    held: int = 0
    """Requests that wait for a pod to come."""
    idle_seconds: float = 0.0
    """Since its last request; the time since the replica's start where there was none."""
    requests_per_second: float = 0.0


class ReplicaLoad(msgspec.Struct, frozen=True):
    """The answer of one replica."""

    models: dict[str, ModelLoad] = {}
    pods: dict[str, dict[str, int]] = {}
    """Requests in flight, by pod (`namespace/name`) and model."""


@dataclass(slots=True)
class GatewayDemand:
    """Sums over replicas. `targets`: the model of each workload that is scaled."""

    clock: Callable[[], float]
    _answers: dict[str, tuple[float, ReplicaLoad]] = field(default_factory=dict)
    _urls: tuple[str, ...] = ()

    def took(self, url: str, load: ReplicaLoad) -> None:
        self._answers[url] = (self.clock(), load)

    def expect(self, urls: Sequence[str]) -> None:
        """The replicas that there are now; others are forgotten."""
        self._urls = tuple(urls)
        self._answers = {url: answer for url, answer in self._answers.items() if url in self._urls}

    def complete(self) -> bool:
        """Whether every replica has told something that is not old."""
        now = self.clock()
        fresh = [url for url, (at, _) in self._answers.items() if now - at < OLD_SECONDS]
        return bool(self._urls) and len(fresh) == len(self._urls)

    def idle_seconds(self, model: str) -> float:
        """0 where it is not known: a model goes to zero only for what is known."""
        if not self.complete():
            return 0.0
        return min(self._of(model, "idle_seconds"), default=0.0)

    def waiting(self, model: str) -> int:
        return int(sum(self._of(model, "held")))

    def requests_per_second(self, model: str) -> float:
        return sum(self._of(model, "requests_per_second"))

    def in_flight(self) -> Mapping[tuple[str, str], int] | None:
        """By pod and model; None while it is not known."""
        if not self.complete():
            return None
        found: Counter[tuple[str, str]] = Counter()
        for _, load in self._answers.values():
            for pod, models in load.pods.items():
                found.update({(pod, model): count for model, count in models.items()})
        return found

    def _of(self, model: str, part: str) -> list[float]:
        loads = [load.models[model] for _, load in self._answers.values() if model in load.models]
        return [float(getattr(load, part)) for load in loads]


class DemandReader:
    """Asks the replicas. Close it."""

    def __init__(self, demand: GatewayDemand, token: str = "") -> None:
        self._demand = demand
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._session: aiohttp.ClientSession | None = None

    async def read(self, urls: Sequence[str]) -> None:
        self._demand.expect(urls)
        await asyncio.gather(*map(self._ask, urls))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _ask(self, url: str) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ASK_SECONDS))
        try:
            async with self._session.get(url, headers=self._headers, allow_redirects=False) as response:
                data = await response.content.read(_MOST_BYTES)
                if response.status == 200:
                    self._demand.took(url, msgspec.json.decode(data, type=ReplicaLoad))
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            logger.debug("%s does not tell its load: %s", url, error)
