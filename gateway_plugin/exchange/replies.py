"""The replies of an exchange, built from what it has decided."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, cast

import msgspec

from gateway_plugin.accounting.limiting import GiveBack
from gateway_plugin.exchange.steps import Reply
from gateway_plugin.openai.error_forms import error_in_form
from protos import ext_proc
from protos.processing_modes import Mode
from ratelimit import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.endpoints.endpoint_table import ApiFamily
    from gateway_plugin.openai.errors import ApiError
    from protos.encoding import Json
    from ratelimit import Decision, Subject
    from ratelimit.windows.quotas import QuotaState
    from routing.router import Booking


# Headers by which Envoy and the pods obey the gateway: a client's own never get past it.
_TARGET = "target-pod"
CONTROL_HEADERS = (_TARGET, "target-pod-ip")
# Usage is read from the response's text as it passes through Envoy, so it must not be compressed.
REMOVED_HEADERS = (*CONTROL_HEADERS, "accept-encoding")
_MAX_SHARED = 4096
"""Parts of replies that are kept, by model, strategy and pods."""
_MAX_DURATIONS = 256
"""Texts of waiting times that are kept."""
_WENT_THROUGH = {"x-went-into-req-headers": "true"}

ASK_FOR_BODY = Reply(ext_proc.headers_reply(_WENT_THROUGH, REMOVED_HEADERS, mode=Mode.BUFFERED_BODY))
ASK_FOR_BODY_AND_RESPONSE = Reply(
    ext_proc.headers_reply(_WENT_THROUGH, REMOVED_HEADERS, mode=Mode.BUFFERED_BODY_AND_RESPONSE)
)


class Forward(msgspec.Struct):
    """Everything that goes along with a request that is sent on to a pod."""

    model: str
    request_id: str
    charge_id: str
    user: str = ""
    subject: Subject | None = None
    """Whose limits it counts against."""
    new_path: str = ""
    strategy: str = ""
    booking: Booking | None = None
    reserved_tokens: int = 0
    prompt_tokens_estimate: int = 0
    uncounted: bool = False
    """Whether usage in the response is that of an earlier one."""
    response_headers: dict[str, str] = msgspec.field(default_factory=dict)
    removed_headers: tuple[str, ...] = ()
    new_body: bytes | None = None
    added_usage: bool = False
    """Whether the body asks for usage in the client's name; then it is taken out of the stream again."""
    engine_key: str = ""
    """What the engine wants to be sent as a bearer token, in place of what the client sent."""
    exposes_pod: bool = True
    """Whether the client is told which pod served it."""
    route: str = ""
    """The model whose route in Envoy leads to its pods, where it has none of its own."""
    traceparent: str = ""
    """The span that the engine's work is part of, where Envoy does not say; empty: none, or the client's own."""
    trace: str = ""
    """What whoever hears of the end must know to trace it."""

    def reply(self, *, to_body: bool, mode: Mode) -> Reply:
        """To the body message, or to the headers of a request whose body nobody needs; then `mode` is what follows."""
        route, key = self.route or self.model, self.engine_key
        shared = _shared(self.model, route, self.strategy, self._pods(), self.exposes_pod, key)
        more = self._more_metadata()
        fast = not (self.new_path or self.removed_headers or self.traceparent)
        if to_body and fast and self.new_body is None:
            return Reply(ext_proc.routed_reply(shared, self.request_id, self.user, self.charge_id, more))
        set_headers = {"x-request-id": self.request_id}
        if self.new_path:
            set_headers[":path"] = self.new_path
        if self.traceparent:
            set_headers["traceparent"] = self.traceparent
        metadata = {"request_id": self.request_id, "user": self.user, "charge_id": self.charge_id, **more}
        if to_body:
            return Reply(ext_proc.body_reply(set_headers, self.removed_headers, metadata, self.new_body, shared))
        # What is set must not be removed afterwards.
        removed = [name for name in (*REMOVED_HEADERS, *self.removed_headers) if not (self.booking and name == _TARGET)]
        set_headers |= _WENT_THROUGH
        return Reply(ext_proc.headers_reply(set_headers, removed, mode=mode, metadata=metadata, shared=shared))

    def _pods(self) -> tuple[tuple[str, str], ...]:
        """Address and name of each candidate."""
        return tuple([(pod.address, pod.name) for pod in self.booking.pods]) if self.booking is not None else ()

    def headers_for_client(self, pod_address: str) -> dict[str, str]:
        """What the client is told of the decision, and of the pod that answers."""
        headers = {**_WENT_THROUGH, **id_headers(self.request_id), **self.response_headers}
        if self.booking is None:
            return headers
        headers["routing-strategy"] = self.strategy
        if pod_address and self.exposes_pod:
            headers["target-pod-ip"] = pod_address
            name = next((pod.name for pod in self.booking.pods if pod.address == pod_address), "")
            headers |= {"target-pod": name} if name else {}
        return headers

    def give_back(self, admission: Decision | None, *, reached_a_pod: bool) -> GiveBack | None:
        """What it still holds of somebody's limits at its end: a parallel slot, and the reservation if no pod has seen
        the request."""
        if admission is None or self.subject is None:
            return None
        slot = admission.limits is not None and admission.limits.max_parallel > 0
        if reached_a_pod and not slot:
            return None
        refund = not reached_a_pod
        return GiveBack(self.subject, self.charge_id, self.model, slot, refund, self.reserved_tokens)

    def _more_metadata(self) -> dict[str, Json]:
        more: dict[str, Json] = {}
        if isinstance(self.subject, Source):
            more["source"] = self.subject.address
        if self.subject is not None:
            more["reserved_tokens"] = self.reserved_tokens
            more["prompt_tokens_estimate"] = self.prompt_tokens_estimate
        if self.uncounted:
            more["uncounted"] = True
        if self.added_usage:
            more["added_usage"] = True
        if self.trace:
            more["trace"] = self.trace
        if self.response_headers:
            more["headers"] = self.response_headers
        return more


