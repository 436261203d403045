"""What is counted here reads as what prometheus_client would have counted."""

from __future__ import annotations

from functools import partial
from unittest.mock import patch

import prometheus_client
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest

from gateway_plugin.metrics.families import Count, Family, Level, Metrics, Spread

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
AMOUNTS = st.lists(st.tuples(NAMES, st.floats(0, 1e6)), max_size=8)
BOUNDS = (0.00005, 0.5, 1, 300, 2.5e6)


def exposed(own: Family[Count] | Family[Level] | Family[Spread], theirs: CollectorRegistry) -> tuple[str, str]:
    registry = CollectorRegistry()
    registry.register(own)
    return generate_latest(registry).decode(), generate_latest(theirs).decode()


@given(AMOUNTS)
def test_counters(amounts: list[tuple[str, float]]):
    theirs = CollectorRegistry()
    with patch("time.time", return_value=17.5):
        expected = prometheus_client.Counter("things", "How many.", ["of"], registry=theirs)
        own = Family("counter", "things", "How many.", ["of"], Count)
        for name, amount in amounts:
            expected.labels(name).inc(amount)
            own.labels(name).inc(amount)
    found, wanted = exposed(own, theirs)
    assert found == wanted


@given(AMOUNTS)
def test_histograms(amounts: list[tuple[str, float]]):
    theirs = CollectorRegistry()
    with patch("time.time", return_value=17.5):
        expected = prometheus_client.Histogram("seconds", "How long.", ["of"], buckets=BOUNDS, registry=theirs)
        own = Family("histogram", "seconds", "How long.", ["of"], partial(Spread, BOUNDS))
        for name, amount in [*amounts, *(("edge", bound) for bound in BOUNDS)]:
            expected.labels(name).observe(amount)
            own.labels(name).observe(amount)
    found, wanted = exposed(own, theirs)
    assert found == wanted


@given(st.lists(st.booleans(), max_size=8))
def test_gauges(steps: list[bool]):
    theirs = CollectorRegistry()
    expected = prometheus_client.Gauge("open", "How many.", registry=theirs)
    own = Family("gauge", "open", "How many.", [], Level)
    for up in steps:
        (expected.inc if up else expected.dec)()
        (own.labels().inc if up else own.labels().dec)()
    found, wanted = exposed(own, theirs)
    assert found == wanted


def test_children_are_named_by_all_labels():
    with pytest.raises(ValueError, match=r"things has labels \('of', 'by'\), not 1"):
        Family("counter", "things", "How many.", ["of", "by"], Count).labels("a")


def test_what_has_not_happened_yet_is_zero():
    text = generate_latest(Metrics().registry).decode()
    for name in ("gateway_in_flight_requests", "gateway_passed_through_total", "gateway_internal_errors_total"):
        assert f"\n{name} 0.0\n" in text
    assert 'gateway_decision_seconds_bucket{le="+Inf"} 0.0' in text


def test_all_open_exchanges_are_those_of_all_models():
    metrics = Metrics()
    for model in ("a", "a", "b"):
        metrics.model_in_flight.labels(model).inc()
    metrics.model_in_flight.labels("a").dec()
    assert metrics.registry.get_sample_value("gateway_in_flight_requests") == 2
    assert metrics.in_flight_by_model() == {"a": 1, "b": 1}
