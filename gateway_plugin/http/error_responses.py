"""Errors of the HTTP API in the same OpenAI shape as those of the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gateway_plugin import plugin_version
from gateway_plugin.http.admin import NOTHING_THERE, admin_check
from gateway_plugin.http.admin import is_public as is_public_by_default
from gateway_plugin.http.docs_page import add_docs_page
from gateway_plugin.http.gate import MAX_BODY_BYTES, Gate
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError, error_body
from ratelimit import CorruptUserRecord, InvalidUserName, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def new_app(
    title: str,
    description: str,
    *,
    admin_token: str = "",
    max_body_bytes: int = MAX_BODY_BYTES,
    is_public: Callable[[str], bool] = is_public_by_default,
) -> FastAPI:
    """A FastAPI application whose every error has the OpenAI shape, behind a gate. With an admin token, only what is
    public can be called without it."""
    app = FastAPI(title=title, description=description, version=plugin_version(), docs_url=None, redoc_url=None)
    add_docs_page(app)
    check = admin_check(admin_token) if admin_token else None
    app.add_middleware(Gate, check=check, is_public=is_public, max_body_bytes=max_body_bytes)
    app.add_exception_handler(ApiError, _on_api_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(InvalidUserName, _on_invalid_name)
    app.add_exception_handler(StoreUnavailable, _on_store_unavailable)
    app.add_exception_handler(CorruptUserRecord, _on_corrupt)
    return app


def _response(
    status: int, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    body = error_body(status, message, param=param)
    return Response(body, status, headers=headers, media_type="application/json")


async def _on_api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return Response(error.body, error.status, headers=error.headers, media_type="application/json")


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = "Unknown path or model." if request.url.path == NOTHING_THERE else str(error.detail)
    return _response(error.status_code, detail, headers=error.headers)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = [str(part) for part in first["loc"] if part != "body"]
    name = ".".join(where)
    message = f"{name}: {first['msg']}" if name else str(first["msg"])
    return await _on_api_error(request, ApiError(kinds.BAD_VALUE, message, param=name or None))


async def _on_invalid_name(request: Request, error: Exception) -> Response:
    return await _on_api_error(request, ApiError(kinds.BAD_VALUE, str(error), param="name"))


async def _on_store_unavailable(request: Request, error: Exception) -> Response:
    return await _on_api_error(request, ApiError(kinds.STORE_UNAVAILABLE, f"the store cannot answer: {error}"))


async def _on_corrupt(request: Request, error: Exception) -> Response:
    return await _on_api_error(request, ApiError(kinds.CORRUPT_USER, str(error)))
