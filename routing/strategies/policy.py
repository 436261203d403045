"""The contract of a routing strategy, and how costs become a choice.

A policy has one verb: `costs` gives one float per candidate, lower is better, NaN where it knows nothing of the pod. It
has no side effects and awaits nothing. State that must follow a decision or its outcome is kept in the hooks `booked`
and `settled`, which the router calls.

The chooser orders candidates for all policies. Ties are broken at random, or equal replicas would all pick the same
"first" pod. A pod of unknown cost (NaN) is put at the median of the known ones: it neither attracts traffic by looking
idle nor starves because it has not been measured. When nothing is known of any pod, another policy decides
(least-request), and the branch says so.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, ClassVar

import msgspec

from routing.strategies.options import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from routing.candidates import Candidates
    from routing.pods.columns import FloatColumn
    from routing.pods.pod_view import PodView
    from routing.prefix.prefix_blocks import TokenRatio
    from routing.spec import PodSpec


class RoutingRequest(msgspec.Struct, frozen=True, gc=False):
    """What may be known of a request when its pod is chosen. Token counts are estimated (see `prefix_blocks`)."""

    model: str
    user: str = ""
    session: str = ""
    """Opaque key of a conversation, or the token of a pod to come back to (see `session_affinity`)."""
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0
    """Expected: the client's maximum, or what requests of this model usually generate, whichever is less."""
    prefix: tuple[int, ...] = ()
    """Chained hashes of the prompt's blocks, root first (see `routing.prefix.prefix_blocks`)."""
    prefix_tokens: tuple[float, ...] = ()
    """Tokens of the prompt up to and including each block of `prefix`."""
    config: Mapping[str, float] = msgspec.field(default_factory=lambda: OPTIONS)
    """The options of strategies that hold for the request's profile (see `routing.strategies.options`)."""
    plain_tokens: float = 0.0
    """The prompt's by its bytes alone; 0 where nothing is to be learned of it."""
    token_ratio: TokenRatio | None = None
    """What learns from the real count, and said `prompt_tokens`."""


class RequestOutcome(msgspec.Struct, frozen=True, gc=False):
    """How a booked request ended, as Envoy's access log tells it."""

    pod: PodSpec | None
    """Who really answered; None when nobody did or the pod has gone."""
    succeeded: bool
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    """0 where the response did not say."""


class Policy:
    """One strategy. Instances live as long as the process and serve all models."""

    name: str
    """The strategy's name on the wire."""
    needs_body: bool = False
    """False when the strategy decides without the request's body, so that Envoy need not send it."""
    needs_prefix: bool = False
    """True when the strategy asks for matched prefixes; implies `needs_body`."""
    scale: float = 1.0
    """The excess over the cheapest pod that counts as half of the worst, in the policy's own unit; for combinations."""

    term_names: tuple[str, ...] = ("cost",)
    """What `/debug/route` calls the cost's summands."""

    hears_ends: ClassVar[bool] = False
    """Whether it has a `settled` of its own: for most no outcome need be made."""

    def __init_subclass__(cls) -> None:
        cls.hears_ends = cls.settled is not Policy.settled

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """The formula: of each candidate the cost's summands, all in one unit, in the order of `term_names`."""
        raise NotImplementedError

    def costs(self, pods: Candidates, request: RoutingRequest) -> list[float]:
        """One cost per candidate; lower is better, NaN is "I know nothing of this pod"."""
        return list(map(sum, self.terms(pods, request)))

    def scan(self, pods: PodView, request: RoutingRequest) -> FloatColumn:
        """Of many pods: a rough cost, for the choice of those that are worth the formula; lower is better."""
        del request
        return pods.inflight_requests

    def branch(self, pods: Candidates, position: int, request: RoutingRequest) -> str:
        """Why the pod at this position won, as a metric label: one of few, fixed values."""
        del pods, position, request
        return self.name

    def booked(self, pod: PodSpec, request: RoutingRequest) -> None:
        """A request was sent to a pod."""

    def settled(self, request: RoutingRequest, outcome: RequestOutcome) -> None:
        """A booked request ended, and Envoy said how."""


_UNKNOWN = "fallback_least_request"


class Choice(msgspec.Struct, frozen=True, gc=False):
    """Positions of candidates in order of preference, all costs, and the branch (a metric label: few, fixed values)."""

    positions: Sequence[int]
    costs: Sequence[float]
    branch: str


class Chooser:
    """Orders candidates by cost."""

    def __init__(self, draw: Callable[[], float], fallback: Policy) -> None:
        """`draw` gives numbers from 0 to 1, for ties; `fallback` decides where nothing is known."""
        self._draw = draw
        self._fallback = fallback

    def choose(self, policy: Policy, pods: Candidates, request: RoutingRequest, count: int) -> Choice:
        """At most `count` distinct pods, best first. `pods` must not be empty."""
        return self.rank(policy, pods, request, policy.costs(pods, request), count)

    def rank(self, policy: Policy, pods: Candidates, request: RoutingRequest, costs: list[float], count: int) -> Choice:
        """As `choose`, of costs that have been asked for."""
        if math.isnan(sum(costs)):
            known = [cost for cost in costs if cost == cost]
            if not known:
                costs = self._fallback.costs(pods, request)
                return Choice(self._best(costs, count), costs, _UNKNOWN)
            middle = median(known)
            costs = [cost if cost == cost else middle for cost in costs]
        best = self._best(costs, count)
        return Choice(best, costs, policy.branch(pods, best[0], request))

    def _best(self, costs: list[float], count: int) -> list[int]:
        positions = range(len(costs))
        if len(set(costs)) == len(costs):
            return sorted(positions, key=costs.__getitem__)[:count]
        draw = self._draw
        lots = sorted([(costs[position], draw(), position) for position in positions])
        return [position for _, _, position in lots[:count]]
