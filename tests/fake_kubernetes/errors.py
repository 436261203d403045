"""Errors as the API server words them: a `Status` object with code and reason."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is not a success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message

    def status(self) -> dict[str, Any]:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


def not_found(what: str, name: str) -> ApiError:
    """There is no such object."""
    return ApiError(404, "NotFound", f'{what} "{name}" not found')


def already_exists(what: str, name: str) -> ApiError:
    """Somebody was faster."""
    return ApiError(409, "AlreadyExists", f'{what} "{name}" already exists')


def conflict(what: str, name: str) -> ApiError:
    """The object has changed since it was read."""
    message = "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {what} "{name}": {message}')


def ending(what: str, name: str, namespace: str) -> ApiError:
    """Nothing new comes into a namespace that is being deleted."""
    message = f"unable to create new content in namespace {namespace} because it is being terminated"
    return ApiError(403, "Forbidden", f'{what} "{name}" is forbidden: {message}')


def invalid(what: str, name: str, message: str) -> ApiError:
    """The object breaks a rule."""
    return ApiError(422, "Invalid", f'{what} "{name}" is invalid: {message}')


def bad_request(message: str) -> ApiError:
    """The request makes no sense."""
    return ApiError(400, "BadRequest", message)


def gone(since: int, oldest: int) -> ApiError:
    """The history that a watcher asks for is forgotten."""
    return ApiError(410, "Expired", f"too old resource version: {since} ({oldest})")
