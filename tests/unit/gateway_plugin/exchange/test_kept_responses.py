"""Requests about kept responses: to the pod that keeps one, and of nobody but its owner."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway_plugin.exchange.steps import Admit
from gateway_plugin.models.catalogue.registry import Canary, ModelRule
from gateway_plugin.openai.response_ids import new_response_id, owner_tag, parse_response_id
from routing.spec import ClusterState, PodSpec
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, Bench, body, error, headers, mutation, reply
from tests.unit.gateway_plugin.exchange.test_exchange_names import Named

PODS = ["10.0.0.0:8000", "10.0.0.1:8000"]
WAYS = [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "?stream=true&starting_after=3")]


def made(bench: Bench, user: str = "", **content: Any) -> tuple[str, dict[str, Any]]:
    """The pod to which a new response goes, and the body that it gets."""
    exchange = bench.exchange()
    exchange.receive(headers(**{":path": "/v1/responses"}, **({"user": user} if user else {})))
    step: object = exchange.receive(body(json.dumps({"model": "m", "input": "hi"} | content).encode()))
    if isinstance(step, Admit):
        step = exchange.admitted(ADMITTED)
    pod = mutation(step)[0]["target-pod"].split(",")[0]
    return pod, json.loads(reply(step).message.request_body.response.body_mutation.body)


def about(response_id: str, method: str = "GET", rest: str = "", **more: str) -> bytes:
    path = f"/v1/responses/{response_id}{rest}"
    return headers(True, **{":path": path, ":method": method, **more})


@pytest.mark.parametrize("strategy", ["random", "", "least-request"])
@pytest.mark.parametrize(("method", "rest"), WAYS)
def test_asked_for_where_it_was_made(strategy: str, method: str, rest: str):
    bench = Bench(default_strategy=strategy)
    for _ in range(10):
        pod, sent = made(bench)
        assert (sent["input"], next(iter(sent))) == ("hi", "request_id")
        found = mutation(bench.exchange().receive(about(sent["request_id"], method, rest)))[0]
        assert set(found["target-pod"].split(",")) == {pod}, "no other pod has it, so none is a second choice"
        assert found["model"] == "m", "nobody has to say the model"


def test_continued_where_it_was_made():
    bench = Bench(default_strategy="random")
    for _ in range(10):
        pod, first = made(bench)
        assert made(bench, previous_response_id=first["request_id"])[0] == pod


def test_the_owner_is_found_again_by_every_replica_and_nobody_else():
    first, second = Bench(default_strategy="random"), Bench(default_strategy="random")
    pod, sent = made(first, "kim")
    step = second.exchange()
    assert isinstance(step.receive(about(sent["request_id"], user="kim")), Admit)
    assert mutation(step.admitted(ADMITTED))[0]["target-pod"].split(",")[0] == pod
    unknown = new_response_id("10.0.0.9:8000", "nobody", "1")
    for user in ("eve", ""):
        named = {"user": user} if user else {}
        for method, rest in WAYS:
            answers = [
                error(second.exchange().receive(about(response_id, method, rest, **named)))
                for response_id in (sent["request_id"], unknown)
            ]
            assert {status for status, _, _ in answers} == {404}
            texts = {found["message"].replace(sent["request_id"], "x").replace(unknown, "x") for _, found, _ in answers}
            assert len(texts) == 1, "whether there is such a response cannot be told"
        exchange = second.exchange()
        exchange.receive(headers(**{":path": "/v1/responses"}, **named))
        content = {"model": "m", "input": "hi", "previous_response_id": sent["request_id"]}
        status, found, _ = error(exchange.receive(body(json.dumps(content).encode())))
        assert (status, found["param"]) == (404, "previous_response_id")


@pytest.mark.parametrize("taken", ["", "resp_mine", 7, None])
def test_a_client_cannot_choose_the_id(taken: Any):
    """It might be another user's, whose response would be overwritten."""
    _, sent = made(Bench(default_strategy="random"), "eve", request_id=taken)
    parsed = parse_response_id(sent["request_id"])
    assert parsed is not None
    assert parsed.owner == owner_tag("eve")


def test_a_pod_that_is_gone():
    bench = Bench(default_strategy="random")
    pod, sent = made(bench)
    left = next(address for address in PODS if address != pod)
    bench.pods.apply(ClusterState((PodSpec("other", left, ("m",)),), frozenset()))
    status, found, _ = error(bench.exchange().receive(about(sent["request_id"])))
    assert (status, found["type"], found["code"]) == (404, "invalid_request_error", "not_found")
    assert found["message"].endswith("the pod that kept it is gone.")


def test_a_pod_that_is_not_ready_may_come_back():
    bench = Bench(default_strategy="random")
    pod, sent = made(bench)
    specs = tuple(PodSpec(address, address, ("m",), ready=address != pod) for address in PODS)
    bench.pods.apply(ClusterState(specs, frozenset()))
    assert error(bench.exchange().receive(about(sent["request_id"])))[0] == 503


def test_another_model_cannot_continue_it():
    bench = Bench(default_strategy="random")
    specs = (*(PodSpec(address, address, ("m",)) for address in PODS), PodSpec("o", "10.0.0.5:8000", ("other",)))
    bench.pods.apply(ClusterState(specs, frozenset()))
    _, sent = made(bench)
    exchange = bench.exchange()
    exchange.receive(headers(**{":path": "/v1/responses"}))
    content = {"model": "other", "input": "hi", "previous_response_id": sent["request_id"]}
    assert error(exchange.receive(body(json.dumps(content).encode())))[0] == 404


