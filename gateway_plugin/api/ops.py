"""For operators: `/metrics`, `/healthz`, `/readyz`, `/debug/pods`."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

if TYPE_CHECKING:
    from gateway_plugin.metrics import Metrics
    from routing.columns import FloatColumn
    from routing.pods import PodTable
    from routing.spec import PodSpec


class PodState(BaseModel):
    """One pod as the router sees it. Null is "not known"; token counts are since the engine's start."""

    name: str
    address: str
    models: list[str]
    ready: bool
    inflight_requests: int
    requests_total: int
    running_requests: float | None
    waiting_requests: float | None
    kv_usage_ratio: float | None
    prefix_hit_tokens: float | None
    prefix_query_tokens: float | None
    ttft_seconds: float | None
    tpot_seconds: float | None


class Readiness(BaseModel):
    """Whether requests should be sent here, and what each part says."""

    ready: bool
    checks: dict[str, str]


LimiterHealth = Callable[[], Awaitable[tuple[bool, str]]]


def ops_router(
    pods: PodTable, limiter_health: LimiterHealth, metrics: Metrics, draining: Callable[[], bool]
) -> APIRouter:
    """Everything on the operations port."""
    router = APIRouter(tags=["operations"])

    @router.get("/metrics")
    async def scrape() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @router.get("/healthz")
    async def healthy() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def ready(response: Response) -> Readiness:
        can_decide, limiter = await limiter_health()
        checks = {
            "draining": "yes" if draining() else "ok",
            "models": "ok" if pods.models() else "no model is known yet",
            "limiter": limiter,
        }
        is_ready = can_decide and not draining() and bool(pods.models())
        response.status_code = 200 if is_ready else 503
        return Readiness(ready=is_ready, checks=checks)

    @router.get("/debug/pods")
    async def pod_states() -> list[PodState]:
        return [_state(pods, row, spec) for row, spec in pods.items()]

    return router


def _state(pods: PodTable, row: int, spec: PodSpec) -> PodState:
    columns = pods.columns

    def known(column: FloatColumn) -> float | None:
        return None if math.isnan(column[row]) else float(column[row])

    return PodState(
        name=spec.name,
        address=spec.address,
        models=sorted(spec.models),
        ready=spec.ready,
        inflight_requests=int(columns.inflight_requests[row]),
        requests_total=int(columns.requests_total[row]),
        running_requests=known(columns.running_requests),
        waiting_requests=known(columns.waiting_requests),
        kv_usage_ratio=known(columns.kv_usage_ratio),
        prefix_hit_tokens=known(columns.prefix_hit_tokens),
        prefix_query_tokens=known(columns.prefix_query_tokens),
        ttft_seconds=known(columns.ttft_seconds),
        tpot_seconds=known(columns.tpot_seconds),
    )
