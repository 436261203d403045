"""`gateway-plugin top`: the live page's figures in a terminal, once a second."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway_plugin.cli.debug_client import DebugError, ask
from gateway_plugin.cli.debug_command import DEFAULT_URL, AdminToken, Url

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

PERIOD_SECONDS = 1.0
"""As often as the feed has news."""
_COLOURS = {"closed": "green", "open": "red", "half_open": "yellow", "asleep": "dim"}
_WORDS = {"closed": "well", "open": "left out", "half_open": "probed"}
_LINES = {"decisions": 8, "refusals": 5, "users": 8}


def top(
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    once: Annotated[bool, typer.Option("--once", help="Print one picture and end, as for a log.")] = False,
) -> None:
    """Pods, decisions, refusals and users of one replica, as they are now; Ctrl-C ends it."""
    from rich.console import Console
    from rich.live import Live

    # Names are anybody's: nothing in them is a colour.
    console = Console(markup=False, highlight=False)
    try:
        seen = ask(dict, url, "/debug/live", admin_token)
    except DebugError as error:
        typer.echo(f"gateway-plugin: {error}", err=True)
        raise typer.Exit(1) from None
    if once or not sys.stdout.isatty():
        console.print(picture(seen))
        return
    try:
        with Live(picture(seen), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(PERIOD_SECONDS)
                problem = ""
                try:
                    seen = ask(dict, url, "/debug/live", admin_token)
                except DebugError as error:
                    problem = str(error)
                live.update(picture(seen, problem), refresh=True)
    except KeyboardInterrupt:
        pass


def picture(seen: dict[str, Any], problem: str = "") -> RenderableType:
    """A snapshot of /debug/live, ready to print; `problem`: why there is none of now."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_head(seen)]
    parts += [Text(problem, style="red")] if problem else []
    parts += [Text(f"! {one['about']}: {one['message']}; {one['fix']}", style="yellow") for one in seen["warnings"]]
    parts += [_pods(seen["pods"]), _decisions(seen["decisions"]), _users(seen["users"]), _refusals(seen["refusals"])]
    return Group(*parts)


def _head(seen: dict[str, Any]) -> RenderableType:
    from rich.text import Text

    rates, limiter = seen["rates"], seen["limiter"]
    state = "ready" if seen["ready"] else "NOT READY"
    store = limiter["store"] if limiter["state"] == "ok" else f"{limiter['store']} {limiter['state']}"
    return Text(
        f"{seen['replica']} {seen['version']} {state}, limits: {store}\n"
        f"{rates['requests_per_second']:.1f} requests/s, {rates['inflight_requests']} in flight,"
        f" {rates['refusals_per_second']:.1f} refused/s, {rates['failures_per_second']:.1f} failed/s,"
        f" TTFT {_ms(rates['ttft_p50_seconds'])}, p95 {_ms(rates['ttft_p95_seconds'])},"
        f" {rates['output_tokens_per_second']:.0f} tokens/s"
    )


def _pods(pods: list[dict[str, Any]]) -> Table:
    table = _table("pod", "health", ">in flight", ">waiting", ">KV", ">hits", ">tokens/s", ">TTFT")
    for pod in sorted(pods, key=lambda one: (one["models"], one["name"])):
        health = _WORDS.get(pod["health"], pod["health"]) if pod["ready"] else "not ready"
        is_sick = pod["sick_because"] and pod["health"] != "closed"
        table.add_row(
            pod["name"],
            f"{health}: {pod['sick_because']}" if is_sick else health,
            str(pod["inflight_requests"] + pod["inflight_elsewhere"]),
            _known(pod["waiting_requests"], "{:.0f}"),
            _known(pod["kv_usage_ratio"], "{:.0%}"),
            _known(pod["prefix_hit_ratio"], "{:.0%}"),
            _known(pod["prefill_tokens_per_second"], "{:.0f}"),
            _ms(pod["ttft_seconds"]),
            style=_COLOURS.get(pod["health"], "yellow") if pod["ready"] else "red",
        )
    return table


def _decisions(decisions: list[dict[str, Any]]) -> Table:
    table = _table("request", "user", "pod", ">cost", "runner-up", ">its cost", ">status", ">TTFT")
    for one in decisions[: _LINES["decisions"]]:
        first, second = [*one["weighed"], {}, {}][:2]
        table.add_row(
            one["request_id"][:13],
            one["user"],
            one["pod"],
            _known(first.get("cost"), "{:.4g}"),
            second.get("pod", ""),
            _known(second.get("cost"), "{:.4g}"),
            _known(one["status"], "{}"),
            _ms(one["ttft_seconds"]),
        )
    return table


def _users(users: list[dict[str, Any]]) -> Table:
    table = _table("user", ">requests left", ">tokens left", ">refused", "last refusal")
    for one in users[: _LINES["users"]]:
        left = (
            "-" if one["rpm"] is None else f"{one['requests_left']} of {one['rpm']}",
            "-" if one["tpm"] is None else f"{one['tokens_left']} of {one['tpm']}",
        )
        table.add_row(one["user"], *left, str(one["refusals"]), one["last_refusal"])
    return table


def _refusals(refusals: list[dict[str, Any]]) -> Table:
    table = _table("refused", "who", ">status", "why")
    for one in refusals[: _LINES["refusals"]]:
        table.add_row(one["request_id"][:13], one["user"] or one["source"], str(one["status"]), one["message"])
    return table


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(show_edge=False, expand=True)
    for name in columns:
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    return table


def _ms(value: float | None) -> str:
    return _known(None if value is None else value * 1e3, "{:.0f} ms")


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
