"""One HTTP exchange as a sans-IO state machine: ext_proc messages in, steps out.

    HEADERS     --request_headers--> IDENTIFYING | BODY | ADMITTING | HELD | DONE
    IDENTIFYING --identified-------> BODY | ADMITTING | HELD
    BODY        --request_body-----> UNPACKING | ADMITTING | HELD
    UNPACKING   --unpacked---------> ADMITTING | HELD
    ADMITTING   --admitted---------> HELD | WAITING
    WAITING     --resumed----------> HELD
    any         --refused, failed, end--> DONE, and whatever was booked is given back

The machine knows neither gRPC nor Redis. What it cannot decide alone it asks for (`Identify`, `Admit`), and whoever
carries it calls back. Choosing a pod and booking it happen in one synchronous step after the admission.
"""

from __future__ import annotations

import logging
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

import msgspec

from gateway_plugin.accounting.limiting import GiveBack
from gateway_plugin.endpoints.endpoint_table import OPEN_PATHS
from gateway_plugin.endpoints.web_pages import PREFLIGHT_HEADER
from gateway_plugin.exchange import replies
from gateway_plugin.exchange.collaborators import NOTHING_LEFT, Ending, Services
from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.intent.identity import (
    AUTHORIZATION,
    NOBODY,
    Identity,
    KeyClaim,
    KeyOwner,
    fairness_key,
    hidden_headers,
    identify,
    owner_of,
    subject_of,
)
from gateway_plugin.exchange.intent.kept_responses import KEEPING_ENGINES, id_in_path, keeper_of, target_at
from gateway_plugin.exchange.intent.request import Intent, check_repeated, read_intent, request_id_of
from gateway_plugin.exchange.intent.sources import source_of
from gateway_plugin.exchange.intent.strategy_plan import Plan, routing_request
from gateway_plugin.exchange.intent.unpacking import Unpacking
from gateway_plugin.exchange.replies import Forward
from gateway_plugin.exchange.response import FollowedResponse, followed
from gateway_plugin.exchange.steps import Admit, Identify, Reply, Step, Unpack, WaitForRoom
from gateway_plugin.openai.errors import ApiError
from gateway_plugin.openai.response_ids import new_response_id, with_response_id
from gateway_plugin.openai.stream_usage import asks_for_usage, with_usage
from protos import ext_proc
from protos.ext_proc import Mode
from ratelimit import Admission, Outcome
from ratelimit.windows.expected import UNKNOWN_CEILING, UNSEEN_OUTPUT
from routing.router import NoReadyPodError, SaturatedError, UnknownModelError
from routing.selector import OnlyPod
from routing.strategies.least_request import LeastRequest
from routing.strategies.session_affinity import SessionAffinity, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.models.catalogue.registry import Target
    from gateway_plugin.openai.head import RequestHead
    from gateway_plugin.openai.prompt import Prompt
    from protos.ext_proc import RequestHeaders
    from ratelimit import Decision, Subject
    from routing.spec import PodSpec

__all__ = ["Ending", "Exchange", "Phase", "Services"]

logger = logging.getLogger(__name__)


class Phase(Enum):
    """Where an exchange stands."""

    HEADERS = "headers"
    IDENTIFYING = "identifying"
    BODY = "body"
    UNPACKING = "unpacking"
    ADMITTING = "admitting"
    WAITING = "waiting"
    HELD = "held"
    DONE = "done"


# In Python 3.11 an attribute of an Enum costs ten times as much as a global, and these are asked for all the time.
HEADERS, IDENTIFYING, BODY, UNPACKING = Phase.HEADERS, Phase.IDENTIFYING, Phase.BODY, Phase.UNPACKING
ADMITTING, WAITING, HELD, DONE = Phase.ADMITTING, Phase.WAITING, Phase.HELD, Phase.DONE
_ADMITTED = Outcome.ADMITTED
_HOLD, _RESPONSE = Mode.HOLD, Mode.RESPONSE

