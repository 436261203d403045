"""`gateway-plugin config`: what holds and why; `config check` and `config schema` for files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, NoReturn

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", envvar="GATEWAY_CONFIG", help="YAML file: topics, and the settings of each."),
]

config_cli = typer.Typer(help="Every setting, its value, and where the value comes from.")


@config_cli.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    config: ConfigFile = None,
    markdown: Annotated[bool, typer.Option(help="Print docs/configuration.md instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON; secrets are masked.")] = False,
) -> None:
    """Print every setting, its value, and where the value comes from."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console

    from gateway_plugin.cli import configuration_page, settings_table
    from gateway_plugin.settings import loading
    from gateway_plugin.settings.shown_settings import shown_settings

    if markdown:
        typer.echo(configuration_page.page(), nl=False)
        return
    try:
        loaded = loading.load(config)
    except loading.SettingsError as error:
        _fail(str(error))
    if as_json:
        shown = shown_settings(loaded.settings, loaded.origins)
        typer.echo(json.dumps({name: {"value": value, "origin": origin} for name, (value, origin) in shown.items()}))
        return
    Console().print(settings_table.terminal_table(loaded))
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)


@config_cli.command()
def check(file: Annotated[Path, typer.Argument(help="The YAML file.")]) -> None:
    """Check a configuration file alone, and the files that it names; exit code 1 says what is wrong."""
    from gateway_plugin.pods.endpoints_file import read_endpoints
    from gateway_plugin.settings import loading
    from gateway_plugin.settings.engine_keys import read_engine_keys

    try:
        settings = loading.load(file, {}).settings
        if settings.pods.endpoints_file is not None:
            read_endpoints(settings.pods.endpoints_file)
        read_engine_keys(settings.engines.api_key.get_secret_value(), settings.engines.api_keys_file)
    except ValueError as error:  # of settings, endpoints or keys; each names its file
        _fail(str(error))
    typer.echo(f"{file}: all is well")


@config_cli.command()
def schema() -> None:
    """Print the JSON schema of the configuration file, for editors."""
    from gateway_plugin.settings.settings import Settings

    typer.echo(json.dumps({"title": "gateway-plugin configuration", **Settings.model_json_schema()}, indent=2))


def _fail(message: str) -> NoReturn:
    for line in message.splitlines():
        typer.echo(f"gateway-plugin: {line}", err=True)
    raise typer.Exit(1)
