"""`prefix-cache`: the pod that holds the longest part of the prompt, unless it is overloaded.

    candidates: matched share >= minMatchRatio, in flight <= loadBoundFactor * fewest + loadBoundRequests / holders
    cost = -matched share + 0.02 * load, for candidates;  1 + load, for all others
    load = requests in flight / (1 + most requests in flight), 0 to 1;  + 0.001 * rendezvous draw

Holders are the pods with the longest match. Among equal matches the idler pod wins. Below the minimum match, or over
the bound (that of bounded-load consistent hashing, Mirrokni et al. 2018), it is least-request, where prompts that
nobody holds go to the pod that every replica would choose. Without a prompt it is least-request altogether.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from routing.formulas import where
from routing.options import option
from routing.policy import Policy
from routing.rendezvous import draws

if TYPE_CHECKING:
    from routing.columns import FloatColumn
    from routing.one_pod import OnePod
    from routing.policy import RoutingRequest
    from routing.view import PodView

_LOAD_WEIGHT = 0.02
_DRAW_WEIGHT = 0.001


class PrefixCache(Policy):
    """Longest match first, within a load bound."""

    name = "prefix-cache"
    one_by_one = True
    needs_body = True
    needs_prefix = True
    scale = 0.5

    def terms(self, pods: PodView, request: RoutingRequest) -> dict[str, FloatColumn]:
        """The match (or its absence), the load, and the preference for cold prompts."""
        inflight = pods.inflight_requests
        load = inflight / (1.0 + pods.most_inflight_requests)
        ratio = pods.matched_tokens / max(1.0, request.prompt_tokens)
        chosen = (inflight <= _bound(pods, request)) & (ratio >= option(request, "minMatchRatio"))
        return {
            "match": where(chosen, -ratio, 1.0),
            "load": where(chosen, _LOAD_WEIGHT * load, load),
            "preference": cold_preference(pods, request) * _DRAW_WEIGHT,
        }

    def branch(self, pod: OnePod, request: RoutingRequest) -> str:
        """A match, none worth following, or one on an overloaded pod; the names are AIBrix's."""
        least = option(request, "minMatchRatio") * max(1.0, request.prompt_tokens)
        if pod.matched_tokens >= least and pod.inflight_requests <= _bound(pod, request):
            return "prefix_match"
        return "prefix_match_skipped" if pod.best_match_tokens >= least else "least_request_fallback"


def _bound(pods: PodView | OnePod, request: RoutingRequest) -> float:
    return (
        option(request, "loadBoundFactor") * pods.fewest_inflight_requests
        + option(request, "loadBoundRequests") / pods.holders
    )


def cold_preference(pods: PodView, request: RoutingRequest) -> FloatColumn:
    """0 to 1 per pod, by the first block that no pod holds; zeros when there is none."""
    known = bisect_right(request.prefix_tokens, pods.best_match_tokens)
    if known >= len(request.prefix):
        return pods.nothing
    return 1.0 - draws(pods.address_hash, request.prefix[known])
