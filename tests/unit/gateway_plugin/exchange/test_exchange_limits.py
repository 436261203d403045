"""The exchange and the limits: who asks, what is admitted, what is given back."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from gateway_plugin.exchange.intent.identity import IdentityRules
from gateway_plugin.exchange.steps import Admit, FindUser, Identify
from ratelimit import Decision, Limits, Outcome, Source
from routing.spec import ClusterState
from tests.unit.gateway_plugin.exchange.bench import ADMITTED, LIMITS, Bench, body, error, headers, mutation, reply


def test_a_user_is_admitted_before_a_pod_is_booked():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(user="lgy"))
    step = exchange.receive(body())
    assert isinstance(step, Admit)
    assert (step.admission.subject, step.admission.model, step.admission.charge_id) == ("lgy", "m", "id-1")
    asked = step.admission
    assert (asked.tokens, asked.likely_output, asked.max_output) == (9, 128, 8192), "bytes / 4, usual, not said"
    assert bench.inflight() == 0
    step = exchange.admitted(ADMITTED)
    assert "target-pod" in mutation(step)[0]
    assert bench.inflight() == 1
    metadata = reply(step).message.dynamic_metadata.fields["gateway_plugin"].struct_value
    assert (metadata["user"], metadata["reserved_tokens"], metadata["prompt_tokens_estimate"]) == ("lgy", 40, 9)
    assert dict(metadata["headers"]) == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "3000",
        "x-ratelimit-remaining-tokens": "2960",
        "x-ratelimit-reset-tokens": "1m0s",
    }
    assert exchange.end().back is None, "what reached a pod is settled by the access log"


@pytest.mark.parametrize(
    ("decision", "status", "message", "header"),
    [
        (
            Decision(Outcome.REQUESTS_EXCEEDED, LIMITS, 3.0, 0.0, 17.2),
            429,
            "user: lgy has exceeded RPM: 3",
            "x-error-rpm-exceeded",
        ),
        (
            Decision(Outcome.TOKENS_EXCEEDED, LIMITS, 0.0, 3000.0, 60.5),
            429,
            "user: lgy has exceeded TPM: 3000",
            "x-error-tpm-exceeded",
        ),
        (Decision(Outcome.UNKNOWN_USER, None), 401, "user: lgy does not exist", "x-error-user"),
        (Decision(Outcome.DISABLED, None), 403, "user: lgy is disabled", "x-error-user"),
        (Decision(Outcome.MODEL_NOT_ALLOWED, None), 403, "user: lgy may not use model m", "x-error-user"),
        (
            Decision(Outcome.PARALLEL_EXCEEDED, Limits(3, 3000, 2), retry_after_seconds=0.2),
            429,
            "user: lgy has exceeded parallel requests: 2",
            "x-error-parallel-exceeded",
        ),
        (
            Decision(Outcome.MODEL_RATE_EXCEEDED, LIMITS, retry_after_seconds=0.2),
            429,
            "model: m has exceeded RPS: 0",
            "x-error-model-rps-exceeded",
        ),
    ],
)
def test_refusals(decision: Decision, status: int, message: str, header: str):
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(user="lgy"))
    exchange.receive(body())
    code, found, response_headers = error(exchange.admitted(decision))
    assert (code, found["message"], response_headers[header]) == (status, message, "true")
    if status == 429:
        assert found["type"] == "rate_limit_error"
        told = response_headers["retry-after"], response_headers["retry-after-ms"]
        assert told == {17.2: ("18", "17200"), 0.2: ("1", "200"), 60.5: ("59", "59000")}[decision.retry_after_seconds]
        assert response_headers["x-ratelimit-limit-requests"] == "3"
    assert bench.inflight() == 0
    assert exchange.end().back is None, "a refusal debited nothing"


KEY = "gw-" + "k" * 43
KEYS = IdentityRules(frozenset({"header", "api-key"}))


def test_an_api_key_names_its_user_and_stays_here():
    bench = Bench(default_strategy="random", identity=KEYS)
    exchange = bench.exchange()
    step = exchange.receive(headers(authorization=f"Bearer {KEY}"))
    assert isinstance(step, Identify)
    assert KEY not in step.key_sha256
    assert not reply(exchange.identified("kim")).final
    step = exchange.receive(body())
    assert isinstance(step, Admit)
    assert step.admission.subject == "kim"
    assert mutation(exchange.admitted(ADMITTED))[1] == ["authorization"]


def test_engines_see_keys_only_where_asked():
    bench = Bench(
        default_strategy="random", identity=IdentityRules(frozenset({"api-key"}), forward_api_keys=True), limited=False
    )
    exchange = bench.exchange()
    exchange.receive(headers(authorization=f"Bearer {KEY}"))
    exchange.identified("kim")
    assert mutation(exchange.receive(body()))[1] == []


@pytest.mark.parametrize(
    ("owner", "user", "status", "code"),
    [(None, "", 401, "invalid_api_key"), ("kim", "lgy", 403, "user_mismatch"), (None, "lgy", 401, "invalid_api_key")],
)
def test_keys_that_do_not_fit(owner: str | None, user: str, status: int, code: str):
    exchange = Bench(identity=KEYS).exchange()
    exchange.receive(headers(authorization=f"Bearer {KEY}", user=user))
    status_seen, found, _ = error(exchange.identified(owner))
    assert (status_seen, found["code"]) == (status, code)


def test_a_key_or_the_static_token_will_do():
    rules = IdentityRules(frozenset({"bearer", "api-key"}), "t0p")
    assert not reply(Bench(identity=rules).exchange().receive(headers(authorization="Bearer t0p"))).final
    assert isinstance(Bench(identity=rules).exchange().receive(headers(authorization=f"Bearer {KEY}")), Identify)
    assert error(Bench(identity=rules).exchange().receive(headers(authorization="Bearer other")))[0] == 401


def test_the_anonymous_may_be_refused():
    rules = IdentityRules(anonymous="reject")
    for sent in ({}, {":path": "/v1/models", ":method": "GET"}):
        status, found, _ = error(Bench(identity=rules).exchange().receive(headers(**sent)))
        assert (status, found["code"]) == (401, "user_required")


def test_the_anonymous_may_be_limited_by_their_address():
    bench = Bench(default_strategy="random", identity=IdentityRules(anonymous="limit"))
    exchange = bench.exchange()
    exchange.receive(headers(x_forwarded_for="6.6.6.6, 10.1.2.3"))
    step = exchange.receive(body())
    assert isinstance(step, Admit)
    assert step.admission.subject == Source("10.1.2.3"), "the address that Envoy saw, not the one that was claimed"


def test_an_exhausted_user_is_refused_before_the_body_is_read():
    bench = Bench(default_strategy="random")
    bench.refusals["lgy"] = Decision(Outcome.REQUESTS_EXCEEDED, LIMITS, 3.0, 0.0, 17.2)
    status, found, _ = error(bench.exchange().receive(headers(user="lgy")))
    assert (status, found["message"]) == (429, "user: lgy has exceeded RPM: 3")
    assert not reply(bench.exchange().receive(headers(user="kim"))).final


def test_whether_there_is_such_a_user_is_asked_before_the_body_is():
    bench = Bench(default_strategy="random")
    known = {"kim"}
    bench.services = replace(bench.services, is_known=known.__contains__)
    assert not reply(bench.exchange().receive(headers(user="kim"))).final, "heard of"
    for exists in (True, False):
        exchange = bench.exchange()
        step = exchange.receive(headers(user="lgy"))
        assert step == FindUser("lgy")
        assert bench.exchange().receive(headers(True, user="lgy", model="m")) != step, "no body, no question"
        if exists:
            assert reply(exchange.user_found(exists)).message.mode_override.request_body_mode == 2
            assert isinstance(exchange.receive(body()), Admit)
        else:
            status, found, _ = error(exchange.user_found(exists))
            assert (status, found["code"]) == (401, "invalid_user")


def test_whoever_has_proven_who_they_are_is_not_asked_for():
    bench = Bench(default_strategy="random", identity=KEYS)
    bench.services = replace(bench.services, is_known=lambda _: False)
    exchange = bench.exchange()
    exchange.receive(headers(authorization=f"Bearer {KEY}"))
    assert not reply(exchange.identified("kim")).final
    assert not reply(bench.exchange().receive(headers())).final, "and nobody has no name"


def test_where_nobody_is_limited_a_user_costs_nothing():
    bench = Bench(default_strategy="vtc-basic", limited=False)
    exchange = bench.exchange()
    exchange.receive(headers(user="lgy"))
    assert "target-pod" in mutation(exchange.receive(body()))[0]


STREAM = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("/v1/chat/completions", STREAM, STREAM | {"stream_options": {"include_usage": True}}),
        (
            "/v1/chat/completions",
            STREAM | {"stream_options": {"include_usage": False, "continuous_usage_stats": True}},
            STREAM | {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        ),
        ("/v1/chat/completions", STREAM | {"stream_options": {"include_usage": True}}, None),
        ("/v1/chat/completions", STREAM | {"stream": False}, None),
        ("/v1/messages", STREAM, None),
    ],
)
def test_streams_of_limited_users_are_asked_for_their_usage(path: str, content: Any, expected: Any):
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(user="lgy", **{":path": path}))
    exchange.receive(body(json.dumps(content).encode()))
    response = reply(exchange.admitted(ADMITTED)).message.request_body.response
    sent = {header.header.key: header.header.raw_value for header in response.header_mutation.set_headers}
    if expected is None:
        assert not response.HasField("body_mutation")
        assert "content-length" not in sent
    else:
        assert json.loads(response.body_mutation.body) == expected
        assert sent["content-length"] == str(len(response.body_mutation.body)).encode()


def test_a_stream_without_usage_may_be_refused():
    exchange = Bench(default_strategy="random", stream_usage="require").exchange()
    exchange.receive(headers(user="lgy"))
    status, found, response_headers = error(exchange.receive(body(json.dumps(STREAM).encode())))
    assert (status, found["param"]) == (400, "stream_options")
    assert "x-error-no-stream-options-include-usage" in response_headers


def test_what_never_reached_a_pod_is_given_back():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(user="lgy"))
    exchange.receive(body())
    bench.pods.apply(ClusterState((), frozenset({"m"})))
    assert error(exchange.admitted(ADMITTED))[0] == 503
    back = exchange.end().back
    assert back is not None
    assert (back.subject, back.charge_id, back.refund, back.reserved_tokens, back.slot) == (
        "lgy",
        "id-1",
        True,
        40,
        False,
    )
    assert exchange.end().back is None


def test_a_parallel_slot_is_given_back_when_the_exchange_ends():
    exchange = Bench(default_strategy="random").exchange()
    exchange.receive(headers(user="lgy"))
    exchange.receive(body())
    exchange.admitted(Decision(Outcome.ADMITTED, Limits(3, 3000, 2), 1.0, 40.0, 0.0, 40))
    back = exchange.end().back
    assert back is not None
    assert (back.slot, back.refund) == (True, False)


def test_a_large_body_is_held_twice_at_most():
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(user="kim"))
    content = b'{"model":"m","stream":true,"messages":[%b0]}' % (b"0," * 2_000_000)
    message = body(content)
    tracemalloc.start()
    try:
        exchange.receive(message)
        exchange.admitted(ADMITTED)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3.1 * len(content), "beside the message: the body, what replaces it, and a key of at most 4 MiB"


def test_what_fails_behind_a_pod_is_paid_for():
    """The engine has worked, whatever went wrong here while its response passed."""
    bench = Bench(default_strategy="random")
    exchange = bench.exchange()
    exchange.receive(headers(user="kim"))
    assert isinstance(exchange.receive(body()), Admit)
    exchange.admitted(ADMITTED)
    exchange.failed()
    assert exchange.end().back is None, "nothing is refunded"
    assert bench.inflight() == 0


def test_a_name_that_is_known_to_be_nobodys_is_refused_before_its_body_is_asked_for():
    bench = Bench()
    bench.refusals["nobody"] = Decision(Outcome.UNKNOWN_USER, None)
    status, answer, sent = error(bench.exchange().receive(headers(user="nobody")))
    assert (status, sent["x-error-user"]) == (401, "true")
    assert "nobody does not exist" in json.dumps(answer)


def test_a_key_of_an_owner_who_is_known_to_be_gone_says_no_more_at_the_headers_than_any_wrong_key():
    bench = Bench(identity=IdentityRules(frozenset({"api-key"})))
    bench.refusals["nobody"] = Decision(Outcome.UNKNOWN_USER, None)
    answers = []
    for owner in ("nobody", None):
        exchange = bench.exchange()
        assert isinstance(exchange.receive(headers(authorization="Bearer gw-x")), Identify)
        answers.append(error(exchange.identified(owner)))
    assert answers[0] == answers[1]
