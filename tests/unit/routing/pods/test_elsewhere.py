"""Other replicas' work: whose it is, how long it counts, and what their bookings do to the pods' queues."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.candidates import Candidates
from routing.pods.books import NEWS_AGE_SECONDS, Work
from routing.pods.elsewhere import LIFETIME_SECONDS, Elsewhere, Report
from routing.pods.pod_table import PodTable
from routing.pods.pod_work import PodWork, own_work, uid_hash
from routing.spec import ClusterState, PodSpec


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def pod(number: int, uid: str = "", *models: str) -> PodSpec:
    return PodSpec(f"pod-{number}", f"10.0.0.{number}:8000", models or ("m",), uid=uid)


def table(clock: Clock, *pods: PodSpec) -> PodTable:
    result = PodTable(clock)
    result.apply(ClusterState(pods, frozenset()))
    return result


def work(spec: PodSpec, requests: int = 1, tokens: float = 0.0, *, total: int = 0, backlog: float = 0.0) -> PodWork:
    return PodWork(
        spec.address, uid_hash(spec), requests, requests * 10.0, requests * 5.0, total or requests, tokens, backlog
    )


def test_what_a_view_shows_is_own_and_others_work_together():
    clock = Clock()
    pods = table(clock, pod(1), pod(2))
    elsewhere = Elsewhere(pods)
    pods.book(0, Work(100.0, 0.0, 50.0))
    elsewhere.hear("m", "b", Report(1, (work(pod(1), 2), work(pod(2), 3))))
    elsewhere.hear("m", "c", Report(1, (work(pod(2), 4), work(pod(9), 5))))
    elsewhere.update()
    view = pods.view("m")
    assert view.inflight_requests.tolist() == [3.0, 7.0]
    assert view.inflight_prompt_tokens.tolist() == [120.0, 70.0]
    assert view.inflight_output_tokens.tolist() == [60.0, 35.0]
    assert pods.columns.inflight_requests[:2].tolist() == [1, 0], "own counts stay own"
    assert repr(elsewhere) == "<Elsewhere 2 replicas, 14 in flight>"


def test_a_replica_that_falls_silent_is_forgotten_and_the_columns_return_to_zero():
    clock = Clock()
    pods = table(clock, pod(1))
    elsewhere = Elsewhere(pods)
    elsewhere.hear("m", "b", Report(1, (work(pod(1)),)))
    elsewhere.update()
    clock.now += LIFETIME_SECONDS - 0.01
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [1.0]
    assert elsewhere.age_seconds == pytest.approx(LIFETIME_SECONDS - 0.01)
    clock.now += 0.02
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [0.0]
    assert not pods.books.has_elsewhere
    assert (elsewhere.replicas, elsewhere.age_seconds) == (0, 0.0)


def test_a_report_that_is_no_newer_is_no_sign_of_life():
    clock = Clock()
    pods = table(clock, pod(1))
    elsewhere = Elsewhere(pods)
    assert elsewhere.hear("m", "b", Report(7, (work(pod(1)),)))
    clock.now += 1.0
    assert not elsewhere.hear("m", "b", Report(7, (work(pod(1), 2),)))
    assert not elsewhere.hear("m", "b", Report(6, (work(pod(1), 2),)))
    clock.now += 1.0
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [0.0]


def test_a_successor_at_the_same_address_has_none_of_the_work():
    clock = Clock()
    pods = table(clock, pod(1, "first"))
    elsewhere = Elsewhere(pods)
    elsewhere.hear("m", "b", Report(1, (work(pod(1, "first"), 4),)))
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [4.0]
    pods.apply(ClusterState((pod(1, "second"),), frozenset()))
    assert pods.view("m").inflight_requests.tolist() == [0.0]
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [0.0]
    elsewhere.hear("m", "b", Report(2, (work(pod(1, "second"), 2),)))
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [2.0]


def test_a_pod_that_discovery_brings_later_finds_its_work():
    clock = Clock()
    pods = table(clock, pod(1))
    elsewhere = Elsewhere(pods)
    elsewhere.hear("m", "b", Report(1, (work(pod(2), 3),)))
    elsewhere.update()
    pods.apply(ClusterState((pod(1), pod(2)), frozenset()))
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [0.0, 3.0]


def test_a_pod_told_under_two_models_counts_once_by_the_newer_report():
    clock = Clock()
    pods = table(clock, pod(1))
    elsewhere = Elsewhere(pods)
    elsewhere.hear("n", "b", Report(6, (work(pod(1), 2),)))
    elsewhere.hear("m", "b", Report(5, (work(pod(1), 9),)))
    elsewhere.update()
    assert pods.view("m").inflight_requests.tolist() == [2.0]


def test_others_bookings_join_the_one_queue_of_the_pod():
    clock = Clock()
    ours, theirs = table(clock, pod(1)), table(clock, pod(1))
    elsewhere = Elsewhere(ours)
    ours.book(0, Work(8000.0, 8000.0))  # a second's work at the assumed speed
    lease = theirs.book(0, Work(16_000.0, 16_000.0))
    elsewhere.hear("m", "b", Report(1, own_work(theirs)["m"]))
    assert ours.view("m").prefill_backlog_seconds.tolist() == pytest.approx([3.0])
    clock.now += 1.0
    assert ours.view("m").prefill_backlog_seconds.tolist() == pytest.approx([2.0])
    lease.release()
    theirs.book(0)
    elsewhere.hear("m", "b", Report(2, own_work(theirs)["m"]))
    assert ours.view("m").prefill_backlog_seconds.tolist() == pytest.approx([1.0]), "what was not done is taken back"


def test_a_poll_is_corrected_by_what_others_booked_since():
    clock = Clock()
    ours, theirs = table(clock, pod(1)), table(clock, pod(1))
    elsewhere = Elsewhere(ours)
    ours.polled(0, 1, {"running_requests": 3.0, "waiting_requests": 0.0, "kv_usage_ratio": 0.1})
    theirs.book(0, Work(1000.0, 1000.0))
    elsewhere.hear("m", "b", Report(1, own_work(theirs)["m"]))
    assert Candidates.of(ours.view("m")).engine_requests == [4.0]
    assert ours.view("m").kv_usage_ratio.tolist() == pytest.approx([0.1 + 1000 / 131_072])
    ours.polled(0, 1, {"running_requests": 4.0, "waiting_requests": 0.0, "kv_usage_ratio": 0.2})
    elsewhere.hear("m", "b", Report(2, own_work(theirs)["m"]))
    assert Candidates.of(ours.view("m")).engine_requests == [4.0], "no booking is added twice"


def test_old_work_of_a_long_running_replica_is_not_taken_over():
    clock = Clock()
    pods = table(clock, pod(1))
    pods.polled(0, 1, {"running_requests": 2.0, "waiting_requests": 0.0})
    elsewhere = Elsewhere(pods)
    elsewhere.hear("m", "b", Report(900, (work(pod(1), 2, 5e9, total=1_000_000, backlog=24_000.0),)))
    assert pods.view("m").prefill_backlog_seconds.tolist() == pytest.approx([3.0 - NEWS_AGE_SECONDS])
    assert Candidates.of(pods.view("m")).engine_requests == [4.0]


def test_own_work_names_each_pod_once_under_its_first_model():
    clock = Clock()
    pods = table(clock, pod(1, "u", "base", "adapter"), pod(2, "", "base"), pod(3))
    pods.book(0, Work(100.0, 40.0, 7.0))
    pods.book(2)
    told = own_work(pods)
    assert told == {
        "base": (PodWork("10.0.0.1:8000", uid_hash(pod(1, "u")), 1, 100.0, 7.0, 1, 40.0, 40.0),),
        "m": (PodWork("10.0.0.3:8000", uid_hash(pod(3)), 1, 0.0, 0.0, 1, 0.0, 0.0),),
    }
    clock.now += 0.001
    assert own_work(pods) == told, "that a queue gets shorter with time is no news"
    assert own_work(pods)["base"][0].prefill_backlog_tokens == pytest.approx(32.0)


REPLICAS = st.sampled_from(["b", "c", "d"])
REPORTS = st.tuples(
    st.floats(0.0, 1.0),  # seconds since the one before
    REPLICAS,
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), max_size=4, unique_by=lambda entry: entry[0]),
)


@given(st.lists(REPORTS, max_size=20))
def test_columns_are_the_sum_of_the_last_reports_that_are_young_enough(history):
    clock = Clock()
    pods = table(clock, pod(1), pod(2), pod(3))
    elsewhere = Elsewhere(pods)
    last: dict[str, tuple[float, dict[int, int]]] = {}
    for sequence, (seconds, replica, entries) in enumerate(history, start=1):
        clock.now += seconds
        elsewhere.hear("m", replica, Report(sequence, tuple(work(pod(n), requests) for n, requests in entries)))
        last[replica] = (clock.now, dict(entries))
        elsewhere.update()
        young = [entries for at, entries in last.values() if clock.now - at <= LIFETIME_SECONDS]
        expected = [sum(entries.get(number, 0) for entries in young) for number in (1, 2, 3)]
        assert pods.view("m").inflight_requests.tolist() == expected
    clock.now += LIFETIME_SECONDS + 1
    elsewhere.update()
    assert not np.any(pods.columns.inflight_requests_elsewhere)
    assert not np.any(pods.columns.inflight_prompt_tokens_elsewhere)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 0.2), st.floats(0.0, 20_000.0)), max_size=40))
def test_replicas_know_the_same_queue_but_for_the_age_of_their_news(bookings):
    clock = Clock()
    tables = [table(clock, pod(1)), table(clock, pod(1))]
    ears = [Elsewhere(pods) for pods in tables]
    for sequence, (first, seconds, tokens) in enumerate(bookings, start=1):
        clock.now += seconds
        speaker = 0 if first else 1
        tables[speaker].book(0, Work(tokens, tokens))
        ears[1 - speaker].hear("m", str(speaker), Report(sequence, own_work(tables[speaker])["m"]))
        queues = [float(pods.view("m").prefill_backlog_seconds[0]) for pods in tables]
        assert queues[0] == pytest.approx(queues[1], abs=NEWS_AGE_SECONDS + 1e-3)


def test_of_requests_that_have_ended_again_nothing_joins_the_queue():
    clock = Clock()
    pods = table(clock, pod(1))
    elsewhere = Elsewhere(pods)
    elsewhere.hear("m", "b", Report(1, (work(pod(1), 1, total=1),)))
    before = float(pods.columns.booked_requests_since_poll[0])
    elsewhere.hear("m", "b", Report(2, (work(pod(1), 2, total=9),)))
    assert pods.columns.booked_requests_since_poll[0] - before == 2, "eight were booked, two are still in flight"


def test_of_an_unknown_replica_no_more_is_taken_over_than_it_believes_to_be_left():
    clock = Clock()
    pods = table(clock, pod(1))
    Elsewhere(pods).hear("m", "b", Report(1, (work(pod(1), 1, 5000.0, backlog=300.0),)))
    assert pods.columns.prefill_queued_tokens[0] == 300.0
