"""Requests about a response that an engine keeps: to which pod they must go, and whether their caller may ask.

Another user's id is answered like one that never was. Ids that the gateway did not choose say nothing of their owner:
for users who are named there are none such; for all others the engine judges them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway_plugin.exchange.intent import rejections
from gateway_plugin.openai.response_ids import owner_tag, parse_response_id

if TYPE_CHECKING:
    from gateway_plugin.models.catalogue.registry import Target
    from routing.router import Router
    from routing.spec import PodSpec

BELOW_COLLECTION = "/v1/responses/"
KEEPING_ENGINES = frozenset({"vllm", "sglang", "trtllm"})
"""Those that name a response as they are asked to."""


def id_in_path(path: str) -> str:
    """The id of the response that a path names; empty where it names none."""
    bare = path.partition("?")[0]
    return bare[len(BELOW_COLLECTION) :].partition("/")[0] if bare.startswith(BELOW_COLLECTION) else ""


def keeper_of(response_id: str, user: str, router: Router, *, param: str) -> PodSpec | None:
    """The pod that keeps a response; None for an id that says nothing. Raises ApiError 404."""
    parsed = parse_response_id(response_id)
    if parsed is None:
        if user:
            raise rejections.unknown_response(response_id, param)
        return None
    if parsed.owner != owner_tag(user):
        raise rejections.unknown_response(response_id, param)
    pod = router.pod_of_token(parsed.pod)
    if pod is None:
        raise rejections.lost_response(response_id, param)
    return pod


def target_at(keeper: PodSpec, target: Target) -> Target:
    """The side of a canary on which the response was made, whichever the name leads to now."""
    if target.model in keeper.models or target.other not in keeper.models:
        return target
    return msgspec.structs.replace(target, model=target.other, other=target.model)
