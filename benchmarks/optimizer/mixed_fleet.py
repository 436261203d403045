"""A mixed trace on simulated cards: what the planned mixture costs and keeps, and what each type alone does.

Every fleet gets the pods that the same profiles and the same reserve say it needs. Requests go to a type by the plan's
shares of their cell, and there to the pod with the fewest in flight.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.cli.optimize_profiles import LatencyTarget, computed_profile
from orchestration.optimizer.gpu_demand import GpuDemand, PlanRules
from orchestration.optimizer.gpu_plan import plan, single_type_cost
from orchestration.optimizer.request_cells import cell_of
from simulator import EngineRequest, LeapingEngine
from simulator.cards import profile as card_profile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestration.optimizer.request_cells import Cell

PRICES = {"A10": 1.01, "L40S": 1.86, "A100": 3.67, "H100": 7.52}
"""Dollars an hour on demand: those of Melange's comparison (2024), and of AWS' g6e.xlarge."""
TARGET = LatencyTarget(ttft_seconds=2.0, tpot_seconds=0.1)
RULES = PlanRules(utilization=0.75)


@dataclass(frozen=True, slots=True)
class Asked:
    at: float
    prompt_tokens: int
    output_tokens: int

    @property
    def cell(self) -> Cell:
        return cell_of(self.prompt_tokens, self.output_tokens)


@dataclass(frozen=True, slots=True)
class FleetResult:
    """`kept`: the share of requests within both targets."""

    pods: Mapping[str, int]
    cost: float
    kept: float


def mixed_trace(seed: int, seconds: float = 300.0, per_second: float = 20.0) -> list[Asked]:
    """Four of five are chats of a few hundred tokens, the others documents of thousands with answers of a page."""
    rng = random.Random(seed)
    found, at = [], 0.0
    while (at := at + rng.expovariate(per_second)) < seconds:
        if rng.random() < 0.8:
            prompt, output = rng.lognormvariate(5.3, 0.6), rng.lognormvariate(4.6, 0.5)
        else:
            prompt, output = rng.lognormvariate(8.7, 0.4), rng.lognormvariate(5.5, 0.4)
        found.append(Asked(at, max(8, min(int(prompt), 14_000)), max(4, min(int(output), 1024))))
    return found


def demand_of(trace: Sequence[Asked], seconds: float) -> GpuDemand:
    rates: dict[Cell, float] = {}
    for one in trace:
        rates[one.cell] = rates.get(one.cell, 0.0) + 1 / seconds
    profiles = [
        computed_profile(gpu, gpu, price, card_profile(gpu, "8B"), rates, TARGET) for gpu, price in PRICES.items()
    ]
    return GpuDemand("8B", rates, profiles)


def compared(seed: int, seconds: float = 300.0, per_second: float = 20.0) -> dict[str, FleetResult]:
    """`plan`, and each type that can serve all of it alone."""
    trace = mixed_trace(seed, seconds, per_second)
    demand = demand_of(trace, seconds)
    planned = plan([demand], RULES)["8B"]
    found = {"plan": _run(trace, planned.pods, {cell: planned.weights(cell) for cell in demand.rates}, seed)}
    for name, cost in single_type_cost(demand, RULES).items():
        if cost is not None:
            pods = {name: round(cost / PRICES[name])}
            found[name] = _run(trace, pods, {cell: {name: 1.0} for cell in demand.rates}, seed)
    return found


def _run(
    trace: Sequence[Asked], pods: Mapping[str, int], shares: Mapping[Cell, Mapping[str, float]], seed: int
) -> FleetResult:
    rng = random.Random(seed)
    engines = {gpu: [LeapingEngine(card_profile(gpu, "8B")) for _ in range(count)] for gpu, count in pods.items()}
    sequences = []
    for one in trace:
        weights = {gpu: share for gpu, share in shares[one.cell].items() if pods.get(gpu)}
        gpu = rng.choices(list(weights), list(weights.values()))[0]
        for engine in engines[gpu]:
            engine.advance(one.at)
        engine = min(engines[gpu], key=lambda each: len(each.running) + len(each.waiting) + len(each.arriving))
        request = EngineRequest(prompt_tokens=one.prompt_tokens, output_tokens=one.output_tokens)
        sequences.append(engine.submit(request, one.at))
    for fleet in engines.values():
        for engine in fleet:
            engine.advance(trace[-1].at + 3600)
    kept = 0
    for sequence in sequences:
        if sequence.first_token_at is None or sequence.last_token_at is None:
            continue
        pace = (sequence.last_token_at - sequence.first_token_at) / max(1, sequence.generated_tokens - 1)
        first = sequence.first_token_at - sequence.arrived_at
        kept += first <= TARGET.ttft_seconds and pace <= TARGET.tpot_seconds
    cost = sum(PRICES[gpu] * count for gpu, count in pods.items())
    return FleetResult(dict(pods), cost, kept / len(trace))
