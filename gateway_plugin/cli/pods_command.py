"""`gateway-plugin pods add|remove|list|drain`: the engines of a running `gateway-plugin up`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway_plugin.pods.addresses import HostPort
    from gateway_plugin.pods.pod_list import PodList

pods_cli = typer.Typer(no_args_is_help=True, help="Engines of a running `gateway-plugin up`; changes hold in a second.")

Directory = Annotated[Path | None, typer.Option(help="As it was given to `gateway-plugin up`.")]
Url = Annotated[str, typer.Argument(metavar="URL", help="http://HOST:PORT of the engine.")]


@pods_cli.command()
def add(
    url: Url,
    engine: Annotated[str, typer.Option(help="vllm, sglang ...; without it the engine is asked.")] = "",
    model: Annotated[list[str] | None, typer.Option(help="What it serves; without it the engine is asked.")] = None,
    name: Annotated[str, typer.Option(help="In metrics and logs.")] = "",
    directory: Directory = None,
) -> None:
    """Route requests to this engine, too, as soon as it answers."""
    from gateway_plugin.pods.engines.metric_names import ENGINE_NAMES
    from gateway_plugin.pods.pod_list import ListedPod

    if engine and engine.lower() not in ENGINE_NAMES:
        _fail(f"--engine {engine}: allowed: {', '.join(sorted(ENGINE_NAMES))}")
    pod = ListedPod(_at(url), engine.lower(), tuple(model or ()), name)
    _change(directory, lambda pods: pods.with_pod(pod))
    typer.echo(f"{pod.at} is added")


@pods_cli.command()
def remove(url: Url, directory: Directory = None) -> None:
    """Forget this engine; requests that it has in flight end as they would."""
    at = _at(url)
    _change(directory, lambda pods: _known(pods, at).without(at))
    typer.echo(f"{at} is removed")


@pods_cli.command()
def drain(
    url: Url,
    undo: Annotated[bool, typer.Option("--undo", help="Send it requests again.")] = False,
    directory: Directory = None,
) -> None:
    """Send this engine nothing new; what it has in flight goes on."""
    at = _at(url)
    _change(directory, lambda pods: _known(pods, at).drained(at, draining=not undo))
    typer.echo(f"{at} {'gets requests again' if undo else 'gets nothing new'}")


@pods_cli.command("list")
def list_pods(
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False, directory: Directory = None
) -> None:
    """Show the engines, what each serves, how it is, and what it has in flight."""
    rows = _rows(_directory(directory))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("pod", "engine", "models", "state", "in flight", show_edge=False)
    for row in rows:
        table.add_row(row["url"], row["engine"], ", ".join(row["models"]), row["state"], str(row["in_flight"]))
    Console().print(table, markup=False)


def _rows(directory: Path) -> list[dict[str, Any]]:
    from gateway_plugin.pods.pod_list import read_pod_list

    told, served = _told(directory), _served(directory)
    rows = []
    for pod in read_pod_list(directory / "pods.yaml").pods:
        seen = [by_address[str(pod.at)] for by_address in told if str(pod.at) in by_address]
        one = seen[0] if seen else {}
        # Each replica counts its own requests, and hears of the others' where they share a store.
        in_flight = max((int(each.get("inflight_requests", 0)) for each in seen), default=0)
        rows.append(
            {
                "url": pod.url,
                "engine": served.get(str(pod.at), {}).get("engine") or pod.engine,
                "models": served.get(str(pod.at), {}).get("models") or list(pod.models),
                "state": "draining" if pod.draining else _state(one, running=bool(told)),
                "in_flight": in_flight,
            }
        )
    return rows


def _served(directory: Path) -> dict[str, dict[str, Any]]:
    """By address, engine and models as they were found."""
    from gateway_plugin.pods.endpoints_file import read_endpoints
    from gateway_plugin.pods.node import EndpointsError

    try:
        pods = read_endpoints(directory / "endpoints.yaml").pods
    except EndpointsError:
        return {}
    return {str(pod.at): {"engine": pod.engine, "models": list(pod.models)} for pod in pods}


def _state(one: dict[str, Any], *, running: bool) -> str:
    if not one:
        return "does not answer yet" if running else "not running"
    if not one.get("ready", True):
        return "not ready"
    return "sick" if one.get("circuit", "closed") != "closed" else "ready"


def _told(directory: Path) -> list[dict[str, dict[str, Any]]]:
    """By address, what each plugin process says of its pods; none where none runs."""
    from gateway_plugin.cli.debug_client import DebugError, ask

    try:
        workers = json.loads((directory / "up.json").read_text())["ports"]["workers"]
    except (OSError, ValueError, KeyError):
        return []
    told = []
    for worker in workers:
        try:
            pods = ask(
                list, f"http://127.0.0.1:{worker['ops']}", "/debug/pods", os.environ.get("GATEWAY_ADMIN_TOKEN", "")
            )
        except DebugError:
            continue
        told.append({str(pod["address"]): pod for pod in pods})
    return told


def _change(directory: Path | None, change: Callable[[PodList], PodList]) -> None:
    from gateway_plugin.pods.node import EndpointsError
    from gateway_plugin.pods.pod_list import changing, read_pod_list, write_pod_list

    path = _directory(directory) / "pods.yaml"
    try:
        with changing(path):
            write_pod_list(path, change(read_pod_list(path)))
    except EndpointsError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{path}: {error.strerror}")


def _known(pods: PodList, at: HostPort) -> PodList:
    if pods.find(at) is None:
        listed = ", ".join(str(one.at) for one in pods.pods) or "none"
        _fail(f"{at} is not in the list; there are: {listed}")
    return pods


def _directory(directory: Path | None) -> Path:
    from gateway_plugin.tools.up.host_plan import default_directory

    found = directory or default_directory(os.environ)
    if not (found / "pods.yaml").exists():
        _fail(f"no `gateway-plugin up` has run with {found}; name its directory with --directory")
    return found


def _at(url: str) -> HostPort:
    from gateway_plugin.pods.pod_list import parse_pod_url

    try:
        return parse_pod_url(url)
    except ValueError as error:
        _fail(str(error))


def _fail(message: str) -> NoReturn:
    typer.echo(f"gateway-plugin: {message}", err=True)
    raise typer.Exit(1)
