"""What the headers of a request say: who asks, for what, and how it shall be routed."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from gateway_plugin.intent import rejections
from gateway_plugin.openai.endpoints import BodyKind, endpoint_of, without_trailing_slash
from gateway_plugin.openai.multipart import read_multipart_head
from gateway_plugin.openai.prompt import Prompt, read_json_prompt
from ratelimit import InvalidUserName, check_user_name
from routing.selector import SelectorError, parse_selector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.openai.head import RequestHead
    from routing.selector import Selector

WANTED_HEADERS = frozenset(
    {
        ":method",
        ":path",
        "authorization",
        "config-profile",
        "content-encoding",
        "content-type",
        "external-filter",
        "model",
        "routing-strategy",
        "user",
        "x-aibrix-session-key",
        "x-request-id",
        "x-session-id",
    }
)
ANY_KEY = "*"
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON_TYPES = ("application/json", "text/json")
_MAX_SESSION_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator configured for all requests."""

    default_strategy: str = ""
    bearer_token: str = ""
    filter_keys: frozenset[str] = frozenset({ANY_KEY})
    """Pod labels that clients may select by; "*" is all."""


@dataclass(frozen=True, slots=True)
class Intent:
    """An inference request as far as its headers tell."""

    kind: BodyKind
    path: str
    """As the engine shall see it; differs from the client's only by trailing slashes."""
    path_changed: bool
    user: str
    strategy: str
    profile: str
    session: str
    selector: Selector | None
    model: str
    request_id: str
    content_type: str
    content_encoding: str

    def read_body(self, body: bytes) -> tuple[RequestHead, Prompt]:
        """Head and prompt of the body; raises ApiError."""
        if self.content_encoding not in ("", "identity"):
            raise rejections.compressed_body(self.content_encoding)
        media_type = self.content_type.partition(";")[0].strip().lower()
        if self.kind is BodyKind.MULTIPART:
            if media_type in _JSON_TYPES or media_type == "":
                raise rejections.audio_wants_multipart()
            return read_multipart_head(self.content_type, body), Prompt(b"", "", None)
        if media_type not in ("", *_JSON_TYPES):
            raise rejections.wrong_content_type(media_type)
        return read_json_prompt(self.kind, body)


def check_token(headers: Mapping[str, str], rules: Rules) -> None:
    """Raises ApiError 401 unless the request carries the configured bearer token; compares in constant time."""
    if not rules.bearer_token:
        return
    scheme, _, token = headers.get("authorization", "").partition(" ")
    expected, given = sha256(rules.bearer_token.encode()), sha256(token.strip().encode())
    if scheme.lower() != "bearer" or not hmac.compare_digest(expected.digest(), given.digest()):
        raise rejections.bad_bearer_token()


def read_intent(headers: Mapping[str, str], rules: Rules, new_id: Callable[[], str]) -> Intent | None:
    """The intent of an inference request, or None for a request that passes through; raises ApiError."""
    path = without_trailing_slash(headers.get(":path", ""))
    kind = endpoint_of(path) if headers.get(":method") == "POST" else None
    if kind is None:
        return None
    request_id = headers.get("x-request-id", "")
    session = headers.get("x-session-id") or headers.get("x-aibrix-session-key", "")
    return Intent(
        kind=kind,
        path=path,
        path_changed=path != headers[":path"],
        user=_user(headers),
        strategy=headers.get("routing-strategy", "").strip(),
        profile=headers.get("config-profile", "").strip(),
        session=session[:_MAX_SESSION_CHARACTERS],
        selector=_selector(headers.get("external-filter", ""), rules),
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


def _selector(text: str, rules: Rules) -> Selector | None:
    if not text.strip():
        return None
    try:
        selector = parse_selector(text)
    except SelectorError as error:
        raise rejections.bad_filter(str(error)) from None
    forbidden = selector.keys - rules.filter_keys
    if forbidden and ANY_KEY not in rules.filter_keys:
        raise rejections.bad_filter(f"label {min(forbidden)} may not be used")
    return selector
