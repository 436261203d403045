"""What the headers of a request say: what for, how it shall be routed, and how its body is to be read.

Who asks is told by `identity`, before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import msgspec

from gateway_plugin.endpoints.endpoint_table import (
    Answerer,
    BodyKind,
    Cost,
    EndpointTable,
    UsageReading,
    without_trailing_slash,
)
from gateway_plugin.endpoints.web_pages import PREFLIGHT_HEADER
from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.intent.identity import KEY_HEADERS, IdentityRules
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.multipart import multipart_with_model, read_multipart_head
from gateway_plugin.openai.prompt import NO_PROMPT, read_json_prompt
from gateway_plugin.openai.rewriting import with_model
from gateway_plugin.openai.values import missing_model
from routing.selector import SelectorError, parse_selector

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gateway_plugin.endpoints.endpoint_table import Endpoint
    from gateway_plugin.endpoints.web_pages import WebPages
    from gateway_plugin.openai.prompt import Prompt
    from routing.selector import Selector

WANTED_HEADERS = frozenset(
    {
        ":method",
        ":path",
        *KEY_HEADERS,
        "config-profile",
        "content-encoding",
        "content-length",
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
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_FORM = "multipart/form-data"
_JSON_TYPES = ("application/json", "text/json")
_MAX_SESSION_CHARACTERS = 256
_MULTIPART, _ANY, _NONE = BodyKind.MULTIPART, BodyKind.ANY, BodyKind.NONE
_RESPONSES = BodyKind.RESPONSES
_POD = Answerer.POD
_GENERATION, _REQUEST = Cost.GENERATION, Cost.REQUEST
_ASKED, _NOT_TOLD = UsageReading.ASKED, UsageReading.NONE


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
    max_body_bytes: int = 16 * 1024 * 1024
    """Of a body that came compressed; all others are bounded by Envoy and the transport."""
    endpoints: EndpointTable = field(default_factory=EndpointTable)
    web_pages: WebPages | None = None
    """Those that may send requests; None: no page may."""


def wanted_headers(rules: Rules, *, hides_credentials: bool = False) -> frozenset[str]:
    """The headers that `read_intent` looks at under these rules."""
    reads_credentials = rules.identity.reads_credentials or hides_credentials
    wanted = WANTED_HEADERS if reads_credentials else WANTED_HEADERS - frozenset(KEY_HEADERS)
    return wanted if rules.web_pages is None else wanted | {"origin", PREFLIGHT_HEADER}


class Intent(msgspec.Struct, frozen=True, gc=False):
    """A request as far as its headers tell."""

    endpoint: Endpoint | None
    """None: there is no such path."""
    method: str
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
        """Whether the gateway itself answers it, and asks who wants to know, where that matters."""
        return self.endpoint is not None and self.endpoint.answerer is not _POD

    @property
    def passes(self) -> bool:
        """Whether it goes to the gateway's own API, without any of what follows here."""
        return self.is_for_the_gateway and self.endpoint is not None and self.method in self.endpoint.methods

    @property
    def costs_tokens(self) -> bool:
        """Whether the prompt is paid for."""
        return self.endpoint is not None and self.endpoint.cost is not _REQUEST

    @property
    def generates_text(self) -> bool:
        """Whether the answer costs output tokens."""
        return self.endpoint is not None and self.endpoint.cost is _GENERATION

    @property
    def names_usage(self) -> bool:
        """Whether tokens that the answer names are those that it cost."""
        return self.endpoint is not None and self.endpoint.usage is not _NOT_TOLD

    @property
    def may_hide_usage(self) -> bool:
        """Whether streams of this endpoint tell their tokens only when they are asked to."""
        return self.endpoint is not None and self.endpoint.usage is _ASKED

    @property
    def is_compressed(self) -> bool:
        """Whether the body must be unpacked."""
        return self.content_encoding not in ("", "identity")

    @property
    def wants_body(self) -> bool:
        """Whether a body can say anything here."""
        return self.endpoint is not None and self.endpoint.body is not _NONE

    @property
    def makes_response(self) -> bool:
        """Whether the answer is a response that its pod keeps."""
        return self.endpoint is not None and self.endpoint.body is _RESPONSES

    def check_published(self) -> Endpoint:
        """The endpoint; raises ApiError where path or method do not exist."""
        endpoint = self.endpoint
        if endpoint is None:
            raise rejections.unknown_url(self.method, self.path)
        if self.method not in endpoint.methods:
            raise rejections.wrong_method(self.method, endpoint.path, endpoint.methods)
        return endpoint

    def read_body(self, body: bytes) -> tuple[RequestHead, Prompt]:
        """Head and prompt of the body; raises ApiError."""
        assert self.endpoint is not None
        kind = self.endpoint.body
        if kind is _NONE or (kind is _ANY and not self._can_name_a_model(body)):
            return self._head_without_body(), NO_PROMPT
        if self._is_form(kind):
            self._check_multipart()
            return read_multipart_head(self.content_type, body), NO_PROMPT
        if self.content_type not in _JSON_TYPES:
            self._check_json()
        return read_json_prompt(kind, body, self.model)

    def _head_without_body(self) -> RequestHead:
        if not self.model:
            raise missing_model()
        return RequestHead(self.model, stream=False)

    def _can_name_a_model(self, body: bytes) -> bool:
        return bool(body) and self._media_type() in ("", _FORM, *_JSON_TYPES)

    def _is_form(self, kind: BodyKind) -> bool:
        return kind is _MULTIPART or (kind is _ANY and self._media_type() == _FORM)

    def _check_multipart(self) -> None:
        media_type = self._media_type()
        if media_type in _JSON_TYPES or media_type == "":
            raise rejections.wants_multipart(self.path)

    def _check_json(self) -> None:
        media_type = self._media_type()
        if media_type not in ("", *_JSON_TYPES):
            raise rejections.wrong_content_type(media_type)

    def _media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()

    def with_model(self, body: bytes, model: str) -> bytes:
        """A body that was read before, asking for another model; raises ApiError."""
        assert self.endpoint is not None
        if not self._can_name_a_model(body):
            return body
        if self._is_form(self.endpoint.body):
            return multipart_with_model(self.content_type, body, model)
        return with_model(body, model)


