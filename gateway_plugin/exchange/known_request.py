"""A request as far as it is known: who asks, for which model, with which words, and how it is to be routed.

It begins with the headers (`Intent`) and grows with the body. Nothing here waits, books or counts; mistakes of the
client are raised as `ApiError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.intent.identity import AUTHORIZATION, KeyOwner, NamedUser, fairness_key, subject_of
from gateway_plugin.exchange.intent.kept_responses import (
    BELOW_COLLECTION,
    KEEPING_ENGINES,
    id_in_path,
    keeper_of,
    target_at,
)
from gateway_plugin.exchange.intent.request import Plan, routing_request
from gateway_plugin.exchange.replies import Forward
from gateway_plugin.openai.response_ids import new_response_id, with_response_id
from gateway_plugin.openai.stream_usage import asks_for_usage, with_usage
from ratelimit import Admission, Outcome
from ratelimit.windows.admission import UNKNOWN_CEILING, UNSEEN_OUTPUT
from routing.router import NoReadyPodError, UnknownModelError
from routing.selector import OnlyPod
from routing.strategies.least_request import LeastRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.exchange.collaborators import Services
    from gateway_plugin.exchange.intent.identity import Identity
    from gateway_plugin.exchange.intent.request import Intent
    from gateway_plugin.models.catalogue.registry import Target
    from gateway_plugin.openai.errors import ApiError
    from gateway_plugin.openai.head import RequestHead
    from gateway_plugin.openai.prompt import Prompt
    from ratelimit import Decision, Subject
    from routing.booking import Booking
    from routing.prefix.prefix_blocks import TokenRatio
    from routing.selector import PodFilter
    from routing.spec import PodSpec
    from routing.strategies.policy import RoutingRequest


class KnownRequest:
    """One request. Raises ApiError when its path names a response that its caller may not see."""

    __slots__ = (
        "_body",
        "_head",
        "_keeper",
        "_prompt",
        "_ratio",
        "_removed_headers",
        "_services",
        "identity",
        "intent",
        "plan",
        "subject",
        "target",
    )

    target: Target
    """The model behind the name, once there is one."""
    plan: Plan
    """How it is to be routed; known with the model."""

    def __init__(
        self, services: Services, intent: Intent, identity: Identity, removed_headers: tuple[str, ...]
    ) -> None:
        rules = services.rules
        self._services = services
        self.intent = intent
        self.identity = identity
        self.subject: Subject | None = None
        """Whose limits it counts against."""
        self._removed_headers = removed_headers
        self._head: RequestHead | None = None
        self._prompt: Prompt | None = None
        self._ratio: TokenRatio | None = None
        self._body = b""
        self._keeper: PodSpec | None = None
        if intent.path.startswith(BELOW_COLLECTION):
            self._go_to_keeper(id_in_path(intent.path))
        if rules.limited:
            self.subject = subject_of(identity, rules.identity)

    def aim_by_headers(self) -> bool:
        """Takes the model that its headers name, if any; whether that is all it takes to decide."""
        intent = self.intent
        if not intent.model:
            return False
        self.target = target = self._resolve(intent.model)
        self.plan = plan = self._new_plan(target.model)
        on_headers_alone = not plan.needs_body and not intent.makes_response and not intent.is_compressed
        return on_headers_alone and target.model == target.asked

    def unpacked_here(self) -> None:
        """Engines do not all unpack bodies, and what an engine reads must be what was counted."""
        self._removed_headers = (*self._removed_headers, "content-encoding")

    def read_body(self, body: bytes) -> None:
        """Takes over what the body says, empty or not."""
        self._body = body
        self._head, self._prompt = self.intent.read_body(body)
        target = self._resolve(self._head.model)
        if self._prompt.previous_response_id:
            target = self._continued(self._prompt.previous_response_id, target)
        self.target, self.plan = target, self._new_plan(target.model)
        self._ratio = None  # another model's, or another text's

    def drop_body(self) -> None:
        """It has gone on to a pod."""
        self._body, self._prompt = b"", None

    @property
    def is_named_by_header(self) -> bool:
        """Whether it counts against a user of whom nobody has proven that there is one."""
        return self.subject is not None and isinstance(self.identity, NamedUser)

    @property
    def model_asked(self) -> str:
        """As the client names it; what is behind the name is not the client's business."""
        return self.target.asked

    @property
    def model_named(self) -> str:
        """The same, as far as it is known; perhaps empty."""
        return self._head.model if self._head is not None else self.intent.model

    @property
    def prompt_tokens(self) -> int:
        """Estimated; 0 where nobody read the body, and after it was dropped."""
        return int(self._prompt.tokens) if self._prompt is not None else 0

    def forward(self, page_headers: Mapping[str, str]) -> Forward:
        """What goes along with it to a pod, as far as that is known before one is chosen."""
        services, intent, target = self._services, self.intent, self.target
        model, body = target.model, self._body
        key = services.engine_keys.of(model) if services.engines_have_keys else ""
        forward = Forward(
            model,
            intent.request_id,
            services.new_id(),
            self.identity.user,
            self.subject,
            new_path=intent.path if intent.path_changed else "",
            # What is set must not be removed.
            removed_headers=tuple([name for name in self._removed_headers if not (key and name == AUTHORIZATION)]),
            engine_key=key,
            exposes_pod=services.rules.expose_pod,
            route=services.names.route_of(model),
            new_body=body if body and intent.is_compressed else None,
            response_headers=dict(page_headers),
            uncounted=not intent.names_usage,
        )
        if body and model != target.asked:
            self._body = forward.new_body = intent.with_model(body, model)
        return forward

    def admission(self, subject: Subject, forward: Forward) -> Admission:
        """What the limiter is asked; the body may have to ask for its usage to be told."""
        self._ask_for_usage(forward)
        intent, prompt, target = self.intent, self._prompt, self.target
        certain = 0
        if prompt and intent.costs_tokens:
            certain = int(prompt.tokens * self._ratio_of(prompt).ratio)
        forward.prompt_tokens_estimate = certain
        names, rate = self._services.names.other_names(target), self.plan.resolved.requests_per_second
        if self._keeper is not None and not intent.makes_response:
            # It is its owner's, who asked for any of the pod's models, by any of their names.
            names = (*names, *self._services.names.names_of(self._keeper.models))
        if prompt is None or not intent.generates_text:
            return Admission(subject, forward.charge_id, target.model, certain, rate, names)
        ceiling = prompt.max_output_tokens or UNKNOWN_CEILING
        usual = int(min(self._services.router.outputs.expected(target.model, ceiling), UNSEEN_OUTPUT))
        choices = prompt.choices * prompt.prompts
        return Admission(subject, forward.charge_id, target.model, certain, rate, names, usual, ceiling, choices)

    def _ask_for_usage(self, forward: Forward) -> None:
        mode, prompt = self._services.rules.stream_usage, self._prompt
        hides = self._head is not None and self._head.stream and self.intent.may_hide_usage
        if mode == "estimate" or not hides or prompt is None or asks_for_usage(prompt.stream_options):
            return
        if mode == "require":
            raise rejections.usage_not_asked_for()
        self._body = forward.new_body = with_usage(self._body, prompt.stream_options)
        forward.added_usage = True

    def refusal(self, decision: Decision) -> ApiError:
        """The answer to a decision of the limiter that was not "admitted"."""
        return self._refusal(decision, self.model_asked, self.plan.resolved.requests_per_second)

    def refusal_at_once(self, decision: Decision) -> ApiError:
        """As `refusal`, before more than the headers is known."""
        return self._refusal(decision, self.intent.model, 0)

    def _refusal(self, decision: Decision, model: str, model_requests_per_second: int) -> ApiError:
        if decision.outcome is Outcome.UNKNOWN_USER and isinstance(self.identity, KeyOwner):
            # The owner went, and the key is about to.
            return rejections.bad_credentials()
        assert self.subject is not None
        return rejections.refused(self.subject, model, model_requests_per_second, decision)

    def routing_request(self) -> RoutingRequest:
        """What the strategy is told."""
        # Strategies that share pods out among users take whoever has no name and no limits for nobody in particular.
        user = self.identity.user if self.subject is None else fairness_key(self.identity)
        prompt, router = self._prompt, self._services.router
        # What is not asked for is not looked up.
        ratio = self._ratio_of(prompt) if prompt is not None and self.plan.policy is not None else None
        return routing_request(self.intent, user, self.target.model, self.plan, router, prompt, ratio)

    def _ratio_of(self, prompt: Prompt) -> TokenRatio:
        """What is known of the tokens of such prompts: the limiter is asked by it, and the strategy."""
        if self._ratio is None:
            self._ratio = self._services.router.prompts.of(self.target.model, prompt.key)
        return self._ratio

    @property
    def pod_filter(self) -> PodFilter | None:
        """Which pods may be chosen; None: any of the model."""
        return OnlyPod(self._keeper.address) if self._keeper is not None else self.intent.selector

    def check_pods(self) -> None:
        """Raises ApiError when no pod could take it now."""
        try:
            self._services.router.check(self.target.model)
        except UnknownModelError:
            raise rejections.unknown_model(self.model_asked) from None
        except NoReadyPodError:
            raise rejections.no_ready_pod(self.model_asked) from None

    def wakes_its_model(self) -> bool:
        """Whether the model has been scaled to zero, and no pod of it is ready yet."""
        return self._services.router.is_cold(self.target.model)

    @property
    def body_bytes(self) -> int:
        return len(self._body)

    def why_no_pod(self) -> ApiError:
        """The answer when pods of the model are ready, but none of those that it may go to."""
        if self._keeper is not None:
            return rejections.no_ready_pod(self.model_asked)
        return rejections.no_matching_pod(self.model_asked)

    def name_response(self, booking: Booking, forward: Forward) -> Booking:
        """So that whoever asks for the response again is led to the pod that keeps it: the only one it may go to."""
        pod, prompt = booking.pods[0], self._prompt
        if pod.engine not in KEEPING_ENGINES or not self._body:
            return booking
        name = new_response_id(pod.address, self.identity.user, self._services.new_id())
        forward.new_body = with_response_id(self._body, name, replaces=prompt is not None and prompt.has_request_id)
        if prompt is not None and not prompt.may_be_kept:
            return booking
        return msgspec.structs.replace(booking, pods=(pod,) * len(booking.pods))

    def _go_to_keeper(self, response_id: str) -> None:
        """With a model of the pod that keeps the response which its path names."""
        if not response_id:
            return
        self._keeper = pod = keeper_of(response_id, self.identity.user, self._services.router, param="response_id")
        if pod is not None and self.intent.model not in pod.models:
            self.intent = msgspec.structs.replace(self.intent, model=pod.models[0])

    def _continued(self, response_id: str, target: Target) -> Target:
        """Goes where the response is that this one continues; raises ApiError 404."""
        param = "previous_response_id"
        self._keeper = pod = keeper_of(response_id, self.identity.user, self._services.router, param=param)
        if pod is None:
            return target
        target = target_at(pod, target)
        if target.model not in pod.models:
            raise rejections.unknown_response(response_id, param)
        return target

    def _resolve(self, asked: str) -> Target:
        who = self.identity.user or self.intent.session or self.intent.request_id
        target = self._services.names.resolve(asked, who)
        return target if self._keeper is None else target_at(self._keeper, target)

    def _new_plan(self, model: str) -> Plan:
        services, intent = self._services, self.intent
        plan = services.planner.plan(intent, model, self._prompt)
        if plan.policy is None and (services.names.route_of(model) or self._keeper or intent.makes_response):
            # Envoy's balancing over the base model's pods would meet some without the adapter, and nobody would know
            # which pod keeps a response.
            name = LeastRequest.name
            return msgspec.structs.replace(plan, policy=services.router.policy(name), strategy=name, label=name)
        return plan
