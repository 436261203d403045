"""`/load`: what one replica has of each model, for whoever scales models. It names no user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.metrics.families import Metrics


class ModelDemand(BaseModel):
    """One model at this replica."""

    in_flight: int = 0
    held: int = 0
    """Requests that wait for a pod, or for room on one."""
    requests_total: int = 0
    """Sent on since this replica's start; begins anew when the model was gone in between."""


class LoadReport(BaseModel):
    models: dict[str, ModelDemand]


def load_router(metrics: Metrics, held: Callable[[], Mapping[str, int]]) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/load")
    async def load() -> LoadReport:
        models: dict[str, ModelDemand] = {}

        def of(model: str) -> ModelDemand:
            return models.setdefault(model, ModelDemand())

        for (model, *_), count in metrics.requests.items():
            of(model).requests_total += int(count.value)
        for model, level in metrics.in_flight_by_model().items():
            of(model).in_flight = level
        for model, length in held().items():
            of(model).held = length
        return LoadReport(models=models)

    return router
