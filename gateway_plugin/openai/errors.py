"""Errors as OpenAI clients expect them: `{"error": {"message", "type", "param", "code"}}`.

Type by status follows AIBrix, except that every 4xx without a type of its own is the client's mistake and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.openai.error_table import BAD_BODY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.openai.error_table import ErrorKind

_TYPES = {401: "authentication_error", 429: "rate_limit_error", 503: "overloaded_error"}


class ApiError(Exception):
    """An answer of the gateway's own: a row of error_table, and what only this request knows."""

    def __init__(
        self, kind: ErrorKind, message: str, *, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = kind.status
        self.message = message
        self.reason = kind.reason
        self.code = kind.code
        self.param = param
        self.headers = {**kind.headers, **headers} if headers else kind.headers
        """Also those by which AIBrix's clients and dashboards tell causes apart."""

    @property
    def body(self) -> bytes:
        """The JSON document."""
        return error_body(self.status, self.message, code=self.code, param=self.param)


def error_type(status: int) -> str:
    """OpenAI's error type for an HTTP status."""
    return _TYPES.get(status) or ("invalid_request_error" if 400 <= status < 500 else "api_error")


def error_body(status: int, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
    """The JSON document of an error."""
    return msgspec.json.encode({"error": error_object(status, message, code=code, param=param)})


def error_object(status: int, message: str, *, code: str | None = None, param: str | None = None) -> dict[str, object]:
    """What is in it."""
    return {"message": message, "type": error_type(status), "param": param, "code": code}


def bad_body(message: str, param: str | None = None) -> ApiError:
    """400 for a body that cannot be used."""
    return ApiError(BAD_BODY, message, param=param)
