"""`gateway-plugin users ...`: the users API from a shell.

Exit codes: 0 done; 1 the API refused (unknown user, taken name, wrong token, bad value); 2 a wrong command line;
3 the API cannot be reached or failed.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway_plugin.cli.users_client import UsersApi, UsersApiError, UsersApiUnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_URL = "http://127.0.0.1:8090"

users_cli = typer.Typer(no_args_is_help=True, help="Users, what they may spend, and their API keys.")
keys_cli = typer.Typer(no_args_is_help=True, help="API keys of a user.")
users_cli.add_typer(keys_cli, name="keys")

Name = Annotated[str, typer.Argument(help="The user's name.", show_default=False)]
Url = Annotated[str, typer.Option(help="Where the users API is.")]
AdminToken = Annotated[
    str, typer.Option(envvar="GATEWAY_ADMIN_TOKEN", help="Its admin token, if it has one.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]
PerMinute = Annotated[int | None, typer.Option(min=0, help="Per minute; 0: the configured default.")]
MaxParallel = Annotated[int | None, typer.Option(min=0, help="Requests at the same time; 0: no limit.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", help="Only these models; repeat it. '' alone: all models.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="MODEL=RPM:TPM", help="Limits for one model; repeat it. '' alone: none."),
]
ExpiresDays = Annotated[float | None, typer.Option(min=0, max=36500, help="The key ends then; else never.")]
Group = Annotated[str | None, typer.Option(help="Whose limits hold, too; '': none.")]
Disabled = Annotated[bool | None, typer.Option("--disabled/--enabled", help="A disabled user is refused.")]


@users_cli.command()
def create(
    name: Name,
    rpm: PerMinute = None,
    tpm: PerMinute = None,
    max_parallel: MaxParallel = None,
    model: Models = None,
    override: Overrides = None,
    group: Group = None,
    disabled: Disabled = None,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """Create a user."""
    fields = _fields(rpm, tpm, max_parallel, model, override, group, disabled)
    with users_api(url, admin_token) as api:
        _show_users([api.create({"name": name} | fields)], as_json=as_json)


@users_cli.command()
def update(
    name: Name,
    rpm: PerMinute = None,
    tpm: PerMinute = None,
    max_parallel: MaxParallel = None,
    model: Models = None,
    override: Overrides = None,
    group: Group = None,
    disabled: Disabled = None,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """Change what is given, and leave the rest of the user as it is."""
    changes = _fields(rpm, tpm, max_parallel, model, override, group, disabled)
    if not changes:
        raise typer.BadParameter("nothing to change: give at least one of the user's options")
    with users_api(url, admin_token) as api:
        _show_users([api.update(name, changes)], as_json=as_json)


@users_cli.command()
def show(name: Name, url: Url = DEFAULT_URL, admin_token: AdminToken = "", as_json: AsJson = False) -> None:
    """Show one user."""
    with users_api(url, admin_token) as api:
        _show_users([api.read(name)], as_json=as_json)


@users_cli.command("list")
def list_users(url: Url = DEFAULT_URL, admin_token: AdminToken = "", as_json: AsJson = False) -> None:
    """List all users."""
    with users_api(url, admin_token) as api:
        users = api.users()
    if as_json:
        print_json(users)
        return
    _show_users(users["data"])
    for name in users["unreadable"]:
        typer.echo(f"gateway-plugin: the record of user {name!r} cannot be read; replace or delete it", err=True)


@users_cli.command()
def delete(name: Name, url: Url = DEFAULT_URL, admin_token: AdminToken = "") -> None:
    """Delete a user, with keys and counters."""
    with users_api(url, admin_token) as api:
        api.delete(name)


@users_cli.command()
def usage(name: Name, url: Url = DEFAULT_URL, admin_token: AdminToken = "", as_json: AsJson = False) -> None:
    """Show what a user has used of the current minute, and what is left."""
    with users_api(url, admin_token) as api:
        reply = api.usage(name)
    if as_json:
        print_json(reply)
        return
    rows = [_usage_row(what, reply[what]) for what in ("requests", "tokens", "parallel")]
    print_table(("", "limit", "used", "left"), rows)


@keys_cli.command("create")
def create_key(
    name: Name,
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    expires_days: ExpiresDays = None,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """Create an API key, and print its secret: it is shown only now."""
    with users_api(url, admin_token) as api:
        key = api.create_key(name, label, _after(expires_days))
    _show_secret(key, as_json=as_json)


@keys_cli.command("rotate")
def rotate_key(
    name: Name,
    key_id: Annotated[str, typer.Argument(help="Of the old key, as `keys list` shows it.", show_default=False)],
    overlap_hours: Annotated[float, typer.Option(min=0, help="How long the old key works beside it.")] = 24.0,
    expires_days: ExpiresDays = None,
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
    as_json: AsJson = False,
) -> None:
    """Create a key in another one's place, which works on for a while, or until it would have expired."""
    with users_api(url, admin_token) as api:
        old = next((key for key in api.keys(name)["data"] if key["id"] == key_id), None)
        if old is None:
            typer.echo(f"gateway-plugin: user {name} has no key {key_id}", err=True)
            raise typer.Exit(1)
        key = api.create_key(name, old["label"], _after(expires_days))
        _show_secret(key, as_json=as_json)
        end = int(time.time() + overlap_hours * 3600)
        if old["expires_at"] is None or old["expires_at"] > end:
            api.expire_key(name, key_id, end)


