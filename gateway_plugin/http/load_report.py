"""`/load`: what one replica has of each model and each pod, for whoever scales them. It names no user."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel

from gateway_plugin.metrics.families import FIRST_TOKEN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.metrics.families import Metrics
    from routing.pods.pod_table import PodTable


class ModelDemand(BaseModel):
    """One model at this replica. What ends in `_total`, and the counts, begin anew when the model was gone."""

    in_flight: int = 0
    held: int = 0
    """Requests that wait for a pod, or for room on one."""
    requests_total: int = 0
    """Sent on since this replica's start."""
    first_token_counts: list[int] = []
    """First tokens of streams, by how long they took: one for each of `first_token_bounds`, and those above all."""
    first_token_seconds_total: float = 0.0
    ended_total: int = 0
    ended_seconds_total: float = 0.0
    """How long those took in all, first tokens included."""


class PodDemand(BaseModel):
    """One address at this replica, all its ranks together."""

    in_flight: int = 0
    kv_usage: float | None = None
    """0 to 1, as the engine told last; the mean of its ranks."""


class LoadReport(BaseModel):
    models: dict[str, ModelDemand]
    pods: dict[str, PodDemand] = {}
    """By address without a port; those that have requests, or told their KV cache."""
    first_token_bounds: list[float] = []
    """Seconds, inclusive."""


def load_router(metrics: Metrics, held: Callable[[], Mapping[str, int]], pods: PodTable) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/load")
    async def load() -> LoadReport:
        bounds = list(FIRST_TOKEN_SECONDS)
        return LoadReport(models=_models(metrics, held()), pods=_pods(pods), first_token_bounds=bounds)

    return router


def _models(metrics: Metrics, held: Mapping[str, int]) -> dict[str, ModelDemand]:
    models: dict[str, ModelDemand] = {}

    def of(model: str) -> ModelDemand:
        return models.setdefault(model, ModelDemand())

    for (model, *_), count in metrics.requests.items():
        of(model).requests_total += int(count.value)
    for model, level in metrics.in_flight_by_model().items():
        of(model).in_flight = level
    for model, length in held.items():
        of(model).held = length
    for (model, *_), spread in metrics.ttft.items():
        demand = of(model)
        demand.first_token_counts, demand.first_token_seconds_total = spread.counts, spread.sum
    for (model, *_), spread in metrics.duration.items():
        demand = of(model)
        demand.ended_total, demand.ended_seconds_total = sum(spread.counts), spread.sum
    return models


def _pods(table: PodTable) -> dict[str, PodDemand]:
    found: dict[str, list[tuple[int, float]]] = {}
    for row, pod in table.rows():
        own = int(table.columns.inflight_requests[row]), float(table.columns.kv_usage_ratio[row])
        found.setdefault(pod.address.rpartition(":")[0].strip("[]"), []).append(own)
    return {host: demand for host, ranks in found.items() if (demand := _pod(ranks)) != PodDemand()}


def _pod(ranks: list[tuple[int, float]]) -> PodDemand:
    known = [usage for _, usage in ranks if math.isfinite(usage)]
    usage = min(max(sum(known) / len(known), 0.0), 1.0) if known else None
    return PodDemand(in_flight=sum(own for own, _ in ranks), kv_usage=usage)
