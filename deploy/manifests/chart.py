"""The kustomization's resources are what the Helm chart renders at its default values.

The digest of the chart stands beside them, so that a test without Helm sees when they were not rendered anew.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import yaml

from deploy.manifests.documents import Object, parse
from deploy.manifests.paths import CHART, GATEWAY, MONITORING, NAMESPACE, RELEASE
from deploy.manifests.tools import run

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = GATEWAY / "chart.sha256"

_HEADER = "# Rendered from deploy/helm/gateway-plugin by `make manifests`; change it there.\n"
_SOURCE = re.compile(r"^---\n# Source: gateway-plugin/templates/(\S+)\n", re.MULTILINE)
_MONITORS = "servicemonitor.yaml"


def template(*values: str) -> str:
    """What `helm template` prints; `values` as in `--set`."""
    sets = [part for value in values for part in ("--set", value)]
    version = "--kube-version=1.36.0"  # without a cluster Helm assumes one of its own
    # Hooks are no objects of the installation: `helm test` makes them when it is asked to.
    return run("helm", "template", RELEASE, CHART, "--no-hooks", "--namespace", NAMESPACE, version, *sets)


def objects(*values: str) -> list[Object]:
    """The objects that the chart renders."""
    return parse(template(*values))


def stream_idle_timeout() -> str:
    """How long a stream may be silent, as the chart's values say."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return str(values["gateway"]["streamIdleTimeout"])


def rendered_files() -> dict[Path, str]:
    """Every generated file of the kustomization, and its text."""
    files: dict[Path, str] = {}
    for name, text in _by_template(template("serviceMonitor.enabled=true")).items():
        directory = MONITORING if name == _MONITORS else GATEWAY
        files[directory / name] = _HEADER + text
    return files | {DIGEST: digest() + "\n"}


def digest() -> str:
    """SHA-256 over the chart's files, links followed."""
    whole = hashlib.sha256()
    for path in sorted(path for path in CHART.rglob("*") if path.is_file()):
        content = path.read_bytes()
        whole.update(f"{path.relative_to(CHART)} {len(content)}\n".encode() + content)
    return whole.hexdigest()


def _by_template(text: str) -> dict[str, str]:
    # ["", name, text, name, text ...]; Helm sorts by kind, so one template comes in several pieces.
    pieces = _SOURCE.split("---\n" + text.removeprefix("---\n"))
    found: dict[str, list[str]] = {}
    for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
        lines = [line.rstrip() for line in body.strip("\n").split("\n")]
        found.setdefault(name, []).append("\n".join(lines) + "\n")
    return {name: "---\n".join(bodies) for name, bodies in found.items()}
