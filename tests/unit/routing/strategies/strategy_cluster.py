"""Pods whose columns a test sets by hand, and every strategy over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from routing.candidates import Candidates
from routing.pods.pod_table import PodTable
from routing.spec import ClusterState, PodSpec
from routing.strategies.every import all_policies
from routing.strategies.options import with_defaults
from routing.strategies.policy import RoutingRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from routing.pods.pod_view import PodView
    from routing.strategies.policy import Policy

NAN = float("nan")
NOW = 1000.0


def request_of(*, options: Mapping[str, float] | None = None, **fields: Any) -> RoutingRequest:
    """A request of model "m"; `options` as a profile says them."""
    return RoutingRequest("m", config=with_defaults(options or {}), **fields)


class Cluster:
    """Pods of model "m" whose columns a test sets by hand; time is `now`."""

    def __init__(self, count: int, **columns: list[float]) -> None:
        self.now = NOW
        self.pods = PodTable(lambda: self.now)
        specs = tuple(PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",)) for i in range(count))
        self.pods.apply(ClusterState(specs, frozenset()))
        self.pods.columns.polled_at_seconds[:count] = NOW
        for name, values in columns.items():
            getattr(self.pods.columns, name)[self.view.rows] = values
        self.policies = all_policies(lambda: self.now, np.random.default_rng(0))

    @property
    def view(self) -> PodView:
        """Its pods as columns."""
        return self.pods.view("m")

    def policy(self, strategy: str) -> Policy:
        """The cluster's own instance."""
        return self.policies[strategy]

    def candidates(self, matched: list[float] | None = None) -> Candidates:
        """Its pods, with so many tokens of the prompt cached on each."""
        view = self.view
        if matched is not None:
            view.matched_tokens = np.array(matched)
        return Candidates.of(view)

    def terms(self, strategy: str, matched: list[float] | None = None, **request: Any) -> list[tuple[float, ...]]:
        """What the formula adds up, by pod."""
        return self.policies[strategy].terms(self.candidates(matched), request_of(**request))

    def costs(self, strategy: str, matched: list[float] | None = None, **request: Any) -> list[float]:
        """One cost a pod."""
        return self.policies[strategy].costs(self.candidates(matched), request_of(**request))

    def scan(self, strategy: str, matched: list[float] | None = None, **request: Any) -> list[float]:
        """What the first choice among many goes by."""
        scan: list[float] = self.policies[strategy].scan(self.candidates(matched).view, request_of(**request)).tolist()
        return scan

    def branch(self, strategy: str, at: int, matched: list[float] | None = None, **request: Any) -> str:
        """Why the pod at this place would win."""
        return self.policies[strategy].branch(self.candidates(matched), at, request_of(**request))
