"""Where a request goes, and what its client is told, in a real Envoy."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from tests.integration.envoy_config.conftest import Chain, Pod

pytestmark = pytest.mark.envoy

COUNTS = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "cached_tokens": 8}
SHOWN = ("request-id", "routing-strategy", "target-pod", "target-pod-ip", "x-went-into-req-headers")


def shown(headers: dict[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in SHOWN if name in headers}


async def two_pods(chain: Chain) -> tuple[Pod, Pod]:
    first, second = await chain.pod(), await chain.pod()
    chain.plugin.pods = {first.address: "first", second.address: "second"}
    return first, second


async def test_the_chosen_pod_serves_and_is_named(chain: Chain) -> None:
    first, second = await two_pods(chain)
    chain.plugin.target = f"{second.address},{first.address}"
    await chain.start(first.address, second.address)
    for _ in range(4):
        status, headers, body = await chain.chat()
        assert (status, json.loads(body)["served_by"]) == (200, second.address)
    assert shown(headers) == {
        "request-id": "r1",
        "routing-strategy": "random",
        "target-pod": "second",
        "target-pod-ip": second.address,
        "x-went-into-req-headers": "true",
    }


async def test_without_a_strategy_envoy_balances_and_no_pod_is_shown(chain: Chain) -> None:
    first, second = await two_pods(chain)
    await chain.start(first.address, second.address)
    for _ in range(20):
        status, headers, _ = await chain.chat()
        assert (status, shown(headers)) == (200, {"request-id": "r1", "x-went-into-req-headers": "true"})
    assert first.seen
    assert second.seen


async def test_a_dead_candidate_is_retried_on_the_next_which_is_named(chain: Chain) -> None:
    first, second = await two_pods(chain)
    chain.plugin.target = f"{first.address},{second.address}"
    await chain.start(first.address, second.address)
    await first.stop()
    status, headers, _ = await chain.chat()
    assert (status, headers["target-pod"], headers["target-pod-ip"]) == (200, "second", second.address)
    entry = await chain.log_entry()
    assert entry.common_properties.upstream_request_attempt_count == 2
    assert entry.common_properties.upstream_remote_address.socket_address.port_value == int(second.address[10:])


async def test_control_headers_of_a_client_are_dropped(chain: Chain) -> None:
    first, second = await two_pods(chain)
    chain.plugin.target = first.address
    await chain.start(first.address, second.address)
    spoofed = dict.fromkeys(("target_pod", "target_pod_ip", "request_id", "x_went_into_req_headers"), second.address)
    await chain.chat(**spoofed, x_envoy_upstream_rq_timeout_ms="1", x_request_id="mine", user="ann")
    seen = chain.plugin.seen[0]
    assert not seen.keys() & {"target-pod", "target-pod-ip", "request-id", "x-went-into-req-headers"}
    assert "x-envoy-upstream-rq-timeout-ms" not in seen
    assert seen["x-request-id"] == "mine", "the plugin judges whether it is well formed"
    assert seen["user"] == "ann"
    assert first.seen[0]["target-pod"] == first.address
    assert second.seen == []


async def test_fail_open_balances_and_ignores_a_spoofed_pod(chain: Chain) -> None:
    first, second = await two_pods(chain)
    await chain.start(first.address, fail_open=True)
    await chain.plugin.stop()
    status, headers, _ = await chain.chat(model="meta/llama-3.1", target_pod=second.address)
    assert (status, shown(headers)) == (200, {})
    assert "target-pod" not in first.seen[0]
    assert second.seen == []


async def test_a_stream_passes_unbuffered_and_its_usage_is_logged(chain: Chain) -> None:
    pod, _ = await two_pods(chain)
    chain.plugin.target = pod.address
    await chain.start(pod.address)
    async with chain.client.post("/v1/chat/completions", json={"stream": True}) as answer:
        assert answer.headers["target-pod"] == "first"
        first_chunk = await asyncio.wait_for(answer.content.readany(), 5)
        assert b"one" in first_chunk
        pod.go.set()
        assert (await answer.content.read()).endswith(b"data: [DONE]\n\n")
    metadata = (await chain.log_entry()).common_properties.metadata.filter_metadata
    usage = MessageToDict(metadata["gateway_plugin.usage"])
    assert time.time() - 60 < usage.pop("first_body_at_ms") / 1e3 <= time.time()
    assert usage == {"tokens": COUNTS}
    assert MessageToDict(metadata["gateway_plugin"])["charge_id"] == "c1"


async def test_the_plugin_learns_of_the_end_of_an_exchange(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address)

    async def ended() -> bool:
        return chain.plugin.open_exchanges == 0

    async with chain.client.post("/v1/chat/completions", json={"stream": True}) as answer:
        await answer.content.readany()
        assert chain.plugin.open_exchanges == 1
        answer.close()
    await chain.until(ended)


async def test_json_usage_is_logged_and_the_body_is_untouched(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address)
    _, headers, body = await chain.chat()
    assert int(headers["content-length"]) == len(body)
    metadata = (await chain.log_entry()).common_properties.metadata.filter_metadata
    assert MessageToDict(metadata["gateway_plugin.usage"]) == {"tokens": COUNTS}


async def test_without_accounting_nothing_is_logged(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address, accounting="none")
    assert (await chain.chat())[0] == 200
    await chain.envoy.stop()
    assert chain.plugin.entries.empty()


async def test_a_long_body_passes(chain: Chain) -> None:
    pod = await chain.pod()
    await chain.start(pod.address)
    status, _, _ = await chain.chat({"text": "x" * 10_000_000})
    assert status == 200
    assert pod.body_bytes > 10_000_000


@pytest.mark.parametrize(
    "script",
    [
        "function envoy_on_response(handle) error('at once') end",
        "function envoy_on_response(handle) for c in handle:bodyChunks() do error('midway') end end",
    ],
)
async def test_a_failing_script_leaves_the_response_alone(chain: Chain, script: str) -> None:
    pod = await chain.pod()
    lua = chain.directory / "broken.lua"
    lua.write_text(script)
    await chain.start(pod.address, lua_path=str(lua))
    status, _, body = await chain.chat()
    assert (status, json.loads(body)["served_by"]) == (200, pod.address)
    assert "script log: " in chain.envoy.log_tail()
