"""Paths that hold user names: `/v1/users/{name}` and what is below it.

A name may contain "/", and may itself end in "/usage" or "/keys". Paths are therefore matched before they are
percent-decoded: `/v1/users/team/a/usage` is the usage of "team/a", `/v1/users/team%2Fusage` is the user "team/usage".
An unencoded name reaches as far as it can without swallowing what may stand below a user, so that a call that is not
allowed on `/usage` never becomes a call on a user of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from fastapi import HTTPException
from fastapi.routing import APIRoute
from starlette.convertors import Convertor, register_url_convertor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastapi import APIRouter
    from starlette.routing import Match
    from starlette.types import Scope

USERS = "/v1/users"
USER = "/v1/users/{name:user_name}"
USAGE = USER + "/usage"
KEYS = USER + "/keys"
KEY = KEYS + "/{key_id:encoded_segment}"

_ALLOWED = {
    USERS: {"GET", "POST"},
    USER: {"GET", "PUT", "PATCH", "DELETE"},
    USAGE: {"GET"},
    KEYS: {"GET", "POST"},
    KEY: {"PATCH", "DELETE"},
}
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"}


class RawPathRoute(APIRoute):
    """A route that is matched against the path as it was sent."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        return super().matches({**scope, "path": raw.decode("ascii", "surrogateescape")})


def refuse_other_methods(router: APIRouter, methods_by_path: Mapping[str, set[str]] = _ALLOWED) -> None:
    """405 with the methods of the whole path in `Allow`; by itself a router names those of the first route only."""
    for path, allowed in methods_by_path.items():
        methods = sorted(_METHODS - allowed)
        router.add_api_route(path, _refusal(", ".join(sorted(allowed))), methods=methods, include_in_schema=False)


def _refusal(allowed: str) -> Callable[[], None]:
    def refuse() -> None:
        raise HTTPException(405, headers={"allow": allowed})

    return refuse


class _EncodedSegment(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        # Bytes that are not UTF-8 become half characters, which no name may contain.
        return unquote(value, errors="surrogateescape")

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


class _EncodedName(_EncodedSegment):
    regex = r"(?:(?!/usage$|/keys$|/keys/[^/]*$).)+"


register_url_convertor("encoded_segment", _EncodedSegment())
register_url_convertor("user_name", _EncodedName())
