"""What docs/recipes.md tells to write: addresses are asked as their clients ask, nginx runs, YAML is valid."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
import yaml

from gateway_plugin.settings.loading import load
from gateway_plugin.tools.chain.ports import Ports
from gateway_plugin.tools.chain.stack import StackOptions

if TYPE_CHECKING:
    from tests.integration.chain.conftest import Gateway, OpenGateway

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy]

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
HOST = "http://gateway.example.com"
MESSAGES: Any = [{"role": "user", "content": "Hello"}]
CHAT: Any = {"model": "m", "messages": MESSAGES, "max_tokens": 3}
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


def blocks(language: str) -> list[str]:
    """The page's code."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def bases(name: str) -> set[str]:
    """The paths of the addresses that the page gives."""
    return set(
        re.findall(rf"^[\w ]*{name}[\w ]*[=:] ?{HOST}(\S*)$", "".join(blocks("sh") + blocks("yaml")), re.MULTILINE)
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keyed(open_gateway: OpenGateway) -> AsyncIterator[tuple[Gateway, str]]:
    """A gateway that takes keys, and a user's key."""
    options = StackOptions({"m": 1}, redis=False, speed=100, plugin_environment={"GATEWAY_API_KEYS": "true"})
    async with open_gateway(options) as gateway:
        await gateway.create_user("ann", rpm=1000)
        answer = await gateway.http.post(f"{gateway.stack.api_url}/v1/users/ann/keys", json={"label": "recipes"})
        yield gateway, answer.json()["secret"]


async def test_clients_of_openai(keyed: tuple[Gateway, str]):
    gateway, key = keyed
    assert bases("OPENAI") == bases("API endpoint") == {"/v1"}
    url, headers = f"{gateway.stack.gateway_url}/v1", {"authorization": f"Bearer {key}"}
    models = await gateway.http.get(f"{url}/models", headers=headers)
    assert [model["id"] for model in models.json()["data"]] == ["m"]
    answer = await gateway.http.post(f"{url}/chat/completions", json=CHAT, headers=headers)
    assert (answer.status_code, answer.headers["x-ratelimit-limit-requests"]) == (200, "1000")


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
async def test_clients_of_anthropic(keyed: tuple[Gateway, str], name: str):
    gateway, key = keyed
    assert bases("ANTHROPIC") == {""}
    headers = {name: f"Bearer {key}" if name == "authorization" else key, "anthropic-version": "2023-06-01"}
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        answer = await gateway.http.post(f"{gateway.stack.gateway_url}{path}?beta=true", json=CHAT, headers=headers)
        assert (answer.status_code, answer.headers["x-ratelimit-limit-requests"]) == (200, "1000"), path


async def test_a_proxy_that_speaks_http_1_0(keyed: tuple[Gateway, str]):
    """As nginx does by itself: without chunks, and the end of the connection ends the stream."""
    gateway, key = keyed
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.stack.ports.gateway)
    body = b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "stream": true}'
    head = (
        f"POST /v1/chat/completions HTTP/1.0\r\nHost: gateway\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    )
    writer.write(f"{head}Content-Type: application/json\r\nAuthorization: Bearer {key}\r\n\r\n".encode() + body)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.split(b" ", 2)[1] == b"200"
    assert b"chunked" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


@pytest.mark.skipif(NGINX is None, reason="no nginx here")
@pytest.mark.parametrize("bare", [True, False], ids=["bare proxy_pass", "as the page says"])
async def test_nginx_in_front(keyed: tuple[Gateway, str], tmp_path: Path, bare: bool):
    gateway, key = keyed
    port = Ports(usual=False).pick(8080)
    process = await _nginx(tmp_path, _config(port, gateway.stack.ports.gateway, bare=bare))
    try:
        url, headers = f"http://127.0.0.1:{port}", {"authorization": f"Bearer {key}"}
        retrying = httpx.AsyncHTTPTransport(retries=5)
        async with httpx.AsyncClient(transport=retrying, timeout=20, headers=headers) as http:
            answer = await http.post(f"{url}/v1/chat/completions", json=CHAT | {"stream": True})
            assert answer.text.endswith("data: [DONE]\n\n")
            assert (await http.get(f"{url}/v1/models")).status_code == 200
            if not bare:
                azure = f"{url}/openai/deployments/m/chat/completions?api-version=2024-10-21"
                assert (await http.post(azure, json=CHAT)).status_code == 200
    finally:
        process.terminate()
        await process.wait()


def _config(port: int, gateway_port: int, *, bare: bool) -> str:
    azure, server = blocks("nginx")
    if bare:
        server = f"server {{ listen 80; location / {{ proxy_pass http://127.0.0.1:{gateway_port}; }} }}"
    else:
        server = server.replace("    location / {", azure + "    location / {")
    server = server.replace("gateway.example.com:10080", f"127.0.0.1:{gateway_port}")
    server = server.replace("listen 80;", f"listen 127.0.0.1:{port};")
    paths = "".join(f"{name}_temp_path {name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = "daemon off; master_process off; pid nginx.pid; error_log stderr; events {}"
    return f"{main} http {{ access_log off; {paths} {server} }}"


async def _nginx(directory: Path, config: str) -> asyncio.subprocess.Process:
    assert NGINX is not None
    (directory / "nginx.conf").write_text(config)
    options = ("-p", str(directory), "-c", str(directory / "nginx.conf"), "-e", "stderr")
    return await asyncio.create_subprocess_exec(NGINX, *options)


async def test_yaml_of_proxies():
    dify, values, ingress = map(yaml.safe_load, blocks("yaml"))
    assert dify["API Key"] == "gw-key"
    environ = {f"GATEWAY_{name.upper()}": str(value) for name, value in values["plugin"]["settings"].items()}
    identity = load(environ=environ).settings.identity
    assert (identity.anonymous, identity.trusted_hops) == ("limit", 1)
    assert ingress["kind"] == "Ingress"
    assert all(isinstance(value, str) for value in ingress["metadata"]["annotations"].values())
