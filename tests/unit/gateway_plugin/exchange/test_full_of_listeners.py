"""Streams of events that nobody has room for are refused before the API is asked: a flood of them costs little."""

from __future__ import annotations

from dataclasses import replace

from gateway_plugin.http.event_listeners import MAX_LISTENERS, MAX_OF_A_SOURCE, Listeners
from tests.unit.gateway_plugin.exchange.bench import Bench, headers, reply


def status_of(bench: Bench, path: str, source: str) -> int:
    message = headers(True, **{":method": "GET", ":path": path, "x-forwarded-for": source})
    answer = reply(bench.exchange().receive(message)).message
    return answer.immediate_response.status.code if answer.HasField("immediate_response") else 200


def test_a_source_that_listens_too_often_is_refused_and_others_are_not():
    bench, listeners = Bench(), Listeners()
    bench.services = replace(bench.services, listeners_refusal=listeners.refusal)
    places = [listeners.enter("", "10.0.0.9") for _ in range(MAX_OF_A_SOURCE)]
    assert status_of(bench, "/v1/models/events", "10.0.0.9") == 503
    assert status_of(bench, "/v1/models/events?types=a", "10.0.0.9") == 503
    assert status_of(bench, "/v1/models", "10.0.0.9") == 200
    assert status_of(bench, "/v1/models/events", "10.0.0.8") == 200
    assert not isinstance(places[0], str)
    places[0].leave()
    assert status_of(bench, "/v1/models/events", "10.0.0.9") == 200


def test_when_all_places_are_taken_everybody_is_refused():
    listeners = Listeners()
    for number in range(MAX_LISTENERS):
        listeners.enter("", f"10.0.{number % 100}.1")
    assert listeners.refusal("192.0.2.1")
    assert not Listeners().refusal("192.0.2.1")
