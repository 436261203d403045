"""`envoy --mode validate` accepts what the renderer writes, without a warning about deprecated fields."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway_plugin.tools.envoy_config.model import EnvoyConfig, Model
from gateway_plugin.tools.envoy_config.process import envoy_binary
from gateway_plugin.tools.envoy_config.render import write
from tests.envoy_flavours import templates_of

pytestmark = pytest.mark.envoy

ROOT = Path(__file__).parents[3]
MODELS = (Model("a/b", ("10.0.0.1:8000", "[::1]:8000")), Model('"q" #', ("localhost:8000",)), Model("none", ()))
CONFIGS = {
    "default": EnvoyConfig(),
    "models": EnvoyConfig(models=MODELS),
    "everything": EnvoyConfig(models=MODELS, plugin_host="::1", fail_open=True, log_path="/dev/stdout"),
    "plugin by name": EnvoyConfig(plugin_host="localhost", accounting="none"),
}


async def validate(file: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        envoy_binary(),
        *("--mode", "validate", "-c", str(file), "-l", "warn"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, output.decode()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
async def test_rendered(config: EnvoyConfig, tmp_path: Path) -> None:
    write(config, tmp_path)
    status, output = await validate(tmp_path / "envoy.yaml")
    assert (status, "deprecated" in output.lower()) == (0, False), output


async def test_envoy_gateways_xds(tmp_path: Path) -> None:
    # Envoy Gateway 1.9 itself writes a field that Envoy 1.40 calls deprecated.
    write(EnvoyConfig(models=MODELS, templates=templates_of("envoy_gateway")), tmp_path)
    status, output = await validate(tmp_path / "envoy.yaml")
    assert status == 0, output


async def test_the_example() -> None:
    status, output = await validate(ROOT / "deploy/envoy/standalone/envoy.yaml")
    assert (status, "deprecated" in output.lower()) == (0, False), output
