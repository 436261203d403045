"""The gateway plugin: everything that talks to Envoy, to engines, to users and to operators."""

from __future__ import annotations

from functools import cache
from importlib import metadata
from pathlib import Path


@cache
def plugin_version() -> str:
    """Of this very package: as it was installed, or as its clone says, which the image is."""
    try:
        return metadata.version("gateway-plugin")
    except metadata.PackageNotFoundError:
        import tomllib  # noqa: PLC0415 - hardly ever

        file = Path(__file__).parent.parent / "pyproject.toml"
        return str(tomllib.loads(file.read_text())["project"]["version"]) if file.is_file() else "unknown"
