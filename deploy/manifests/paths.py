"""Where everything is."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/gateway-plugin"
GATEWAY = ROOT / "deploy/envoy/gateway"
MONITORING = GATEWAY / "monitoring"
SAMPLES = GATEWAY / "samples"
XDS = ROOT / "deploy/envoy/gateway-xds"
LUA = ROOT / "deploy/envoy/lua/gateway.lua"

RELEASE = "gateway-plugin"
NAMESPACE = "gateway-plugin-system"

CRDS = Path(os.environ.get("GATEWAY_CRDS", ROOT.parent / "shared/crds"))
"""Schemas of Envoy Gateway 1.9 and the Gateway API. They are not in the repository: where they are, tests use them."""
