"""What the headers of a request say: what for, and how it shall be routed. Who asks is told by `identity`, before."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from gateway_plugin.intent import rejections
from gateway_plugin.intent.identity import KEY_HEADERS, IdentityRules
from gateway_plugin.openai.endpoints import BodyKind, endpoint_of, without_trailing_slash
from gateway_plugin.openai.multipart import multipart_with_model, read_multipart_head
from gateway_plugin.openai.prompt import NO_PROMPT, read_json_prompt
from gateway_plugin.openai.rewriting import with_model
from routing.selector import SelectorError, parse_selector

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gateway_plugin.openai.head import RequestHead
    from gateway_plugin.openai.prompt import Prompt
    from routing.selector import Selector

WANTED_HEADERS = frozenset(
    {
        ":method",
        ":path",
        *KEY_HEADERS,
        "config-profile",
        "content-encoding",
        "content-type",
        "external-filter",
        "model",
        "routing-strategy",
        "user",
        "x-aibrix-session-key",
        "x-forwarded-for",
        "x-request-id",
        "x-session-id",
    }
)
ANY_KEY = "*"
_DECIDING = (
    *("user", *KEY_HEADERS, "model", "routing-strategy", "config-profile", "external-filter"),
    *("content-type", "content-encoding"),
)
"""Headers that must not say two things. Of the others the first counts."""
StreamUsage = Literal["inject", "require", "estimate"]
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON_TYPES = ("application/json", "text/json")
_MAX_SESSION_CHARACTERS = 256
_MULTIPART, _COMPLETION = BodyKind.MULTIPART, BodyKind.COMPLETION
_GENERATE_TEXT = (BodyKind.CHAT, BodyKind.COMPLETION, BodyKind.RESPONSES)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator configured for all requests."""

    default_strategy: str = ""
    identity: IdentityRules = field(default_factory=IdentityRules)
    limited: bool = True
    """False when nobody's limits are enforced."""
    stream_usage: StreamUsage = "inject"
    filter_keys: frozenset[str] = frozenset({ANY_KEY})
    """Pod labels that clients may select by; "*" is all."""
    expose_pod: bool = True
    """Whether clients are told which pod served them."""


def wanted_headers(rules: Rules) -> frozenset[str]:
    """The headers that `read_intent` looks at under these rules."""
    return WANTED_HEADERS if rules.identity.reads_credentials else WANTED_HEADERS - frozenset(KEY_HEADERS)


class Intent(msgspec.Struct, frozen=True, gc=False):
    """A request as far as its headers tell."""

    kind: BodyKind | None
    """None: not an inference request; it passes through, and nothing else here matters."""
    path: str
    """As the engine shall see it; differs from the client's only by trailing slashes."""
    path_changed: bool
    strategy: str
    profile: str
    session: str
    selector: Selector | None
    model: str
    request_id: str
    content_type: str
    content_encoding: str

    @property
    def is_for_the_gateway(self) -> bool:
        """Whether the gateway itself answers it, and must know who asks."""
        return self.path == "/v1/models" or self.path.startswith("/v1/models/")

    @property
    def generates_text(self) -> bool:
        """Whether the answer costs output tokens."""
        return self.kind in _GENERATE_TEXT

    @property
    def may_hide_usage(self) -> bool:
        """Whether streams of this endpoint tell their tokens only when they are asked to."""
        return self.kind is _COMPLETION or self.path.startswith("/v1/chat/")

    def read_body(self, body: bytes) -> tuple[RequestHead, Prompt]:
        """Head and prompt of the body; raises ApiError."""
        if self.content_encoding not in ("", "identity"):
            raise rejections.compressed_body(self.content_encoding)
        assert self.kind is not None
        if self.kind is _MULTIPART:
            self._check_multipart()
            return read_multipart_head(self.content_type, body), NO_PROMPT
        if self.content_type not in _JSON_TYPES:
            self._check_json()
        return read_json_prompt(self.kind, body)

    def _check_multipart(self) -> None:
        media_type = self._media_type()
        if media_type in _JSON_TYPES or media_type == "":
            raise rejections.audio_wants_multipart()

    def _check_json(self) -> None:
        media_type = self._media_type()
        if media_type not in ("", *_JSON_TYPES):
            raise rejections.wrong_content_type(media_type)

    def _media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()

    def with_model(self, body: bytes, model: str) -> bytes:
        """A body that was read before, asking for another model; raises ApiError."""
        if self.kind is _MULTIPART:
            return multipart_with_model(self.content_type, body, model)
        return with_model(body, model)


def request_id_of(headers: Mapping[str, str], new_id: Callable[[], str]) -> str:
    """The request's id: the one that it brings, where that may go into headers and logs."""
    request_id = headers.get("x-request-id", "")
    return request_id if _WELL_FORMED_ID.fullmatch(request_id) else new_id()


def check_repeated(repeated: Collection[str]) -> None:
    """Raises ApiError when a header that decides something was sent more than once."""
    for name in _DECIDING:
        if name in repeated:
            raise rejections.repeated_header(name)


def read_intent(headers: Mapping[str, str], rules: Rules, request_id: str) -> Intent:
    """What a request wants; raises ApiError."""
    get = headers.get
    sent_path = get(":path", "")
    path = without_trailing_slash(sent_path)
    kind = endpoint_of(path) if get(":method") == "POST" else None
    selector = get("external-filter")
    session = get("x-session-id") or get("x-aibrix-session-key", "")
    return Intent(
        kind=kind,
        path=path,
        path_changed=path != sent_path,
        strategy=get("routing-strategy", "").strip(),
        profile=get("config-profile", "").strip(),
        session=session[:_MAX_SESSION_CHARACTERS],
        selector=_selector(selector, rules) if selector and kind is not None else None,
        model=get("model", "").strip(),
        request_id=request_id,
        content_type=get("content-type", ""),
        content_encoding=get("content-encoding", "").strip().lower(),
    )


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
