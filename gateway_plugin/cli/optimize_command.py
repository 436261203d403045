"""`gateway-plugin optimize`: how many pods of which GPUs a trace needs, what they cost, and a picture of it."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestration.optimizer.gpu_demand import GpuDemand, PlanRules
    from orchestration.optimizer.gpu_plan import ModelPlan
    from orchestration.optimizer.gpu_profiles import GpuProfile
    from orchestration.optimizer.request_cells import Cell


def optimize(
    trace: Annotated[
        Path, typer.Argument(help="JSON lines (Mooncake's, or at, prompt_tokens ...) or Azure's CSV.", exists=True)
    ],
    gpu: Annotated[
        list[str] | None,
        typer.Option(help="NAME=COST of an hour, as A100=3.67; repeat it. Profiles are the simulator's."),
    ] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="JSON: by deployment a profile in AIBrix's form; instead of --gpu.", exists=True)
    ] = None,
    size: Annotated[str, typer.Option(help="Of the model, for --gpu: 8B, 32B, 70B, 30B-A3B.")] = "8B",
    ttft: Annotated[float, typer.Option(min=0.001, help="Seconds to the first token, for --gpu.")] = 2.0,
    tpot: Annotated[float, typer.Option(min=0.0001, help="Seconds between tokens, for --gpu.")] = 0.1,
    scale: Annotated[float, typer.Option(min=0.000001, help="So many times the trace's requests.")] = 1.0,
    utilization: Annotated[
        float, typer.Option(min=0.05, max=1, help="Of what a pod can do; arrivals are not even.")
    ] = 0.75,
    available: Annotated[list[str] | None, typer.Option(help="GPU=PODS that there are at most; repeat it.")] = None,
    plot: Annotated[Path | None, typer.Option(help="A picture: requests by lengths, and which GPU gets them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Print the cheapest pods for a trace; nothing is asked and nothing is changed anywhere."""
    from gateway_plugin.cli.optimize_trace import read_lengths
    from orchestration.optimizer.gpu_demand import PlanRules
    from orchestration.optimizer.gpu_plan import NoPlanError, plan

    try:
        lengths = read_lengths(trace)
        rules = PlanRules(utilization, available={name: int(most) for name, most in _pairs(available)})
        demands = [
            _demand(model, rates, _profiles(profiles, gpu, size, rates, ttft, tpot))
            for model, rates in lengths.rates(scale).items()
        ]
        plans = plan(demands, rules)
    except (ValueError, NoPlanError) as error:
        _fail(str(error))
    if plot is not None:
        from gateway_plugin.cli.optimize_plot import draw

        draw(plot, demands, plans)
    if as_json:
        typer.echo(json.dumps([shape(plans[one.model], one, rules) for one in demands]))
        return
    for one in demands:
        _print(plans[one.model], one, rules)


def _demand(model: str, rates: Mapping[Cell, float], profiles: list[GpuProfile]) -> GpuDemand:
    from orchestration.optimizer.gpu_demand import GpuDemand

    return GpuDemand(model, rates, profiles)


def _profiles(
    path: Path | None, gpus: list[str] | None, size: str, rates: Mapping[Cell, float], ttft: float, tpot: float
) -> list[GpuProfile]:
    from gateway_plugin.cli.optimize_profiles import LatencyTarget, computed_profile
    from orchestration.optimizer.gpu_profiles import read_profile
    from simulator.cards import CARDS, MODELS
    from simulator.cards import profile as engine_of

    if path is not None:
        found = json.loads(path.read_text())
        if not isinstance(found, dict) or not found:
            raise ValueError(f"{path}: an object of profiles by deployment is wanted")
        return [read_profile(name, one) for name, one in found.items()]
    if size not in MODELS:
        raise ValueError(f"--size {size}: one of {', '.join(MODELS)} is wanted")
    profiles = []
    for name, cost in _pairs(gpus):
        if name not in CARDS:
            raise ValueError(f"--gpu {name}: one of {', '.join(CARDS)} is wanted, or --profiles")
        try:
            engine = engine_of(name, size)
        except ValueError as error:
            raise ValueError(f"--gpu {name}: {error} ({size})") from None
        profiles.append(computed_profile(name, name, float(cost), engine, rates, LatencyTarget(ttft, tpot)))
    if not profiles:
        raise ValueError("--gpu NAME=COST or --profiles FILE is wanted")
    return profiles


def _pairs(options: list[str] | None) -> list[tuple[str, str]]:
    found = []
    for text in options or ():
        name, separator, value = text.partition("=")
        try:
            float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise ValueError(f"{text!r}: NAME=NUMBER is wanted")
        found.append((name, value))
    return found


def shape(one: ModelPlan, demand: GpuDemand, rules: PlanRules) -> dict[str, object]:
    """The plan of a model as JSON."""
    from orchestration.optimizer.gpu_plan import single_type_cost

    return {
        "model": one.model,
        "pods": dict(one.pods),
        "cost_per_hour": one.cost,
        "single_type_cost_per_hour": single_type_cost(demand, rules),
        "requests_per_second": sum(demand.rates.values()),
        "unserved_requests_per_second": sum(one.unserved.values()),
        "gap": one.gap,
        "solver": one.solver,
        "shares": [
            {"prompt_log2": cell[0], "output_log2": cell[1], "deployment": name, "share": share}
            for (cell, name), share in sorted(one.shares.items())
        ],
    }


def _print(one: ModelPlan, demand: GpuDemand, rules: PlanRules) -> None:
    from orchestration.optimizer.gpu_plan import single_type_cost

    rate = sum(demand.rates.values())
    typer.echo(f"{one.model}: {rate:.2f} requests a second, {one.cost:.2f} an hour ({one.solver}, gap {one.gap:.1%})")
    for name, count in one.pods.items():
        typer.echo(f"  {count:4} x {name}")
    for name, cost in single_type_cost(demand, rules).items():
        if cost is None:
            typer.echo(f"  {name} alone cannot serve all of it")
        else:
            typer.echo(f"  {name} alone: {cost:.2f} an hour")
    if one.unserved:
        cells = ", ".join(f"2^{prompt}:2^{output}" for prompt, output in sorted(one.unserved))
        missed = sum(one.unserved.values())
        typer.echo(f"  no GPU keeps the target for {missed:.2f} requests a second of lengths {cells}")


def _fail(message: str) -> NoReturn:
    typer.echo(f"gateway-plugin: {message}", err=True)
    raise typer.Exit(1)
