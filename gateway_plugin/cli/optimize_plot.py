"""A picture of a plan: requests by lengths, and for each GPU type the part of them that it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestration.optimizer.gpu_demand import GpuDemand
    from orchestration.optimizer.gpu_plan import ModelPlan


def draw(path: Path, demands: Sequence[GpuDemand], plans: Mapping[str, ModelPlan]) -> None:
    """ValueError where matplotlib (the extra `bench`) is not installed."""
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - of an extra
    except ImportError:
        raise ValueError("--plot needs the extra `bench`: pip install 'gateway-plugin[bench]'") from None
    columns = max(len(one.profiles) for one in demands)
    figure = Figure(figsize=(4 * columns, 3.4 * len(demands)), layout="constrained")
    axes = figure.subplots(len(demands), columns, squeeze=False)
    for row, one in zip(axes, demands, strict=True):
        planned = plans[one.model]
        for axis, profile in zip(row, one.profiles, strict=False):
            own = {cell: share for (cell, name), share in planned.shares.items() if name == profile.name}
            cells = [(cell, one.rates[cell] * share) for cell, share in own.items()]
            axis.scatter(
                [2 ** cell[0] for cell, _ in cells],
                [2 ** cell[1] for cell, _ in cells],
                s=[20 + 400 * rate / max(one.rates.values()) for _, rate in cells],
                alpha=0.6,
            )
            axis.set(xscale="log", yscale="log", xlabel="prompt tokens", ylabel="answer tokens")
            axis.set(xlim=(1, 2**18), ylim=(1, 2**14))
            rate = sum(rate for _, rate in cells)
            title = f"{one.model}: {planned.pods.get(profile.name, 0)} x {profile.name}, {rate:.1f}/s"
            axis.set_title(title, fontsize=9)
    figure.savefig(path)