def test_ids_of_engines_are_for_engines_to_judge_but_not_in_a_users_name():
    bench = Bench(default_strategy="random")
    assert "target-pod" in mutation(bench.exchange().receive(about("resp_of_engine", model="m")))[0]
    assert error(bench.exchange().receive(about("resp_of_engine")))[1]["param"] == "model"
    assert error(bench.exchange().receive(about("resp_of_engine", model="m", user="kim")))[0] == 404
    assert "target-pod" in mutation_of_continued(bench, "resp_of_engine")


def mutation_of_continued(bench: Bench, response_id: str) -> dict[str, str]:
    exchange = bench.exchange()
    exchange.receive(headers(**{":path": "/v1/responses"}))
    content = {"model": "m", "input": "hi", "previous_response_id": response_id}
    return mutation(exchange.receive(body(json.dumps(content).encode())))[0]


@pytest.mark.parametrize("odd", [7, None, [], "\ud800", {"a": 1}, ""])
def test_what_is_no_id_is_left_to_the_engine(odd: Any):
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(**{":path": "/v1/responses"}))
    content = {"model": "m", "input": "hi", "previous_response_id": odd}
    assert "target-pod" in mutation(exchange.receive(body(json.dumps(content).encode())))[0]


def test_the_model_header_does_not_hide_the_body():
    """Without a user, the header alone would suffice to choose a pod: but not to know what is continued."""
    bench = Bench(default_strategy="random")
    _, sent = made(bench, "kim")
    exchange = bench.exchange()
    exchange.receive(headers(**{":path": "/v1/responses", "model": "m"}))
    content = {"model": "m", "input": "hi", "previous_response_id": sent["request_id"]}
    assert error(exchange.receive(body(json.dumps(content).encode())))[0] == 404


def test_engines_that_cannot_be_told_a_name_are_told_none():
    bench = Bench(default_strategy="random")
    bench.pods.apply(ClusterState((PodSpec("p", PODS[0], ("m",), engine="llamacpp"),), frozenset()))
    exchange = bench.exchange()
    exchange.receive(headers(**{":path": "/v1/responses"}))
    step = exchange.receive(body(b'{"model": "m", "input": "hi"}'))
    assert not reply(step).message.request_body.response.HasField("body_mutation")


def test_an_id_tells_neither_address_nor_name():
    response_id = new_response_id(PODS[0], "kim", "abc")
    assert "10.0" not in response_id
    assert "kim" not in response_id
    assert parse_response_id(response_id + "/x") is None


@pytest.mark.parametrize("keeper", PODS)
def test_a_canary_leads_nobody_away_from_a_response(keeper: str):
    """Which side of it a request falls on changes with its weight, and with every request in nobody's name."""
    bench = Named(rule=ModelRule(canary=Canary("new", 50.0)))
    pods = tuple(PodSpec(model, pod, (model,)) for model, pod in zip(("m", "new"), PODS, strict=True))
    bench.pods.apply(ClusterState(pods, frozenset(), {}))
    for number in range(20):
        response_id, request = new_response_id(keeper, "", str(number)), {"x-request-id": f"request-{number}"}
        assert mutation(bench.exchange().receive(about(response_id, **request)))[0]["target-pod"].startswith(keeper)
        exchange = bench.exchange()
        exchange.receive(headers(**{":path": "/v1/responses"}, **request))
        content = {"model": "m", "input": "hi", "previous_response_id": response_id}
        changed, _ = mutation(exchange.receive(body(json.dumps(content).encode())))
        assert changed["target-pod"].startswith(keeper)
        assert changed["model"] == dict(zip(PODS, ("m", "new"), strict=True))[keeper]


@pytest.mark.parametrize("said", [{}, {"store": True}, {"store": None}])
def test_a_response_that_may_be_asked_for_again_has_no_second_choice(said: dict[str, Any]):
    """Were it made by another pod than its id says, nobody would find it."""
    for _ in range(10):
        assert len(candidates(said)) == 1


def test_one_that_nobody_can_ask_for_again_may_go_on_to_any_pod():
    assert candidates({"store": False}) == set(PODS)


def candidates(said: dict[str, Any]) -> set[str]:
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(**{":path": "/v1/responses"}))
    step = exchange.receive(body(json.dumps({"model": "m", "input": "hi"} | said).encode()))
    return set(mutation(step)[0]["target-pod"].split(","))


def test_its_owner_may_ask_for_it_by_whatever_name_it_was_made():
    """Its id does not say which, and clients send no model with it."""
    bench = Named(rule=ModelRule(canary=Canary("new", 50.0)))
    bench.pods.apply(ClusterState((PodSpec("p", PODS[0], ("first", "new")),), frozenset(), {}))
    step: object = bench.exchange().receive(about(new_response_id(PODS[0], "kim", "1"), user="kim"))
    assert isinstance(step, Admit)
    assert {"first", "new", "m", "gpt-4o"} <= {step.admission.model, *step.admission.other_names}
    assert "lost" not in step.admission.other_names
