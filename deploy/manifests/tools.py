"""Runs `helm`, `kustomize` (or `kubectl kustomize`) and `egctl`, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIMEOUT_SECONDS = 120


class ToolError(RuntimeError):
    """A tool is missing or failed."""


INSTALL = {
    "helm": "go install helm.sh/helm/v3/cmd/helm@v3.22.0",
    "kustomize": "go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1",
    "egctl": "go install github.com/envoyproxy/gateway/cmd/egctl@v1.9.0",
}
"""How to get each tool."""


def installed(name: str) -> bool:
    """Whether the tool can be run."""
    return _command(name) is not None


def run(name: str, *arguments: str | Path) -> str:
    """What the tool prints; raises ToolError."""
    command = _command(name)
    if command is None:
        raise ToolError(f"{name} is not on PATH; `{INSTALL[name]}` installs it")
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    if done.returncode:
        raise ToolError(f"{name} failed with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def _command(name: str) -> Sequence[str] | None:
    found = shutil.which(name)
    if found:
        return [found] if name != "kustomize" else [found, "build"]
    kubectl = shutil.which("kubectl") if name == "kustomize" else None
    return [kubectl, "kustomize"] if kubectl else None
