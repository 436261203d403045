"""What is written can be read, and nothing else is taken for it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.peers.post import MAX_QUEUED, Post, charge_ids, new_replica_id
from gateway_plugin.peers.wire import (
    MalformedNewsError,
    read_report,
    read_settled,
    report_bytes,
    settled_bytes,
)
from protos import replica_state_pb2 as pb
from routing.pods.elsewhere import Report
from routing.pods.pod_work import PodWork
from routing.router import Router, Settled

COUNTS = st.integers(0, 2**53)
TOKENS = st.floats(0.0, 2.0**53)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
HASHES = st.integers(0, 2**64 - 1)
WORK = st.builds(PodWork, st.text(max_size=40), HASHES, COUNTS, TOKENS, TOKENS, COUNTS, FINITE, TOKENS)
SECONDS = st.none() | st.floats(0.0, 3600.0)
SETTLED = st.builds(Settled, st.text(), st.text(), st.text(), st.booleans(), COUNTS, COUNTS, COUNTS, SECONDS)


@given(st.builds(Report, st.integers(0, 2**64 - 1), st.lists(WORK, max_size=5).map(tuple)))
def test_reports_come_back_as_they_went(report: Report):
    again = read_report(report_bytes(report))
    assert again == report
    assert [pod.prefill_backlog_tokens for pod in again.pods] == [pod.prefill_backlog_tokens for pod in report.pods]


@given(SETTLED)
def test_outcomes_come_back_as_they_went(settled: Settled):
    assert read_settled(settled_bytes(settled)) == settled


@given(st.binary(max_size=60))
def test_any_bytes_are_a_report_of_sane_numbers_or_malformed(value: bytes):
    try:
        report = read_report(value)
    except MalformedNewsError:
        return
    for pod in report.pods:
        assert 0 <= pod.inflight_requests <= 2**53
        assert all(0.0 <= tokens < math.inf for tokens in (pod.inflight_prompt_tokens, pod.inflight_output_tokens))


@pytest.mark.parametrize(
    "pod",
    [
        pb.PodWork(inflight_requests=2**60),
        pb.PodWork(requests_total=2**60),
        pb.PodWork(inflight_prompt_tokens=-1.0),
        pb.PodWork(inflight_output_tokens=math.nan),
        pb.PodWork(prefill_backlog_tokens=math.inf),
        pb.PodWork(prefill_booked_tokens=math.nan),
    ],
)
def test_numbers_that_no_pod_has_are_malformed(pod: pb.PodWork):
    with pytest.raises(MalformedNewsError):
        read_report(pb.ReplicaState(sequence=1, pods=[pod]).SerializeToString())


@pytest.mark.parametrize(
    "value",
    [
        b"\xff",
        pb.ForwardedOutcome(output_tokens=2**60).SerializeToString(),
        pb.ForwardedOutcome(ttft_seconds=-1.0).SerializeToString(),
        pb.ForwardedOutcome(ttft_seconds=math.nan).SerializeToString(),
    ],
)
def test_outcomes_that_nobody_wrote_are_malformed(value: bytes):
    with pytest.raises(MalformedNewsError):
        read_settled(value)


class FakeRouter(Router):
    def __init__(self) -> None:
        self.settled: list[str] = []

    def settle(self, charge_id: str, *_: object, **__: object) -> bool:
        self.settled.append(charge_id)
        return True


def test_the_post_is_bounded_and_keeps_what_comes_while_it_is_carried():
    router = FakeRouter()
    post = Post(new_replica_id(), router)
    other = new_replica_id()
    for _ in range(MAX_QUEUED + 3):
        router.on_stranger(Settled(charge_ids(other)(), "m", "", True, 0, 0, 0))
    assert post.counts["dropped"] == 3
    outgoing = post.outgoing()
    assert len(outgoing[other]) == MAX_QUEUED
    post.sent(outgoing)
    router.on_stranger(Settled(charge_ids(other)(), "m", "", True, 0, 0, 0))
    outgoing = post.outgoing()
    router.on_stranger(Settled(last := charge_ids(other)(), "m", "", True, 0, 0, 0))
    post.sent(outgoing)
    assert [read_settled(value).charge_id for value in post.outgoing()[other]] == [last]
    assert post.counts["forwarded"] == MAX_QUEUED + 1


def test_malformed_post_is_counted():
    router = FakeRouter()
    post = Post(new_replica_id(), router)
    post.receive([b"\xff", settled_bytes(Settled("c", "m", "", True, 0, 0, 0))])
    assert router.settled == ["c"]
    assert (post.counts["malformed"], post.counts["received"]) == (1, 1)
