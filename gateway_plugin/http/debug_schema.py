"""What `/debug/...` says of decisions, refusals and ends; rendered from records when somebody asks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from gateway_plugin.metrics.stories import Finished, Refused, Routed
    from routing.booking import Weighed


class PodChoice(BaseModel):
    """A pod as a strategy weighed it: lower is better; null is "not known" or endless."""

    pod: str
    address: str
    cost: float | None
    terms: dict[str, float | None]
    """In the strategy's unit; their sum is the cost."""
    matched_tokens: float


class TargetPod(BaseModel):
    """A candidate, in the order in which Envoy tries them."""

    pod: str
    address: str


class EndReport(BaseModel):
    """What Envoy said when the exchange was over. Null is "not told"."""

    number: int
    at_seconds: float
    user: str
    model: str
    strategy: str
    status: int
    """499 for a client that left."""
    reason: str
    """In Envoy's words; empty where all went well."""
    pod_address: str
    attempts: int
    duration_seconds: float
    ttft_seconds: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cached_tokens: int | None


class Allowance(BaseModel):
    """What a user had used of the minute when the request was admitted."""

    rpm: int
    requests_used: float
    tpm: int
    tokens_used: float


class DecisionReport(BaseModel):
    """A request that was sent on, and why there."""

    number: int
    """Counts a process's records: who comes again asks for those after it."""
    at_seconds: float
    """Since 1970."""
    request_id: str
    charge_id: str
    user: str
    model: str
    path: str
    strategy: str
    """`none`: Envoy balances."""
    branch: str
    """Why the first pod won, in the strategy's words."""
    targets: list[TargetPod]
    weighed: list[PodChoice]
    """The first and the runner-up; empty where decisions come faster than they are explained, 200 a second."""
    prompt_tokens: int
    """Estimated."""
    matched_tokens: float
    """Of them, what the pod was believed to have cached."""
    reserved_tokens: int
    decided_after_seconds: float
    allowance: Allowance | None
    end: EndReport | None = None


class RefusalReport(BaseModel):
    """A request that the gateway answered itself."""

    number: int
    at_seconds: float
    request_id: str
    user: str
    model: str
    path: str
    status: int
    reason: str
    message: str
    source: str


class StoryReport(BaseModel):
    """All that this replica remembers of a request id."""

    request_id: str
    decisions: list[DecisionReport]
    refusals: list[RefusalReport]
    ends: list[EndReport]
    """Of exchanges that another replica sent on."""


def decision_report(routed: Routed, end: Finished | None = None) -> DecisionReport:
    """Of a record."""
    booking, decision = routed.booking, routed.decision
    limits = decision.limits if decision is not None else None
    return DecisionReport(
        number=routed.number,
        at_seconds=routed.at_seconds,
        request_id=routed.request_id,
        charge_id=routed.charge_id,
        user=routed.user,
        model=routed.model,
        path=routed.path,
        strategy=routed.strategy or "none",
        branch=booking.branch if booking else "",
        targets=[TargetPod(pod=pod.name, address=pod.address) for pod in booking.pods] if booking else [],
        weighed=[_choice(one) for one in booking.weighed] if booking else [],
        prompt_tokens=routed.prompt_tokens,
        matched_tokens=booking.matched_tokens if booking else 0.0,
        reserved_tokens=routed.reserved_tokens,
        decided_after_seconds=round(routed.decided_after_seconds, 6),
        allowance=Allowance(
            rpm=limits.requests_per_minute,
            requests_used=round(decision.requests_used, 2),
            tpm=limits.tokens_per_minute,
            tokens_used=round(decision.tokens_used, 2),
        )
        if decision is not None and limits is not None
        else None,
        end=end_report(end) if end is not None else None,
    )


def refusal_report(refused: Refused) -> RefusalReport:
    """Of a record."""
    return RefusalReport(**{name: getattr(refused, name) for name in refused.__struct_fields__})


def end_report(finished: Finished) -> EndReport:
    """Of a record."""
    entry = finished.entry
    flags = ",".join(sorted(entry.flags))
    return EndReport(
        number=finished.number,
        at_seconds=finished.at_seconds,
        user=entry.user,
        model=entry.model,
        strategy=entry.strategy or "none",
        status=499 if entry.client_aborted else entry.status,
        reason=flags or ("" if entry.details == "via_upstream" else entry.details),
        pod_address=entry.pod_address,
        attempts=entry.attempts,
        duration_seconds=round(entry.duration_seconds, 6),
        ttft_seconds=entry.ttft_seconds,
        prompt_tokens=entry.tokens.get("prompt_tokens"),
        completion_tokens=entry.tokens.get("completion_tokens"),
        cached_tokens=entry.tokens.get("cached_tokens"),
    )


def _choice(weighed: Weighed) -> PodChoice:
    return PodChoice(
        pod=weighed.pod.name,
        address=weighed.pod.address,
        cost=finite(weighed.cost),
        terms={name: finite(value) for name, value in zip(weighed.names, weighed.terms, strict=True)},
        matched_tokens=weighed.matched_tokens,
    )


def finite(value: float) -> float | None:
    """None for what JSON cannot say."""
    return value if math.isfinite(value) else None