def id_headers(request_id: str) -> dict[str, str]:
    """What tells a client its request's id: OpenAI's and Anthropic's look for different ones."""
    return {"x-request-id": request_id, "request-id": request_id}


@lru_cache(maxsize=_MAX_SHARED)
def _shared(
    model: str, route: str, strategy: str, pods: tuple[tuple[str, str], ...], exposes_pod: bool, engine_key: str
) -> ext_proc.Shared:
    """What is the same for all requests of a model that are sent to the same pods: half of the work of a reply."""
    base = _base(model, route, strategy if pods else "", exposes_pod, engine_key)
    if not pods:
        return base
    targets = ",".join([address for address, _ in pods])
    return ext_proc.shared_of_pods(base, _TARGET, targets, [ext_proc.pod_entry(*pod) for pod in dict.fromkeys(pods)])


@lru_cache(maxsize=_MAX_SHARED)
def _base(model: str, route: str, strategy: str, exposes_pod: bool, engine_key: str) -> ext_proc.Shared:
    """What does not depend on the pods: of many of them, hardly two requests name the same ones in the same order."""
    headers, metadata = {"model": route}, cast("dict[str, Json]", {"model": model})
    if strategy:
        headers["routing-strategy"] = metadata["strategy"] = strategy
    if engine_key:
        headers["authorization"] = f"Bearer {engine_key}"
    if not exposes_pod:
        metadata["hide_pod"] = True
    return ext_proc.shared(headers, metadata)


def pass_through(removed_headers: tuple[str, ...], request_id: str) -> Reply:
    """To a request that is none of the gateway's business."""
    set_headers, metadata = {"x-request-id": request_id}, cast("dict[str, Json]", {"request_id": request_id})
    message = ext_proc.headers_reply(set_headers, (*CONTROL_HEADERS, *removed_headers), metadata=metadata)
    return Reply(message, final=True)


def preflight(allowed: Mapping[str, str], request_id: str) -> Reply:
    """To a browser that asks whether a web page may send requests; nothing is allowed where nothing says so."""
    headers = {**id_headers(request_id), **allowed}
    return Reply(ext_proc.immediate_reply(200, headers, b"", "gateway_plugin_preflight"), final=True)


def rejection(error: ApiError, family: ApiFamily, request_id: str, more: Mapping[str, str]) -> Reply:
    """The answer that the gateway gives instead of a pod's."""
    headers = {"content-type": "application/json", **id_headers(request_id), **error.headers, **more}
    details, body = f"gateway_plugin_{error.reason}", error_in_form(error, family, request_id)
    return Reply(ext_proc.immediate_reply(error.status, headers, body, details), final=True)


def decision_headers(decision: Decision) -> dict[str, str]:
    """OpenAI's rate limit headers: what a limited user has left; nothing for whoever has no limits."""
    limits = decision.limits
    if limits is None:
        return {}
    requests_left = int(limits.requests_per_minute - decision.requests_used)
    tokens_left = int(limits.tokens_per_minute - decision.tokens_used)
    quota = {} if decision.quota is None else _quota_headers(decision.quota)
    return {
        "x-ratelimit-limit-requests": str(limits.requests_per_minute),
        "x-ratelimit-remaining-requests": str(requests_left) if requests_left > 0 else "0",
        "x-ratelimit-reset-requests": duration(decision.requests_reset_seconds),
        "x-ratelimit-limit-tokens": str(limits.tokens_per_minute),
        "x-ratelimit-remaining-tokens": str(tokens_left) if tokens_left > 0 else "0",
        "x-ratelimit-reset-tokens": duration(decision.tokens_reset_seconds),
        **quota,
    }


def _quota_headers(quota: QuotaState) -> dict[str, str]:
    """Of the one that refuses, or has the least left: x-ratelimit-limit-tokens-day, say."""
    what = f"{quota.kind}-{quota.period}"
    return {
        f"x-ratelimit-limit-{what}": str(quota.limit),
        f"x-ratelimit-remaining-{what}": str(max(0, quota.limit - quota.used)),
        f"x-ratelimit-reset-{what}": duration(quota.reset_seconds),
    }


def duration(seconds: float) -> str:
    """As OpenAI writes it, "0s", "250ms", "6m0s": milliseconds below a second, then whole seconds, rounded up."""
    if seconds < 1.0:
        milliseconds = ceil(max(0.0, seconds) * 1000)
        return f"{milliseconds}ms" if 0 < milliseconds < 1000 else _whole_seconds(milliseconds // 1000)
    return _whole_seconds(ceil(seconds))


@lru_cache(_MAX_DURATIONS)
def _whole_seconds(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
