"""Responses that pass through the exchange, where no access log tells how they ended."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway_plugin.endpoints.web_pages import ANSWER_HEADERS, WebPages
from protos.access_log import FinishedExchange
from protos.ext_proc import ProcessingRequest
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, Bench, body, headers, reply

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
EXPOSED = "access-control-expose-headers"
SSE = "text/event-stream; charset=utf-8"
SENT = [
    b'data: {"choices":[{"del',
    b'ta":{}}]}\n\ndata: {"usage":' + json.dumps(USAGE).encode(),
    b"}\n\ndata: [DONE]\n\n",
]


def response(status: str = "200", content_type: str = SSE, *, end: bool = False, pod: str = "") -> bytes:
    message = ProcessingRequest()
    message.response_headers.end_of_stream = end
    for key, value in ((":status", status), ("content-type", content_type)):
        message.response_headers.headers.headers.add(key=key, raw_value=value.encode())
    if pod:
        message.attributes["envoy.filters.http.ext_proc"].update({"upstream.address": pod})
    return bytes(message.SerializeToString())


def chunk(content: bytes, *, end: bool = False) -> bytes:
    message = ProcessingRequest()
    message.response_body.body, message.response_body.end_of_stream = content, end
    return bytes(message.SerializeToString())


class Following(Bench):
    """A bench whose exchanges follow responses, and a clock that tests set."""

    def __init__(self, *, expose_pod: bool = True) -> None:
        super().__init__(default_strategy="random", expose_pod=expose_pod)
        self.now = 100.0
        self.services = replace(self.services, follows_responses=True, clock=lambda: self.now)

    def answered(self, *, user: str = "lgy"):
        exchange = self.exchange()
        mode = reply(exchange.receive(headers(user=user))).message.mode_override
        assert (mode.response_header_mode, mode.response_body_mode) == (1, 0)
        step = exchange.receive(body())
        if user:
            exchange.admitted(ADMITTED)
        else:
            reply(step)
        return exchange


def finished(exchange) -> FinishedExchange:
    found = exchange.end().finished
    assert isinstance(found, FinishedExchange)
    assert exchange.end().finished is None, "told once"
    return found


def test_a_stream_is_followed_to_its_end():
    bench = Following()
    exchange = bench.answered()
    said = reply(exchange.receive(response(pod="10.0.0.1:8000"))).message
    assert said.mode_override.response_body_mode == 1
    told = {
        h.header.key: h.header.raw_value.decode() for h in said.response_headers.response.header_mutation.set_headers
    }
    assert told["target-pod-ip"] == "10.0.0.1:8000"
    assert (told["target-pod"], told["routing-strategy"], told["request-id"]) == ("pod-1", "random", "id-1")
    assert told["x-ratelimit-limit-requests"] == "3"
    for i, content in enumerate(SENT):
        bench.now += 0.5
        answer = reply(exchange.receive(chunk(content, end=i == 2))).message
        assert answer.WhichOneof("response") == "response_body"
        assert not answer.response_body.response.HasField("body_mutation")
    bench.now += 0.25
    entry = finished(exchange)
    assert entry.tokens == USAGE
    assert (entry.status, entry.pod_address, entry.user, entry.charge_id) == (200, "10.0.0.1:8000", "lgy", "id-1")
    assert (entry.ttft_seconds, entry.duration_seconds) == (0.5, 1.75)
    assert (entry.client_aborted, entry.reserved_tokens) == (False, 40)
    assert bench.inflight() == 0


def test_a_stream_that_breaks_off():
    exchange = Following().answered()
    exchange.receive(response())
    exchange.receive(chunk(SENT[0]))
    entry = finished(exchange)
    assert (entry.client_aborted, entry.tokens, entry.response_bytes) == (True, {}, len(SENT[0]))


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", response()),
        ("lgy", response("429")),
        ("lgy", response(end=True)),
        ("lgy", response(content_type="audio/wav")),
    ],
    ids=["nobody pays", "an error", "no body", "no text"],
)
def test_bodies_that_nobody_needs_are_not_asked_for(user: str, message: bytes):
    exchange = Following().answered(user=user)
    assert not reply(exchange.receive(message)).message.HasField("mode_override")
    entry = finished(exchange)
    assert entry.client_aborted is False
    assert entry.ttft_seconds is None


def test_a_client_that_leaves_before_any_answer():
    assert finished(Following().answered()).client_aborted is True


def test_pods_can_be_kept_secret():
    exchange = Following(expose_pod=False).answered()
    said = reply(exchange.receive(response(pod="10.0.0.1:8000"))).message.response_headers.response.header_mutation
    assert not {"target-pod", "target-pod-ip"} & {h.header.key for h in said.set_headers}
    assert list(said.remove_headers)[:2] == ["target-pod", "target-pod-ip"], "a route may have set them"


def test_what_is_refused_is_no_finished_exchange():
    exchange = Following().exchange()
    exchange.receive(headers())
    exchange.receive(body(b"{}"))
    assert exchange.end().finished is None


def test_the_place_of_the_pod_tells_how_often_envoy_tried():
    attempts = {}
    for place in (0, 1):
        bench = Following()
        exchange = bench.answered()
        assert exchange._forward is not None
        assert exchange._forward.booking is not None
        targets = tuple(pod.address for pod in exchange._forward.booking.pods)
        assert len(targets) == 2
        exchange.receive(response(pod=targets[place], end=True))
        entry = finished(exchange)
        assert (entry.targets, entry.pod_address) == (targets, targets[place])
        attempts[place] = entry.attempts
    assert attempts == {0: 1, 1: 2}


def test_a_pod_that_was_no_candidate_tells_of_one_try():
    exchange = Following().answered()
    exchange.receive(response(pod="10.0.0.99:8000", end=True))
    assert finished(exchange).attempts == 1


def test_a_retried_request_is_booked_on_the_pod_that_answers():
    bench = Following()
    exchange = bench.answered()
    booked = [spec.address for spec in bench.pods.specs([0, 1]) if bench.pods.view("m").inflight_requests.any()]
    view = bench.pods.view("m")
    first = int(view.inflight_requests.argmax())
    other = booked[1 - first]
    exchange.receive(response(pod=other))
    assert bench.pods.view("m").inflight_requests.tolist()[1 - first] == 1.0
    assert bench.pods.view("m").inflight_requests.sum() == 1.0
    exchange.end()
    assert bench.pods.view("m").inflight_requests.sum() == 0.0


def test_which_pages_may_read_is_not_for_engines_to_say():
    bench = Following()
    bench.services = replace(
        bench.services, rules=replace(bench.services.rules, web_pages=WebPages(("https://a.test",)))
    )
    for origin, kept in ({}, set()), ({"origin": "https://a.test"}, {"access-control-allow-origin", EXPOSED}):
        exchange = bench.exchange()
        exchange.receive(headers(**origin))
        exchange.receive(body())
        said = reply(exchange.receive(response())).message.response_headers.response.header_mutation
        assert set(ANSWER_HEADERS) - set(said.remove_headers) == kept
        assert {h.header.key for h in said.set_headers} & set(ANSWER_HEADERS) == kept
