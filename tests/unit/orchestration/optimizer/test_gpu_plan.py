"""Plans: as cheap as trying everything, within bounds, and quick enough for a real house."""

from __future__ import annotations

import itertools
import random

import pytest

from orchestration.optimizer.gpu_demand import GpuDemand, PlanRules, PodBounds
from orchestration.optimizer.gpu_plan import NoPlanError, plan, single_type_cost
from orchestration.optimizer.gpu_profiles import GpuProfile
from orchestration.optimizer.plan_program import greedy

pytest.importorskip("scipy")
EVEN = PlanRules(utilization=1.0)


def profile(name: str, cost: float, rates: dict[tuple[int, int], float]) -> GpuProfile:
    return GpuProfile(name, name.partition("-")[0], cost, rates)


def holds(demand: GpuDemand, pods: tuple[int, ...]) -> bool:
    """Whether so many pods of two types can serve all of it: the first takes what it is relatively best at.

    A linear program of two knapsacks, so filling the one by ratio leaves the least for the other.
    """
    one, other = demand.profiles
    load = 0.0
    room = float(pods[0])
    cells = sorted(
        demand.rates,
        key=lambda cell: one.rate(cell) / other.rate(cell) if other.rate(cell) else float("inf"),
        reverse=True,
    )
    for cell in cells:
        here, there = one.rate(cell), other.rate(cell)
        rate = demand.rates[cell]
        taken = min(rate, room * here) if here else 0.0
        room -= taken / here if here else 0.0
        left = rate - taken
        if left > 1e-9:
            if not there:
                return False
            load += left / there
    return load <= pods[1] + 1e-7


def tried_all(demand: GpuDemand, most: int) -> float | None:
    costs = [
        sum(count * one.cost for count, one in zip(pods, demand.profiles, strict=True))
        for pods in itertools.product(range(most + 1), repeat=2)
        if holds(demand, pods)
    ]
    return min(costs, default=None)


@pytest.mark.parametrize("seed", range(60))
def test_it_is_as_cheap_as_trying_everything(seed: int):
    rng = random.Random(seed)
    cells = [(rng.randint(4, 12), rng.randint(3, 10)) for _ in range(rng.randint(1, 5))]
    profiles = [
        profile(
            name, rng.choice([1.0, 1.5, 2.2, 4.0]), {cell: rng.choice([0.0, rng.uniform(0.3, 5)]) for cell in cells}
        )
        for name in ("a", "b")
    ]
    rates = {cell: rng.uniform(0.1, 5) for cell in cells if any(one.rate(cell) > 0 for one in profiles)}
    demand = GpuDemand("m", rates, profiles)
    best = tried_all(demand, 12)
    if best is None or not rates:
        return
    found = plan([demand], EVEN)["m"]
    assert found.cost <= best + 1e-6
    assert holds(demand, tuple(found.pods[one.name] for one in profiles))
    for cell in rates:
        assert sum(found.weights(cell).values()) == pytest.approx(1.0, abs=1e-4)


def test_two_models_share_few_gpus():
    """Either alone would take the cheap ones; together there are three."""
    cell = (8, 8)
    cheap, dear = {cell: 1.0}, {cell: 1.0}
    demands = [
        GpuDemand(name, {cell: 2.0}, [profile(f"l4-{name}", 1, cheap), profile(f"h100-{name}", 3, dear)])
        for name in ("m", "n")
    ]
    found = plan(demands, PlanRules(utilization=1.0, available={"l4": 3}))
    cheap_pods = sum(found[name].pods[f"l4-{name}"] for name in ("m", "n"))
    assert cheap_pods == 3
    assert sum(one.cost for one in found.values()) == 3 + 3
    with pytest.raises(NoPlanError, match="m, n"):
        plan(demands, PlanRules(utilization=1.0, available={"l4": 1, "h100": 2}))


