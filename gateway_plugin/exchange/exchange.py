"""One HTTP exchange as a sans-IO state machine: ext_proc messages in, steps out (its table: `phases`).

The machine knows neither gRPC nor Redis. What it cannot decide alone it asks for (`Identify`, `Admit`), and whoever
carries it calls back. Choosing a pod and booking it happen in one synchronous step after the admission.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from gateway_plugin.endpoints.endpoint_table import EVENTS_PATH, OPEN_PATHS
from gateway_plugin.endpoints.web_pages import PREFLIGHT_HEADER
from gateway_plugin.exchange import replies
from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.intent.identity import (
    NOBODY,
    KeyClaim,
    fairness_key,
    hidden_headers,
    identify,
    owner_of,
    source_of,
)
from gateway_plugin.exchange.intent.request import check_repeated, read_intent, request_id_of
from gateway_plugin.exchange.intent.unpacking import Unpacking
from gateway_plugin.exchange.known_request import KnownRequest
from gateway_plugin.exchange.phases import (
    ADMITTING,
    BODY,
    DONE,
    HEADERS,
    HELD,
    HOLDING,
    IDENTIFYING,
    UNPACKING,
    WAITING,
)
from gateway_plugin.exchange.replies import decision_headers
from gateway_plugin.exchange.response import FollowedResponse, followed
from gateway_plugin.exchange.steps import (
    NOTHING_LEFT,
    Admit,
    Ending,
    FindUser,
    Identify,
    Reply,
    Step,
    Unpack,
    WaitForPod,
    WaitForRoom,
)
from gateway_plugin.openai.errors import ApiError
from protos import ext_proc
from protos.processing_modes import Mode
from ratelimit import Outcome
from ratelimit.windows.decision import UNKNOWN_USER
from routing.router import NoReadyPodError, SaturatedError, UnknownModelError
from routing.strategies.session_affinity import SessionAffinity, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.exchange.collaborators import Services
    from gateway_plugin.exchange.intent.identity import Identity
    from gateway_plugin.exchange.replies import Forward
    from protos.ext_proc import RequestHeaders
    from ratelimit import Decision

logger = logging.getLogger(__name__)

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
        self.source = ""
        """Where the request comes from."""
        self.content_length = ""
        """As the client says it, of a body that is to come."""
        self._request_id = ""
        self._path = ""
        self._headers: RequestHeaders | None = None
        self._key: KeyClaim | None = None
        self._page_headers: Mapping[str, str] = _NO_HEADERS
        self._request: KnownRequest | None = None
        self._user = ""
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

    def user_found(self, exists: bool) -> Step:
        """The answer to `FindUser`."""
        return self._run(self._on_user, exists)

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
        """The answer to `WaitForRoom` and `WaitForPod`: there is some now."""
        return self._run(Exchange._on_pod if self.phase is HOLDING else Exchange._on_room, self)

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
        admission, self._admission = self._admission, None
        return Ending(forward.give_back(admission, reached_a_pod=self._reached_a_pod), finished)

    def _close(self) -> None:
        """Gives back the lease and leaves the gauge."""
        was_held, self.phase, forward = self.phase is HELD, DONE, self._forward
        if forward is None:
            return
        if was_held:
            self._services.metrics.ended(forward.model)
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
        services = self._services
        self._user = identity.user
        removed_headers: tuple[str, ...] = ()
        if headers.repeated:
            check_repeated(headers.repeated)
        intent = read_intent(headers.values, services.rules, self._request_id)
        if not intent.is_for_the_gateway:
            rules = services.rules.identity
            removed_headers = hidden_headers(headers.values, self._key, rules, services.engines_have_keys)
        if intent.passes:
            if services.listeners_refusal is not None and intent.path.startswith(EVENTS_PATH):
                rejections.check_listeners(services.listeners_refusal(self.source))
            services.metrics.passed.inc()
            self.phase = DONE
            return replies.pass_through(removed_headers, self._request_id)
        intent.check_published()
        self._request = request = KnownRequest(services, intent, identity, removed_headers)
        if request.subject is not None:
            self._check_exhausted(request)
        elif request.aim_by_headers():
            return self._admit(request)
        # Also where it says nothing: what streams by is in nobody's books.
        if not self._has_body:
            return self._on_body(b"")
        if services.is_known is not None and request.is_named_by_header and not services.is_known(identity.user):
            self.phase = IDENTIFYING
            return FindUser(identity.user)
        return self._ask_for_body()

    def _on_user(self, exists: bool) -> Step:
        if not exists:
            raise self._known.refusal_at_once(UNKNOWN_USER)
        return self._ask_for_body()

    def _ask_for_body(self) -> Reply:
        services = self._services
        self.phase = BODY
        sees_response = services.follows_responses or services.names.restores_names()
        return replies.ASK_FOR_BODY_AND_RESPONSE if sees_response else replies.ASK_FOR_BODY

    def _check_exhausted(self, request: KnownRequest) -> None:
        remembered, subject = self._services.refusal, request.subject
        assert subject is not None
        refusal = remembered(subject, request.intent.model) if remembered is not None else None
        if refusal is not None:
            raise request.refusal_at_once(refusal)

    def _on_body(self, body: bytes) -> Step:
        request = self._known
        if not body or not request.intent.is_compressed:
            return self._on_plain_body(body)
        request.unpacked_here()
        unpacking = Unpacking(request.intent.content_encoding, body, self._services.rules.max_body_bytes)
        if unpacking.is_done:
            return self._on_plain_body(unpacking.finish())
        self.phase = UNPACKING
        return Unpack(unpacking.finish)

    def _on_plain_body(self, body: bytes) -> Step:
        request = self._known
        request.read_body(body)
        return self._admit(request)

    def _admit(self, request: KnownRequest) -> Step:
        subject = request.subject
        if self._services.may_hold and self.phase is not HOLDING and request.wakes_its_model():
            self.phase = HOLDING
            turn = fairness_key(request.identity)
            return WaitForPod(request.target.model, turn, request.model_asked, request.body_bytes)
        if subject is not None:
            # Nobody is charged for a request that no pod can take; without limits, booking finds out.
            request.check_pods()
        self._forward = forward = request.forward(self._page_headers)
        if self.phase is HOLDING:
            forward.response_headers["x-held-seconds"] = f"{self._services.clock() - self._started_seconds:.1f}"
        if subject is None:
            return self._route(request, forward)
        admission = request.admission(subject, forward)
        self.phase = ADMITTING
        return Admit(admission)

    def _on_decision(self, decision: Decision) -> Step:
        request, forward = self._known, self._forward
        assert forward is not None
        if decision.outcome is not _ADMITTED:
            raise request.refusal(decision)
        self._admission = decision
        forward.reserved_tokens = decision.reserved_tokens
        forward.response_headers |= decision_headers(decision)
        return self._route(request, forward)

    def _on_pod(self) -> Step:
        return self._admit(self._known)

    def _on_room(self) -> Step:
        assert self._forward is not None
        return self._route(self._known, self._forward)

    @property
    def _known(self) -> KnownRequest:
        assert self._request is not None
        return self._request

    def _route(self, request: KnownRequest, forward: Forward) -> Step:
        """Chooses a pod and books it; where Envoy balances, there must be one."""
        plan, router = request.plan, self._services.router
        if plan.policy is None:
            request.check_pods()
            return self._sent_on(request, forward)
        asked = request.routing_request()
        try:
            forward.booking = booking = router.book(plan.policy, asked, forward.charge_id, request.pod_filter)
        except SaturatedError:
            return self._wait_for_room(request)
        except (UnknownModelError, NoReadyPodError):
            request.check_pods()
            raise request.why_no_pod() from None
        forward.strategy = plan.strategy
        if request.intent.makes_response:
            forward.booking = booking = request.name_response(booking, forward)
        if SessionAffinity.name in plan.strategy:
            forward.response_headers["x-session-id"] = token_of(booking.pods[0].address)
        return self._sent_on(request, forward)

    def _wait_for_room(self, request: KnownRequest) -> WaitForRoom:
        # A pod with room may not be one that the client's filter admits, so who filters does not wait.
        if self._services.may_wait and self.phase is not WAITING and request.pod_filter is None:
            self.phase = WAITING
            return WaitForRoom(request.target.model, fairness_key(request.identity), request.model_asked)
        raise rejections.overloaded(f"all pods of model {request.model_asked} are busy")

    def _sent_on(self, request: KnownRequest, forward: Forward) -> Reply:
        services, plan, target = self._services, request.plan, request.target
        if plan.resolved.auto and plan.resolved.profile_name:
            forward.response_headers["x-aibrix-config-profile"] = plan.resolved.profile_name
        if services.follows_responses or target.restore_name:
            self._response = followed(
                services, self._started_seconds, target, forward, tokens_matter=request.subject is not None
            )
        reply = forward.reply(to_body=self._asked_by_body, mode=_RESPONSE if services.follows_responses else _HOLD)
        logger.debug("routed request_id=%s %r", self._request_id, self)
        self.phase, self._reached_a_pod = HELD, True
        forward.new_body = None
        branch = forward.booking.branch if forward.booking is not None else None
        matched_tokens = forward.booking.matched_tokens if forward.booking is not None else 0.0
        services.metrics.sent_on(forward.model, plan.label, branch, matched_tokens)
        services.stories.sent_on(
            forward.request_id,
            forward.charge_id,
            forward.user,
            forward.model,
            request.intent.path,
            forward.strategy,
            forward.booking,
            request.prompt_tokens,
            forward.reserved_tokens,
            services.clock() - self._started_seconds,
            self._admission,
        )
        request.drop_body()
        return reply

    def _reject(self, error: ApiError) -> Reply:
        self._close()
        self._request_id = self._request_id or self._services.new_id()
        self._services.metrics.rejections.labels(error.reason, str(error.status)).inc()
        self._tell_refusal(error)
        family = self._services.rules.endpoints.family_of(self._path)
        return replies.rejection(error, family, self._request_id, self._page_headers)

    def _tell_refusal(self, error: ApiError) -> None:
        model = self._request.model_named if self._request is not None else ""
        if model and self._services.router.knows(model):
            self._services.metrics.model_rejections.labels(model, error.reason).inc()
        self._services.stories.refuse(
            self._request_id, self._user, model, self._path, error.status, error.reason, error.message, self.source
        )
