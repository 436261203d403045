"""What a request asks for: which endpoint, how its body is to be read, and by which strategy it shall be routed.

Who asks is told by `identity`, before. `Intent` is what the headers say; a `Plan` is what holds for a request of a
model, and `routing_request` everything the strategy is told. Which strategy holds, as in AIBrix: the model's locked
strategy, the `routing-strategy` header, the profile's strategy, the configured default. None of them: no strategy, and
Envoy balances.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.endpoints.endpoint_table import Answerer, BodyKind, Cost, UsageReading, without_trailing_slash
from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.intent.identity import KEY_HEADERS
from gateway_plugin.exchange.intent.request_rules import ANY_KEY
from gateway_plugin.openai.head import RequestHead
from gateway_plugin.openai.multipart import multipart_with_model, read_multipart_head
from gateway_plugin.openai.prompt import NO_PROMPT, read_json_prompt
from gateway_plugin.openai.rewriting import with_model
from gateway_plugin.openai.values import missing_model
from routing.prefix.prefix_blocks import PrefixKeys, prefix_keys, prefix_seed
from routing.profiles import ModelConfig, resolve
from routing.selector import SelectorError, parse_selector
from routing.strategies.policy import RoutingRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from gateway_plugin.endpoints.endpoint_table import Endpoint
    from gateway_plugin.exchange.intent.request_rules import Rules
    from gateway_plugin.openai.prompt import Prompt
    from routing.prefix.prefix_blocks import TokenRatio
    from routing.profiles import Resolved
    from routing.router import Router
    from routing.selector import Selector
    from routing.strategies.policy import Policy


_DECIDING = (
    *("user", *KEY_HEADERS, "model", "routing-strategy", "config-profile", "external-filter"),
    *("content-type", "content-encoding"),
)
"""Headers that must not say two things. Of the others the first counts."""
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_FORM = "multipart/form-data"
_JSON_TYPES = ("application/json", "text/json")
_MAX_SESSION_CHARACTERS = 256
"""Of a session's id: it is a key of a hash, and ids are short."""
_MULTIPART, _ANY, _NONE = BodyKind.MULTIPART, BodyKind.ANY, BodyKind.NONE
_RESPONSES = BodyKind.RESPONSES
_POD = Answerer.POD
_GENERATION, _REQUEST = Cost.GENERATION, Cost.REQUEST
_ASKED, _NOT_TOLD = UsageReading.ASKED, UsageReading.NONE
_NO_CONFIG = ModelConfig()
_NO_KEYS = PrefixKeys((), ())
# Clients choose the profile, and models before anybody knows whether there is such a one.
_MAX_PLANS_KEPT = 1024
_MAX_KEPT_CHARACTERS = 512
"""Of headers whose plan is kept; longer ones are planned anew."""


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


class Plan(msgspec.Struct, frozen=True):
    """How one request shall be routed. No policy means that Envoy balances."""

    policy: Policy | None
    strategy: str
    """The strategy as it was asked for: a name, an alias or a combination."""
    label: str
    """The strategy in metrics: the policy's own name, or "none"."""
    resolved: Resolved
    needs_body: bool
    prefix_seed: int = 0
    """Of the model's prompts without a cache salt, where the policy asks for prefixes."""


class Planner:
    """Makes plans. Those that follow from names alone are kept, for as long as the model's configuration stands."""

    def __init__(self, rules: Rules, router: Router) -> None:
        self._rules = rules
        self._router = router
        self._kept: dict[tuple[str, str, str], tuple[ModelConfig | None, Plan]] = {}

    def forget(self) -> None:
        """The rules have changed."""
        self._kept.clear()

    def plan(self, intent: Intent, model: str, prompt: Prompt | None) -> Plan:
        """As `make_plan`."""
        key = (model, intent.strategy, intent.profile)
        kept = self._kept.get(key)
        # A configuration is never changed, only replaced.
        if kept is not None and kept[0] is self._router.config(model):
            return kept[1]
        plan = make_plan(intent, model, self._rules, self._router, prompt)
        if not plan.resolved.auto and sum(map(len, key)) <= _MAX_KEPT_CHARACTERS:
            if len(self._kept) >= _MAX_PLANS_KEPT:
                self._kept.clear()
            self._kept[key] = self._router.config(model), plan
        return plan


def make_plan(intent: Intent, model: str, rules: Rules, router: Router, prompt: Prompt | None) -> Plan:
    """The plan for a request of a model, with what is known of its body; raises ApiError for an unknown strategy."""
    config = router.config(model) or _NO_CONFIG
    tokens = prompt.tokens if prompt else 0.0
    resolved = resolve(config, intent.profile, tokens, prompt.max_output_tokens if prompt else None)
    strategy = resolved.locked_strategy or intent.strategy or resolved.strategy or rules.default_strategy
    policy = router.policy(strategy) if strategy else None
    if policy is None:
        if strategy:
            raise rejections.unknown_strategy(strategy, router.strategies())
        return Plan(None, strategy, "none", resolved, needs_body=resolved.auto)
    needs_body = policy.needs_body or policy.needs_prefix or resolved.auto
    seed = prefix_seed(model) if policy.needs_prefix else 0
    return Plan(policy, strategy, policy.name, resolved, needs_body, seed)


def routing_request(
    intent: Intent,
    user: str,
    model: str,
    plan: Plan,
    router: Router,
    prompt: Prompt | None,
    ratio: TokenRatio | None = None,
) -> RoutingRequest:
    """What the policy is told; hashes the prompt only for a policy that asks for it. `ratio`: if it is known already,
    that of the prompt's tokens."""
    keys, tokens, output_tokens, plain_tokens = _NO_KEYS, 0.0, 0.0, 0.0
    if prompt is not None and plan.policy is not None:
        plain_tokens, ratio = prompt.tokens, ratio or router.prompts.of(model, prompt.key)
        tokens = plain_tokens * ratio.ratio
        output_tokens = router.outputs.expected(model, prompt.max_output_tokens)
        if plan.policy.needs_prefix:
            salt = prompt.cache_salt
            seed = prefix_seed(model, cache_salt=salt) if salt else plan.prefix_seed
            keys = prefix_keys(seed, prompt.key, ratio.block_tokens)
    return RoutingRequest(
        model=model,
        user=user,
        session=intent.session,
        prompt_tokens=tokens,
        output_tokens=output_tokens,
        prefix=keys.hashes,
        prefix_tokens=keys.tokens,
        config=plan.resolved.config,
        plain_tokens=plain_tokens,
        token_ratio=ratio,
    )
