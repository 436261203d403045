"""AIBrix's paths of its GPU optimizer, for autoscalers that are written for it; and the plan itself, explained."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway_plugin.tools.optimizer.optimizer_loop import FollowedDeployment, OptimizerLoop

HUNDREDTHS = 100
"""AIBrix counts in hundredths of a pod: its autoscalers have targetValue 100."""


class Monitored(BaseModel):
    """Of which model a deployment is; left out: its name says it."""

    model: str = ""
    min_replicas: int = Field(0, ge=0, le=10_000)


class ScaleOverride(BaseModel):
    """-1: what is planned holds again."""

    replicas: int = Field(ge=-1, le=10_000)


def optimizer_api(loop: OptimizerLoop, *, runs: bool = True) -> FastAPI:
    """`runs`: plans are made while it serves."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(loop.keep()) if runs else None
        yield
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app = FastAPI(title="GPU optimizer", lifespan=life, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/monitor/{namespace}/{deployment}")
    async def monitor(namespace: str, deployment: str, body: Monitored | None = None) -> dict[str, Any]:
        wanted = body or Monitored()
        try:
            one = loop.follow(namespace, deployment, wanted.model or deployment, wanted.min_replicas)
        except ValueError as error:
            raise HTTPException(429, str(error)) from None
        return {"message": f"{namespace}/{deployment} of model {one.model} is monitored"}

    @app.delete("/monitor/{namespace}/{deployment}")
    async def forget(namespace: str, deployment: str) -> dict[str, str]:
        _known(loop, namespace, deployment)
        del loop.deployments[namespace, deployment]
        return {"message": f"{namespace}/{deployment} is not monitored any more"}

    app.include_router(_sizes(loop))
    return app


def _sizes(loop: OptimizerLoop) -> APIRouter:
    router = APIRouter()

    @router.put("/scale/{namespace}/{deployment}")
    async def scale(namespace: str, deployment: str, body: ScaleOverride) -> dict[str, Any]:
        one = _known(loop, namespace, deployment)
        one.override = body.replicas
        return {"message": f"{namespace}/{deployment} has {one.wanted}", "replicas": one.wanted}

    @router.get("/metrics/{namespace}/{deployment}")
    async def metrics(namespace: str, deployment: str) -> PlainTextResponse:
        one = _known(loop, namespace, deployment)
        name, model = "vllm:deployment_replicas", one.model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
        text = f'# HELP {name} Hundredths of pods.\n# TYPE {name} gauge\n{name}{{model_name="{model}"}} '
        return PlainTextResponse(f"{text}{one.wanted * HUNDREDTHS}\n", media_type="text/plain; version=0.0.4")

    @router.get("/explain/{model:path}")
    async def explain(model: str) -> dict[str, Any]:
        own = {f"{one.namespace}/{one.name}": one for one in loop.deployments.values() if one.model == model}
        if not own:
            raise HTTPException(404, f"no deployment of {model} is monitored")
        planned = loop.plans.get(model)
        return {
            "model": model,
            "cost_per_hour": planned.cost if planned else None,
            "gap": planned.gap if planned else None,
            "solver": planned.solver if planned else None,
            "deployments": {name: {"replicas": one.wanted, "error": one.error} for name, one in own.items()},
        }

    return router


def _known(loop: OptimizerLoop, namespace: str, deployment: str) -> FollowedDeployment:
    found = loop.deployments.get((namespace, deployment))
    if found is None:
        name = f"{namespace}/{deployment}"
        raise HTTPException(404, f"{name} is not monitored: POST /monitor/{name}")
    return found
