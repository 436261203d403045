"""`gateway-plugin groups ...`: what members of a group may spend together. Exit codes are those of `users_command`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway_plugin.cli.users_command import DEFAULT_URL, AdminToken, AsJson, Url, print_json, print_table, users_api

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

groups_cli = typer.Typer(no_args_is_help=True, help="Groups of users, and what they may spend together.")

_PERIODS = ("hour", "day", "month")

Name = Annotated[str, typer.Argument(help="The group's name.", show_default=False)]
PerMinute = Annotated[int | None, typer.Option(min=0, help="Of all members, per minute; 0: no limit.")]
Parallel = Annotated[int | None, typer.Option(min=0, help="Requests of all members at the same time; 0: no limit.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="Only these models; repeat it. '' alone: all models.")
]
QuotaTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--quota", metavar="PERIOD=REQUESTS:TOKENS", help="Per hour, day or month; 0: none. Repeat it. '' alone: none."
    ),
]
Disabled = Annotated[bool | None, typer.Option("--disabled/--enabled", help="Members of a disabled group are refused.")]


@groups_cli.command("create")
def create_group(
    name: Name,
    rpm: PerMinute = None,
    tpm: PerMinute = None,
    max_parallel: Parallel = None,
    model: Models = None,
    quota: QuotaTexts = None,
    disabled: Disabled = None,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """Create a group."""
    fields = _fields(rpm, tpm, max_parallel, model, quota, disabled)
    with users_api(url, admin_token) as api:
        _show([api.create_group({"name": name} | fields)], as_json=as_json)


@groups_cli.command("update")
def update_group(
    name: Name,
    rpm: PerMinute = None,
    tpm: PerMinute = None,
    max_parallel: Parallel = None,
    model: Models = None,
    quota: QuotaTexts = None,
    disabled: Disabled = None,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """Change what is given, and leave the rest of the group as it is; quotas are replaced together."""
    changes = _fields(rpm, tpm, max_parallel, model, quota, disabled)
    if not changes:
        raise typer.BadParameter("nothing to change: give at least one of the group's options")
    with users_api(url, admin_token) as api:
        _show([api.update_group(name, changes)], as_json=as_json)


@groups_cli.command("show")
def show_group(name: Name, url: Url = DEFAULT_URL, admin_token: AdminToken = "", as_json: AsJson = False) -> None:
    """Show one group."""
    with users_api(url, admin_token) as api:
        _show([api.read_group(name)], as_json=as_json)


@groups_cli.command("list")
def list_groups(url: Url = DEFAULT_URL, admin_token: AdminToken = "", as_json: AsJson = False) -> None:
    """List all groups."""
    with users_api(url, admin_token) as api:
        groups = api.groups()
    if as_json:
        print_json(groups)
        return
    _show(groups["data"])


@groups_cli.command("delete")
def delete_group(name: Name, url: Url = DEFAULT_URL, admin_token: AdminToken = "") -> None:
    """Delete a group; its members have only their own limits then."""
    with users_api(url, admin_token) as api:
        api.delete_group(name)


def _fields(
    rpm: int | None,
    tpm: int | None,
    max_parallel: int | None,
    models: Sequence[str] | None,
    quotas: Sequence[str] | None,
    disabled: bool | None,
) -> dict[str, object]:
    """The fields that were given."""
    fields = {
        "rpm": rpm,
        "tpm": tpm,
        "max_parallel": max_parallel,
        "models": [model for model in models if model] if models else None,
        "quotas": dict(_quota(text) for text in quotas if text) if quotas else None,
        "disabled": disabled,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _quota(text: str) -> tuple[str, dict[str, int]]:
    period, _, limits = text.partition("=")
    requests, _, tokens = limits.partition(":")
    if period not in _PERIODS or not (requests.isdecimal() and tokens.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not hour|day|month=REQUESTS:TOKENS", param_hint="--quota")
    return period, {"requests": int(requests), "tokens": int(tokens)}


def _show(groups: Sequence[Mapping[str, Any]], *, as_json: bool = False) -> None:
    if as_json:
        print_json(groups[0])
        return
    print_table(("name", "rpm", "tpm", "parallel", "models", "quotas", "state"), [_row(group) for group in groups])


def _row(group: Mapping[str, Any]) -> tuple[object, ...]:
    quotas = ((period, group["quotas"].get(period)) for period in _PERIODS)
    return (
        group["name"],
        group["rpm"] or "no limit",
        group["tpm"] or "no limit",
        group["max_parallel"] or "no limit",
        ", ".join(group["models"]) or "all",
        ", ".join(f"{period}={one['requests']}:{one['tokens']}" for period, one in quotas if one and any(one.values())),
        "disabled" if group["disabled"] else "enabled",
    )
