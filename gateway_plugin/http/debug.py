"""`/debug/decisions`, `/debug/refusals`, `/debug/requests/{id}`, `/debug/prefix`, `/debug/config`: what became of whom.

Of the last requests of this replica, as `Stories` remembers them. Behind the admin token, where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from gateway_plugin.exchange.intent import rejections
from gateway_plugin.http.debug_schema import (
    DecisionReport,
    RefusalReport,
    StoryReport,
    decision_report,
    end_report,
    refusal_report,
)
from gateway_plugin.http.error_docs import errors
from gateway_plugin.openai import error_table as kinds
from gateway_plugin.openai.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway_plugin.metrics.stories import Stories
    from routing.pods.pod_table import PodTable
    from routing.prefix.prefix_index import PrefixIndex

Limit = Annotated[int, Query(ge=1, le=500, description="at most so many, the newest first")]
Text = Annotated[str, Query(max_length=256)]
_MISSING = {404: "Nothing is known of this: it never came to this replica, or too long ago.", 422: "A value is wrong."}


class PodPrefixes(BaseModel):
    """What the index believes that a pod has cached."""

    pod: str
    address: str
    blocks: int
    tokens: int
    capacity_tokens: float


class PrefixReport(BaseModel):
    """The prefix index, and how well it foretold what engines say: of the last requests that told cached tokens."""

    model: str
    pods: list[PodPrefixes]
    compared_requests: int
    prompt_tokens: int
    predicted_cached_tokens: int
    reported_cached_tokens: int


class SettingReport(BaseModel):
    """One setting; a secret's value reads `<secret>`, or empty where it is not set."""

    value: str
    origin: str


def debug_router(
    stories: Stories, pods: PodTable, prefixes: PrefixIndex, config: Callable[[], Mapping[str, tuple[str, str]]]
) -> APIRouter:
    """`config` gives value and origin of every setting, with secrets masked."""
    router = APIRouter(tags=["operations"])

    @router.get("/debug/decisions", responses=errors(422, meanings=_MISSING))
    async def decisions(limit: Limit = 50, user: Text = "", model: Text = "", pod: Text = "") -> list[DecisionReport]:
        ends = stories.ends_by_charge()
        found = stories.last_routed(limit, user=user, model=model, pod=pod)
        return [decision_report(one, ends.get(one.charge_id)) for one in found]

    @router.get("/debug/refusals", responses=errors(422, meanings=_MISSING))
    async def refusals(
        limit: Limit = 50, user: Text = "", model: Text = "", status: Annotated[int, Query(ge=0, le=599)] = 0
    ) -> list[RefusalReport]:
        return [refusal_report(one) for one in stories.last_refused(limit, user=user, model=model, status=status)]

    @router.get("/debug/requests/{request_id:path}", responses=errors(404, 422, meanings=_MISSING))
    async def request(request_id: str) -> StoryReport:
        return _story(stories, request_id)

    @router.get("/debug/prefix", responses=errors(400, 422, meanings=_MISSING | {400: "No such model."}))
    async def prefix(model: Text) -> PrefixReport:
        if not pods.knows(model):
            raise rejections.unknown_model(model)
        return _prefixes(stories, pods, prefixes, model)

    @router.get("/debug/config")
    async def settings() -> dict[str, SettingReport]:
        return {name: SettingReport(value=value, origin=origin) for name, (value, origin) in config().items()}

    return router


def _story(stories: Stories, request_id: str) -> StoryReport:
    story = stories.of(request_id)
    if not story:
        message = f"nothing is known of request {request_id[:128]}: it never came to this replica, or too long ago"
        raise ApiError(kinds.UNKNOWN_REQUEST, message, param="request_id")
    ends = {one.entry.charge_id: one for one in story.finished}
    own = {one.charge_id for one in story.routed}
    return StoryReport(
        request_id=request_id,
        decisions=[decision_report(one, ends.get(one.charge_id)) for one in story.routed],
        refusals=[refusal_report(one) for one in story.refused],
        ends=[end_report(one) for charge, one in ends.items() if charge not in own],
    )


def _prefixes(stories: Stories, pods: PodTable, prefixes: PrefixIndex, model: str) -> PrefixReport:
    rows = [(row, pod) for row, pod in pods.items() if model in pod.models]
    held: list[dict[str, Any]] = []
    for row, pod in rows:
        blocks, tokens, capacity = prefixes.held(row)
        held.append(
            {"pod": pod.name, "address": pod.address, "blocks": blocks, "tokens": tokens, "capacity_tokens": capacity}
        )
    ends = stories.ends_by_charge()
    compared = [
        (one.booking.matched_tokens, entry.tokens["prompt_tokens"], entry.tokens["cached_tokens"])
        for one in stories.last_routed(len(stories.routed), model=model)
        if one.booking is not None
        and one.charge_id in ends
        # Another pod than the first may have answered, of which nothing was predicted.
        and (entry := ends[one.charge_id].entry).pod_address == one.booking.pods[0].address
        and "cached_tokens" in entry.tokens
        and "prompt_tokens" in entry.tokens
    ]
    predicted, prompts, cached = map(sum, zip(*compared, strict=True)) if compared else (0, 0, 0)
    return PrefixReport(
        model=model,
        pods=[PodPrefixes(**one) for one in held],
        compared_requests=len(compared),
        prompt_tokens=int(prompts),
        predicted_cached_tokens=int(predicted),
        reported_cached_tokens=int(cached),
    )
