"""The exchange, message by message, without gRPC, Envoy or Redis."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.exchange.intent.identity import IdentityRules
from gateway_plugin.exchange.intent.rejections import answer_to
from gateway_plugin.exchange.phases import Phase
from gateway_plugin.exchange.steps import Admit
from protos import ext_proc
from protos.ext_proc import ProcessingRequest
from ratelimit import Decision, Outcome, StoreUnavailable
from routing.spec import ClusterState
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, BODY, Bench, body, error, headers, mutation, reply


def test_a_chat_request_is_routed_by_its_body():
    bench = Bench()
    exchange = bench.exchange()

    step = exchange.receive(headers(routing_strategy="least-request", x_request_id="abc-1"))
    changed, removed = mutation(step)
    assert changed == {"x-went-into-req-headers": "true"}
    assert removed == ["target-pod", "target-pod-ip", "accept-encoding"]
    mode = reply(step).message.mode_override
    assert (mode.request_body_mode, mode.response_header_mode, mode.response_trailer_mode) == (2, 2, 1)
    assert mode.response_body_mode == 0
    assert bench.inflight() == 0

    step = exchange.receive(body())
    changed, _ = mutation(step)
    assert set(changed.pop("target-pod").split(",")) == {"10.0.0.0:8000", "10.0.0.1:8000"}
    assert changed == {"model": "m", "routing-strategy": "least-request", "x-request-id": "abc-1"}
    metadata = reply(step).message.dynamic_metadata.fields["gateway_plugin"].struct_value
    assert metadata["charge_id"] == "id-1"
    assert dict(metadata["pods"]) == {"10.0.0.0:8000": "pod-0", "10.0.0.1:8000": "pod-1"}
    assert bench.inflight() == 1

    exchange.end()
    exchange.end()
    assert bench.inflight() == 0
    assert bench.count("gateway_in_flight_requests") == 0
    assert bench.count("gateway_request_total", model="m", strategy="least-request") == 1


def test_reading_messages_is_own_time(monkeypatch: pytest.MonkeyPatch):
    bench, now_seconds = Bench(default_strategy="random"), [0.0]
    bench.services = replace(bench.services, clock=lambda: now_seconds[0])

    def slow(name: str, seconds: float) -> None:
        reads: Callable[..., Any] = getattr(ext_proc, name)

        def read(*arguments: Any) -> Any:
            now_seconds[0] += seconds
            return reads(*arguments)

        monkeypatch.setattr(ext_proc, name, read)

    slow("request_headers_of", 2.0)
    slow("request_body_of", 3.0)
    exchange = bench.exchange()
    exchange.receive(headers())
    now_seconds[0] += 40.0
    exchange.receive(body())
    assert bench.count("gateway_decision_seconds_sum") == 5.0
    assert bench.count("gateway_decision_seconds_count") == 1


def test_a_model_header_saves_the_body():
    bench = Bench(default_strategy="random")
    step = bench.exchange().receive(headers(model="m"))
    changed, removed = mutation(step)
    assert changed["model"] == "m"
    assert "," in changed["target-pod"]
    assert removed == ["target-pod-ip", "accept-encoding"], "what is set must not be removed"
    assert reply(step).message.mode_override.request_body_mode == 0
    assert reply(step).message.mode_override.response_trailer_mode == 1
    assert bench.inflight() == 1


@pytest.mark.parametrize("strategy", [None, "", "  "])
def test_without_a_strategy_only_the_model_is_set(strategy: str | None):
    bench = Bench()
    exchange = bench.exchange()
    given_headers = {} if strategy is None else {"routing_strategy": strategy}
    _, removed = mutation(exchange.receive(headers(target_pod="6.6.6.6:1", **given_headers)))
    assert "target-pod" in removed
    changed, _ = mutation(exchange.receive(body()))
    assert changed == {"model": "m", "x-request-id": "id-1"}
    assert bench.inflight() == 0


def test_the_header_beats_the_default_strategy():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(routing_strategy="least-request"))
    assert mutation(exchange.receive(body()))[0]["routing-strategy"] == "least-request"


def test_engines_get_the_path_without_a_trailing_slash():
    bench = Bench(default_strategy="random")
    changed, _ = mutation(bench.exchange().receive(headers(model="m", **{":path": "/v1/messages/?beta=true"})))
    assert changed[":path"] == "/v1/messages?beta=true"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", "/v1/models/org/m?detail=full", "/health"])
def test_what_the_gateway_answers_itself_passes_through(path: str):
    bench = Bench(default_strategy="random")
    step = bench.exchange().receive(headers(**{":path": path, ":method": "GET", "target_pod": "6.6.6.6:1"}))
    assert mutation(step) == ({"x-request-id": "id-1"}, ["target-pod", "target-pod-ip"])
    assert reply(step).final
    assert not reply(step).message.HasField("mode_override")


def test_an_unreachable_limiter_is_503():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(user="lgy"))
    exchange.receive(body())
    answer = answer_to(StoreUnavailable("redis", "away"))
    assert answer is not None
    code, found, _ = error(exchange.refused(answer))
    assert (code, found["code"]) == (503, "service_unavailable")


@pytest.mark.parametrize(
    ("request_headers", "content", "status", "message"),
    [
        ({"routing_strategy": "best"}, BODY, 400, "incorrect routing strategy best; known strategies: "),
        ({"routing_strategy": "best", "model": "m"}, None, 400, "incorrect routing strategy best"),
        ({"external_filter": "gpu="}, BODY, 503, "error on selecting target pod"),
        ({"external_filter": "gpu in a10"}, None, 400, "external-filter: at character"),
        ({"user": "a\tb\x01"}, None, 400, "invalid user header: "),
        ({"content_type": "text/plain"}, BODY, 415, "content-type must be application/json, not text/plain"),
        ({"content_encoding": "br"}, BODY, 415, "content-encoding br of requests is not supported"),
        ({"content_encoding": "gzip"}, BODY, 400, "the compressed request body cannot be read: it is damaged"),
        ({}, b"{", 400, "error processing request body"),
        ({}, b'{"messages":[1]}', 400, "'model' is a required property"),
        ({}, b'{"model":"nope","messages":[1]}', 400, "model nope does not exist"),
        ({}, b'{"model":"empty","messages":[1]}', 503, "error on getting pods for model empty"),
        ({"model": "nope"}, None, 400, "model nope does not exist"),
        ({":path": "/v1/audio/translations"}, BODY, 400, "audio requests must use multipart/form-data content-type"),
        ({":path": "/v1/images/edits"}, BODY, 400, "these requests must use multipart/form-data content-type"),
    ],
)
def test_bad_requests(request_headers: dict[str, str], content: bytes | None, status: int, message: str):
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    step = exchange.receive(headers(**request_headers))
    if content is not None:
        step = exchange.receive(body(content))
    code, found, _ = error(step)
    assert code == status
    assert found["message"].startswith(message)
    assert exchange.phase is Phase.DONE
    assert bench.inflight() == 0


def test_a_model_without_pods_says_when_to_come_back():
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers())
    code, _, sent = error(exchange.receive(body(b'{"model":"empty","messages":[1]}')))
    assert (code, sent["retry-after"]) == (503, "1")


def test_a_request_without_body_or_model_is_told_so():
    code, found, _ = error(Bench().exchange().receive(headers(True)))
    assert (code, found["message"]) == (400, "the request body is empty")


@pytest.mark.parametrize(
    ("authorization", "passes"), [("Bearer t0p", True), ("bearer t0p", True), ("t0p", False), ("Bearer x", False)]
)
def test_bearer_token(authorization: str, passes: bool):
    exchange = Bench(identity=IdentityRules(frozenset({"bearer"}), "t0p")).exchange()
    step = exchange.receive(headers(authorization=authorization))
    if passes:
        assert not reply(step).final
    else:
        code, found, _ = error(step)
        assert (code, found["code"], found["param"]) == (401, "invalid_api_key", "api_key")


def test_the_token_is_needed_for_every_path():
    step = (
        Bench(identity=IdentityRules(frozenset({"bearer"}), "t0p"))
        .exchange()
        .receive(headers(**{":path": "/v1/models", ":method": "GET"}))
    )
    assert error(step)[0] == 401


def test_an_id_that_is_not_well_formed_is_replaced():
    bench = Bench(default_strategy="random")
    changed, _ = mutation(bench.exchange().receive(headers(model="m", x_request_id="a b\n")))
    assert changed["x-request-id"] == "id-1"


def test_an_exception_gives_back_what_was_booked():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers())
    exchange.receive(body())
    code, found, _ = error(exchange.failed())
    assert (code, found["type"]) == (500, "api_error")
    assert bench.inflight() == 0
    assert bench.count("gateway_internal_errors_total") == 1


PROFILES = {
    "defaultProfile": "chat",
    "profiles": {
        "chat": {"routingStrategy": "least-request"},
        "long": {"routingStrategy": "throughput", "routingConfig": {"promptTokensGte": 1}},
    },
}


@pytest.mark.parametrize(
    ("config", "given_headers", "default", "strategy"),
    [
        (None, {}, "random", "random"),
        (PROFILES, {}, "random", "least-request"),
        (PROFILES, {"routing_strategy": "power-of-two"}, "random", "power-of-two"),
        (PROFILES | {"lockedRoutingStrategy": "random"}, {"routing_strategy": "least-request"}, "", "random"),
        (PROFILES, {"config_profile": "long"}, "", "throughput"),
        (PROFILES, {"config_profile": "auto"}, "", "throughput"),
        (PROFILES, {"config_profile": "none such"}, "", "least-request"),
        (None, {"routing_strategy": "least-gpu-cache"}, "", "least-gpu-cache"),
        (None, {"routing_strategy": "least-request:2, throughput"}, "", "least-request:2, throughput"),
    ],
)
def test_precedence(config: dict[str, Any] | None, given_headers: dict[str, str], default: str, strategy: str):
    bench = Bench(config, default_strategy=default)
    exchange = bench.exchange()
    exchange.receive(headers(**given_headers))
    step = exchange.receive(body())
    assert mutation(step)[0]["routing-strategy"] == strategy
    metadata = reply(step).message.dynamic_metadata.fields["gateway_plugin"].struct_value
    auto = given_headers.get("config_profile") == "auto"
    told = dict(metadata["headers"]) if "headers" in metadata else {}
    assert told == ({"x-aibrix-config-profile": "long"} if auto else {})


def test_combinations_are_one_metric_label():
    bench = Bench()
    exchange = bench.exchange()
    exchange.receive(headers(routing_strategy="least-request:2,throughput:7"))
    exchange.receive(body())
    assert bench.count("gateway_request_total", model="m", strategy="combined") == 1


def test_a_filter_narrows_the_candidates():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(external_filter="gpu in (l4, h100)"))
    # Named again, so that Envoy's retries do not leave the filter.
    assert set(mutation(exchange.receive(body()))[0]["target-pod"].split(",")) == {"10.0.0.1:8000"}


def test_the_operator_limits_what_may_be_filtered_by():
    bench = Bench(default_strategy="random", filter_keys=frozenset({"gpu"}))
    assert not reply(bench.exchange().receive(headers(external_filter="gpu=l4"))).final
    code, found, _ = error(bench.exchange().receive(headers(external_filter="zone=a")))
    assert (code, found["message"]) == (400, "external-filter: label zone may not be used")


def test_a_session_gets_a_token_and_comes_back_to_its_pod():
    bench = Bench(default_strategy="session-affinity")
    pods = set()
    sent = {"x_aibrix_session_key": "conversation-7"}
    for _ in range(3):
        step = bench.exchange().receive(headers(model="m", **sent))
        pods.add(mutation(step)[0]["target-pod"].split(",")[0])
        told = reply(step).message.dynamic_metadata.fields["gateway_plugin"].struct_value["headers"]
        sent = {"x_session_id": told["x-session-id"]}
    assert len(pods) == 1
    assert "10.0.0" not in told["x-session-id"]


def test_a_prompt_comes_back_to_the_pod_that_has_it():
    bench = Bench(default_strategy="prefix-cache")
    long = json.dumps({"model": "m", "messages": [{"role": "user", "content": "tell me a story " * 200}]}).encode()
    chosen = set()
    for _ in range(3):
        exchange = bench.exchange()
        exchange.receive(headers())
        chosen.add(mutation(exchange.receive(body(long)))[0]["target-pod"].split(",")[0])
        exchange.end()
    assert len(chosen) == 1
    assert bench.router.prefixes.blocks > 0


def test_repr_tells_the_state():
    bench = Bench()
    exchange = bench.exchange()
    assert repr(exchange) == "<Exchange headers model=- pods=->"


MESSAGES = st.sampled_from(
    ["headers", "model", "user", "passing", "body", "bad", "trailers", "response", "admit", "deny", "fail", "end"]
)


@given(st.lists(MESSAGES, max_size=8))
def test_no_order_of_events_leaks_a_lease(events: list[str]):
    bench = Bench(default_strategy="least-request")
    exchange = bench.exchange()
    waiting = False
    for event in events:
        message = {
            "headers": headers(),
            "model": headers(model="m"),
            "user": headers(user="lgy"),
            "passing": headers(**{":path": "/x"}),
            "body": body(),
            "bad": body(b"{"),
            "trailers": ProcessingRequest(response_trailers={}).SerializeToString(),
            "response": ProcessingRequest(response_headers={}).SerializeToString(),
        }.get(event)
        if message is not None:
            waiting = isinstance(exchange.receive(message), Admit)
        elif event == "admit" and waiting:
            exchange.admitted(ADMITTED)
            waiting = False
        elif event == "deny" and waiting:
            error(exchange.admitted(Decision(Outcome.UNKNOWN_USER, None)))
            waiting = False
        elif event == "fail":
            exchange.failed()
        elif event == "end":
            exchange.end()
            waiting = False
        assert 0 <= bench.inflight() <= 1
    exchange.end()
    assert bench.inflight() == 0
    assert bench.count("gateway_in_flight_requests") == 0


def test_pods_that_go_after_the_plan_was_made_are_missed_by_nobody():
    for strategy in ("least-request", ""):
        bench = Bench(default_strategy=strategy)
        exchange = bench.exchange()
        exchange.receive(headers())
        bench.pods.apply(ClusterState((), frozenset({"m"})))
        assert error(exchange.receive(body()))[0] == 503
        exchange = bench.exchange()
        exchange.receive(headers())
        bench.pods.apply(ClusterState((), frozenset()))
        code, found, _ = error(exchange.receive(body()))
        assert (code, found["message"]) == (400, "model m does not exist")
        assert bench.count("gateway_model_in_flight_requests", model="m") == 0


def test_messages_that_nobody_asked_for_go_on():
    exchange = Bench(default_strategy="random").exchange()
    assert reply(exchange.receive(body())).message.HasField("request_body")
    exchange.receive(headers())
    assert reply(exchange.receive(headers())).message.HasField("request_headers")
    assert mutation(exchange.receive(body()))[0]["model"] == "m"
    assert exchange.receive(b"") is None
