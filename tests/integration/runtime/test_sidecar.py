"""The sidecar as a container would start it, beside a simulated engine: probes, adapters, models, metrics, drain."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml

import simulator
from simulator import EngineConfig, SimulatedPod
from tests.integration.runtime.weights import Shop, ShopServer, free_port, sha256, weights

CONTAINER = yaml.safe_load("""
name: aibrix-runtime
image: aibrix/runtime:v0.2.1
command:
- aibrix_runtime
- --port
- "8080"
env:
- name: INFERENCE_ENGINE
  value: vllm
- name: INFERENCE_ENGINE_ENDPOINT
  value: http://localhost:8000
ports:
- containerPort: 8080
  protocol: TCP
livenessProbe:
  httpGet: {path: /healthz, port: 8080}
  initialDelaySeconds: 3
  periodSeconds: 2
readinessProbe:
  httpGet: {path: /ready, port: 8080}
  initialDelaySeconds: 5
  periodSeconds: 10
""")


def entry_point(name: str) -> str:
    """What pip installs under that name, as a command for this very interpreter."""
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    module = text.split(f'{name} = "', 1)[1].split(":", 1)[0]
    return f"from {module} import main; main()"


@asynccontextmanager
async def sidecar(engine_url: str, root: Path, **environment: str):
    """The seed's container, its command and variables, with another port and engine."""
    port, command = free_port(), list(CONTAINER["command"])
    command[command.index("8080")] = str(port)
    variables = {one["name"]: one["value"] for one in CONTAINER["env"]}
    variables["INFERENCE_ENGINE_ENDPOINT"] = engine_url
    variables |= {"DOWNLOADER_LOCAL_DIR": str(root / "models"), "ADAPTER_LOCAL_DIR": str(root / "adapters")}
    variables |= {"DOWNLOADER_RESERVE_BYTES": "0", **environment}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", entry_point(command[0]), *command[1:], env={**os.environ, **variables}
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(base_url=url) as client:
            await until(lambda: answers(client))
            yield client
    finally:
        process.terminate()
        await process.wait()


