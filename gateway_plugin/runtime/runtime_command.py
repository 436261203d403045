"""`aibrix_runtime`: the sidecar as a process."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer
import uvicorn

from gateway_plugin.runtime.runtime_api import Runtime, runtime_api
from gateway_plugin.runtime.runtime_settings import RuntimeSettingsError, settings_from

cli = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})


@cli.command()
def run(
    host: Annotated[str, typer.Option(help="Address to listen on; empty: every one.")] = "0.0.0.0",  # noqa: S104 - as AIBrix's
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    enable_fastapi_docs: Annotated[bool, typer.Option("--enable-fastapi-docs", help="Serve /docs.")] = False,
) -> None:
    """Run the sidecar beside an engine; its settings are environment variables (docs/runtime.md)."""
    try:
        settings = settings_from(os.environ)
    except RuntimeSettingsError as error:
        sys.stderr.write(f"aibrix_runtime: {error}\n")
        raise typer.Exit(1) from None
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvicorn.run(
        runtime_api(Runtime(settings), docs=enable_fastapi_docs),
        host=host or "0.0.0.0",  # noqa: S104 - as above
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
    )


def main() -> None:
    """Entry point of the console script."""
    cli()
