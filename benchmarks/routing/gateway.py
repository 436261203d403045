"""What decides in the benchmark, and what it is told: one replica of this gateway, or of another product's router.

Peers answer to the same verbs, and each keeps of them what its product has (`benchmarks.routing.peers`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

import numpy as np

from benchmarks.routing.polling import readings, samples
from benchmarks.routing.workloads import BLOCK_TOKENS
from routing.pods.elsewhere import Elsewhere
from routing.pods.pod_table import PodTable
from routing.router import NoReadyPodError, Router
from routing.spec import AdapterSpec, ClusterState
from routing.strategies.policy import RoutingRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.routing.report import Served
    from benchmarks.routing.workloads import Arrival
    from gateway_plugin.pods.engines.readings import Readings
    from routing.pods.books import Lease
    from routing.spec import PodSpec
    from simulator import LeapingEngine

MODEL = "model"


class Gateway(Protocol):
    """One replica."""

    poll_seconds: float
    """How often engines are read; 0 for never."""

    def discovered(self, pods: Sequence[PodSpec], engines: Mapping[str, LeapingEngine]) -> None:
        """These are the pods from now on, with the engines at their addresses."""

    def book(self, arrival: Arrival, charge_id: str) -> str | None:
        """The address of the pod that a request goes to; None when there is none."""

    def first_token(self, charge_id: str, ttft_seconds: float) -> None:
        """The answer has begun, and this replica was told at once."""

    def ended(self, charge_id: str) -> None:
        """The stream has ended, however."""

    def logged(self, charge_id: str, arrival: Arrival, address: str, served: Served | None) -> None:
        """Envoy's log tells of a request, booked here or elsewhere; None for one that failed."""

    def polled(self, address: str) -> None:
        """It is time to read an engine's page."""


class OwnGateway:
    """The product's pod table, router and strategies, fed as the gateway feeds them."""

    poll_seconds = 1.0

    def __init__(self, strategy: str, clock: Callable[[], float], seed: int) -> None:
        """Raises ValueError for a strategy that the router does not know."""
        self.table = PodTable(clock)
        self.router = Router(self.table, np.random.default_rng(seed))
        policy = self.router.policy(strategy)
        if policy is None:
            raise ValueError(f"{strategy!r} is none of {', '.join(self.router.strategies())}")
        self.policy = policy
        self.elsewhere = Elsewhere(self.table)
        self._engines: Mapping[str, LeapingEngine] = {}
        self._readings: dict[str, Readings] = defaultdict(readings)
        self._leases: dict[str, Lease] = {}
        self._told_live: set[str] = set()

    def discovered(self, pods: Sequence[PodSpec], engines: Mapping[str, LeapingEngine]) -> None:
        """As discovery does; models stay known when their last pod goes."""
        self._engines = engines
        models = {MODEL, *(model for pod in pods for model in pod.models)}
        adapters = {model: AdapterSpec(MODEL) for model in models if model != MODEL}
        self.table.apply(ClusterState(tuple(pods), frozenset(models), adapters=adapters))

    def book(self, arrival: Arrival, charge_id: str) -> str | None:
        """Selects and books."""
        try:
            booking = self.router.book(self.policy, self.request(arrival), charge_id)
        except NoReadyPodError:
            return None
        self._leases[charge_id] = booking.lease
        return booking.pods[0].address

    def request(self, arrival: Arrival) -> RoutingRequest:
        """What the exchange would make of it: lengths are estimated from bytes, and set right by kind of text."""
        ratio = self.router.prompts.of_kind(arrival.adapter or MODEL, arrival.text_kind)
        block_tokens = BLOCK_TOKENS * arrival.taken_for * ratio.ratio
        plain_tokens = arrival.prompt_tokens * arrival.taken_for
        return RoutingRequest(
            arrival.adapter or MODEL,
            user=arrival.user,
            session=arrival.session,
            prompt_tokens=plain_tokens * ratio.ratio,
            plain_tokens=plain_tokens,
            token_ratio=ratio,
            output_tokens=self.router.outputs.expected(arrival.adapter or MODEL, arrival.max_tokens),
            prefix=arrival.prefix,
            prefix_tokens=tuple(block_tokens * (i + 1) for i in range(len(arrival.prefix))),
        )

    def first_token(self, charge_id: str, ttft_seconds: float) -> None:
        """Asked for with some requests' response headers (`told_live`); the log then tells nothing new."""
        self._told_live.add(charge_id)
        self._leases[charge_id].first_token_after(ttft_seconds)

    def ended(self, charge_id: str) -> None:
        """The ext_proc stream's end releases the lease."""
        self._leases.pop(charge_id).release()

    def logged(self, charge_id: str, arrival: Arrival, address: str, served: Served | None) -> None:
        """As accounting settles."""
        was_told_live = charge_id in self._told_live
        self._told_live.discard(charge_id)
        self.router.settle(
            charge_id,
            address,
            succeeded=served is not None,
            prompt=arrival.prompt_tokens if served else 0,
            cached=served.cached_tokens if served else 0,
            output=arrival.output_tokens if served else 0,
            model=arrival.adapter or MODEL,
            ttft_seconds=served.ttft_seconds if served and not was_told_live else None,
        )
        if served:
            self.table.observe(address, ttft_seconds=served.ttft_seconds, tpot_seconds=served.tpot_seconds)

    def polled(self, address: str) -> None:
        """As the scraper does."""
        row = self.table.row_of(address)
        if row is None:
            return
        read = self._readings[address].add(samples(self._engines[address]))
        self.table.polled(row, self.table.incarnation(row), read)