def test_bounds_and_the_cost_of_change():
    cell = (8, 8)
    profiles = [profile("a", 1.0, {cell: 1.0}), profile("b", 1.1, {cell: 1.0})]
    bounds = {"a": PodBounds(least=1), "b": PodBounds(most=3, present=3)}
    demand = GpuDemand("m", {cell: 3.0}, profiles, bounds)
    assert plan([demand], EVEN)["m"].pods == {"a": 3, "b": 0}
    steady = plan([demand], PlanRules(utilization=1.0, change_cost=1.0))["m"]
    assert steady.pods == {"a": 1, "b": 2}


def test_what_nobody_can_serve_is_named_and_the_rest_is_planned():
    demand = GpuDemand("m", {(8, 8): 1.0, (20, 2): 1.0}, [profile("a", 1.0, {(8, 8): 2.0, (20, 2): 0.0})])
    found = plan([demand], EVEN)["m"]
    assert (found.pods, found.unserved) == ({"a": 1}, {(20, 2): 1.0})
    assert plan([GpuDemand("m", {}, demand.profiles)], EVEN)["m"].pods == {"a": 0}


def test_without_the_library_it_is_greedy_and_says_so():
    cell, other = (8, 8), (4, 4)
    profiles = [profile("a", 1.0, {cell: 1.0, other: 4.0}), profile("b", 2.0, {cell: 3.0, other: 4.0})]
    demand = GpuDemand("m", {cell: 6.0, other: 2.0}, profiles)
    found = greedy([demand], EVEN)
    assert found is not None
    pods, shares, gap, solver = found
    assert (pods["m"], gap, solver) == ({"a": 1, "b": 2}, 1.0, "greedy")
    assert shares["m"] == {(cell, "b"): 1.0, (other, "a"): 1.0}
    assert greedy([demand], PlanRules(available={"b": 1})) is None


def test_one_type_alone():
    cell = (8, 8)
    profiles = [profile("a", 1.0, {cell: 1.0}), profile("b", 3.0, {cell: 4.0}), profile("c", 1.0, {cell: 0.0})]
    demand = GpuDemand("m", {cell: 4.0}, profiles)
    assert single_type_cost(demand, EVEN) == {"a": 4.0, "b": 3.0, "c": None}


def house(models: int, types: int, cells: int, seed: int = 1) -> list[GpuDemand]:
    rng = random.Random(seed)
    found = []
    for number in range(models):
        lengths = {(rng.randint(4, 15), rng.randint(3, 12)) for _ in range(cells)}
        speed = {gpu: rng.uniform(0.3, 6) for gpu in range(types)}
        profiles = [
            GpuProfile(
                f"m{number}-g{gpu}",
                f"g{gpu}",
                speed[gpu] ** 0.8,
                {one: speed[gpu] * 2000 / (2 ** one[0] * rng.uniform(0.5, 2) + 8 * 2 ** one[1]) for one in lengths},
            )
            for gpu in range(types)
        ]
        found.append(GpuDemand(f"m{number}", {one: rng.uniform(0.01, 2) for one in lengths}, profiles))
    return found


def test_eight_types_and_twenty_models():
    """With GPUs to spare, and with a tenth fewer than the plan wants; `docs/optimizer.md` says how long it takes."""
    demands = house(20, 8, 30)
    # Time is no bound here: how much of it a busy machine gives says nothing of the plan.
    free = plan(demands, PlanRules(seconds=600, gap=0.1))
    used = {f"g{gpu}": sum(one.pods[f"{one.model}-g{gpu}"] for one in free.values()) for gpu in range(8)}
    fewer = {gpu: max(1, int(count * 0.9)) for gpu, count in used.items() if count} | {"g0": 500}
    scarce = plan(demands, PlanRules(seconds=600, gap=0.1, available=fewer))
    for found in (free, scarce):
        for one in demands:
            served = {cell: sum(found[one.model].weights(cell).values()) for cell in one.rates}
            assert served == {cell: pytest.approx(1.0, abs=1e-3) for cell in one.rates}
    for gpu, most in fewer.items():
        assert sum(one.pods[f"{one.model}-{gpu}"] for one in scarce.values()) <= most


def test_out_of_time_it_is_greedy():
    found = plan(house(1, 8, 30), PlanRules(seconds=1e-9))
    assert found["m0"].solver == "greedy"
    assert found["m0"].cost > 0
