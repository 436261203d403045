"""`GET /v1/models` and `/v1/models/{id}`: what is served here, as OpenAI's clients expect it, and more for who asks.

Every answer has an ETag. That of basic lists changes with the list and with the state of a model, never with figures.
"""

from __future__ import annotations

from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from gateway_plugin.http.error_docs import errors
from gateway_plugin.http.models_schema import LIST_PARAMETERS, SHAPE_PARAMETERS, ModelListReply, ModelReply
from gateway_plugin.models.catalogue.access import OPERATOR
from gateway_plugin.models.catalogue.query import parse_list, parse_shape
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.datastructures import Headers

    from gateway_plugin.models.catalogue.access import Viewer
    from gateway_plugin.models.catalogue.pages import Page, Pages
    from gateway_plugin.models.live.live_catalogue import LiveCatalogue

    GetViewer = Callable[[Headers], Awaitable[Viewer]]

LIST = "/v1/models"
ONE = "/v1/models/{model_id:path}"

_MEANINGS = {
    400: "A parameter cannot be used; `param` names it.",
    401: "The API key is wrong, or the user is unknown.",
    403: "The user is disabled, or is not the owner of the API key.",
    404: "There is no such model, or none that you may see.",
    503: "It cannot be told what you may see; try again after `Retry-After` seconds.",
}
_ERRORS = errors(400, 401, 403, 503, meanings=_MEANINGS)
_NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is as `If-None-Match` says."}}


async def sees_everything(_: Headers) -> Viewer:
    """For ports that only operators reach."""
    return OPERATOR


def models_router(live: LiveCatalogue, pages: Pages, viewer_of: GetViewer) -> APIRouter:
    """The list and its single entries."""
    router = APIRouter(tags=["models"])

    async def list_models(request: Request) -> Response:
        viewer = await viewer_of(request.headers)
        query = parse_list(_query(request))
        snapshot = live.snapshot
        dated = not (query.full or query.fields or viewer.allowed)
        page = pages.list(snapshot, query, viewer)
        return _answer(request.headers, page, live.wall_clock(), snapshot.modified_at if dated else None)

    async def retrieve_model(request: Request, model_id: str) -> Response:
        if not model_id:
            return await list_models(request)
        viewer = await viewer_of(request.headers)
        shape = parse_shape(_query(request))
        snapshot = live.snapshot
        entry = snapshot.by_id.get(model_id)
        if entry is None or not viewer.sees(entry.facts):
            message = f"The model {_short(model_id)!r} does not exist"
            raise ApiError(kinds.NO_SUCH_MODEL, message, param="model")
        dated = not (shape.full or shape.fields or viewer.allowed)
        page = pages.one(entry, shape, viewer)
        return _answer(request.headers, page, live.wall_clock(), snapshot.modified_at if dated else None)

    for path, endpoint, parameters, reply, responses in (
        (LIST, list_models, LIST_PARAMETERS, ModelListReply, _ERRORS),
        (ONE, retrieve_model, SHAPE_PARAMETERS, ModelReply, _ERRORS | errors(404, meanings=_MEANINGS)),
    ):
        router.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            response_class=Response,
            responses={200: {"model": reply}, **_NOT_MODIFIED, **responses},
            openapi_extra={"parameters": parameters},
        )
        router.add_api_route(path, endpoint, methods=["HEAD"], include_in_schema=False)
    return router


def _query(request: Request) -> str:
    raw: bytes = request.scope["query_string"]
    return raw.decode("latin-1")


def _answer(asked: Headers, page: Page, now: float, modified_at: float | None) -> Response:
    """`modified_at` is None for what changes by itself, as figures do and what a user may see."""
    modified = int(now if modified_at is None else modified_at)
    headers = {
        "etag": page.etag,
        # A second that is not over may see another change, which would look like this one.
        "last-modified": _http_date(modified if now >= modified + 1 else modified - 1),
        # Each viewer has its own list, and must ask whether it still holds.
        "cache-control": "private, no-cache",
        "vary": "Authorization, X-Api-Key, Api-Key, User",
    }
    if _is_known(asked, page.etag, modified if modified_at is not None else None):
        return Response(status_code=304, headers=headers)
    return Response(page.body, headers=headers, media_type="application/json")


def _is_known(asked: Headers, etag: str, modified: int | None) -> bool:
    none_match = asked.get("if-none-match")
    if none_match is not None:
        return none_match.strip() == "*" or any(one.strip().removeprefix("W/") == etag for one in none_match.split(","))
    since = asked.get("if-modified-since")
    return since is not None and modified is not None and modified <= _seconds(since)


@lru_cache(maxsize=64)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def _seconds(http_date: str) -> float:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."
