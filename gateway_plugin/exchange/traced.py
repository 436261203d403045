"""An exchange whose steps become spans. Where nothing is traced there is none of these, and nothing asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway_plugin.exchange.collaborators import TRACEPARENT
from gateway_plugin.exchange.exchange import Exchange
from gateway_plugin.exchange.phases import HOLDING
from gateway_plugin.exchange.steps import Admit, Reply

if TYPE_CHECKING:
    from gateway_plugin.exchange.collaborators import Services
    from gateway_plugin.exchange.intent.identity import Identity
    from gateway_plugin.exchange.known_request import KnownRequest
    from gateway_plugin.exchange.replies import Forward
    from gateway_plugin.exchange.steps import Ending, Step
    from gateway_plugin.metrics.tracing import DecisionTrace, Tracing
    from gateway_plugin.openai.errors import ApiError
    from protos.ext_proc import RequestHeaders
    from ratelimit import Decision


class TracedExchange(Exchange):
    """`traceparent`: the span of Envoy's call; empty where Envoy does not trace."""

    def __init__(self, services: Services, tracing: Tracing, traceparent: str) -> None:
        super().__init__(services)
        self._tracing = tracing
        self._traceparent = traceparent
        self._trace: DecisionTrace | None = None

    def resumed(self) -> Step:
        """There is a pod, or room on one."""
        if self._trace is not None:
            self._trace.end_step("hold" if self.phase is HOLDING else "wait_for_room")
        return super().resumed()

    def end(self) -> Ending:
        """Also of a request that was never decided on."""
        if self._trace is not None:
            self._trace.given_up()
        return super().end()

    def _on_headers(self, headers: RequestHeaders) -> Step:
        self._trace = self._tracing.begin(self._traceparent or headers.values.get(TRACEPARENT, ""))
        return super()._on_headers(headers)

    def _with_identity(self, headers: RequestHeaders, identity: Identity) -> Step:
        if self._trace is not None:
            self._trace.end_step("identify")
        return super()._with_identity(headers, identity)

    def _on_user(self, exists: bool) -> Step:
        if self._trace is not None:
            self._trace.end_step("find_user")
        return super()._on_user(exists)

    def _on_body(self, body: bytes) -> Step:
        if self._trace is not None and self._asked_by_body:
            self._trace.end_step("receive_body", {"gateway.body_bytes": len(body)})
        return super()._on_body(body)

    def _admit(self, request: KnownRequest) -> Step:
        step = super()._admit(request)
        if self._trace is not None and isinstance(step, Admit):
            self._trace.begin_step()
        return step

    def _on_decision(self, decision: Decision) -> Step:
        if self._trace is not None:
            self._trace.end_step("admit", {"gateway.limiter.outcome": decision.outcome.value})
        return super()._on_decision(decision)

    def _route(self, request: KnownRequest, forward: Forward) -> Step:
        if self._trace is not None:
            self._trace.begin_step()
        return super()._route(request, forward)

    def _sent_on(self, request: KnownRequest, forward: Forward) -> Reply:
        if self._trace is not None:
            self._trace.chosen(request.plan.label, forward.booking)
            # Where Envoy traces, its own span to the pod lies between, and Envoy says so to the pod.
            forward.traceparent = "" if self._traceparent else self._trace.traceparent
            forward.trace = self._trace.sent_on(forward.request_id, forward.user, forward.model, request.intent.path)
        return super()._sent_on(request, forward)

    def _reject(self, error: ApiError) -> Reply:
        reply = super()._reject(error)
        if self._trace is not None:
            model = self._request.model_named if self._request is not None else ""
            self._trace.refused(self._request_id, self._user, model, error.status, error.reason)
        return reply
