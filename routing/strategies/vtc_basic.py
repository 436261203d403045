"""`vtc-basic`: users who took much keep to the last pods, and leave the first ones to those who took little.

    served(user) = sum of weighted prompt and output tokens (1 and 2), halved every 60 s: the virtual token counter
    position     = served(user) / most,  most = max(largest counter, 64,000)
    contention   = (largest counter - smallest) / most,  over users of the last two minutes
    cost(pod i of n) = contention * max(0, position - i / (n - 1)) + in flight / (in flight + 16)

Pods stand in the order of their addresses. Whoever took much pays for pods before their position; whoever took little
may go anywhere, and finds the first pods idle. With one user, or with equal ones, contention is 0 and load decides.
Counters start from estimates and become real when Envoy's log tells the tokens. It routes; it neither queues nor
refuses. Without a user: load alone. After VTC, Sheng et al. 2024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.policy import Policy
from routing.strategies.token_counters import TokenCounters

if TYPE_CHECKING:
    from collections.abc import Callable

    from routing.candidates import Candidates
    from routing.spec import PodSpec
    from routing.strategies.policy import RequestOutcome, RoutingRequest

# A burst of a few dozen requests tells nothing of who floods.
LIGHT_TOKENS = 64_000.0
_HALF_LOAD_REQUESTS = 16.0


class VtcBasic(Policy):
    """Room for those who took little, and the load."""

    name = "vtc-basic"
    needs_body = True
    scale = 0.5
    term_names = ("fairness", "load")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._served = TokenCounters(clock)

    def terms(self, pods: Candidates, request: RoutingRequest) -> list[tuple[float, ...]]:
        """What the user took beyond the pod's place, and the load."""
        loads = [requests / (requests + _HALF_LOAD_REQUESTS) for requests in pods.inflight_requests]
        position, contention = self._standing(request.user, len(pods))
        if not contention:
            return [(0.0, load) for load in loads]
        return [(contention * max(position - place, 0.0), load) for place, load in zip(pods.place, loads, strict=True)]

    def _standing(self, user: str, pods: int) -> tuple[float, float]:
        """The user's position and the contention; zeros without a user or a choice."""
        if not user or pods == 1:
            return 0.0, 0.0
        served = self._served.value(user)
        least, largest = self._served.extremes()
        most = max(largest, LIGHT_TOKENS)
        return served / most, (largest - min(least, served)) / most

    def booked(self, pod: PodSpec, request: RoutingRequest) -> None:
        """Counts what the request is expected to take."""
        del pod
        if request.user:
            self._served.add(request.user, _weighted(request, request.prompt_tokens, request.output_tokens))

    def settled(self, request: RoutingRequest, outcome: RequestOutcome) -> None:
        """Puts the real tokens in place of the expected ones; a failed request took nothing."""
        if request.user:
            real = _weighted(request, outcome.prompt_tokens, outcome.output_tokens)
            self._served.add(request.user, real - _weighted(request, request.prompt_tokens, request.output_tokens))


def _weighted(request: RoutingRequest, prompt_tokens: float, output_tokens: float) -> float:
    prompt, output = request.config["promptTokenWeight"], request.config["outputTokenWeight"]
    return prompt * prompt_tokens + output * output_tokens