async def answers(client: aiohttp.ClientSession) -> bool:
    try:
        async with client.get(CONTAINER["livenessProbe"]["httpGet"]["path"]) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def until(what, seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not await what():  # noqa: ASYNC110 - of a process
            await asyncio.sleep(0.1)


async def call(client: aiohttp.ClientSession, path: str, body: Any = None) -> tuple[int, str]:
    method = "GET" if body is None else "POST"
    async with client.request(method, path, json=body) as response:
        return response.status, await response.text()


@asynccontextmanager
async def engine():
    running = await simulator.start(SimulatedPod(name="pod-1", model="base"), EngineConfig(), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{running.port}"
    finally:
        await running.stop()


def adapter_shop() -> Shop:
    config = json.dumps({"peft_type": "LORA", "r": 8}).encode()
    files = {"adapter_model.safetensors": weights(200_000), "adapter_config.json": config}
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in files.items()).encode()
    return Shop({**{f"/lora/{name}": data for name, data in files.items()}, "/lora/SHA256SUMS": sums})


async def test_adapters_come_and_go_over_it(tmp_path: Path):
    async with engine() as url, ShopServer(adapter_shop()) as shop, sidecar(url, tmp_path) as client:
        assert (await call(client, CONTAINER["readinessProbe"]["httpGet"]["path"]))[0] == 200
        status, text = await call(client, "/v1/lora_adapter/load", {"lora_name": "direct", "lora_path": "/somewhere"})
        assert (status, text) == (200, "Success: LoRA adapter 'direct' loaded successfully from '/somewhere'.")
        body = {"lora_name": "mine", "artifact_url": f"{shop}/lora/", "additional_config": {}}
        status, text = await call(client, "/v1/lora_adapter/load", body)
        assert status == 200, text
        path = Path(json.loads(text)["local_path"])
        assert (path / "adapter_model.safetensors").read_bytes() == weights(200_000)
        status, text = await call(client, "/v1/models")
        roots = {card["id"]: card["root"] for card in json.loads(text)["data"]}
        assert roots == {"base": "base", "direct": "/somewhere", "mine": str(path)}
        status, text = await call(client, "/v1/lora_adapter/unload", {"lora_name": "mine", "cleanup_local": True})
        assert json.loads(text)["status"] == "success"
        assert not path.exists()  # noqa: ASYNC240 - a test
        status, text = await call(client, "/v1/lora_adapter/unload", {"lora_name": "direct"})
        assert (status, text) == (200, "Success: LoRA adapter 'direct' removed successfully.")
        _, text = await call(client, "/v1/models")
        assert [card["id"] for card in json.loads(text)["data"]] == ["base"]


async def test_errors_say_whose_they_are(tmp_path: Path):
    shop = adapter_shop()
    async with engine() as url, ShopServer(shop) as web, sidecar(url, tmp_path) as client:

        async def refused(path: str, body: Any) -> tuple[int, str, str]:
            status, text = await call(client, path, body)
            found = json.loads(text)
            assert found["object"] == "error"
            assert found["code"] == status
            return status, found["type"], found["message"]

        load = "/v1/lora_adapter/load"
        assert (await refused(load, {"lora_name": "x", "lora_path": "/p", "what": 1}))[0] == 422
        assert (await refused(load, {"lora_name": "x"}))[0] == 422
        assert (await refused(load, {"lora_name": "../x", "lora_path": "/p"}))[0] == 422
        assert (await refused(load, {"lora_name": "x", "artifact_url": "ftp://h/x"}))[:2] == (400, "ValidationError")
        assert (await refused(load, {"lora_name": "x", "artifact_url": f"{web}/none/"}))[:2] == (404, "NotFoundError")
        status, _, words = await refused(load, {"lora_name": "x", "artifact_url": str(tmp_path)})
        assert status == 404
        assert "adapter_config.json" in words
        secret = {"lora_name": "x", "artifact_url": f"{web}/lora/", "credentials_secret": "absent"}
        assert "is not mounted" in (await refused(load, secret))[2]
        # The engine's own word: a base's name is no adapter's.
        assert (await refused(load, {"lora_name": "base", "lora_path": "/p"}))[0] == 400
        shop.files["/lora/adapter_model.safetensors"] = b"other bytes"
        assert "sha256" in (await refused(load, {"lora_name": "x", "artifact_url": f"{web}/lora/"}))[2]
        assert not list((tmp_path / "adapters").glob("x-*"))
        download = {"model_uri": f"{web}/lora/", "local_dir": "/etc"}
        assert (await refused("/v1/model/download", download))[0] == 400


async def test_a_model_is_downloaded_and_listed(tmp_path: Path):
    data = weights(1 << 20)
    shop = Shop({"/model.bin": data}, delay_seconds=0.02)
    async with engine() as url, ShopServer(shop) as web, sidecar(url, tmp_path) as client:
        body = {"model_uri": f"{web}/model.bin", "model_name": "m"}
        status, text = await call(client, "/v1/model/download", body)
        assert status == 200
        assert json.loads(text)["model_status"] == "downloading"

        async def cards() -> dict[str, Any]:
            _, listed = await call(client, "/v1/model/list")
            return {card["model_name"]: card for card in json.loads(listed)["data"]}

        async def there() -> bool:
            return bool((await cards())["m"]["model_status"] == "downloaded")

        await until(there)
        _, text = await call(client, "/v1/model/download", body)
        found = json.loads(text)
        assert found["model_status"] == "downloaded"
        assert Path(found["model_root_path"], "model.bin").read_bytes() == data  # noqa: ASYNC240 - a test
        assert shop.sent_bytes <= len(data) + 1
        await call(client, "/v1/model/download", {"model_uri": f"{web}/none.bin", "model_name": "n"})

        async def failed() -> bool:
            return "HTTP 404" in (await cards()).get("n", {}).get("error", "")

        await until(failed)


async def test_metrics_have_all_names(tmp_path: Path):
    async with engine() as url, sidecar(url, tmp_path) as client:
        status, page = await call(client, "/metrics/")
        assert status == 200
        lines = page.splitlines()
        assert any(line.startswith("vllm:num_requests_waiting{") for line in lines)
        for name in ("queue_size", "gpu_cache_usage_perc", "kv_cache_usage_ratio", "time_per_output_token_bucket"):
            assert any(line.startswith(f"aibrix:{name}{{") for line in lines), name
        assert 'aibrix:info{engine="vllm",version="0.6.1"} 1.0' in lines
        assert "aibrix:engine_up 1.0" in lines
        assert any(line.startswith('aibrix:api_request_total{endpoint="/healthz"') for line in lines)
        # One type for each family: a page that says two is refused by Prometheus.
        kinds = [line.split()[2] for line in lines if line.startswith("# TYPE")]
        assert len(kinds) == len(set(kinds))


async def test_without_an_engine_it_lives_and_is_not_ready(tmp_path: Path):
    async with sidecar(f"http://127.0.0.1:{free_port()}", tmp_path) as client:
        status, text = await call(client, "/ready")
        assert status == 503
        assert json.loads(text)["status"] == "not ready"
        assert (await call(client, "/healthz")) == (200, '{"status":"ok"}')
        assert "aibrix:engine_up 0.0" in (await call(client, "/metrics"))[1]
        status, text = await call(client, "/v1/models")
        assert json.loads(text)["type"] == "ConnectionError"


async def test_a_drained_pod_is_not_ready(tmp_path: Path):
    async with engine() as url, sidecar(url, tmp_path) as client:
        status, text = await call(client, "/v1/drain?seconds=5", {})
        assert (status, json.loads(text)) == (200, {"status": "drained", "idle": True})
        assert (await call(client, "/ready"))[0] == 503


async def test_a_wrong_variable_stops_the_start(tmp_path: Path):
    environment = {**os.environ, "DOWNLOADER_NUM_THREADS": "none"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", entry_point("aibrix_runtime"), env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, words = await process.communicate()
    assert process.returncode == 1
    assert "DOWNLOADER_NUM_THREADS='none': an int is wanted" in words.decode()
