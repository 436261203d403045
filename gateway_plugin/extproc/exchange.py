"""One HTTP exchange as a sans-IO state machine: ext_proc messages in, replies out.

    HEADERS --request_headers--> BODY | ADMITTING | HELD | DONE
    BODY    --request_body-----> ADMITTING | HELD
    ADMITTING --admitted-------> HELD
    any     --end--------------> DONE, and whatever was booked is given back

The machine knows neither gRPC nor Redis. When it needs an admission it says so (`Admit`), and whoever carries it calls
`admitted` or `refused`. Choosing a pod and booking it happen in one synchronous step after the admission.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from gateway_plugin.intent import rejections
from gateway_plugin.intent.headers import WANTED_HEADERS, Intent, Rules, check_token, read_intent
from gateway_plugin.intent.plan import Plan, make_plan, routing_request
from gateway_plugin.openai.errors import ApiError
from protos import ext_proc
from protos.ext_proc import Mode
from ratelimit import Cost, Outcome
from routing.policies.session_affinity import SessionAffinity, token_of
from routing.router import Booking, NoReadyPodError, Router, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.metrics import Metrics
    from gateway_plugin.openai.prompt import Prompt
    from protos.ext_proc import ProcessingRequest, ProcessingResponse
    from ratelimit import Decision
    from routing.policy import Policy

logger = logging.getLogger(__name__)

# Headers by which Envoy and the pods obey the gateway: a client's own never get past it.
CONTROL_HEADERS = ("target-pod", "target-pod-ip")
# Usage is read from the response's text as it passes through Envoy, so it must not be compressed.
REMOVED_HEADERS = (*CONTROL_HEADERS, "accept-encoding")
_WENT_THROUGH = {"x-went-into-req-headers": "true"}


@dataclass(frozen=True, slots=True)
class Services:
    """What an exchange decides with; shared by all exchanges of a process."""

    router: Router
    rules: Rules
    metrics: Metrics
    new_id: Callable[[], str]
    clock: Callable[[], float]
    outcomes_are_told: bool = True
    """False when no access log will tell how exchanges ended."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Send this; `final` means that nothing more will be said and the stream may be closed."""

    message: ProcessingResponse
    final: bool = False


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask the limiter, then call `admitted` or `refused`."""

    user: str
    cost: Cost


_ASK_FOR_BODY = Reply(ext_proc.headers_reply(_WENT_THROUGH, REMOVED_HEADERS, mode=Mode.BUFFERED_BODY))


class Phase(Enum):
    """Where an exchange stands."""

    HEADERS = "headers"
    BODY = "body"
    ADMITTING = "admitting"
    HELD = "held"
    DONE = "done"


class Exchange:
    """One request, from its headers to the end of its response."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.phase = Phase.HEADERS
        self._asked_by_body = False
        self._intent: Intent | None = None
        self._model = ""
        self._prompt: Prompt | None = None
        self._plan: Plan | None = None
        self._booking: Booking | None = None
        self._charge_id = ""
        self._busy_seconds = 0.0

    def receive(self, message: ProcessingRequest) -> Reply | Admit | None:
        """The step that answers a message of Envoy; None when nothing is to be said."""
        kind = ext_proc.kind_of(message)
        if (self.phase, kind) == (Phase.HEADERS, "request_headers"):
            return self._run(lambda: self._on_headers(message))
        if (self.phase, kind) == (Phase.BODY, "request_body"):
            self._asked_by_body = True
            return self._run(lambda: self._on_body(ext_proc.body_of(message)))
        reply = ext_proc.empty_reply(kind)
        return Reply(reply) if reply is not None else None

    def admitted(self, decision: Decision) -> Reply | Admit:
        """The limiter's answer to `Admit`."""
        return self._run(lambda: self._on_decision(decision))

    def refused(self, error: ApiError) -> Reply:
        """The limiter could not decide; the client gets the error."""
        return self._reject(error)

    def failed(self) -> Reply:
        """A mistake of ours: the client gets a 500 in the usual shape, and all bookings are given back."""
        self._services.metrics.errors.inc()
        return self._reject(rejections.internal_error())

    def end(self) -> None:
        """The HTTP exchange is over, whatever the cause. Safe to call again."""
        if self.phase is Phase.HELD:
            self._services.metrics.in_flight.dec()
            self._services.metrics.model_in_flight.labels(self._model).dec()
        self.phase = Phase.DONE
        if self._booking is not None and self._booking.lease.release() and not self._services.outcomes_are_told:
            self._services.router.assume_success(self._charge_id)

    def __repr__(self) -> str:
        pods = ",".join(pod.address for pod in self._booking.pods) if self._booking else "-"
        return f"<Exchange {self.phase.value} model={self._model or '-'} pods={pods}>"

    def _run(self, step: Callable[[], Reply | Admit]) -> Reply | Admit:
        started = self._services.clock()
        try:
            return step()
        except ApiError as error:
            return self._reject(error)
        finally:
            self._busy_seconds += self._services.clock() - started
            if self.phase is Phase.HELD:
                self._services.metrics.decision_seconds.observe(self._busy_seconds)

    def _on_headers(self, message: ProcessingRequest) -> Reply | Admit:
        services = self._services
        headers = ext_proc.headers_of(message, WANTED_HEADERS)
        check_token(headers, services.rules)
        self._intent = intent = read_intent(headers, services.rules, services.new_id)
        if intent is None:
            return self._pass_through()
        if intent.model:
            plan = make_plan(intent, intent.model, services.rules, services.router, None)
            if not plan.needs_body:
                return self._admit(intent, intent.model, plan)
        if ext_proc.headers_end_stream(message):
            return self._on_body(b"")
        self.phase = Phase.BODY
        return _ASK_FOR_BODY

    def _on_body(self, body: bytes) -> Reply | Admit:
        intent = self._intent
        assert intent is not None
        head, self._prompt = intent.read_body(body)
        plan = make_plan(intent, head.model, self._services.rules, self._services.router, self._prompt)
        return self._admit(intent, head.model, plan)

    def _admit(self, intent: Intent, model: str, plan: Plan) -> Reply | Admit:
        self._model, self._plan = model, plan
        self._check_pods()
        if not intent.user:
            return self._route(intent, plan)
        self.phase = Phase.ADMITTING
        return Admit(intent.user, Cost())

    def _on_decision(self, decision: Decision) -> Reply:
        assert self._intent is not None
        assert self._plan is not None
        if decision.outcome is not Outcome.ADMITTED:
            raise rejections.refused(self._intent.user, decision)
        # Pods may have gone while the limiter was asked.
        self._check_pods()
        return self._route(self._intent, self._plan)

    def _check_pods(self) -> None:
        try:
            self._services.router.check(self._model)
        except UnknownModelError:
            raise rejections.unknown_model(self._model) from None
        except NoReadyPodError:
            raise rejections.no_ready_pod(self._model) from None

    def _route(self, intent: Intent, plan: Plan) -> Reply:
        metrics, self._charge_id = self._services.metrics, self._services.new_id()
        strategy = plan.policy.name if plan.policy else "none"
        if plan.policy is not None:
            self._booking = self._book(plan.policy, intent, plan)
            metrics.decisions.labels(self._model, strategy, self._booking.branch).inc()
        reply = self._reply_with_target(intent, plan)
        logger.debug("routed request_id=%s %r", intent.request_id, self)
        self.phase = Phase.HELD
        metrics.requests.labels(self._model, strategy).inc()
        metrics.in_flight.inc()
        metrics.model_in_flight.labels(self._model).inc()
        return reply

    def _book(self, policy: Policy, intent: Intent, plan: Plan) -> Booking:
        router = self._services.router
        request = routing_request(intent, self._model, plan, router, self._prompt)
        try:
            return router.book(policy, request, self._charge_id, intent.selector)
        except NoReadyPodError:
            raise rejections.no_matching_pod(self._model) from None

    def _reply_with_target(self, intent: Intent, plan: Plan) -> Reply:
        set_headers = {"model": self._model, "x-request-id": intent.request_id}
        if intent.path_changed:
            set_headers[":path"] = intent.path
        metadata: dict[str, Any] = {
            "request_id": intent.request_id,
            "user": intent.user,
            "model": self._model,
            "charge_id": self._charge_id,
        }
        if self._booking is not None:
            pods = {pod.address: pod.name for pod in self._booking.pods}
            set_headers |= {"routing-strategy": plan.strategy, "target-pod": ",".join(pods)}
            metadata |= {"strategy": plan.strategy, "pods": pods}
        response_headers = self._response_headers(plan)
        if response_headers:
            metadata["headers"] = response_headers
        if self._asked_by_body:
            return Reply(ext_proc.body_reply(set_headers, metadata))
        removed = [name for name in REMOVED_HEADERS if name not in set_headers]
        message = ext_proc.headers_reply(_WENT_THROUGH | set_headers, removed, mode=Mode.HOLD, metadata=metadata)
        return Reply(message)

    def _response_headers(self, plan: Plan) -> dict[str, str]:
        headers: dict[str, str] = {}
        if SessionAffinity.name in plan.strategy and self._booking is not None:
            headers["x-session-id"] = token_of(self._booking.pods[0].address)
        if plan.resolved.auto and plan.resolved.profile_name:
            headers["x-aibrix-config-profile"] = plan.resolved.profile_name
        return headers

    def _pass_through(self) -> Reply:
        self._services.metrics.passed.inc()
        self.phase = Phase.DONE
        return Reply(ext_proc.headers_reply({}, CONTROL_HEADERS), final=True)

    def _reject(self, error: ApiError) -> Reply:
        self.end()
        self._services.metrics.rejections.labels(error.reason, str(error.status)).inc()
        # Exhausted users come in floods; the counter above is enough of them.
        level = logging.DEBUG if error.status == 429 else logging.INFO
        request_id = self._intent.request_id if self._intent else "-"
        logger.log(level, "rejected request_id=%s status=%d reason=%s", request_id, error.status, error.reason)
        headers = {"content-type": "application/json", **error.headers}
        details = f"gateway_plugin_{error.reason}"
        return Reply(ext_proc.immediate_reply(error.status, headers, error.body, details), final=True)
