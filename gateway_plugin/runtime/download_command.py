"""`aibrix_download`: one model onto the disk, as an init container does it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads it at run time
from typing import TYPE_CHECKING, Annotated

import typer

from gateway_plugin.runtime.downloads import Downloads
from gateway_plugin.runtime.places import artifact_named, directory_name, local_directory
from gateway_plugin.runtime.remote_files import DownloadError
from gateway_plugin.runtime.runtime_settings import RuntimeSettingsError, settings_from

if TYPE_CHECKING:
    from gateway_plugin.runtime.runtime_settings import RuntimeSettings
    from orchestration.adapters.artifact import Artifact

cli = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})
_SHOWN_SECONDS = 1.0
"""Between two lines of progress."""


@cli.command()
def download(
    model_uri: Annotated[str, typer.Option(help="owner/name, hf://, s3://, gs://, tos://, https:// ...")],
    local_dir: Annotated[Path | None, typer.Option(help="Without it: DOWNLOADER_LOCAL_DIR.")] = None,
    model_name: Annotated[str, typer.Option(help="Of the directory; empty: the URI's last part.")] = "",
    enable_progress_bar: Annotated[bool, typer.Option("--enable-progress-bar", help="Say how far it is.")] = False,
    download_extra_config: Annotated[str, typer.Option(help="JSON: credentials, and AIBrix's options.")] = "{}",
) -> None:
    """Download a model: parallel, resumed where an earlier try ended, checked, and there only when it is whole."""
    try:
        settings = settings_from(os.environ)
        artifact = artifact_named(model_uri)
        credentials = _options(download_extra_config)
        root = local_dir or settings.model_directory
        name = directory_name(artifact, model_name)
        path = asyncio.run(_download(settings, artifact, root, name, credentials, shown=enable_progress_bar))
    except (RuntimeSettingsError, DownloadError, ValueError) as error:
        sys.stderr.write(f"aibrix_download: {error}\n")
        raise typer.Exit(1) from None
    sys.stdout.write(f"{path}\n")


def _options(text: str) -> dict[str, str]:
    found = json.loads(text)
    if isinstance(found, dict):
        return {str(key): str(value) for key, value in found.items()}
    raise ValueError("--download-extra-config must be a JSON object")


async def _download(
    settings: RuntimeSettings, artifact: Artifact, root: Path, name: str, credentials: dict[str, str], *, shown: bool
) -> Path:
    if artifact.source == "path":
        return local_directory(artifact)
    force = settings.force or credentials.get("force_download", "").lower() == "true"
    downloads = Downloads(replace(settings, force=force))
    task = downloads.start(artifact, root, name, credentials)
    while not task.done():
        await asyncio.wait([task], timeout=_SHOWN_SECONDS)
        one = downloads.model(root, name)
        if shown and one.total_bytes:
            sys.stderr.write(f"{name}: {one.done_bytes} of {one.total_bytes} bytes\n")
    return await task


def main() -> None:
    """Entry point of the console script."""
    cli()
