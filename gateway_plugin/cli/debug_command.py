"""`gateway-plugin request ID`, `decisions`, `refusals`, `pods`, `prefix MODEL`: what a running plugin remembers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from gateway_plugin.cli.debug_client import DebugError, NotKnownError, ask, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8080"

AdminToken = Annotated[
    str, typer.Option(envvar="GATEWAY_ADMIN_TOKEN", help="The admin token, if there is one.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the plugin's JSON.")]
Url = Annotated[str, typer.Option(help="Where the plugin's operations port is.")]
Urls = Annotated[list[str] | None, typer.Option("--url", help="The same; repeat it for replicas.", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=500, help="At most so many, the newest first.")]
User = Annotated[str, typer.Option(help="Only this user's.")]
Model = Annotated[str, typer.Option(help="Only this model's.")]


def add_debug_commands(cli: typer.Typer) -> None:
    """Registers them."""
    for command in (request, decisions, refusals, pods, prefix):
        cli.command()(command)


def request(
    request_id: Annotated[str, typer.Argument(help="What `x-request-id` of the answer says.")],
    url: Urls = None,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """What became of one request, and why: by its id, asked of each replica."""
    stories, missing = [], ""
    for at in url or [DEFAULT_URL]:
        try:
            stories.append(ask(dict, at, f"/debug/requests/{quoted(request_id)}", admin_token))
        except NotKnownError as error:
            missing = str(error)
        except DebugError as error:
            _fail(str(error))
    if not stories:
        _fail(missing)
    if as_json:
        _print_json(stories if len(stories) > 1 else stories[0])
        return
    for line in _told(stories):
        typer.echo(line)


def decisions(
    url: Url = DEFAULT_URL,
    limit: Limit = 20,
    user: User = "",
    model: Model = "",
    pod: Annotated[str, typer.Option(help="Only those that went to this pod.")] = "",
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """The last requests that were sent on: to which pod, why, and with what outcome."""
    found = _ask(list, url, "/debug/decisions", admin_token, limit=limit, user=user, model=model, pod=pod)
    if as_json:
        _print_json(found)
        return
    columns = ("time", "request", "user", "model", "strategy", "branch", "pod", "runner-up", "status", "ms", "tokens")
    _print_table(columns, map(_decision_row, found))


def refusals(
    url: Url = DEFAULT_URL,
    limit: Limit = 20,
    user: User = "",
    model: Model = "",
    status: Annotated[int, typer.Option(min=0, max=599, help="Only these, as 429; 0: all.")] = 0,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """The last requests that the gateway answered itself, and why."""
    found = _ask(list, url, "/debug/refusals", admin_token, limit=limit, user=user, model=model, status=status)
    if as_json:
        _print_json(found)
        return
    rows = (
        (_time(one), one["request_id"], one["user"] or one["source"], one["model"], str(one["status"]), one["message"])
        for one in found
    )
    _print_table(("time", "request", "user", "model", "status", "why"), rows)


def pods(url: Url = DEFAULT_URL, admin_token: AdminToken = "", as_json: AsJson = False) -> None:
    """Every pod as the plugin sees it."""
    found = _ask(list, url, "/debug/pods", admin_token)
    if as_json:
        _print_json(found)
        return
    rows = (
        (
            one["name"],
            one["address"],
            ", ".join(one["models"]),
            one["sick_because"] or one["health"] if one["ready"] else "not ready",
            str(one["inflight_requests"]),
            _known(one["waiting_requests"], "{:.0f}"),
            _known(one["kv_usage_ratio"], "{:.0%}"),
            _known(one["ttft_seconds"], "{:.3f}"),
        )
        for one in found
    )
    _print_table(("pod", "address", "models", "health", "in flight", "waiting", "KV", "TTFT s"), rows)


def prefix(
    model: Annotated[str, typer.Argument(help="Whose pods.")],
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """What the prefix index believes to be cached, and how well that foretold what engines say."""
    found = _ask(dict, url, "/debug/prefix", admin_token, model=model)
    if as_json:
        _print_json(found)
        return
    rows = (
        (one["pod"], str(one["blocks"]), str(one["tokens"]), f"{one['capacity_tokens']:.0f}") for one in found["pods"]
    )
    _print_table(("pod", "blocks", "tokens", "of at most"), rows)
    typer.echo(
        f"of {found['prompt_tokens']} prompt tokens in {found['compared_requests']} requests,"
        f" {found['predicted_cached_tokens']} were believed cached, {found['reported_cached_tokens']} were"
    )


def _told(stories: list[dict[str, Any]]) -> Iterable[str]:
    ends = {end["number"]: end for story in stories for end in story["ends"]}
    for story in stories:
        for one in story["decisions"]:
            yield from _decision_told(one)
            if one["end"] is None and not ends:
                yield "  it is not over, or its end was told to another replica"
        for one in story["refusals"]:
            yield f"{_time(one)}  refused with {one['status']} ({one['reason']}): {one['message']}"
            yield f"  user {one['user'] or '-'}, model {one['model'] or '-'}, path {one['path']}, from {one['source']}"
    for end in ends.values():
        yield f"{_time(end)}  {_end_told(end)}"


def _decision_told(one: dict[str, Any]) -> Iterable[str]:
    targets = [target["pod"] for target in one["targets"]]
    yield (
        f"{_time(one)}  user {one['user'] or '-'}, model {one['model']}, {one['path']}:"
        f" strategy {one['strategy']}, decided after {one['decided_after_seconds'] * 1e3:.2f} ms"
    )
    if targets:
        yield f"  sent to {targets[0]} ({one['branch']})" + (f", then {', '.join(targets[1:])}" if targets[1:] else "")
    for choice in one["weighed"]:
        terms = ", ".join(f"{name} {_known(value, '{:.4g}')}" for name, value in choice["terms"].items())
        yield f"  {choice['pod']}: cost {_known(choice['cost'], '{:.4g}')} = {terms}"
    if one["allowance"]:
        left = one["allowance"]
        yield (
            f"  {left['requests_used']:g} of {left['rpm']} requests and {left['tokens_used']:g} of {left['tpm']}"
            f" tokens of the minute were used, {one['reserved_tokens']} reserved for this one"
        )
    if one["end"]:
        yield f"{_time(one['end'])}  {_end_told(one['end'])}"


def _end_told(end: dict[str, Any]) -> str:
    ttft = f", first token after {end['ttft_seconds']:.3f} s" if end["ttft_seconds"] is not None else ""
    tokens = f", {end['prompt_tokens']} + {end['completion_tokens']} tokens" if end["prompt_tokens"] is not None else ""
    why = f" ({end['reason']})" if end["reason"] else ""
    tries = f" at the {end['attempts']}. try" if end["attempts"] > 1 else ""
    answered = f"{end['status']}{why} by {end['pod_address'] or 'nobody'}{tries}"
    return f"{answered} after {end['duration_seconds']:.3f} s{ttft}{tokens}"


def _decision_row(one: dict[str, Any]) -> tuple[str, ...]:
    end, weighed = one["end"] or {}, one["weighed"]
    return (
        _time(one),
        one["request_id"],
        one["user"],
        one["model"],
        one["strategy"],
        one["branch"],
        one["targets"][0]["pod"] if one["targets"] else "",
        f"{weighed[1]['pod']} ({_known(weighed[1]['cost'], '{:.3g}')})" if len(weighed) > 1 else "",
        str(end.get("status", "")),
        f"{end['duration_seconds'] * 1e3:.0f}" if end else "",
        f"{end['prompt_tokens']}+{end['completion_tokens']}" if end.get("prompt_tokens") is not None else "",
    )


def _ask(kind: type[T], url: str, path: str, admin_token: str, **query: object) -> T:
    try:
        return ask(kind, url, path, admin_token, **query)
    except DebugError as error:
        _fail(str(error))


def _print_table(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, show_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for row in rows:
        table.add_row(*row)
    Console().print(table, markup=False)


def _print_json(found: object) -> None:
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _known(value: float | None, form: str) -> str:
    return "?" if value is None else form.format(value)


def _time(record: dict[str, Any]) -> str:
    return datetime.fromtimestamp(record["at_seconds"], UTC).strftime("%H:%M:%S.%f")[:-3] + "Z"


def _fail(message: str) -> NoReturn:
    typer.echo(f"gateway-plugin: {message}", err=True)
    raise typer.Exit(1)
