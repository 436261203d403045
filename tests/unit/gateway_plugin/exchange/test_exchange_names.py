"""Aliases and canaries in the exchange: another model in the request, the client's own name in the response."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from gateway_plugin.exchange.intent.identity import IdentityRules
from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.exchange.steps import Admit
from gateway_plugin.models.catalogue.registry import Alias, Canary, ModelRule, Registry, Target
from protos.ext_proc import ProcessingRequest
from ratelimit import Decision, Outcome
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, BODY, Bench, body, error, headers, mutation, reply

ASKED = BODY.replace(b'"m"', b'"gpt-4o"')


class Named(Bench):
    """A bench with an alias of m, one of nothing, and the labels of m."""

    def __init__(self, *, restore_name: bool = False, rule: ModelRule | None = None, **rules: Any) -> None:
        super().__init__(default_strategy="random", **rules)
        aliases = {"gpt-4o": Alias("m", restore_name), "lost": Alias("nothing"), "none": Alias("empty")}
        self.registry = Registry(aliases, {"m": rule} if rule else {})
        self.routes: dict[str, str] = {}
        self.services = replace(self.services, names=self)

    def resolve(self, asked: str, user: str) -> Target:
        return self.registry.resolve(asked, user)

    def other_names(self, target: Target) -> tuple[str, ...]:
        return (target.asked, "label:team=a")

    def names_of(self, models: Collection[str]) -> tuple[str, ...]:
        return self.registry.names_of(models)

    def restores_names(self) -> bool:
        return self.registry.restores_names

    def route_of(self, model: str) -> str:
        return self.routes.get(model, "")


def new_body(step: object) -> bytes:
    return bytes(reply(step).message.request_body.response.body_mutation.body)


def response(content_type: str = "application/json", status: str = "200") -> bytes:
    message = ProcessingRequest()
    for key, value in ((":status", status), ("content-type", content_type), ("content-length", "9")):
        message.response_headers.headers.headers.add(key=key, raw_value=value.encode())
    return bytes(message.SerializeToString())


def chunk(content: bytes, *, end: bool = False) -> bytes:
    message = ProcessingRequest()
    message.response_body.body, message.response_body.end_of_stream = content, end
    return bytes(message.SerializeToString())


def test_an_alias_is_replaced_in_the_body_and_the_route():
    bench = Named()
    exchange = bench.exchange()
    asked = reply(exchange.receive(headers()))
    assert asked.message.mode_override.response_header_mode == 2, "nobody looks at responses for nothing"
    step = exchange.receive(body(ASKED))
    changed, _ = mutation(step)
    assert changed["model"] == "m"
    assert json.loads(new_body(step)) == json.loads(BODY)
    assert int(changed["content-length"]) == len(new_body(step))
    assert bench.count("gateway_request_total", model="m", strategy="random") == 1


def test_a_real_name_leaves_the_body_alone():
    exchange = Named().exchange()
    exchange.receive(headers())
    assert new_body(exchange.receive(body())) == b""


def test_an_alias_in_the_header_needs_the_body():
    exchange = Named().exchange()
    step = exchange.receive(headers(model="gpt-4o"))
    assert reply(step).message.mode_override.request_body_mode == 2
    assert mutation(exchange.receive(body(ASKED)))[0]["model"] == "m"


def test_the_limiter_hears_the_model_and_what_else_admits():
    exchange = Named().exchange()
    exchange.receive(headers(user="lgy"))
    step = exchange.receive(body(ASKED))
    assert isinstance(step, Admit)
    assert (step.admission.model, step.admission.other_names) == ("m", ("gpt-4o", "label:team=a"))
    assert mutation(exchange.admitted(ADMITTED))[0]["model"] == "m"


def test_usage_is_asked_for_in_the_body_that_was_changed():
    exchange = Named().exchange()
    exchange.receive(headers(user="lgy"))
    exchange.receive(body(ASKED[:-1] + b',"stream":true}'))
    sent = json.loads(new_body(exchange.admitted(ADMITTED)))
    assert (sent["model"], sent["stream_options"]) == ("m", {"include_usage": True})


@pytest.mark.parametrize(("asked", "status"), [("lost", 400), ("none", 503)])
def test_errors_name_what_the_client_asked_for(asked: str, status: int):
    exchange = Named().exchange()
    exchange.receive(headers())
    code, told, found = error(exchange.receive(body(BODY.replace(b'"m"', json.dumps(asked).encode()))))
    assert code == status
    assert asked in told["message"]
    assert "nothing" not in told["message"] + str(found)


def test_a_refusal_names_what_the_client_asked_for():
    exchange = Named().exchange()
    exchange.receive(headers(user="lgy"))
    exchange.receive(body(ASKED))
    _, told, _ = error(exchange.admitted(Decision(Outcome.MODEL_NOT_ALLOWED, None)))
    assert told["message"] == "user: lgy may not use model gpt-4o"


def test_a_canary_is_another_model():
    bench = Named(rule=ModelRule(canary=Canary("empty", 100.0)))
    exchange = bench.exchange()
    exchange.receive(headers(user="lgy"))
    status, told, _ = error(exchange.receive(body()))
    assert (status, "model m" in told["message"]) == (503, True)


def restoring(content_type: str = "application/json", status: str = "200"):
    exchange = Named(restore_name=True).exchange()
    assert reply(exchange.receive(headers())).message.mode_override.response_header_mode == 1
    exchange.receive(body(ASKED))
    assert exchange.follows_response
    return exchange, reply(exchange.receive(response(content_type, status))).message


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream; charset=utf-8"])
def test_a_response_has_the_clients_name(content_type: str):
    exchange, answer = restoring(content_type)
    assert answer.mode_override.response_body_mode == 1
    assert list(answer.response_headers.response.header_mutation.remove_headers) == ["content-length"]
    assert not answer.response_headers.response.header_mutation.set_headers, "Lua tells the client"
    first = reply(exchange.receive(chunk(b'{"x":1,"mo'))).message.response_body.response.body_mutation
    assert first.body == b'{"x":1,'
    held = reply(exchange.receive(chunk(b'del":'))).message.response_body.response.body_mutation
    assert held.clear_body
    last = reply(exchange.receive(chunk(b'"m"}', end=True))).message.response_body.response.body_mutation
    assert last.body == b'"model":"gpt-4o"}'
    assert exchange.end().finished is None, "the log tells how it ended"


@pytest.mark.parametrize(("content_type", "status"), [("application/json", "500"), ("audio/wav", "200")])
def test_what_has_no_name_passes(content_type: str, status: str):
    exchange, answer = restoring(content_type, status)
    assert not answer.HasField("mode_override")
    assert not answer.response_headers.response.header_mutation.remove_headers
    assert exchange.end().back is None


def test_a_request_by_the_real_name_passes_while_others_are_restored():
    exchange = Named(restore_name=True).exchange()
    exchange.receive(headers())
    exchange.receive(body())
    assert not exchange.follows_response
    assert not reply(exchange.receive(response())).message.HasField("mode_override")


def test_an_adapter_without_a_route_takes_its_base_models():
    bench = Named()
    bench.services = replace(bench.services, rules=Rules())
    bench.routes["m"] = "base"
    exchange = bench.exchange()
    exchange.receive(headers())
    step = exchange.receive(body())
    changed, _ = mutation(step)
    assert (changed["model"], changed["routing-strategy"]) == ("base", "least-request"), "Envoy must not balance"
    assert "target-pod" in changed
    metadata = reply(step).message.dynamic_metadata.fields["gateway_plugin"].struct_value
    assert metadata["model"] == "m"


def test_the_gateways_own_api_hears_who_asks():
    bench = Named(identity=IdentityRules(frozenset({"header", "api-key"})), limited=False)
    for path, method, removed in (("/v1/models/org/m", "GET", False), ("/tokenize", "POST", True)):
        exchange = bench.exchange()
        exchange.receive(headers(**{":path": path, ":method": method, "authorization": "Bearer gw-abc", "model": "m"}))
        assert ("authorization" in mutation(exchange.identified("lgy"))[1]) is removed
