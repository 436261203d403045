"""What the process says when it cannot start, and that it starts and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.chain.processes import Process, script

ENDPOINTS = "models: [{name: m, endpoints: ['127.0.0.1:9']}]"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A working environment on free ports."""
    ports = Ports(usual=False)
    endpoints = tmp_path / "endpoints.yaml"
    endpoints.write_text(ENDPOINTS)
    return {
        "GATEWAY_BIND_HOST": "127.0.0.1",
        "GATEWAY_GRPC_PORT": str(ports.pick(1)),
        "GATEWAY_OPS_PORT": str(ports.pick(1)),
        "GATEWAY_API_PORT": str(ports.pick(1)),
        "GATEWAY_ENDPOINTS_FILE": str(endpoints),
        "GATEWAY_REDIS_URL": "",
    }


async def failing_start(env: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec(
        script("gateway-plugin"),
        "serve",
        env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await asyncio.wait_for(process.communicate(), 50)
    text = (stdout + stderr).decode()
    assert process.returncode == 1, text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize("port", ["GATEWAY_GRPC_PORT", "GATEWAY_OPS_PORT", "GATEWAY_API_PORT"])
async def test_a_taken_port(env: dict[str, str], port: str):
    with socket.create_server(("127.0.0.1", int(env[port]))):
        text = await failing_start(env)
    assert f"127.0.0.1:{env[port]} is taken" in text
    assert port in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"GATEWAY_GRPC_PORT": "many"}, ["grpc_port = 'many'", "allowed: 1 to 65535"]),
        ({"GATEWAY_DEFAULT_STRATEGY": "best"}, ["default_strategy = 'best'", "allowed: least-busy-time, "]),
        ({"GATEWAY_ENDPOINTS_FILE": ""}, ["endpoints_file", "GATEWAY_ENDPOINTS_FILE"]),
        ({"GATEWAY_ENDPOINTS_FILE": "/nowhere.yaml"}, ["/nowhere.yaml", "missing"]),
        (
            {"GATEWAY_REDIS_URL": "redis://:hunter2@127.0.0.1:1", "GATEWAY_STORE_DOWN": "closed"},
            ["redis cannot be reached", "127.0.0.1:1"],
        ),
        ({"GATEWAY_REDIS_URL": "ftp://x"}, ["redis.url"]),
        (
            {"GATEWAY_GRPC_TLS_CERT_FILE": "/no.crt", "GATEWAY_GRPC_TLS_KEY_FILE": "/no.key"},
            ["tls.cert_file: /no.crt, /no.key", "No such file"],
        ),
        ({"GATEWAY_BIND_HOST": "203.0.113.7"}, ["cannot listen on 203.0.113.7"]),
    ],
)
async def test_bad_configuration(env: dict[str, str], change: dict[str, str], words: list[str]):
    text = await failing_start(env | change)
    for word in words:
        assert word in text
    assert "hunter2" not in text


async def test_a_bad_endpoints_file(env: dict[str, str], tmp_path: Path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("models: [{name: m, endpoints: ['h:99999']}]")
    text = await failing_start(env | {"GATEWAY_ENDPOINTS_FILE": str(bad)})
    assert "models[0].endpoints[0]" in text
    assert "99999" in text


async def test_it_starts_and_stops_cleanly(env: dict[str, str], tmp_path: Path):
    process = await Process.start("plugin", [script("gateway-plugin"), "serve"], tmp_path, env)
    await process.wait_ready(f"http://127.0.0.1:{env['GATEWAY_OPS_PORT']}/readyz")
    await process.stop()
    log = process.log.read_text()
    assert "serving ext_proc on 127.0.0.1:" in log
    assert "Traceback" not in log


async def test_it_starts_without_its_store_and_says_so(env: dict[str, str], tmp_path: Path):
    argv = [script("gateway-plugin"), "serve"]
    process = await Process.start("plugin", argv, tmp_path, env | {"GATEWAY_REDIS_URL": "redis://127.0.0.1:1"})
    await process.wait_ready(f"http://127.0.0.1:{env['GATEWAY_OPS_PORT']}/readyz")
    await process.stop()
    assert "redis cannot be reached: redis://127.0.0.1:1" in process.log.read_text()


async def test_config_shows_values_and_origins(env: dict[str, str]):
    process = await asyncio.create_subprocess_exec(
        script("gateway-plugin"),
        "config",
        env={**os.environ, **env, "GATEWAY_DEFAULT_RPM": "7", "COLUMNS": "200", "REDIS_PASSWORD": "hunter2"},
        stdout=asyncio.subprocess.PIPE,
    )
    stdout, _ = await asyncio.wait_for(process.communicate(), 50)
    line = next(line for line in stdout.decode().splitlines() if line.strip().startswith("users.default_rpm"))
    assert "7" in line
    assert "environment GATEWAY_DEFAULT_RPM" in line
    assert "hunter2" not in stdout.decode()


async def test_settings_are_read_again_at_sighup_and_a_bad_file_is_told(env: dict[str, str], tmp_path: Path):
    config = tmp_path / "gateway.yaml"
    config.write_text("users: {default_rpm: 100}\n")
    process = await Process.start("plugin", [script("gateway-plugin"), "serve", "-c", str(config)], tmp_path, env)
    ready = f"http://127.0.0.1:{env['GATEWAY_OPS_PORT']}/readyz"

    async def told(words: str) -> None:
        async with asyncio.timeout(20):
            text = process.log.read_text()
            while words not in text:
                await asyncio.sleep(0.05)
                text = process.log.read_text()

    try:
        await process.wait_ready(ready)
        config.write_text("users: {default_rpm: 7}\n")
        os.kill(process.pid, signal.SIGHUP)
        await told("a setting has changed setting=users.default_rpm before=100 now=7")
        config.write_text("users: {default_rmp: 8}\n")
        await told("did you mean users.default_rpm?")
        async with aiohttp.ClientSession() as session, session.get(ready) as answer:
            checks = (await answer.json())["checks"]
        assert answer.status == 200, "the last good one is in effect"
        assert "users.default_rmp" in checks["configuration"]
    finally:
        await process.stop()
    assert process.running is False
