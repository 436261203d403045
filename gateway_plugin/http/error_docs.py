"""What the OpenAPI document says about errors: their shape, which is OpenAI's, and what each status means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEANINGS = {
    400: "The body cannot be decoded: it is not UTF-8, or nested too deeply.",
    401: "The admin token is missing or wrong; `WWW-Authenticate` says which.",
    404: "There is no such user, or no such key.",
    409: "The user exists, has as many keys as one may have, or is not the one that the body names.",
    422: "A value cannot be used; `param` names it.",
    500: "What is stored for this user is not a user record. PUT, UpdateUser or a deletion repairs it.",
    503: "The store cannot be reached; try again after `Retry-After` seconds.",
}


class ErrorDetail(BaseModel):
    """What is wrong; `param` is the field at fault, where one is."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """An error as OpenAI's clients read it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "user lgy does not exist",
                        "type": "invalid_request_error",
                        "param": None,
                        "code": None,
                    }
                }
            ]
        }
    )

    error: ErrorDetail


def errors(*statuses: int, meanings: Mapping[int, str] = _MEANINGS) -> dict[int | str, dict[str, Any]]:
    """FastAPI's `responses` for these statuses."""
    return {status: {"model": ErrorReply, "description": meanings[status]} for status in statuses}


def common_errors(admin_token: str) -> dict[int | str, dict[str, Any]]:
    """Those of every call of the users API."""
    return errors(*([401] if admin_token else []), 422, 500, 503)
