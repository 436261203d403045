"""What the gateway's replicas tell of requests: in flight, waiting for pods, and since when there were none.

Every replica is asked for its `/load`, and what they tell is added up. Where one of them cannot be asked, its last
answer counts for a while, and after that nothing is known: then no adapter leaves early and no model goes to zero.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from gateway_plugin.controller.answer_bytes import read_at_most
from gateway_plugin.controller.served_totals import ServedTotals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway_plugin.controller.workloads import Raw

logger = logging.getLogger(__name__)

OPS_PORT_NAME = "http-ops"
"""Of the port that serves `/load`, in the plugin's Service."""
OLD_SECONDS = 15.0
"""An answer that is older says nothing: three looks have failed."""
_SHORTEST_SECONDS = 0.1
"""Between two answers of a replica, where a rate is made of them."""
_WEIGHT = 0.2
"""Of the newest rate in the smooth one: ten looks, some ten seconds, make nine tenths of it."""
_ASK_SECONDS = 2.0
"""A replica answers in milliseconds; what hangs must not hold up the next question for long."""
_MOST_BYTES = 8 << 20
"""Of an answer: 100 bytes a model, tens of thousands of models."""


class ModelLoad(msgspec.Struct, frozen=True):
    """One model at one replica; see `http/load_report.py`."""

    in_flight: int = 0
    held: int = 0
    requests_total: int = 0
    first_token_counts: list[int] = []
    first_token_seconds_total: float = 0.0
    ended_total: int = 0
    ended_seconds_total: float = 0.0


class PodLoad(msgspec.Struct, frozen=True):
    """One address at one replica."""

    in_flight: int = 0
    kv_usage: float | None = None


class ReplicaLoad(msgspec.Struct, frozen=True):
    """The answer of one replica."""

    models: dict[str, ModelLoad] = {}
    pods: dict[str, PodLoad] = {}
    first_token_bounds: list[float] = []


@dataclass(slots=True)
class _Model:
    """One model at one replica over time."""

    load: ModelLoad
    at: float
    used_at: float
    """When it was last seen in use; when it was first seen where it never was."""
    per_second: float = 0.0

    def then(self, load: ModelLoad, now: float) -> _Model:
        new = load.requests_total - self.load.requests_total
        in_use = new != 0 or load.in_flight > 0 or load.held > 0
        rate = max(new, 0) / max(now - self.at, _SHORTEST_SECONDS)
        smooth = self.per_second + _WEIGHT * (rate - self.per_second)
        return _Model(load, now, now if in_use else self.used_at, smooth)


@dataclass(slots=True)
class GatewayDemand:
    """Sums over replicas. A controller that starts anew takes every model for used just now."""

    clock: Callable[[], float]
    _models: dict[str, dict[str, _Model]] = field(default_factory=dict)
    _heard_at: dict[str, float] = field(default_factory=dict)
    _urls: tuple[str, ...] = ()
    _pods: dict[str, dict[str, PodLoad]] = field(default_factory=dict)
    _totals: dict[str, ServedTotals] = field(default_factory=dict)

    def took(self, url: str, load: ReplicaLoad) -> None:
        """What a replica told now; models that it does not name any more are forgotten."""
        now, known = self.clock(), self._models.get(url, {})
        for name, one in load.models.items():
            before = known[name].load if name in known else one
            self._totals.setdefault(name, ServedTotals()).add(before, one, load.first_token_bounds)
        self._pods[url] = load.pods
        self._models[url] = {
            name: known[name].then(one, now) if name in known else _Model(one, now, now)
            for name, one in load.models.items()
        }
        self._heard_at[url] = now

    def expect(self, urls: Sequence[str]) -> None:
        """The replicas that there are now; others are forgotten."""
        self._urls = tuple(urls)
        self._models = {url: one for url, one in self._models.items() if url in self._urls}
        self._heard_at = {url: at for url, at in self._heard_at.items() if url in self._urls}
        self._pods = {url: one for url, one in self._pods.items() if url in self._urls}
        named = {name for models in self._models.values() for name in models}
        self._totals = {name: totals for name, totals in self._totals.items() if name in named}

    def complete(self) -> bool:
        """Whether every replica has told something that is not old."""
        now = self.clock()
        return bool(self._urls) and all(now - self._heard_at.get(url, -OLD_SECONDS) < OLD_SECONDS for url in self._urls)

    @property
    def anybody_waits(self) -> bool:
        return any(one.load.held for models in self._models.values() for one in models.values())

    def idle_seconds(self, model: str) -> float:
        """0 where it is not known: a model goes to zero only for what is known."""
        if not self.complete():
            return 0.0
        return self.clock() - max((one.used_at for one in self._of(model)), default=self.clock())

    def waiting(self, model: str) -> int:
        return sum(one.load.held for one in self._of(model))

    def in_flight(self, model: str) -> int | None:
        """None while it is not known."""
        return sum(one.load.in_flight for one in self._of(model)) if self.complete() else None

    def served(self, model: str) -> ServedTotals:
        """Since this controller began to look; all replicas together."""
        return self._totals.get(model, ServedTotals())

    def pod(self, address: str) -> PodLoad:
        """Over all replicas; of the KV cache the highest that one of them was told."""
        own = [pods[address] for pods in self._pods.values() if address in pods]
        known = [one.kv_usage for one in own if one.kv_usage is not None]
        return PodLoad(sum(one.in_flight for one in own), max(known, default=None))

    def requests_per_second(self, model: str) -> float:
        return sum(one.per_second for one in self._of(model))

    def _of(self, model: str) -> list[_Model]:
        return [models[model] for models in self._models.values() if model in models]


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
                data = await read_at_most(response.content, _MOST_BYTES)
                if response.status == 200:
                    self._demand.took(url, msgspec.json.decode(data, type=ReplicaLoad))
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            logger.debug("%s does not tell its load: %s", url, error)


def load_urls(slices: Sequence[Raw]) -> list[str]:
    """Where the ready replicas behind a Service tell their load, from its EndpointSlices."""
    found = []
    for piece in slices:
        port = next((port.get("port") for port in piece.get("ports") or () if port.get("name") == OPS_PORT_NAME), None)
        for endpoint in piece.get("endpoints") or () if port else ():
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                found += [_url(str(address), port) for address in endpoint.get("addresses") or ()]
    return sorted(set(found))


def _url(address: str, port: object) -> str:
    return f"http://{f'[{address}]' if ':' in address else address}:{port}/load"
