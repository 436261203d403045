"""The two configurations that tests of the chain run on: ours, and what Envoy Gateway makes of deploy/envoy/gateway."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from gateway_plugin.tools.envoy_config.process import envoy_binary

TEMPLATES: dict[str, Path | None] = {
    "standalone": None,
    "envoy_gateway": Path(__file__).parents[1] / "deploy/envoy/gateway-xds/templates",
}
OLDEST = {"standalone": (1, 36), "envoy_gateway": (1, 39)}
"""Releases of Envoy; 1.39 is the one that Envoy Gateway 1.9 runs."""


def templates_of(flavour: str) -> Path | None:
    """What to render; skips the test when this Envoy is too old for it."""
    if envoy_release() < OLDEST[flavour]:
        pytest.skip(f"{flavour} needs Envoy {'.'.join(map(str, OLDEST[flavour]))}")
    return TEMPLATES[flavour]


@cache
def envoy_release() -> tuple[int, int]:
    """Major and minor version of the Envoy that tests run."""
    printed = subprocess.run([envoy_binary(), "--version"], capture_output=True, text=True, timeout=30, check=True)
    found = re.search(r"/(\d+)\.(\d+)\.\d+", printed.stdout)
    assert found is not None, printed.stdout
    return int(found[1]), int(found[2])