@keys_cli.command("list")
def list_keys(name: Name, url: Url = DEFAULT_URL, admin_token: AdminToken = "", as_json: AsJson = False) -> None:
    """List a user's API keys, without their secrets."""
    with users_api(url, admin_token) as api:
        keys = api.keys(name)
    if as_json:
        print_json(keys)
        return
    rows = [
        (
            key["id"],
            f"{key['prefix']}...",
            _date(key["created_at"]),
            "" if key["expires_at"] is None else _date(key["expires_at"]),
            key["label"],
        )
        for key in keys["data"]
    ]
    print_table(("id", "secret", "created (UTC)", "expires (UTC)", "label"), rows)


@keys_cli.command("revoke")
def revoke_key(
    name: Name,
    key_id: Annotated[str, typer.Argument(help="As `keys list` shows it.", show_default=False)],
    url: Url = DEFAULT_URL,
    admin_token: AdminToken = "",
) -> None:
    """Revoke an API key."""
    with users_api(url, admin_token) as api:
        api.revoke_key(name, key_id)


def _after(days: float | None) -> int | None:
    return None if days is None else int(time.time() + days * 86400)


def _show_secret(key: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    typer.echo(key["secret"])
    typer.echo(f"key {key['id']}; this is the only time that its secret is shown", err=True)


@contextmanager
def users_api(url: str, admin_token: str) -> Iterator[UsersApi]:
    """The API; what it refuses ends the command."""
    try:
        yield UsersApi(url, admin_token)
    except UsersApiError as error:
        typer.echo(f"gateway-plugin: {error}", err=True)
        raise typer.Exit(3 if isinstance(error, UsersApiUnreachableError) else 1) from None


def _fields(
    rpm: int | None,
    tpm: int | None,
    max_parallel: int | None,
    models: Sequence[str] | None,
    overrides: Sequence[str] | None,
    group: str | None,
    disabled: bool | None,
) -> dict[str, object]:
    """The fields that were given."""
    fields = {
        "rpm": rpm,
        "tpm": tpm,
        "max_parallel": max_parallel,
        "models": [model for model in models if model] if models else None,
        "overrides": dict(_override(text) for text in overrides if text) if overrides else None,
        "group": group,
        "disabled": disabled,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _override(text: str) -> tuple[str, dict[str, int]]:
    # The last "=" and ":" divide: names of models may hold both.
    model, equals, limits = text.rpartition("=")
    rpm, colon, tpm = limits.partition(":")
    if not (model and equals and colon and rpm.isdecimal() and tpm.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not MODEL=RPM:TPM", param_hint="--override")
    return model, {"rpm": int(rpm), "tpm": int(tpm)}


def _show_users(users: Sequence[Mapping[str, Any]], *, as_json: bool = False) -> None:
    if as_json:
        print_json(users[0])
        return
    header = ("name", "rpm", "tpm", "parallel", "models", "overrides", "state")
    print_table(header, [_user_row(user) for user in users])


def _user_row(user: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        user["name"],
        user["rpm"] or "default",
        user["tpm"] or "default",
        user["max_parallel"] or "no limit",
        ", ".join(user["models"]) or "all",
        ", ".join(f"{model}={limits['rpm']}:{limits['tpm']}" for model, limits in user["overrides"].items()),
        "disabled" if user["disabled"] else "enabled",
    )


def _usage_row(what: str, usage: Mapping[str, Any]) -> tuple[object, ...]:
    if usage["limit"] is None:
        return what, "no limit", "", ""
    return what, usage["limit"], usage["used"], usage["remaining"]


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def print_json(reply: object) -> None:
    """For other programs."""
    typer.echo(json.dumps(reply, indent=2, ensure_ascii=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """For people."""
    # typer has loaded what follows only when it prints help.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*header, show_edge=False)
    for row in rows:
        # Names are data: rich must not read markup in them.
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)
