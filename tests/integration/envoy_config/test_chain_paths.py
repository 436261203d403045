"""Without the plugin, failing open: a pod sees the paths of the table of endpoints and no others, however written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway_plugin.endpoints.endpoint_table import ENDPOINTS, Answerer
from tests.integration.envoy_config.conftest import MODEL
from tests.raw_http import Answer, request, send

if TYPE_CHECKING:
    from tests.integration.envoy_config.conftest import Chain

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
NOT_IN_THE_TABLE = (
    *("/v1/load_lora_adapter", "/sleep", "/metrics", "/generate", "/generate/x", "/v1/models/../load_lora_adapter"),
    *(f"{CHAT}/batch", f"{CHAT}/", f"{CHAT};x=1", f"{CHAT}/..;/metrics", f"{CHAT}/%2e%2e/%2e%2e/load_lora_adapter"),
    *(f"{CHAT}/..%2f..%2fload_lora_adapter", f"{CHAT}%3fx", f"{CHAT}%00", "/v1/responses/..%2f..%2fmetrics"),
    *("/v1/responses/a/b", "/v1/responses/a/cancel/b", "/v1/realtime", "http://gateway/metrics", "*", "/v1/custom/x"),
)
KEY = "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="
UPGRADE = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", KEY)


async def sent(chain: Chain, method: str, path: str, *headers: str) -> Answer:
    return await send(chain.config.ports.listener, request(method, path, f"model: {MODEL}", *headers, body=b"{}"))


async def test_only_the_table_is_reached(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, fail_open=True, extra_paths=("/v1/custom",))
    await chain.plugin.stop()
    answers = [sent(chain, method, path) for path in NOT_IN_THE_TABLE for method in ("POST", "GET", "DELETE")]
    assert {answer.status for answer in await asyncio.gather(*answers)} <= {400, 404}
    assert pod.seen == []
    published = [row.path.replace("{id}", "resp_1") for row in ENDPOINTS if row.answerer is Answerer.POD]
    published += ["/v1/custom", "/v1/chat%2fcompletions", "/v1/x/../completions"]
    answers = [sent(chain, "POST", path) for path in published]
    assert {answer.status for answer in await asyncio.gather(*answers)} == {200}
    assert len(pod.seen) == len(published)


async def test_no_upgrade_reaches_a_pod(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, fail_open=True)
    await chain.plugin.stop()
    answer = await sent(chain, "GET", "/v1/responses", *UPGRADE)
    assert answer.status == 200, "a plain request"
    (seen,) = pod.seen
    assert "upgrade" not in seen
