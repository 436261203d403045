"""How many pods of each GPU type each model gets, and which requests go to which: the fewest cost for all of them.

    minimise    sum of cost_g y_mg + change sum of added_mg
    so that     sum over g of x_mcg = 1                              every request of every cell goes somewhere
                sum over c of rate_mc x_mcg / able_mgc <= rho y_mg   no GPU type gets more than it can do
                min_mg <= y_mg <= max_mg,  sum over m of y_mg <= available_g,  added_mg >= y_mg - present_mg
                x in 0..1 (a share of a cell), y whole numbers

Shares instead of a choice per cell find no worse plan, and sooner. Models that share no bound are solved one by one.
HiGHS solves it (`scipy.optimize.milp`, the extra `optimizer`); without it a greedy plan is made, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from typing import TYPE_CHECKING

from orchestration.optimizer.gpu_demand import GpuDemand, PlanRules
from orchestration.optimizer.plan_program import solve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestration.optimizer.request_cells import Cell


_RULES = PlanRules()


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """`pods` by deployment; `shares` of a cell's requests by deployment."""

    model: str
    pods: Mapping[str, int]
    shares: Mapping[tuple[Cell, str], float]
    cost: float
    unserved: Mapping[Cell, float] = field(default_factory=dict)
    """Cells that no deployment can serve, with their rates."""
    gap: float = 0.0
    """By how much a better plan may cost less, as a share."""
    solver: str = "highs"

    def weights(self, cell: Cell) -> dict[str, float]:
        """Of a request of that cell, for whoever routes; empty where it is not known."""
        return {name: share for (known, name), share in self.shares.items() if known == cell and share > 1e-6}


class NoPlanError(ValueError):
    """No plan serves all of it within the bounds."""


def plan(demands: Sequence[GpuDemand], rules: PlanRules = _RULES) -> dict[str, ModelPlan]:
    """By model. NoPlanError names what is in the way."""
    half = replace(rules, seconds=rules.seconds / 2)
    each = replace(half, seconds=half.seconds / max(1, len(demands)), available={})
    apart = {one.model: _solved([one], each)[one.model] for one in demands}
    # A plan of all together cannot be cheaper than those of each, so one that fits is the best.
    return apart if _fits(apart, demands, rules) else _solved(demands, half)


def _fits(plans: Mapping[str, ModelPlan], demands: Sequence[GpuDemand], rules: PlanRules) -> bool:
    used: dict[str, int] = {}
    for one in demands:
        for profile in one.profiles:
            used[profile.gpu] = used.get(profile.gpu, 0) + plans[one.model].pods.get(profile.name, 0)
    return all(used.get(gpu, 0) <= most for gpu, most in rules.available.items())


def _solved(demands: Sequence[GpuDemand], rules: PlanRules) -> dict[str, ModelPlan]:
    served = [replace(one, rates=_servable(one)) for one in demands]
    found = solve(served, rules)
    if found is None:
        raise NoPlanError(f"no plan for {', '.join(one.model for one in demands)} within the bounds of pods and GPUs")
    pods, shares, gap, solver = found
    return {
        one.model: ModelPlan(
            one.model,
            pods[one.model],
            shares[one.model],
            sum(profile.cost * pods[one.model].get(profile.name, 0) for profile in one.profiles),
            {cell: rate for cell, rate in one.rates.items() if cell not in _servable(one)},
            gap,
            solver,
        )
        for one in demands
    }


def _servable(one: GpuDemand) -> dict[Cell, float]:
    return {
        cell: rate
        for cell, rate in one.rates.items()
        if rate > 0 and any(profile.rate(cell) > 0 for profile in one.profiles)
    }


def single_type_cost(one: GpuDemand, rules: PlanRules = _RULES) -> dict[str, float | None]:
    """What each deployment alone would cost; None for one that cannot serve all of it."""
    costs: dict[str, float | None] = {}
    for profile in one.profiles:
        able = {cell: profile.rate(cell) for cell, rate in one.rates.items() if rate > 0}
        if any(rate <= 0 for rate in able.values()):
            costs[profile.name] = None
            continue
        load = sum(one.rates[cell] / rate for cell, rate in able.items()) / rules.utilization
        costs[profile.name] = ceil(load - 1e-9) * profile.cost
    return costs
