"""`gateway-plugin backup` and `restore`: users, API keys and the registry of models, to a file and back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from collections.abc import Coroutine

_File = Annotated[Path, typer.Argument(help="The backup.", show_default=False)]
_Config = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.")]


def backup(file: _File, config: _Config = None) -> None:
    """Write users, API keys and the registry of models to a file. Exit code: 1 no store, or it does not answer."""
    from gateway_plugin.tools.backup import write_backup  # noqa: PLC0415 - only when it runs

    count = _run(write_backup(_url(config), file))
    typer.echo(f"{count} keys are in {file}")


def restore(
    file: _File,
    replace: Annotated[bool, typer.Option("--replace", help="Also into a store with users: those go.")] = False,
    config: _Config = None,
) -> None:
    """Put a backup into the store. Exit code: 1 the file is no backup, or the store is not empty, or is away."""
    from gateway_plugin.tools.backup import restore_backup  # noqa: PLC0415 - only when it runs

    count = _run(restore_backup(_url(config), file, replace=replace))
    typer.echo(f"{count} keys are back; replicas know them within a minute")


def _url(config: Path | None) -> str:
    from gateway_plugin.settings.loading import SettingsError, load  # noqa: PLC0415

    try:
        url = load(config).settings.redis.effective_url
    except SettingsError as error:
        _fail(str(error))
    if not url:
        _fail("no store is configured: set GATEWAY_REDIS_URL, or GATEWAY_REDIS_HOST")
    return url


def _run(work: Coroutine[None, None, int]) -> int:
    from redis.exceptions import RedisError  # noqa: PLC0415

    from gateway_plugin.tools.backup import BackupError  # noqa: PLC0415

    try:
        return asyncio.run(work)
    except (BackupError, OSError, RedisError) as error:
        _fail(str(error) or type(error).__name__)


def _fail(message: str) -> NoReturn:
    typer.echo(f"gateway-plugin: {message}", err=True)
    raise typer.Exit(1)
