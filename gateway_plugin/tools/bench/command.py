"""`gateway-plugin bench`: its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Trace = Annotated[
    Path | None, typer.Option(help="Mooncake's JSONL or Azure's CSV: arrivals at its times.", show_default=False)
]
Rate = Annotated[
    float | None,
    typer.Option(min=0.001, help="Requests per second, Poisson; 5 when nothing is said.", show_default=False),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1, help="Closed loop: so many clients, each waits for its answer. Hides queues.", show_default=False
    ),
]
Requests = Annotated[int | None, typer.Option(min=1, help="At most so many per run.", show_default=False)]
Seconds = Annotated[
    float | None, typer.Option(min=0.1, help="Send for so long; 60, or a whole trace.", show_default=False)
]
Strategies = Annotated[
    str, typer.Option("--strategy", help="Names with commas: one run each, the same arrivals.", show_default=False)
]
Headers = Annotated[list[str] | None, typer.Option("--header", "-H", metavar="NAME=VALUE", help="Repeat it.")]
ApiKey = Annotated[str, typer.Option(envvar="BENCH_API_KEY", help="Sent as a bearer token.", show_default=False)]
LENGTHS_HELP = "512, 100-2000, exponential:MEAN, lognormal:MEDIAN:SIGMA"
LONGEST_HELP = "Of a trace: longer prompts are cut."


def bench(
    url: Annotated[str, typer.Argument(help="Of the gateway, or of anything that speaks OpenAI's API.")],
    model: Annotated[str, typer.Option(help="As clients name it.")],
    trace: Trace = None,
    rate: Rate = None,
    concurrency: Concurrency = None,
    requests: Requests = None,
    seconds: Seconds = None,
    strategy: Strategies = "",
    repeats: Annotated[int, typer.Option(min=1, max=100, help="Runs per strategy, in turn.")] = 1,
    users: Annotated[int, typer.Option(min=0, help="Sent as header user: bench-0, bench-1 ...")] = 0,
    api_key: ApiKey = "",
    header: Headers = None,
    prompt_tokens: Annotated[str, typer.Option(help=LENGTHS_HELP + "; 512.", show_default=False)] = "",
    output_tokens: Annotated[str, typer.Option(help="In the same forms; 128.", show_default=False)] = "",
    speedup: Annotated[float, typer.Option(min=0.001, help="Of a trace: 2 is twice as fast.")] = 1.0,
    max_prompt_tokens: Annotated[int | None, typer.Option(min=1, help=LONGEST_HELP, show_default=False)] = None,
    block_tokens: Annotated[int, typer.Option(min=1, help="Of a trace: tokens per hash id.")] = 512,
    stream: Annotated[bool, typer.Option(help="Without it there is no time to the first token.")] = True,
    ignore_eos: Annotated[bool, typer.Option(help="Ask for answers of exactly the length (vLLM, SGLang).")] = True,
    timeout_seconds: Annotated[float, typer.Option(min=0.01, help="For a whole answer; later is a failure.")] = 120.0,
    slo_ttft_seconds: Annotated[float, typer.Option(min=0.0, help="Goodput counts answers that begin by then")] = 2.0,
    slo_tpot_seconds: Annotated[float, typer.Option(min=0.0, help="and take no longer per token.")] = 0.1,
    seed: Annotated[int, typer.Option(help="The same seed gives the same arrivals and lengths.")] = 0,
    salt: Annotated[
        str, typer.Option(help="The same salt gives the same texts; by default new ones.", show_default=False)
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for bench.json, report.md and plots.", show_default=False)
    ] = None,
) -> None:
    """Send load to a gateway and measure it: open loop, streaming, failures counted. Ctrl-C ends with the report."""
    from gateway_plugin.tools.bench.bench_run import run_bench
    from gateway_plugin.tools.bench.lengths import LengthsError
    from gateway_plugin.tools.bench.load_plan import Arrivals, LoadPlan, PlanError, new_salt, read_strategies
    from gateway_plugin.tools.bench.probe import BenchError
    from gateway_plugin.tools.bench.summary import Objective
    from gateway_plugin.tools.bench.target import BenchTarget, TargetError, read_headers, split_url
    from gateway_plugin.tools.bench.traces import TraceError

    try:
        headers = read_headers(header or []) | ({"authorization": f"Bearer {api_key}"} if api_key else {})
        base_url, path = split_url(url)
        plan = LoadPlan(
            target=BenchTarget(base_url, path, model, stream, ignore_eos, headers, timeout_seconds),
            arrivals=Arrivals(
                trace=trace,
                rate_per_second=rate,
                concurrency=concurrency,
                prompt_tokens=prompt_tokens,
                output_tokens=output_tokens,
                requests=requests,
                seconds=seconds,
                speedup=speedup,
                longest_prompt_tokens=max_prompt_tokens,
                users=users,
            ),
            strategies=read_strategies(strategy),
            repeats=repeats,
            seed=seed,
            block_tokens=block_tokens,
            objective=Objective(slo_ttft_seconds, slo_tpot_seconds),
            out=out,
            salt=salt or new_salt(),
        )
        code = run_bench(plan)
    except (BenchError, LengthsError, PlanError, TargetError, TraceError) as error:
        typer.echo(f"gateway-plugin: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)
