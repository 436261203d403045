"""One request is one trace: client, Envoy, the plugin's decision and its steps, the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from gateway_plugin.tools.chain.stack import StackOptions
from gateway_plugin.tools.envoy_config.model import Address
from tests.integration.chain.conftest import Gateway, OpenGateway
from tests.integration.chain.trace_collector import Collector, Span, collecting

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.envoy, pytest.mark.timeout(150)]

CANARY = "canary-7d1e"
ENVOY, PLUGIN = "gateway-envoy", "gateway-plugin"


@dataclass
class Traced:
    gateway: Gateway
    collector: Collector

    async def spans_of(self, trace: str, wanted: int) -> list[Span]:
        """Once so many of the trace have come."""
        spans = await self.collector.until(lambda all_: sum(one.trace == trace for one in all_) >= wanted)
        return [one for one in spans if one.trace == trace]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced(open_gateway: OpenGateway, flavour: str) -> AsyncIterator[Traced]:
    if flavour != "standalone":
        pytest.skip("the manifests' tracer speaks gRPC; what the chart says of it is tested with the chart")
    async with collecting() as collector:
        options = StackOptions(
            {"m": 2},
            redis=False,
            speed=10,
            envoy={"traces": Address("127.0.0.1", collector.port), "trace_sample_ratio": 0.0},
            plugin_environment={
                "GATEWAY_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}",
                "GATEWAY_TRACE_SAMPLE_RATIO": "0",
            },
        )
        async with open_gateway(options) as gateway:
            yield Traced(gateway, collector)


def traceparent(trace: str, *, sampled: bool = True) -> str:
    return f"00-{trace}-00f067aa0ba902b7-{'01' if sampled else '00'}"


async def test_one_trace_goes_through_all_four(traced: Traced):
    gateway, trace = traced.gateway, "4bf92f3577b34da6a3ce929d0e0e4736"
    await gateway.create_user("tracer", rpm=100)
    body = {"model": "m", "messages": [{"role": "user", "content": CANARY}], "max_tokens": 4}
    answer = await gateway.post(
        body, user="tracer", traceparent=traceparent(trace), routing_strategy="least-request",
        x_request_id="traced-1", authorization=f"Bearer {CANARY}",
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    # Envoy: the request, the plugin's call, the pod's request; the plugin: a decision with four steps, and the end.
    spans = {f"{one.service}/{one.name}": one for one in await traced.spans_of(trace, 9)}
    (client,) = [one for one in spans.values() if one.parent == "00f067aa0ba902b7"]
    assert client.service == ENVOY
    decide = spans[f"{PLUGIN}/decide"]
    calls = {one.id: one for one in spans.values() if one.service == ENVOY and one.parent == client.id}
    assert decide.parent in calls
    assert decide.attributes["gen_ai.operation.name"] == "chat"
    assert decide.attributes["gen_ai.request.model"] == "m"
    assert (decide.attributes["user.name"], decide.attributes["gateway.request_id"]) == ("tracer", "traced-1")
    for step in ("identify", "receive_body", "admit", "choose"):
        assert spans[f"{PLUGIN}/{step}"].parent == decide.id
    assert spans[f"{PLUGIN}/admit"].attributes["gateway.limiter.outcome"] == "admitted"
    chosen = spans[f"{PLUGIN}/choose"]
    assert chosen.attributes["gateway.strategy"] == "least-request"
    (first, runner_up) = [said for name, said in chosen.events if name == "candidate"]
    assert first["gateway.pod"] == answer.headers["target-pod-ip"]
    assert first["gateway.cost"] <= runner_up["gateway.cost"]
    end, usage = spans[f"{PLUGIN}/chat m"], answer.json()["usage"]
    assert end.parent == decide.id
    assert end.seconds > 0
    assert int(end.attributes["gen_ai.usage.input_tokens"]) == usage["prompt_tokens"]
    assert int(end.attributes["gen_ai.usage.output_tokens"]) == usage["completion_tokens"]
    seen = await gateway.last_headers(answer.headers["target-pod"])
    _, engine_trace, engine_parent, _ = seen["traceparent"].split("-")
    assert engine_trace == trace
    assert spans[next(name for name, one in spans.items() if one.id == engine_parent)].service == ENVOY
    assert not any(CANARY.encode() in raw for raw in traced.collector.raw)


async def test_a_refusal_is_traced(traced: Traced):
    trace = "4bf92f3577b34da6a3ce929d0e0e4737"
    answer = await traced.gateway.post(
        {"model": "nobody-serves", "messages": []}, traceparent=traceparent(trace), x_request_id="traced-2"
    )
    assert answer.status_code == 400
    spans = await traced.collector.until(lambda all_: any(one.name == "decide" and one.trace == trace for one in all_))
    decide = next(one for one in spans if one.name == "decide" and one.trace == trace)
    assert decide.failed
    assert decide.attributes["gateway.request_id"] == "traced-2"
    assert decide.attributes["gen_ai.request.model"] == "nobody-serves"


async def test_what_the_parent_does_not_sample_is_not_traced(traced: Traced):
    trace, marker = "4bf92f3577b34da6a3ce929d0e0e4738", "4bf92f3577b34da6a3ce929d0e0e4739"
    assert (await traced.gateway.post(traceparent=traceparent(trace, sampled=False))).status_code == 200
    assert (await traced.gateway.post()).status_code == 200  # the ratio is 0
    assert (await traced.gateway.post(traceparent=traceparent(marker))).status_code == 200
    # What comes later has come: all before it would have, too.
    await traced.collector.until(lambda all_: any(one.name == "chat m" and one.trace == marker for one in all_))
    ours = {one.trace for one in traced.collector.spans if one.service == PLUGIN}
    assert trace not in ours
    assert ours <= {f"4bf92f3577b34da6a3ce929d0e0e473{digit}" for digit in "679"}


async def test_without_a_tracing_envoy_the_plugin_joins_the_client_and_the_engine(open_gateway: OpenGateway):
    trace = "4bf92f3577b34da6a3ce929d0e0e473a"
    async with collecting() as collector:
        there = {"GATEWAY_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.port}"}
        options = StackOptions({"m": 1}, redis=False, speed=10, plugin_environment=there)
        async with open_gateway(options) as gateway:
            answer = await gateway.post(traceparent=traceparent(trace))
            assert answer.status_code == 200
            seen = (await gateway.last_headers("m-0"))["traceparent"].split("-")
        # Stopping sends what is left.
        spans = {one.name: one for one in await collector.until(lambda all_: any(o.name == "decide" for o in all_))}
    assert spans["decide"].parent == "00f067aa0ba902b7"
    assert seen[1:3] == [trace, spans["decide"].id]
