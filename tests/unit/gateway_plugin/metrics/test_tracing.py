"""What spans say, without a collector."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway_plugin.metrics.trace_export import tracing_through
from gateway_plugin.metrics.tracing import Tracing, end_attributes, operation_of
from protos.access_log import FinishedExchange

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NOT_SAMPLED = SAMPLED[:-1] + "0"


class Bench:
    def __init__(self, ratio: float = 0.0) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing: Tracing = tracing_through(SimpleSpanProcessor(self.exporter), ratio, "r-1")

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {one.name: one for one in self.exporter.get_finished_spans()}


def entry(**more: object) -> FinishedExchange:
    said = {"charge_id": "c", "user": "u", "model": "m", "status": 200, "pod_address": "10.0.0.1:8000",
            "duration_seconds": 2.0, "ttft_seconds": 0.5, "attempts": 1, "client_aborted": False,
            "tokens": {"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 2}}  # fmt: skip
    return FinishedExchange(**(said | more))  # type: ignore[arg-type]  # as the tests name them


@pytest.mark.parametrize(
    ("traceparent", "ratio", "sampled"),
    [
        (SAMPLED, 0.0, True),
        (NOT_SAMPLED, 1.0, False),
        ("", 0.0, False),
        ("", 1.0, True),
        ("not one", 1.0, True),
        ("not one", 0.0, False),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", 0.0, False),
    ],
)
def test_the_parent_decides_then_the_ratio(traceparent: str, ratio: float, sampled: bool):
    assert (Bench(ratio).tracing.begin(traceparent) is not None) is sampled


def test_the_end_belongs_to_the_decision_wherever_it_is_heard():
    bench, elsewhere = Bench(), Bench()
    trace = bench.tracing.begin(SAMPLED)
    assert trace is not None
    carried = trace.sent_on("id-1", "u", "m", "/v1/chat/completions")
    elsewhere.tracing.finished(entry(trace=carried))
    decide, end = bench.spans["decide"], elsewhere.spans["chat m"]
    assert decide.context is not None
    assert decide.start_time is not None
    assert end.parent is not None
    assert end.context is not None
    assert (end.parent.span_id, end.context.trace_id) == (decide.context.span_id, decide.context.trace_id)
    assert (end.start_time, end.end_time) == (decide.start_time, decide.start_time + 2_000_000_000)
    (first,) = end.events
    assert first.timestamp == decide.start_time + 500_000_000


def test_steps_follow_one_another():
    bench = Bench()
    trace = bench.tracing.begin(SAMPLED)
    assert trace is not None
    trace.end_step("identify")
    trace.end_step("admit")
    trace.chosen("", None)
    trace.refused("id", "", "m", 429, "requests_exceeded")
    spans = bench.spans
    assert spans["admit"].start_time == spans["identify"].end_time
    assert spans["decide"].attributes is not None
    assert spans["decide"].attributes["error.type"] == "requests_exceeded"
    assert not spans["decide"].status.is_ok


def test_who_leaves_first_is_told_and_who_leaves_later_changes_nothing():
    bench = Bench()
    trace = bench.tracing.begin(SAMPLED)
    assert trace is not None
    trace.given_up()
    trace.given_up()
    assert len(bench.exporter.get_finished_spans()) == 1


@pytest.mark.parametrize("trace", ["", "x", "a b c", f"{SAMPLED} x chat", f"{SAMPLED}"])
def test_what_no_decision_wrote_is_no_span(trace: str):
    bench = Bench(1.0)
    bench.tracing.finished(entry(trace=trace))
    assert not bench.spans


def test_the_end_has_the_names_of_opentelemetry():
    said = end_attributes(entry(), "chat")
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (7, 3)
    assert (said["server.address"], said["server.port"]) == ("10.0.0.1", 8000)
    assert "error.type" not in said
    assert (
        end_attributes(entry(status=503, details="no_healthy_upstream"), "chat")["error.type"] == "no_healthy_upstream"
    )
    assert end_attributes(entry(client_aborted=True), "chat")["error.type"] == "client_left"
    assert "server.address" not in end_attributes(entry(pod_address=""), "chat")
    assert end_attributes(entry(pod_address="[::1]:8000"), "chat")["server.address"] == "::1"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "chat"),
        ("/v1/messages?beta=true", "chat"),
        ("/v1/completions", "text_completion"),
        ("/v1/embeddings/", "embeddings"),
        ("/v1/rerank", "rerank"),
        ("/", "none"),
    ],
)
def test_operations_have_names(path: str, name: str):
    assert operation_of(path) == name
