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

from gateway_plugin.extproc import rejections
from gateway_plugin.extproc.intent import WANTED_HEADERS, Intent, Rules, check_token, read_intent
from gateway_plugin.openai.errors import ApiError
from protos import ext_proc
from protos.ext_proc import Mode
from ratelimit import Cost, Outcome
from routing.policy import RoutingRequest
from routing.router import Booking, NoReadyPodError, Router, UnknownModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.metrics import Metrics
    from protos.ext_proc import ProcessingRequest, ProcessingResponse
    from ratelimit import Decision

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
        self._booking: Booking | None = None
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
        if self._booking is not None:
            self._booking.lease.release()

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
        headers = ext_proc.headers_of(message, WANTED_HEADERS)
        check_token(headers, self._services.rules)
        self._intent = intent = read_intent(headers, self._services.rules, self._services.router, self._services.new_id)
        if intent is None:
            return self._pass_through()
        if not intent.needs_body:
            return self._admit(intent.model)
        if ext_proc.headers_end_stream(message):
            return self._on_body(b"")
        self.phase = Phase.BODY
        return _ASK_FOR_BODY

    def _on_body(self, body: bytes) -> Reply | Admit:
        assert self._intent is not None
        return self._admit(self._intent.read_head(body).model)

    def _admit(self, model: str) -> Reply | Admit:
        assert self._intent is not None
        self._model = model
        self._check_pods()
        if not self._intent.user:
            return self._route()
        self.phase = Phase.ADMITTING
        return Admit(self._intent.user, Cost())

    def _on_decision(self, decision: Decision) -> Reply:
        assert self._intent is not None
        if decision.outcome is not Outcome.ADMITTED:
            raise rejections.refused(self._intent.user, decision)
        # Pods may have gone while the limiter was asked.
        self._check_pods()
        return self._route()

    def _check_pods(self) -> None:
        try:
            self._services.router.check(self._model)
        except UnknownModelError:
            raise rejections.unknown_model(self._model) from None
        except NoReadyPodError:
            raise rejections.no_ready_pod(self._model) from None

    def _route(self) -> Reply:
        intent, metrics = self._intent, self._services.metrics
        assert intent is not None
        strategy = intent.policy.name if intent.policy else ""
        if intent.policy is not None:
            request = RoutingRequest(model=self._model, user=intent.user)
            self._booking = self._services.router.book(intent.policy, request)
            metrics.decisions.labels(self._model, strategy, self._booking.branch).inc()
        reply = self._reply_with_target(intent, strategy)
        logger.debug("routed request_id=%s %r", intent.request_id, self)
        self.phase = Phase.HELD
        metrics.requests.labels(self._model, strategy or "none").inc()
        metrics.in_flight.inc()
        metrics.model_in_flight.labels(self._model).inc()
        return reply

    def _reply_with_target(self, intent: Intent, strategy: str) -> Reply:
        set_headers = {"model": self._model, "x-request-id": intent.request_id}
        metadata: dict[str, Any] = {
            "request_id": intent.request_id,
            "user": intent.user,
            "model": self._model,
            "charge_id": self._services.new_id(),
        }
        if intent.path_changed:
            set_headers[":path"] = intent.path
        if self._booking is not None:
            pods = {pod.address: pod.name for pod in self._booking.pods}
            set_headers |= {"routing-strategy": strategy, "target-pod": ",".join(pods)}
            metadata |= {"strategy": strategy, "pods": pods}
        if self._asked_by_body:
            return Reply(ext_proc.body_reply(set_headers, metadata))
        removed = [name for name in REMOVED_HEADERS if name not in set_headers]
        message = ext_proc.headers_reply(_WENT_THROUGH | set_headers, removed, mode=Mode.HOLD, metadata=metadata)
        return Reply(message)

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
