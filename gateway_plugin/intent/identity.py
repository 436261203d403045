"""Who asks: the `user` header, an API key, or nobody, and what the operator lets each of them do."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec

from gateway_plugin.intent import rejections
from ratelimit import InvalidUserName, check_user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_PREFIX = "gw-"
Anonymous = Literal["allow", "reject", "limit"]


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """How callers are told apart."""

    bearer_token: str = ""
    """When set, a request must carry it, or an API key."""
    api_keys: bool = False
    forward_api_keys: bool = False
    anonymous: Anonymous = "allow"


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a request says of its sender. `key_sha256` is empty when it carries no API key."""

    user: str
    key_sha256: str


def read_claim(headers: Mapping[str, str], rules: IdentityRules) -> Claim:
    """Checks the bearer token and the user's name; raises ApiError."""
    user = _user(headers)
    if not rules.api_keys and not rules.bearer_token:
        return Claim(user, "")
    token = _bearer(headers)
    if rules.api_keys and token.startswith(KEY_PREFIX):
        return Claim(user, sha256(token.encode()).hexdigest())
    if rules.bearer_token and not _equal(token, rules.bearer_token):
        raise rejections.bad_bearer_token()
    return Claim(user, "")


def known_user(claim: Claim, key_owner: str | None) -> str:
    """The user that a claim with a key stands for; raises ApiError for an unknown key or a contradicting header."""
    if key_owner is None:
        raise rejections.bad_bearer_token()
    if claim.user and claim.user != key_owner:
        raise rejections.foreign_user()
    return key_owner


def check_anonymous(user: str, rules: IdentityRules) -> None:
    """Raises ApiError 401 for a request without a user, where those are not served."""
    if not user and rules.anonymous == "reject":
        raise rejections.anonymous()


def _user(headers: Mapping[str, str]) -> str:
    user = headers.get("user", "")
    if user:
        user = user.strip()
    if user:
        try:
            check_user_name(user)
        except InvalidUserName as error:
            raise rejections.bad_user_name(str(error)) from None
    return user


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(sha256(given.encode()).digest(), sha256(expected.encode()).digest())
