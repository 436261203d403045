"""`gateway-plugin optimizer`: the optimizer as a service, at AIBrix's paths, for `domain` metrics of PodAutoscalers."""

from __future__ import annotations

from typing import Annotated

import typer


def optimizer(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",  # noqa: S104 - a service
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    redis_host: Annotated[str, typer.Option(envvar="REDIS_HOST", help="Where the gateway writes its traces.")] = "",
    redis_port: Annotated[int, typer.Option(envvar="REDIS_PORT", min=1, max=65535)] = 6379,
    redis_password: Annotated[str, typer.Option(envvar="REDIS_PASSWORD", help="Empty: none.")] = "",
    utilization: Annotated[float, typer.Option(min=0.05, max=1, help="Of what a pod can do.")] = 0.85,
) -> None:
    """Plan pods for the traffic of the last four minutes, every ten seconds; profiles and traces stand in Redis."""
    import uvicorn

    from gateway_plugin.tools.optimizer.optimizer_api import optimizer_api
    from gateway_plugin.tools.optimizer.optimizer_loop import OptimizerLoop
    from gateway_plugin.tools.optimizer.trace_store import TraceStore
    from orchestration.optimizer.gpu_demand import PlanRules

    if not redis_host:
        typer.echo("gateway-plugin: --redis-host or REDIS_HOST is wanted: traces and profiles stand there", err=True)
        raise typer.Exit(1)
    store = TraceStore(redis_host, redis_port, redis_password)
    loop = OptimizerLoop(store, PlanRules(utilization))
    uvicorn.run(optimizer_api(loop), host=host, port=port, log_config=None, access_log=False)
