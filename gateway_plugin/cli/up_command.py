"""`gateway-plugin up`: the whole gateway for one host, from the URLs of its engines."""

from __future__ import annotations

import asyncio
import getpass
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from gateway_plugin.cli.config_command import ConfigFile  # noqa: TC001 - typer reads it at run time

if TYPE_CHECKING:
    from gateway_plugin.cli.pod_following import PodFollower
    from gateway_plugin.settings.settings import Settings
    from gateway_plugin.tools.envoy_config.model import EnvoyConfig, ListenerTls
    from gateway_plugin.tools.up.host import Host
    from gateway_plugin.tools.up.host_plan import HostOptions

Directory = Annotated[
    Path | None,
    typer.Option(help="For users, the list of pods and logs. Without it: ~/.local/state/gateway-plugin."),
]


def up(
    pod: Annotated[list[str] | None, typer.Option(help="URL of an engine, http://HOST:PORT; repeat it.")] = None,
    pods_file: Annotated[
        Path | None, typer.Option(help="The same as YAML: pods, a list of URLs or of {url, engine, models, name}.")
    ] = None,
    listen: Annotated[
        str, typer.Option(help="HOST:PORT for clients; 0.0.0.0:10080 for those on other machines.")
    ] = "127.0.0.1:10080",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Plugin processes; Envoy balances over them.")] = 1,
    redis_url: Annotated[
        str,
        typer.Option(envvar="GATEWAY_REDIS_URL", help="Without it a Valkey is started, with its data in DIRECTORY."),
    ] = "",
    tls_cert: Annotated[Path | None, typer.Option(help="PEM chain: clients speak TLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: its key, in the same directory.")] = None,
    directory: Directory = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="For requests in flight when it stops; a second Ctrl-C ends it at once.")
    ] = 10,
    print_systemd: Annotated[bool, typer.Option(help="Print a unit that runs this, and end.")] = False,
    config: ConfigFile = None,
) -> None:
    """Run the gateway on this host: plugin, Envoy and Valkey, in front of the engines that are named."""
    if print_systemd:
        _print_unit(drain_seconds)
        return
    run = _Run(_options(listen, workers, redis_url, tls_cert, tls_key, directory, drain_seconds, config), config)
    _remember(run.options, pod or [], pods_file)
    raise typer.Exit(asyncio.run(run.until_stopped()))


