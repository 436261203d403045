"""The admin token: with one configured, every call but those for models must carry it, and is read no further without.

Missing and wrong tokens are both 401 with `WWW-Authenticate: Bearer`, as RFC 6750 has it: 403 is for a token that is
known and may not do this, and there is only one token. Without a token whoever reaches the port may change limits,
which `is_beyond_loopback` lets the start-up warn about.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError
from ratelimit.rare_log import RareLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

logger = logging.getLogger(__name__)

NOTHING_THERE = "/unknown-path-or-model"
"""Where Envoy Gateway sends what no route takes, for its 404; nothing else of the API can be reached that way."""
_PUBLIC = frozenset({"/v1/models", "/docs", "/openapi.json", NOTHING_THERE})
_PROBED = frozenset({"/metrics", "/healthz", "/readyz"})
_bearer = HTTPBearer(auto_error=False, scheme_name="admin_token", description="the setting `admin_token`")


def admin_guard(token: str) -> Sequence[Any]:
    """Dependencies for a router: its calls need `Authorization: Bearer <token>`. None for an empty token."""
    if not token:
        return ()
    check_headers = admin_check(token)

    # The application's gate asks before: this is for the OpenAPI page, and for a router without a gate.
    async def check(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        check_headers(request.headers)

    return (Depends(check),)


def admin_check(token: str) -> Callable[[Mapping[str, str]], None]:
    """Raises ApiError for headers that do not carry the token."""
    wanted, rare = _digest(token.encode()), RareLog(logger)

    def check(headers: Mapping[str, str]) -> None:
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not sent.strip():
            raise _refused("this API needs the admin token: Authorization: Bearer <token>", "Bearer")
        # Header bytes arrive as Latin-1 text. Digests are of one length, so the comparison tells not even that.
        if not hmac.compare_digest(_digest(sent.strip().encode("latin-1")), wanted):
            rare.error("token", "somebody called the API with a wrong admin token")
            raise _refused("the admin token is wrong", 'Bearer error="invalid_token"')

    return check


def is_public(path: str) -> bool:
    """Whether everybody may call it: models, which have rules of their own, and the description of the API."""
    return path in _PUBLIC or path.startswith("/v1/models/")


def is_public_to_operators(path: str) -> bool:
    """The same of the operations port: what scrapers and probes ask, the models, as ever, and the page's frame."""
    return path in _PROBED or is_public(path) or is_of_the_page(path)


def is_of_the_page(path: str) -> bool:
    """Whether it is the live page's frame, which says nothing by itself and asks for the token."""
    return path == "/" or path.startswith("/live/")


def is_beyond_loopback(host: str) -> bool:
    """Whether a listener on `host` may be reached from other machines; a name other than localhost counts as yes."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _refused(message: str, challenge: str) -> ApiError:
    return ApiError(kinds.BAD_ADMIN_TOKEN, message, headers={"www-authenticate": challenge})