_NO_HEADERS: Mapping[str, str] = {}
A = TypeVar("A")
S = TypeVar("S", bound=Step | None)


class Exchange:
    """One request, from its headers to the end of its response."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.phase = HEADERS
        self._has_body = False
        self._asked_by_body = False
        self._intent: Intent | None = None
        self.source = ""
        """Where the request comes from."""
        self.content_length = ""
        """As the client says it, of a body that is to come."""
        self._request_id = ""
        self._path = ""
        self._headers: RequestHeaders | None = None
        self._key: KeyClaim | None = None
        self._identity: Identity = NOBODY
        self._subject: Subject | None = None
        self._keeper: PodSpec | None = None
        self._removed_headers: tuple[str, ...] = ()
        self._page_headers: Mapping[str, str] = _NO_HEADERS
        self._head: RequestHead | None = None
        self._prompt: Prompt | None = None
        self._body = b""
        self._target: Target | None = None
        self._plan: Plan | None = None
        self._forward: Forward | None = None
        self._admission: Decision | None = None
        self._reached_a_pod = False
        self._busy_seconds = 0.0
        self._started_seconds = 0.0
        self._response: FollowedResponse | None = None

    def receive(self, message: bytes) -> Step | None:
        """The step that answers a message of Envoy; None when nothing is to be said. Raises DecodeError."""
        if self.phase is HEADERS or self.phase is BODY:
            return self._run(self._on_request, message)
        return self._on_other(message)

    def identified(self, key_owner: str | None) -> Step:
        """The answer to `Identify`: whose key it is, None for nobody's."""
        return self._run(self._on_identified, key_owner)

    def unpacked(self, body: bytes) -> Step:
        """The answer to `Unpack`."""
        return self._run(self._on_plain_body, body)

    def admitted(self, decision: Decision) -> Step:
        """The answer to `Admit`."""
        return self._run(self._on_decision, decision)

    def admitted_too_late(self, decision: Decision) -> None:
        """The answer to `Admit`, of which nobody can be told any more: what it holds is given back at the end."""
        if decision.outcome is _ADMITTED and self._forward is not None:
            self._admission, self._forward.reserved_tokens = decision, decision.reserved_tokens

    def resumed(self) -> Step:
        """The answer to `WaitForRoom`: there is some now."""
        return self._run(Exchange._route, self)

    def refused(self, error: ApiError) -> Reply:
        """What was asked for could not be decided; the client gets the error."""
        return self._reject(error)

    def failed(self) -> Reply:
        """A mistake of ours: the client gets a 500 in the usual shape, and all bookings are given back."""
        self._services.metrics.errors.inc()
        return self._reject(rejections.internal_error())

    def end(self) -> Ending:
        """The HTTP exchange is over, whatever the cause. Safe to call again; what is left to do is told once."""
        self._close()
        forward, response, self._response = self._forward, self._response, None
        if forward is None or (response is None and self._admission is None):
            return NOTHING_LEFT
        tells = response is not None and self._reached_a_pod and self._services.follows_responses
        finished = response.finished(forward) if response is not None and tells else None
        return Ending(self._give_back(forward), finished)

    def _give_back(self, forward: Forward) -> GiveBack | None:
        admission, self._admission = self._admission, None
        if admission is None or forward.subject is None:
            return None
        slot = admission.limits is not None and admission.limits.max_parallel > 0
        if self._reached_a_pod and not slot:
            return None
        refund = not self._reached_a_pod
        return GiveBack(forward.subject, forward.charge_id, forward.model, slot, refund, forward.reserved_tokens)

    def _close(self) -> None:
        """Gives back the lease and leaves the gauge."""
        was_held, self.phase, forward = self.phase is HELD, DONE, self._forward
        if forward is None:
            return
        if was_held:
            self._services.metrics.model_in_flight.labels(forward.model).dec()
        booking = forward.booking
        if booking is not None and booking.lease.release() and not self._services.outcomes_are_told:
            self._services.router.assume_success(forward.charge_id)

    @property
    def charge_id(self) -> str:
        """Identifies the exchange in the access log; empty before it has a model."""
        return self._forward.charge_id if self._forward is not None else ""

    @property
    def follows_response(self) -> bool:
        """Whether it wants to see what the pod answers."""
        return self._response is not None

    def __repr__(self) -> str:
        forward = self._forward
        if forward is None:
            return f"<Exchange {self.phase.value} model=- pods=->"
        pods = ",".join(pod.address for pod in forward.booking.pods) if forward.booking is not None else "-"
        return f"<Exchange {self.phase.value} model={forward.model} pods={pods}>"

    def _run(self, step: Callable[[A], S], of: A) -> S | Reply:
        """Takes a step in the measured time; mistakes of the client are answers."""
        clock = self._services.clock
        started = clock()
        try:
            return step(of)
        except ApiError as error:
            return self._reject(error)
        finally:
            self._busy_seconds += clock() - started
            if self.phase is HELD:
                self._services.metrics.decision_seconds.observe(self._busy_seconds)

    def _on_request(self, message: bytes) -> Step | None:
        if self.phase is HEADERS:
            headers = ext_proc.request_headers_of(message, self._services.wanted_headers)
            if headers is not None:
                return self._on_headers(headers)
        else:
            body = ext_proc.request_body_of(message)
            if body is not None:
                self._asked_by_body = True
                return self._on_body(body)
        return self._on_other(message)

    def _on_other(self, message: bytes) -> Reply | None:
        """Not what the phase is about: parts of the response, and what was not asked for."""
        parsed = ext_proc.parsed(message)
        kind = ext_proc.kind_of(parsed)
        if self._response is not None and self._forward is not None:
            if kind == "response_headers":
                reply = self._response.headers(parsed, self._forward)
                if self._forward.booking is not None and self._response.pod_address:
                    self._services.router.goes_on_at(self._forward.booking, self._response.pod_address)
                return reply
            if kind == "response_body":
                return self._response.body(parsed)
        empty = ext_proc.empty_reply(kind)
        return Reply(empty) if empty is not None else None

    def _on_headers(self, headers: RequestHeaders) -> Step:
        services = self._services
        self._started_seconds = services.clock()
        self._has_body = not headers.end_of_stream
        values, rules = headers.values, services.rules.identity
        self._request_id = request_id_of(values, services.new_id)
        self._path = values.get(":path", "")
        self.source = source_of(values.get("x-forwarded-for", ""), rules.trusted_hops)
        self.content_length = values.get("content-length", "")
        if services.rules.web_pages is not None and (page := values.get("origin")):
            if values.get(":method") == "OPTIONS" and PREFLIGHT_HEADER in values:
                self.phase = DONE
                return replies.preflight(services.rules.web_pages.preflight(page), self._request_id)
            self._page_headers = services.rules.web_pages.headers(page)
        caller = NOBODY if values.get(":path") in OPEN_PATHS else identify(values, self.source, rules)
        if isinstance(caller, KeyClaim):
            self._key, self._headers, self.phase = caller, headers, IDENTIFYING
            return Identify(caller.key_sha256, self.source)
        return self._with_identity(headers, caller)

    def _on_identified(self, key_owner: str | None) -> Step:
        claim, headers, self._headers = self._key, self._headers, None
        assert claim is not None
        assert headers is not None
        return self._with_identity(headers, owner_of(claim, key_owner))

    def _with_identity(self, headers: RequestHeaders, identity: Identity) -> Step:
        rules = self._services.rules
        if headers.repeated:
            check_repeated(headers.repeated)
        self._intent = intent = read_intent(headers.values, rules, self._request_id)
        if not intent.is_for_the_gateway:
            engines_have_keys = bool(self._services.engine_keys)
            self._removed_headers = hidden_headers(headers.values, self._key, rules.identity, engines_have_keys)
        if intent.passes:
            self._services.metrics.passed.inc()
            self.phase = DONE
            return replies.pass_through(self._removed_headers, self._request_id)
        intent.check_published()
        self._identity = identity
        self._intent = intent = self._at_its_keeper(intent)
        self._subject = subject = subject_of(identity, rules.identity) if rules.limited else None
        if subject is not None:
            self._check_exhausted(subject, intent.model)
        elif intent.model:
            target = self._resolve(intent, intent.model)
            plan = self._new_plan(intent, target.model)
            on_headers_alone = not plan.needs_body and not intent.makes_response and not intent.is_compressed
            if on_headers_alone and target.model == target.asked:
                return self._admit(intent, target, plan)
        if not self._has_body or not intent.wants_body:
            return self._on_body(b"")
        self.phase = BODY
        sees_response = self._services.follows_responses or self._services.names.restores_names()
        return replies.ASK_FOR_BODY_AND_RESPONSE if sees_response else replies.ASK_FOR_BODY

    def _at_its_keeper(self, intent: Intent) -> Intent:
        """The request, with a model of the pod that keeps the response which its path names."""
        response_id = id_in_path(intent.path)
        if not response_id:
            return intent
        pod = keeper_of(response_id, self._identity.user, self._services.router, param="response_id")
        if pod is None:
            return intent
        self._keeper = pod
        return intent if intent.model in pod.models else msgspec.structs.replace(intent, model=pod.models[0])

    def _continued(self, response_id: str, target: Target) -> Target:
        """Goes where the response is that this one continues; raises ApiError 404."""
        param = "previous_response_id"
        self._keeper = pod = keeper_of(response_id, self._identity.user, self._services.router, param=param)
        if pod is None:
            return target
        target = target_at(pod, target)
        if target.model not in pod.models:
            raise rejections.unknown_response(response_id, param)
        return target

    def _resolve(self, intent: Intent, asked: str) -> Target:
        who = self._identity.user or intent.session or intent.request_id
        target = self._services.names.resolve(asked, who)
        return target if self._keeper is None else target_at(self._keeper, target)

    def _on_body(self, body: bytes) -> Step:
        intent = self._intent
        assert intent is not None
        if not intent.is_compressed or not body:
            return self._on_plain_body(body)
        # Engines do not all unpack bodies, and what an engine reads must be what was counted.
        self._removed_headers = (*self._removed_headers, "content-encoding")
        unpacking = Unpacking(intent.content_encoding, body, self._services.rules.max_body_bytes)
        if unpacking.is_done:
            return self._on_plain_body(unpacking.finish())
        self.phase = UNPACKING
        return Unpack(unpacking)

    def _on_plain_body(self, body: bytes) -> Step:
        intent = self._intent
        assert intent is not None
        self._body = body
        self._head, self._prompt = intent.read_body(body)
        target = self._resolve(intent, self._head.model)
        if self._prompt.previous_response_id:
            target = self._continued(self._prompt.previous_response_id, target)
        return self._admit(intent, target, self._new_plan(intent, target.model))

    def _new_plan(self, intent: Intent, model: str) -> Plan:
        services = self._services
        plan = services.planner.plan(intent, model, self._prompt)
        if plan.policy is None and (services.names.route_of(model) or self._keeper or intent.makes_response):
            # Envoy's balancing over the base model's pods would meet some without the adapter, and nobody would know
            # which pod keeps a response.
            name = LeastRequest.name
            return msgspec.structs.replace(plan, policy=services.router.policy(name), strategy=name, label=name)
        return plan

    def _admit(self, intent: Intent, target: Target, plan: Plan) -> Step:
        services, model = self._services, target.model
        self._plan, self._target = plan, target
        if self._subject is not None:
            # Nobody is charged for a request that no pod can take; without limits, booking finds out.
            self._check_pods(model)
        key = services.engine_keys.of(model)
        self._forward = forward = Forward(
            model,
            intent.request_id,
            services.new_id(),
            self._identity.user,
            self._subject,
            new_path=intent.path if intent.path_changed else "",
            # What is set must not be removed.
            removed_headers=tuple([name for name in self._removed_headers if not (key and name == AUTHORIZATION)]),
            engine_key=key,
            exposes_pod=services.rules.expose_pod,
            route=services.names.route_of(model),
            new_body=self._body if intent.is_compressed and self._body else None,
            response_headers=dict(self._page_headers),
        )
        if model != target.asked and self._body:
            self._body = forward.new_body = intent.with_model(self._body, model)
        forward.uncounted = not intent.names_usage
        if self._subject is None:
            return self._route()
        return Admit(self._admission_of(self._subject, intent, forward, target, plan))

    def _admission_of(
        self, subject: Subject, intent: Intent, forward: Forward, target: Target, plan: Plan
    ) -> Admission:
        self._ask_for_usage(intent, forward)
        forward.prompt_tokens_estimate = int(self._prompt.tokens) if self._prompt and intent.costs_tokens else 0
        self.phase = ADMITTING
        names, rate = self._services.names.other_names(target), plan.resolved.requests_per_second
        certain, prompt = forward.prompt_tokens_estimate, self._prompt
        if prompt is None or not intent.generates_text:
            return Admission(subject, forward.charge_id, target.model, certain, rate, names)
        ceiling = prompt.max_output_tokens or UNKNOWN_CEILING
        usual = int(min(self._services.router.outputs.expected(target.model, ceiling), UNSEEN_OUTPUT))
        choices = prompt.choices * prompt.prompts
        return Admission(subject, forward.charge_id, target.model, certain, rate, names, usual, ceiling, choices)

    def _ask_for_usage(self, intent: Intent, forward: Forward) -> None:
        mode = self._services.rules.stream_usage
        hides = self._head is not None and self._head.stream and intent.may_hide_usage
        if mode == "estimate" or not hides or self._prompt is None or asks_for_usage(self._prompt.stream_options):
            return
        if mode == "require":
            raise rejections.usage_not_asked_for()
        self._body = forward.new_body = with_usage(self._body, self._prompt.stream_options)
        forward.added_usage = True

    def _check_exhausted(self, subject: Subject, model: str) -> None:
        decision = self._services.refusal(subject, model)
        if decision is not None:
            raise rejections.refused(subject, model, 0, decision)

    def _on_decision(self, decision: Decision) -> Step:
        plan, forward = self._plan, self._forward
        assert plan is not None
        assert forward is not None
        if decision.outcome is not _ADMITTED:
            raise self._refusal(decision, plan.resolved.requests_per_second)
        self._admission = decision
        forward.reserved_tokens = decision.reserved_tokens
        forward.response_headers |= rejections.decision_headers(decision)
        return self._route()

    def _refusal(self, decision: Decision, model_requests_per_second: int) -> ApiError:
        if decision.outcome is Outcome.UNKNOWN_USER and isinstance(self._identity, KeyOwner):
            # The owner went, and the key is about to.
            return rejections.bad_credentials()
        assert self._subject is not None
        return rejections.refused(self._subject, self._asked, model_requests_per_second, decision)

    def _check_pods(self, model: str) -> None:
        try:
            self._services.router.check(model)
        except UnknownModelError:
            raise rejections.unknown_model(self._asked) from None
        except NoReadyPodError:
            raise rejections.no_ready_pod(self._asked) from None

    @property
    def _turn(self) -> str:
        """Whom strategies that share pods out among users take this for; empty: nobody in particular."""
        return fairness_key(self._identity) if self._subject is not None else self._identity.user

    @property
    def _asked(self) -> str:
        """The model as the client names it; what is behind the name is not the client's business."""
        return self._target.asked if self._target is not None else ""

    def _route(self) -> Step:
        """Chooses a pod and books it; where Envoy balances, there must be one."""
        intent, plan, forward = self._intent, self._plan, self._forward
        assert intent is not None
        assert plan is not None
        assert forward is not None
        if plan.policy is None:
            self._check_pods(forward.model)
            return self._sent_on(intent, plan, forward)
        router = self._services.router
        request = routing_request(intent, self._turn, forward.model, plan, router, self._prompt)
        try:
            admitted = OnlyPod(self._keeper.address) if self._keeper is not None else intent.selector
            forward.booking = booking = router.book(plan.policy, request, forward.charge_id, admitted)
        except SaturatedError:
            return self._wait_for_room(intent, forward)
        except (UnknownModelError, NoReadyPodError):
            self._check_pods(forward.model)
            if self._keeper is not None:  # it is there, but not ready
                raise rejections.no_ready_pod(self._asked) from None
            # There are some, and the client's filter admits none of them.
            raise rejections.no_matching_pod(self._asked) from None
        forward.strategy = plan.strategy
        self._services.metrics.decisions.labels(forward.model, plan.label, booking.branch).inc()
        if intent.makes_response:
            self._name_response(booking.pods[0], forward)
        if SessionAffinity.name in plan.strategy:
            forward.response_headers["x-session-id"] = token_of(booking.pods[0].address)
        return self._sent_on(intent, plan, forward)

    def _name_response(self, pod: PodSpec, forward: Forward) -> None:
        """So that whoever asks for the response again is led to the pod that keeps it."""
        if pod.engine in KEEPING_ENGINES and self._body:
            name = new_response_id(pod.address, self._identity.user, self._services.new_id())
            replaces = self._prompt is not None and self._prompt.has_request_id
            forward.new_body = with_response_id(self._body, name, replaces=replaces)

    def _wait_for_room(self, intent: Intent, forward: Forward) -> WaitForRoom:
        # A pod with room may not be one that the client's filter admits, so who filters does not wait.
        filtered = self._keeper is not None or intent.selector is not None
        if self._services.may_wait and self.phase is not WAITING and not filtered:
            self.phase = WAITING
            return WaitForRoom(forward.model, fairness_key(self._identity))
        raise rejections.overloaded(f"all pods of model {self._asked} are busy")

    def _sent_on(self, intent: Intent, plan: Plan, forward: Forward) -> Reply:
        if plan.resolved.auto and plan.resolved.profile_name:
            forward.response_headers["x-aibrix-config-profile"] = plan.resolved.profile_name
        services = self._services
        assert self._target is not None
        if services.follows_responses or self._target.restore_name:
            self._response = followed(
                services, self._started_seconds, self._target, forward, tokens_matter=self._subject is not None
            )
        reply = forward.reply(to_body=self._asked_by_body, mode=_RESPONSE if services.follows_responses else _HOLD)
        logger.debug("routed request_id=%s %r", intent.request_id, self)
        self.phase, self._reached_a_pod = HELD, True
        self._body, self._prompt, forward.new_body = b"", None, None
        services.metrics.requests.labels(forward.model, plan.label).inc()
        services.metrics.model_in_flight.labels(forward.model).inc()
        return reply

    def _reject(self, error: ApiError) -> Reply:
        self._close()
        self._request_id = self._request_id or self._services.new_id()
        self._services.metrics.rejections.labels(error.reason, str(error.status)).inc()
        # Exhausted users come in floods; the counter above is enough of them.
        level = logging.DEBUG if error.status == 429 else logging.INFO
        logger.log(level, "rejected request_id=%s status=%d reason=%s", self._request_id, error.status, error.reason)
        family = self._services.rules.endpoints.family_of(self._path)
        return replies.rejection(error, family, self._request_id, self._page_headers)
