"""An adapter from its artifact into the engine: fetched whole, looked at, and only then loaded."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING

from gateway_plugin.runtime.engine_side import EngineSideError
from gateway_plugin.runtime.places import artifact_named
from gateway_plugin.runtime.remote_files import DownloadError
from orchestration.adapters.fitness import unfit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway_plugin.runtime.downloads import Downloads
    from gateway_plugin.runtime.engine_side import EngineAnswer, EngineSide
    from gateway_plugin.runtime.runtime_settings import RuntimeSettings
    from orchestration.adapters.artifact import Artifact

CONFIG = "adapter_config.json"
_MOST_CREDENTIAL_BYTES = 1 << 20
"""Of a Secret: Kubernetes' own bound."""


class AdapterLoading:
    """The directory of an adapter has its name and its version's identity, so a new version never mixes with an old."""

    def __init__(self, settings: RuntimeSettings, downloads: Downloads, engine: EngineSide) -> None:
        self._settings, self._downloads, self._engine = settings, downloads, engine

    async def load(self, name: str, url: str, credentials: Mapping[str, str]) -> tuple[str, EngineAnswer]:
        """The path that the engine was given, and its answer. DownloadError, EngineSideError."""
        artifact = artifact_named(url)
        path = await self._local(name, artifact, credentials)
        await asyncio.to_thread(check_adapter, path)
        try:
            return str(path), await self._engine.load(name, str(path))
        except EngineSideError as error:
            own = artifact.engine_path
            if own is None or artifact.source == "path" or not _says_absent(error):
                raise EngineSideError(self._hint(error, path), error.status) from None
        # The engine does not see our directory, but it can fetch this one by itself.
        return own, await self._engine.load(name, own)

    async def _local(self, name: str, artifact: Artifact, credentials: Mapping[str, str]) -> Path:
        root = self._settings.adapter_directory
        if artifact.source == "path":
            return type(root)(artifact.location)
        directory = f"{directory_part(name)}-{artifact.identity}"
        return await self._downloads.fetch(artifact, root, directory, credentials)

    def _hint(self, error: EngineSideError, path: Path) -> str:
        if not _says_absent(error):
            return str(error)
        return f"{error} ({path} is there for the sidecar: do both containers mount the same volume?)"

    async def clean(self, name: str) -> None:
        """Removes what was fetched for an adapter, of all its versions."""
        root, prefix = self._settings.adapter_directory, f"{directory_part(name)}-"
        for path in root.glob(f"{prefix}*") if root.is_dir() else ():
            if re.fullmatch(r"[0-9a-f]{12}", path.name.removeprefix(prefix)):
                await self._downloads.remove(root, path.name)

    def credentials(self, secret: str | None, sent: Mapping[str, str] | None) -> dict[str, str]:
        """A mounted Secret's keys, and over them what was sent. DownloadError when the Secret is not mounted."""
        found: dict[str, str] = {}
        if secret:
            directory = self._settings.credentials_directory / secret
            if not directory.is_dir():
                raise DownloadError(f"the Secret {secret!r} is not mounted at {directory}", status=404)
            for path in directory.iterdir():
                if path.is_file() and path.stat().st_size <= _MOST_CREDENTIAL_BYTES:
                    found[path.name] = path.read_text().strip()
        return found | dict(sent or {})


def check_adapter(path: Path) -> None:
    """DownloadError unless it is an adapter that engines can load."""
    try:
        config = json.loads((path / CONFIG).read_text())
    except FileNotFoundError:
        raise DownloadError(f"{path}: there is no {CONFIG}, so it is no adapter", status=404) from None
    except (OSError, ValueError) as error:
        raise DownloadError(f"{path}/{CONFIG} cannot be read: {error}", status=400) from None
    problem = unfit(config if isinstance(config, dict) else {}, (), None)
    if problem is not None:
        raise DownloadError(f"{path}: {problem.message}", status=400)


def directory_part(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip(".-") or "adapter"


def _says_absent(error: EngineSideError) -> bool:
    words = str(error).lower()
    return error.status == 404 or "no adapter found" in words or "does not exist" in words or "no such file" in words