def request_id_of(headers: Mapping[str, str], new_id: Callable[[], str]) -> str:
    """The request's id: the one that it brings, where that may go into headers and logs."""
    request_id = headers.get("x-request-id", "")
    return request_id if is_well_formed_id(request_id) else new_id()


def is_well_formed_id(request_id: str) -> bool:
    """Whether it may go into headers and logs as it is."""
    return _WELL_FORMED_ID.fullmatch(request_id) is not None


def check_repeated(repeated: Collection[str]) -> None:
    """Raises ApiError when a header that decides something was sent more than once."""
    for name in _DECIDING:
        if name in repeated:
            raise rejections.repeated_header(name)


def read_intent(headers: Mapping[str, str], rules: Rules, request_id: str) -> Intent:
    """What a request wants; raises ApiError."""
    get = headers.get
    path = sent_path = get(":path", "")
    endpoint = rules.endpoints.exact(sent_path)
    if endpoint is None:
        endpoint = rules.endpoints.find(sent_path)
        path = without_trailing_slash(sent_path) if endpoint is not None else sent_path
    selector = get("external-filter")
    session = get("x-session-id") or get("x-aibrix-session-key", "")
    return Intent(
        endpoint=endpoint,
        method=get(":method", ""),
        path=path,
        path_changed=path != sent_path,
        strategy=get("routing-strategy", "").strip(),
        profile=get("config-profile", "").strip(),
        session=session[:_MAX_SESSION_CHARACTERS],
        selector=_selector(selector, rules) if selector and endpoint is not None else None,
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
