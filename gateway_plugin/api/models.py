"""`GET /v1/models`: what is served here, as a plain OpenAI list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from routing.pods import PodTable


class Model(BaseModel):
    """One model, in OpenAI's shape. `created` is unknown to a gateway and 0, as in AIBrix."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "gateway-plugin"


class ModelList(BaseModel):
    """All models, sorted by id."""

    object: Literal["list"] = "list"
    data: list[Model]


def models_router(pods: PodTable) -> APIRouter:
    """The list and its single entries over the live pod table."""
    router = APIRouter(tags=["models"])

    @router.get("/v1/models")
    async def list_models() -> ModelList:
        return ModelList(data=[Model(id=name) for name in pods.models()])

    @router.get("/v1/models/{model_id:path}")
    async def retrieve_model(model_id: str) -> Model:
        if not pods.knows(model_id):
            message = f"model {model_id} does not exist"
            raise ApiError(404, message, reason="unknown_model", code="model_not_found", param="model")
        return Model(id=model_id)

    return router
