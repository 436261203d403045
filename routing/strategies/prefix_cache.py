"""`prefix-cache`: the pod that holds the longest part of the prompt, unless it is overloaded.

    candidates: matched share >= minMatchRatio, in flight <= loadBoundFactor * fewest + loadBoundRequests / holders
    cost = -matched share + 0.02 * load, for candidates;  1 + load, for all others
    load = requests in flight / (1 + most requests in flight), 0 to 1;  + 0.001 * rendezvous draw

Holders are the pods with the longest match. Among equal matches the idler pod wins. Below the minimum match, or over
the bound (that of bounded-load consistent hashing, Mirrokni et al. 2018), it is least-request, where prompts that
nobody holds go to the pod that every replica would choose. Without a prompt it is least-request altogether.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy

if TYPE_CHECKING:
    from routing.candidates import Candidates
    from routing.strategies.policy import RoutingRequest

_LOAD_WEIGHT = 0.02
_DRAW_WEIGHT = 0.001


class PrefixCache(Policy):
    """Longest match first, within a load bound."""

    name = "prefix-cache"
    needs_body = True
    needs_prefix = True
    scale = 0.5
    term_names = ("match", "load", "preference")

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """The match (or its absence), the load, and the preference for cold prompts."""
        inflight, bound = pods.inflight_requests, _bound(pods, request)
        busiest, least = 1.0 + max(inflight), request.config["minMatchRatio"]
        prompt_tokens = max(1.0, request.prompt_tokens)
        terms: list[tuple[float, ...]] = []
        for requests, matched, preference in zip(
            inflight, pods.matched_tokens, pods.cold_preferences(request.prefix, request.prefix_tokens), strict=True
        ):
            load, ratio = requests / busiest, matched / prompt_tokens
            chosen = requests <= bound and ratio >= least
            match, load = (-ratio, load * _LOAD_WEIGHT) if chosen else (1.0, load)
            terms.append((match, load, preference * _DRAW_WEIGHT))
        return terms

    def branch(self, pods: Candidates, position: int, request: RoutingRequest) -> str:
        """A match, none worth following, or one on an overloaded pod; the names are AIBrix's."""
        least = request.config["minMatchRatio"] * max(1.0, request.prompt_tokens)
        if pods.matched_tokens[position] >= least and pods.inflight_requests[position] <= _bound(pods, request):
            return "prefix_match"
        return "prefix_match_skipped" if pods.best_match_tokens >= least else "least_request_fallback"


def _bound(pods: Candidates, request: RoutingRequest) -> float:
    return (
        request.config["loadBoundFactor"] * pods.fewest_inflight_requests
        + request.config["loadBoundRequests"] / pods.holders
    )
