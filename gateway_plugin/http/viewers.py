"""Who asks for models, and what they may see; told from headers as for requests.

With limits, a user sees what its allow list admits; without, and for those without a name, everything that is not
hidden. The admin token sees all.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING, Protocol

from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.intent.identity import KEY_HEADERS, KeyClaim, KeyOwner, identify, owner_of, source_of
from gateway_plugin.exchange.intent.request import check_repeated
from gateway_plugin.models.catalogue.access import EVERYBODY, OPERATOR, Viewer
from ratelimit import Decision, Outcome

if TYPE_CHECKING:
    from starlette.datastructures import Headers

    from gateway_plugin.exchange.intent.identity import Identity
    from gateway_plugin.exchange.intent.request_rules import Rules
    from ratelimit import UserRecord


_READ = (*KEY_HEADERS, "user")


class Directory(Protocol):
    """Users and their keys."""

    async def owner_of_key(self, key_sha256: str, source: str = "") -> str | None:
        """Whose API key this is; `source` is who asks."""

    async def record_of(self, user: str) -> UserRecord | None:
        """What is stored of a user."""


class Viewers:
    """`of` raises ApiError for those who may see nothing."""

    def __init__(self, rules: Rules, directory: Directory, admin_token: str) -> None:
        self._rules = rules
        self._directory = directory
        self._admin_token_hash = hashlib.sha256(admin_token.encode()).digest() if admin_token else b""

    async def of(self, headers: Headers) -> Viewer:
        """The viewer who sent these headers."""
        if self._is_operator(headers.get("authorization", "")):
            return OPERATOR
        sent = {name: _text(headers[name]) for name in _READ if name in headers}
        identity = self._rules.identity
        source = source_of(headers.get("x-forwarded-for", ""), identity.trusted_hops)
        caller = identify(sent, source, identity)
        try:
            if isinstance(caller, KeyClaim):
                caller = owner_of(caller, await self._directory.owner_of_key(caller.key_sha256, source))
            check_repeated([name for name in sent if len(headers.getlist(name)) > 1])
            return await self._viewer(caller) if caller.user and self._rules.limited else EVERYBODY
        except rejections.FAULTS as fault:
            raise rejections.answer_to(fault) or fault from None

    async def _viewer(self, caller: Identity) -> Viewer:
        user = caller.user
        record = await self._directory.record_of(user)
        if record is None:
            if isinstance(caller, KeyOwner):
                raise rejections.bad_credentials()
            raise rejections.refused(user, "", 0, Decision(Outcome.UNKNOWN_USER, None))
        if record.disabled:
            raise rejections.refused(user, "", 0, Decision(Outcome.DISABLED, None))
        return Viewer(allowed=frozenset(record.models), user=user)

    def _is_operator(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        if not self._admin_token_hash or scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(hashlib.sha256(token.strip().encode("latin-1")).digest(), self._admin_token_hash)


def _text(value: str) -> str:
    # Header bytes arrive as Latin-1 text.
    return value.encode("latin-1").decode("utf-8", "replace")
