"""Handlers for responses that were kept: asked for again, cancelled, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from simulator.generating import json_response
from simulator.openai_requests import EngineError

if TYPE_CHECKING:
    from simulator.pod_state import PodState

_CANCELLABLE = ("queued", "in_progress")


class KeepingHandlers:
    def __init__(self, state: PodState) -> None:
        self._kept = state.kept_responses

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/responses/{id}", self._get),
            web.delete("/v1/responses/{id}", self._delete),
            web.post("/v1/responses/{id}/cancel", self._cancel),
        ]

    async def _get(self, request: web.Request) -> web.Response:
        return json_response(self._kept.get(request.match_info["id"]).response)

    async def _delete(self, request: web.Request) -> web.Response:
        response_id = request.match_info["id"]
        self._kept.get(response_id)
        self._kept.forget(response_id)
        return json_response({"id": response_id, "object": "response", "deleted": True})

    async def _cancel(self, request: web.Request) -> web.Response:
        kept = self._kept.get(request.match_info["id"])
        if kept.response["status"] not in _CANCELLABLE:
            raise EngineError(
                "Cannot cancel a synchronous response.", kind="invalid_request_error", param="response_id"
            )
        if kept.task is not None:
            kept.task.cancel()
        kept.response["status"] = "cancelled"
        return json_response(kept.response)
