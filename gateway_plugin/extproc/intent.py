"""What the headers of a request say: who asks, for what, and whether the body is needed to decide."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway_plugin.extproc import rejections
from gateway_plugin.openai.endpoints import BodyKind, endpoint_of, without_trailing_slash
from gateway_plugin.openai.head import RequestHead, read_json_head
from gateway_plugin.openai.multipart import read_multipart_head
from ratelimit import InvalidUserName, check_user_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from routing.policy import Policy
    from routing.router import Router

WANTED_HEADERS = frozenset(
    {
        ":method",
        ":path",
        "authorization",
        "content-encoding",
        "content-type",
        "model",
        "routing-strategy",
        "user",
        "x-request-id",
    }
)
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON_TYPES = ("application/json", "text/json")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator configured for all requests."""

    default_strategy: str = ""
    bearer_token: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """An inference request as far as its headers tell. No policy means that Envoy balances."""

    kind: BodyKind
    path: str
    """As the engine shall see it; differs from the client's only by trailing slashes."""
    path_changed: bool
    user: str
    policy: Policy | None
    model: str
    request_id: str
    content_type: str
    content_encoding: str

    @property
    def needs_body(self) -> bool:
        """False when the headers name the model and the strategy asks for nothing more."""
        return not self.model or (self.policy is not None and self.policy.needs_body)

    def read_head(self, body: bytes) -> RequestHead:
        """The head of the body; raises ApiError."""
        if self.content_encoding not in ("", "identity"):
            raise rejections.compressed_body(self.content_encoding)
        media_type = self.content_type.partition(";")[0].strip().lower()
        if self.kind is BodyKind.MULTIPART:
            if media_type in _JSON_TYPES or media_type == "":
                raise rejections.audio_wants_multipart()
            return read_multipart_head(self.content_type, body)
        if media_type not in ("", *_JSON_TYPES):
            raise rejections.wrong_content_type(media_type)
        return read_json_head(self.kind, body)


def check_token(headers: Mapping[str, str], rules: Rules) -> None:
    """Raises ApiError 401 unless the request carries the configured bearer token; compares in constant time."""
    if not rules.bearer_token:
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    expected, given = sha256(rules.bearer_token.encode()), sha256(token.strip().encode())
    if scheme.lower() != "bearer" or not hmac.compare_digest(expected.digest(), given.digest()):
        raise rejections.bad_bearer_token()


def read_intent(headers: Mapping[str, str], rules: Rules, router: Router, new_id: Callable[[], str]) -> Intent | None:
    """The intent of an inference request, or None for a request that passes through; raises ApiError."""
    path = without_trailing_slash(headers.get(":path", ""))
    kind = endpoint_of(path) if headers.get(":method") == "POST" else None
    if kind is None:
        return None
    request_id = headers.get("x-request-id", "")
    return Intent(
        kind=kind,
        path=path,
        path_changed=path != headers[":path"],
        user=_user(headers),
        policy=_policy(headers, rules, router),
        model=headers.get("model", "").strip(),
        request_id=request_id if _WELL_FORMED_ID.fullmatch(request_id) else new_id(),
        content_type=headers.get("content-type", ""),
        content_encoding=headers.get("content-encoding", "").strip().lower(),
    )


def _user(headers: Mapping[str, str]) -> str:
    user = headers.get("user", "").strip()
    if user:
        try:
            check_user_name(user)
        except InvalidUserName as error:
            raise rejections.bad_user_name(str(error)) from None
    return user


def _policy(headers: Mapping[str, str], rules: Rules, router: Router) -> Policy | None:
    strategy = headers.get("routing-strategy", "").strip() or rules.default_strategy
    if not strategy:
        return None
    policy = router.policy(strategy)
    if policy is None:
        raise rejections.unknown_strategy(strategy, router.strategies())
    return policy
