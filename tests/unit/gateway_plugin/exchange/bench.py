"""What tests of the exchange share: a bench of two pods, messages, and readers of replies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from gateway_plugin.exchange.collaborators import Services
from gateway_plugin.exchange.exchange import Exchange
from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.exchange.steps import Reply
from gateway_plugin.metrics.families import Metrics
from protos.ext_proc import ProcessingRequest, ProcessingResponse
from ratelimit import Decision, Limits, Outcome, Subject
from routing.pods.pod_table import PodTable
from routing.profiles import parse_profiles
from routing.router import Router
from routing.spec import ClusterState, PodSpec

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
LIMITS = Limits(3, 3000)
ADMITTED = Decision(Outcome.ADMITTED, LIMITS, 1.0, 40.0, 0.0, 40, 60.0, 59.5)


class Bench:
    """An exchange factory over two pods of model "m"; "empty" has none."""

    def __init__(self, config: dict[str, Any] | None = None, **rules: Any) -> None:
        self.pods = PodTable(lambda: 0.0)
        specs = tuple(
            PodSpec(f"pod-{i}", f"10.0.0.{i}:8000", ("m",), labels={"gpu": gpu}) for i, gpu in enumerate(("a10", "l4"))
        )
        configs = {"m": parse_profiles(config)} if config else {}
        self.pods.apply(ClusterState(specs, frozenset({"empty"}), configs))
        self.metrics = Metrics()
        self.rng = np.random.default_rng(1)
        self.router = Router(self.pods, self.rng, 2)
        self.refusals: dict[Subject, Decision] = {}
        self.services = Services(
            self.router,
            Rules(**rules),
            self.metrics,
            lambda: "id-1",
            lambda: 0.0,
            lambda user, _: self.refusals.get(user),
        )

    def exchange(self) -> Exchange:
        return Exchange(self.services)

    def inflight(self) -> float:
        return float(self.pods.view("m").inflight_requests.sum())

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def headers(end_of_stream: bool = False, /, **values: str) -> bytes:
    message = ProcessingRequest()
    message.request_headers.end_of_stream = end_of_stream
    defaults = {":method": "POST", ":path": "/v1/chat/completions", "content-type": "application/json"}
    for key, value in (defaults | {k.replace("_", "-"): v for k, v in values.items()}).items():
        header = message.request_headers.headers.headers.add()
        header.key, header.raw_value = key, value.encode()
    return bytes(message.SerializeToString())


def body(content: bytes = BODY) -> bytes:
    message = ProcessingRequest()
    message.request_body.body = content
    message.request_body.end_of_stream = True
    return bytes(message.SerializeToString())


@dataclass(frozen=True)
class Parsed:
    """A reply as Envoy reads it."""

    message: ProcessingResponse
    final: bool


def reply(step: object) -> Parsed:
    assert isinstance(step, Reply), step
    return Parsed(ProcessingResponse.FromString(step.message), step.final)


def mutation(step: object) -> tuple[dict[str, str], list[str]]:
    message = reply(step).message
    common = getattr(message, message.WhichOneof("response")).response
    assert common.clear_route_cache
    changed = {h.header.key: h.header.raw_value.decode() for h in common.header_mutation.set_headers}
    assert not any(h.header.value for h in common.header_mutation.set_headers), "`value` arrives empty at Envoy"
    return changed, list(common.header_mutation.remove_headers)


def error(step: object) -> tuple[int, dict[str, Any], dict[str, str]]:
    message = reply(step).message.immediate_response
    assert reply(step).final
    found = {h.header.key: h.header.raw_value.decode() for h in message.headers.set_headers}
    assert found["content-type"] == "application/json"
    assert message.details.startswith("gateway_plugin_")
    return message.status.code, json.loads(message.body)["error"], found
