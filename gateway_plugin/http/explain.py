"""`/debug/route`: which pod would get a request, and why. Decides as for a real one, and books nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from gateway_plugin.exchange.intent import rejections
from gateway_plugin.exchange.intent.identity import NOBODY, KeyClaim, identify
from gateway_plugin.exchange.intent.request import Intent, make_plan, read_intent, routing_request
from gateway_plugin.exchange.intent.request_rules import WANTED_HEADERS, Rules
from gateway_plugin.http.error_docs import errors
from gateway_plugin.http.user_paths import refuse_other_methods
from gateway_plugin.models.catalogue.registry import PlainNames
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError
from routing.router import NoReadyPodError, UnknownModelError

if TYPE_CHECKING:
    from gateway_plugin.models.catalogue.registry import Names
    from gateway_plugin.openai.prompt import Prompt
    from routing.router import Candidate, Router

_CHAT = "/v1/chat/completions"
_MEANINGS = {
    400: "As the gateway would answer: no such model, strategy or endpoint, or a body that cannot be used.",
    401: "As the gateway would answer: a token is missing or wrong.",
    415: "The body is not JSON.",
    503: "As the gateway would answer: no pod of the model is ready.",
}
_ERRORS = errors(*_MEANINGS, meanings=_MEANINGS)
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}


class CandidateCost(BaseModel):
    """One pod: its place, its cost, and the cost's terms in the strategy's unit; null is "not known" or endless.

    Without a place, the pod is not offered to requests now; `health` says why.
    """

    place: int | None
    pod: str
    address: str
    health: str
    cost: float | None
    terms: dict[str, float | None]
    matched_tokens: float
    learned: dict[str, str]
    """What is known of the pod, in words, and how old that is."""


class Explanation(BaseModel):
    """What was understood of the request, and every candidate, best first."""

    model: str
    strategy: str
    profile: str
    prompt_tokens: float
    output_tokens: float
    candidates: list[CandidateCost]


def explain_router(router: Router, rules: Rules, names: Names | None = None) -> APIRouter:
    """GET for a model alone, POST for a whole request: the same headers and body as for the gateway."""
    routes = APIRouter(tags=["operations"])
    known_names = names or PlainNames()

    @routes.get("/debug/route", responses=_ERRORS)
    async def explain_model(
        request: Request, model: str, strategy: str = "", user: str = "", session: str = ""
    ) -> Explanation:
        asked = {"model": model, "routing-strategy": strategy, "user": user, "x-session-id": session}
        headers = _headers(request, _CHAT) | {name: value for name, value in asked.items() if value}
        served = known_names.resolve(model, user or session).model
        return _explain(_intent(headers, rules), _user(headers, rules), served, None, router, rules)

    @routes.post("/debug/route", responses=_ERRORS, openapi_extra=_BODY)
    async def explain_request(
        request: Request, path: Annotated[str, Query(description="the endpoint that the body is meant for")] = _CHAT
    ) -> Explanation:
        headers = _headers(request, path)
        asker, intent = _user(headers, rules), _intent(headers, rules)
        head, prompt = intent.read_body(await request.body())
        served = known_names.resolve(head.model, asker or intent.session).model
        return _explain(intent, asker, served, prompt, router, rules)

    refuse_other_methods(routes, {"/debug/route": {"GET", "POST"}})
    return routes


def _headers(request: Request, path: str) -> dict[str, str]:
    headers = {name: value for name, value in request.headers.items() if name in WANTED_HEADERS}
    return headers | {":method": "POST", ":path": path}


def _intent(headers: dict[str, str], rules: Rules) -> Intent:
    intent = read_intent(headers, rules, "explained")
    if intent.endpoint is None or intent.is_for_the_gateway:
        raise ApiError(kinds.BAD_PATH, "path: not an inference endpoint", param="path")
    return intent


def _user(headers: dict[str, str], rules: Rules) -> str:
    """Who asks; empty for the owner of a key, who is not looked up here."""
    caller = identify(headers, NOBODY.address, rules.identity)
    return "" if isinstance(caller, KeyClaim) else caller.user


def _explain(intent: Intent, user: str, model: str, prompt: Prompt | None, router: Router, rules: Rules) -> Explanation:
    try:
        router.check(model)
        plan = make_plan(intent, model, rules, router, prompt)
        request = routing_request(intent, user, model, plan, router, prompt)
        candidates = router.explain(plan.policy, request, intent.selector) if plan.policy else []
    except UnknownModelError:
        raise rejections.unknown_model(model) from None
    except NoReadyPodError:
        raise rejections.no_ready_pod(model) from None
    return Explanation(
        model=model,
        strategy=plan.strategy or "none: Envoy balances",
        profile=plan.resolved.profile_name,
        prompt_tokens=request.prompt_tokens,
        output_tokens=request.output_tokens,
        candidates=[_cost(candidate) for candidate in candidates],
    )


def _cost(candidate: Candidate) -> CandidateCost:
    return CandidateCost(
        place=candidate.place,
        pod=candidate.pod.name,
        address=candidate.pod.address,
        health=candidate.health,
        cost=_finite(candidate.cost),
        terms={name: _finite(value) for name, value in candidate.terms.items()},
        matched_tokens=candidate.matched_tokens,
        learned=candidate.learned,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
