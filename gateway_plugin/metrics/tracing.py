"""Spans of what the gateway does with a request, made with OpenTelemetry's SDK (extra `otel`).

    client -> Envoy -> decide (identify, receive_body, admit, choose) -> engine
                    `-> chat MODEL: the whole exchange, with its tokens, when Envoy's log tells of its end

The parent is the span that Envoy's call belongs to; where Envoy does not trace, the client's own. What is known of a
decision goes with the request through Envoy and its log, so that whichever replica hears of the end can tell it. No
prompt, no answer and no key is in any span. Names of attributes: OpenTelemetry's for generative AI where there is one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from protos.access_log import FinishedExchange
    from routing.booking import Booking

_HEADER = "traceparent"
_OPERATIONS = {
    "/chat/completions": "chat",
    "/messages": "chat",
    "/responses": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}
"""By the end of a path, longest first; OpenTelemetry's names."""
_W3C = TraceContextTextMapPropagator()


class Tracing:
    """`tracer` decides what is sampled; `shut_down` sends what is left. `clock_ns` is the wall clock."""

    def __init__(
        self,
        tracer: Tracer,
        shut_down: Callable[[], None] = lambda: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.shut_down = shut_down
        self._tracer = tracer
        self._clock_ns = clock_ns

    def begin(self, traceparent: str) -> DecisionTrace | None:
        """For a request that has just come, part of the span named in W3C's form; None where it is not sampled."""
        started_ns = self._clock_ns()
        span = self._tracer.start_span("decide", _context_of(traceparent), SpanKind.SERVER, start_time=started_ns)
        return DecisionTrace(self._tracer, span, self._clock_ns, started_ns) if span.is_recording() else None

    def finished(self, entry: FinishedExchange) -> None:
        """The exchange is over, and its decision was traced, here or by another replica."""
        traceparent, _, rest = entry.trace.partition(" ")
        started, _, operation = rest.partition(" ")
        if not started.isdecimal():
            return
        started_ns = int(started)
        span = self._tracer.start_span(
            f"{operation} {entry.model}", _context_of(traceparent), SpanKind.CLIENT, end_attributes(entry, operation),
            start_time=started_ns,
        )  # fmt: skip
        if entry.status >= 400 or not entry.status:
            span.set_status(Status(StatusCode.ERROR))
        if entry.ttft_seconds is not None:
            span.add_event("first_token", timestamp=started_ns + round(entry.ttft_seconds * 1e9))
        span.end(started_ns + round(entry.duration_seconds * 1e9))


class DecisionTrace:
    """The span of one decision, and the steps inside it."""

    def __init__(self, tracer: Tracer, span: Span, clock_ns: Callable[[], int], started_ns: int) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span)
        self._clock_ns = clock_ns
        self._started_ns = self._step_ns = started_ns

    def begin_step(self) -> None:
        """What comes now belongs to the next step."""
        self._step_ns = self._clock_ns()

    def end_step(self, name: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """A step is over; the next one begins."""
        now_ns = self._clock_ns()
        span = self._tracer.start_span(name, self._context, attributes=attributes, start_time=self._step_ns)
        span.end(now_ns)
        self._step_ns = now_ns

    def chosen(self, strategy: str, booking: Booking | None) -> None:
        """A pod was chosen, or Envoy will balance."""
        now_ns = self._clock_ns()
        span = self._tracer.start_span("choose", self._context, start_time=self._step_ns)
        span.set_attribute("gateway.strategy", strategy or "none")
        if booking is not None:
            span.set_attribute("gateway.branch", booking.branch)
            span.set_attribute("gateway.pods", [pod.address for pod in booking.pods])
            span.set_attribute("gateway.prompt_tokens_cached", booking.matched_tokens)
            for weighed in booking.weighed:
                terms = dict(zip(weighed.names, weighed.terms, strict=False))
                said = {f"gateway.term.{name}": term for name, term in terms.items()}
                span.add_event("candidate", {"gateway.pod": weighed.pod.address, "gateway.cost": weighed.cost, **said})
        span.end(now_ns)

    def sent_on(self, request_id: str, user: str, model: str, path: str) -> str:
        """The decision is made. Returns what `Tracing.finished` wants to know at the end."""
        operation = operation_of(path)
        said = {"gen_ai.operation.name": operation, "gen_ai.request.model": model}
        self._end(said | {"gateway.request_id": request_id} | ({"user.name": user} if user else {}))
        return f"{self.traceparent} {self._started_ns} {operation}"

    def refused(self, request_id: str, user: str, model: str, status: int, reason: str) -> None:
        """The gateway answered itself."""
        said: dict[str, AttributeValue] = {
            "gateway.request_id": request_id,
            "http.response.status_code": status,
            "error.type": reason,
        }
        self._span.set_status(Status(StatusCode.ERROR))
        self._end(said | ({"user.name": user} if user else {}) | ({"gen_ai.request.model": model} if model else {}))

    def given_up(self) -> None:
        """The client left before anything was decided; nothing happens where it has been."""
        if self._span.is_recording():
            self._end({"error.type": "client_left"})

    @property
    def traceparent(self) -> str:
        """The decision's span, in W3C's form."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self._context)
        return carrier[_HEADER]

    def _end(self, attributes: Mapping[str, AttributeValue]) -> None:
        self._span.set_attributes(attributes)
        self._span.end(self._clock_ns())


def operation_of(path: str) -> str:
    """OpenTelemetry's name of what is asked for; of what it has no name for, the path's last part."""
    path = path.partition("?")[0].rstrip("/")
    return next((name for end, name in _OPERATIONS.items() if path.endswith(end)), path.rpartition("/")[2] or "none")


def end_attributes(entry: FinishedExchange, operation: str) -> dict[str, AttributeValue]:
    """What is known at the end of an exchange."""
    address, _, port = entry.pod_address.rpartition(":")
    said: dict[str, AttributeValue] = {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": entry.model,
        "gateway.request_id": entry.request_id,
        "gateway.strategy": entry.strategy or "none",
        "gateway.attempts": entry.attempts,
        "http.response.status_code": entry.status,
        "gen_ai.request.stream": entry.streamed,
    }
    if address:
        said |= {"server.address": address.strip("[]"), "server.port": int(port)}
    counted = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    said |= {f"gen_ai.usage.{name}": entry.tokens[ours] for ours, name in counted.items() if ours in entry.tokens}
    if "cached_tokens" in entry.tokens:
        said["gen_ai.usage.cache_read.input_tokens"] = entry.tokens["cached_tokens"]
    if entry.client_aborted:
        said["error.type"] = "client_left"
    elif entry.status >= 400 or not entry.status:
        said["error.type"] = entry.details or str(entry.status)
    return said


def _context_of(traceparent: str) -> Context:
    return _W3C.extract({_HEADER: traceparent} if traceparent else {})
