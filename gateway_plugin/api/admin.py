"""The admin token: with one configured, every call of the users API must carry it.

Missing and wrong tokens are both 401 with `WWW-Authenticate: Bearer`, as RFC 6750 has it: 403 is for a token that is
known and may not do this, and there is only one token. Without a token whoever reaches the port may change limits,
which `is_beyond_loopback` lets the start-up warn about.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Sequence

_bearer = HTTPBearer(auto_error=False, scheme_name="admin_token", description="the setting `admin_token`")


def admin_guard(token: str) -> Sequence[Any]:
    """Dependencies for a router: its calls need `Authorization: Bearer <token>`. None for an empty token."""
    if not token:
        return ()
    wanted = _digest(token.encode())

    async def check(sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
        if sent is None:
            raise _refused("this API needs the admin token: Authorization: Bearer <token>", "Bearer")
        # Header bytes arrive as Latin-1 text. Digests are of one length, so the comparison tells not even that.
        if not hmac.compare_digest(_digest(sent.credentials.encode("latin-1")), wanted):
            raise _refused("the admin token is wrong", 'Bearer error="invalid_token"')

    return (Depends(check),)


def is_beyond_loopback(host: str) -> bool:
    """Whether a listener on `host` may be reached from other machines; a name other than localhost counts as yes."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _refused(message: str, challenge: str) -> ApiError:
    headers = {"www-authenticate": challenge}
    return ApiError(401, message, reason="bad_admin_token", code="invalid_api_key", headers=headers)
