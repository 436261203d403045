"""The plan as an integer program for HiGHS, and greedily where that is not installed."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestration.optimizer.gpu_demand import GpuDemand, PlanRules
    from orchestration.optimizer.request_cells import Cell

Pods = dict[str, dict[str, int]]
Shares = dict[str, dict[tuple["Cell", str], float]]
_OUT_OF_TIME = 1
"""HiGHS' status."""
_TOLERANCE = 1e-6
"""A share below it is none."""


def solve(demands: Sequence[GpuDemand], rules: PlanRules) -> tuple[Pods, Shares, float, str] | None:
    """Pods, shares, the gap that is left, and who solved it; None when nothing fits."""
    try:
        from scipy.optimize import milp  # noqa: F401, PLC0415 - of an extra
    except ImportError:
        return greedy(demands, rules)
    return _Program(demands, rules).solved()


class _Program:
    """Columns: shares of cells, then pods, then added pods. Rows: cells, deployments, GPU types, additions."""

    def __init__(self, demands: Sequence[GpuDemand], rules: PlanRules) -> None:
        self._demands, self._rules = demands, rules
        self._deployments = [(one, profile) for one in demands for profile in one.profiles]
        self._shares: list[tuple[int, Cell, float]] = []
        """Number of the deployment, cell, load of the whole cell on it in pods."""
        for number, (one, profile) in enumerate(self._deployments):
            for cell, rate in one.rates.items():
                able = profile.rate(cell) * rules.utilization
                if able > 0:
                    self._shares.append((number, cell, rate / able))
        self._columns = len(self._shares) + 2 * len(self._deployments)

    def solved(self) -> tuple[Pods, Shares, float, str] | None:
        from scipy.optimize import Bounds, LinearConstraint, milp  # noqa: PLC0415 - of an extra
        from scipy.sparse import coo_array  # noqa: PLC0415

        rows, columns, values, lows, highs = self._constraints()
        matrix = coo_array((values, (rows, columns)), shape=(len(lows), self._columns)).tocsr()
        low, high, cost, whole = self._bounds()
        options = {"time_limit": self._rules.seconds, "mip_rel_gap": self._rules.gap}
        answer = milp(
            cost,
            integrality=whole,
            bounds=Bounds(low, high),
            constraints=[LinearConstraint(matrix, lows, highs)] if lows else (),
            options=options,
        )
        if answer.x is None:
            # Out of time without any plan: a dearer one is better than none.
            return greedy(self._demands, self._rules) if answer.status == _OUT_OF_TIME else None
        gap = float(getattr(answer, "mip_gap", 0.0) or 0.0)
        return (*self._read(answer.x), gap, "highs")

    def _pods(self, number: int) -> int:
        return len(self._shares) + number

    def _constraints(self) -> tuple[list[int], list[int], list[float], list[float], list[float]]:
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        lows: list[float] = []
        highs: list[float] = []

        def row(entries: list[tuple[int, float]], low: float, high: float) -> None:
            for column, value in entries:
                rows.append(len(lows))
                columns.append(column)
                values.append(value)
            lows.append(low)
            highs.append(high)

        infinite = float("inf")
        whole: dict[tuple[str, Cell], list[tuple[int, float]]] = {}
        load: dict[int, list[tuple[int, float]]] = {}
        for column, (number, cell, pods) in enumerate(self._shares):
            whole.setdefault((self._deployments[number][0].model, cell), []).append((column, 1.0))
            load.setdefault(number, []).append((column, pods))
        for entries in whole.values():
            row(entries, 1.0, 1.0)
        for number, entries in load.items():
            row([*entries, (self._pods(number), -1.0)], -infinite, 0.0)
        for gpu, most in self._rules.available.items():
            row([(self._pods(n), 1.0) for n, (_, one) in enumerate(self._deployments) if one.gpu == gpu], 0.0, most)
        if self._rules.change_cost:
            for number, (one, profile) in enumerate(self._deployments):
                present = one.bounds[profile.name].present if profile.name in one.bounds else 0
                added = self._pods(number) + len(self._deployments)
                row([(self._pods(number), 1.0), (added, -1.0)], -infinite, float(present))
        return rows, columns, values, lows, highs

    def _bounds(self) -> tuple[list[float], list[float], list[float], list[int]]:
        count, infinite = len(self._deployments), float("inf")
        low, high = [0.0] * len(self._shares), [1.0] * len(self._shares)
        for one, profile in self._deployments:
            bounds = one.bounds.get(profile.name)
            low.append(float(bounds.least) if bounds else 0.0)
            high.append(infinite if bounds is None or bounds.most is None else float(bounds.most))
        costs = [0.0] * len(self._shares) + [profile.cost for _, profile in self._deployments]
        return (
            low + [0.0] * count,
            high + [infinite] * count,
            costs + [self._rules.change_cost] * count,
            [0] * len(self._shares) + [1] * count + [0] * count,
        )

    def _read(self, x: Any) -> tuple[Pods, Shares]:  # noqa: ANN401 - an array
        pods: Pods = {one.model: {} for one, _ in self._deployments}
        shares: Shares = {one.model: {} for one, _ in self._deployments}
        for number, (one, profile) in enumerate(self._deployments):
            pods[one.model][profile.name] = round(float(x[self._pods(number)]))
        for column, (number, cell, _) in enumerate(self._shares):
            if x[column] > _TOLERANCE:
                one, profile = self._deployments[number]
                shares[one.model][cell, profile.name] = float(x[column])
        return pods, shares


def greedy(demands: Sequence[GpuDemand], rules: PlanRules) -> tuple[Pods, Shares, float, str] | None:
    """Each cell to the deployment that serves it cheapest, then rounded up. Bounds are kept, or there is no plan."""
    pods: Pods = {}
    shares: Shares = {}
    used: dict[str, int] = {}
    for one in demands:
        load = {profile.name: 0.0 for profile in one.profiles}
        shares[one.model] = {}
        for cell, rate in one.rates.items():
            able = [profile for profile in one.profiles if profile.rate(cell) > 0]
            best = min(able, key=lambda profile: (profile.cost / profile.rate(cell), profile.name))
            load[best.name] += rate / (best.rate(cell) * rules.utilization)
            shares[one.model][cell, best.name] = 1.0
        pods[one.model] = {}
        for profile in one.profiles:
            bounds = one.bounds.get(profile.name)
            count = max(ceil(load[profile.name] - _TOLERANCE), bounds.least if bounds else 0)
            if bounds is not None and bounds.most is not None and count > bounds.most:
                return None
            pods[one.model][profile.name] = count
            used[profile.gpu] = used.get(profile.gpu, 0) + count
    if any(used.get(gpu, 0) > most for gpu, most in rules.available.items()):
        return None
    return pods, shares, 1.0, "greedy"