@dataclass(slots=True)
class _Run:
    options: HostOptions
    config: Path | None

    async def until_stopped(self) -> int:
        """Exit code."""
        from gateway_plugin.settings import log_lines
        from gateway_plugin.tools.chain.processes import ProcessError
        from gateway_plugin.tools.envoy_config.process import EnvoyError
        from gateway_plugin.tools.up.host import Host

        settings = _settings(self.config)
        log_lines.configure(settings.logs.level, settings.logs.format)
        host = Host(self.options, _base(settings))
        stopping, hurrying = asyncio.Event(), asyncio.Event()
        _stop_at_signals(stopping, hurrying)
        try:
            return await self._serve(host, settings, stopping)
        except (ProcessError, EnvoyError, OSError, ValueError) as error:
            _say(f"gateway-plugin: {error}", to_stderr=True)
            return 1
        finally:
            await host.stop(hurrying)

    async def _serve(self, host: Host, settings: Settings, stopping: asyncio.Event) -> int:
        from gateway_plugin.cli.pod_following import PodFollower
        from gateway_plugin.settings.engine_keys import read_engine_keys
        from gateway_plugin.tools.up.systemd_unit import tell_ready

        options, engines = self.options, settings.engines
        keys = read_engine_keys(engines.api_key.get_secret_value(), engines.api_keys_file)
        follower = PodFollower(options.pods_file, options.endpoints_file, keys, host.write_envoy)
        starting = asyncio.create_task(_start(host, follower))
        stopped = asyncio.create_task(stopping.wait())
        await asyncio.wait([starting, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        with suppress(asyncio.CancelledError):
            await starting
        if stopped.done():
            return 0
        _say(_introduction(host, follower))
        tell_ready()
        running = [asyncio.create_task(host.keep()), asyncio.create_task(follower.run())]
        await asyncio.wait([stopped, *running], return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        for ended in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        return 0


async def _start(host: Host, follower: PodFollower) -> None:
    host.own_directory()
    await follower.first_look()
    await host.start()


def _stop_at_signals(stopping: asyncio.Event, hurrying: asyncio.Event) -> None:
    def stop() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)


def _options(
    listen: str,
    workers: int,
    redis_url: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    directory: Path | None,
    drain_seconds: float,
    config: Path | None,
) -> HostOptions:
    try:
        from gateway_plugin.tools.up.host_plan import HostOptions, default_directory
    except ImportError as error:
        _fail(f"this needs the extra `local`: pip install 'gateway-plugin[local]' ({error})")
    from gateway_plugin.tools.envoy_config.model import Address

    try:
        address = Address.parse(listen if ":" in listen else f"127.0.0.1:{listen}")
    except ValueError:
        _fail(f"--listen {listen}: allowed: HOST:PORT, as 0.0.0.0:10080, or a port")
    if address.is_name:
        _fail(f"--listen {listen}: an address of this machine, not a name; 0.0.0.0 for all of them")
    return HostOptions(
        directory=(directory or default_directory(os.environ)).expanduser().absolute(),
        listen=address,
        workers=workers,
        redis_url=redis_url,
        tls=_tls(tls_cert, tls_key),
        drain_seconds=drain_seconds,
        config_file=config,
    )


def _tls(cert: Path | None, key: Path | None) -> ListenerTls | None:
    from gateway_plugin.tools.envoy_config.model import ListenerTls

    if cert is None and key is None:
        return None
    if cert is None or key is None:
        _fail("--tls-cert and --tls-key: give both, or neither")
    for option, path in (("--tls-cert", cert), ("--tls-key", key)):
        if not path.is_file() or not os.access(path, os.R_OK):
            _fail(f"{option} {path}: not a file that can be read")
    return ListenerTls(str(cert.absolute()), str(key.absolute()))


def _remember(options: HostOptions, urls: list[str], file: Path | None) -> None:
    """Adds what the command line names to what this directory knew before."""
    from gateway_plugin.pods.node import EndpointsError
    from gateway_plugin.pods.pod_list import (
        ListedPod,
        changing,
        parse_pod_list,
        parse_pod_url,
        read_pod_list,
        write_pod_list,
    )

    try:
        named = list(parse_pod_list(file.read_bytes(), file).pods) if file is not None else []
        named += [ListedPod(at) for at in map(parse_pod_url, urls)]
        with changing(options.pods_file):
            pods = read_pod_list(options.pods_file)
            for pod in named:
                if pods.find(pod.at) is None or pod != ListedPod(pod.at):
                    pods = pods.with_pod(pod)
            if not pods.pods:
                _fail("no engine is named: --pod http://127.0.0.1:8000, once for each")
            write_pod_list(options.pods_file, pods)
    except (EndpointsError, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}")


def _settings(config: Path | None) -> Settings:
    from gateway_plugin.settings.loading import SettingsError, load

    try:
        return load(config).settings
    except SettingsError as error:
        _fail(str(error))


def _base(settings: Settings) -> EnvoyConfig:
    """What of Envoy's configuration follows from the plugin's settings."""
    from gateway_plugin.endpoints.extra_paths import parse_extra_paths
    from gateway_plugin.tools.envoy_config.model import EnvoyConfig

    overload = settings.overload
    return EnvoyConfig(
        upload_seconds=overload.upload_seconds,
        body_limit_bytes=min(64 << 20, settings.listeners.grpc_max_message_bytes - (1 << 20)),
        message_timeout_seconds=max(5.0, overload.queue_seconds + 1 if overload.queue_length else 0.0),
        max_message_timeout_seconds=overload.held_seconds + 5 if overload.held_requests else 0,
        extra_paths=parse_extra_paths(settings.endpoints.extra_paths),
        accounting=settings.usage.accounting,
    )


def _introduction(host: Host, follower: PodFollower) -> str:
    from gateway_plugin.tools.up.host_plan import HOST, gateway_url

    url, first = gateway_url(host.options), host.ports.workers[0]
    served: dict[str, list[str]] = {}
    for at, engine in follower.found.items():
        for name in engine.models:
            served.setdefault(name, []).append(f"{at} ({engine.engine})")
    lines = [f"gateway   {url}/v1"]
    lines += [f"model     {name}: {', '.join(pods)}" for name, pods in served.items()]
    lines += [f"waiting   {why}" for why in follower.silent.values()]
    lines += [
        f"users     http://{HOST}:{first.api}/docs",
        f"look      http://{HOST}:{first.ops}/ (live page)   http://{HOST}:{first.ops}/metrics",
        f"kept in   {host.options.directory} (users, list of pods, logs)",
    ]
    own = "" if host.options.directory == _default_directory() else f" --directory {host.options.directory}"
    lines += [f"pods      gateway-plugin pods add http://HOST:PORT{own}", ""]
    model = next(iter(served), "MODEL")
    insecure = " --insecure" if host.options.tls is not None and host.options.listen.host == HOST else ""
    lines += [
        f"curl{insecure} {url}/v1/chat/completions -H 'Content-Type: application/json' \\",
        f"""  -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello!"}}]}}'""",
        "",
        "Ctrl-C stops all of it.",
    ]
    return "\n".join(lines)


def _default_directory() -> Path:
    from gateway_plugin.tools.up.host_plan import default_directory

    return default_directory(os.environ)


def _print_unit(drain_seconds: float) -> None:
    from gateway_plugin.tools.up.systemd_unit import unit

    argv = [str(Path(sys.argv[0]).absolute()), *(word for word in sys.argv[1:] if word != "--print-systemd")]
    typer.echo(unit(argv, getpass.getuser(), drain_seconds))


def _say(text: str, *, to_stderr: bool = False) -> None:
    # A terminal that is gone is no reason to leave anything behind.
    with suppress(OSError):
        typer.echo(text, err=to_stderr)


def _fail(message: str) -> NoReturn:
    typer.echo(f"gateway-plugin: {message}", err=True)
    raise typer.Exit(1)
