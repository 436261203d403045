"""The size that the gateway's own figures ask for."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestration.scaling.gateway_policy import GatewayLoad, GatewayOptions, recommend
from orchestration.scaling.samples import Why
from orchestration.scaling.victims import DrainCandidate, deletion_costs, victims

LOAD = GatewayLoad(
    in_flight=64,
    held=0,
    arrivals_per_second=4.0,
    arrivals_slope=0.0,
    tokens_in_flight=64_000,
    prefill_seconds=0.1,
    decode_seconds=0.3,
    sustained_concurrency=16,
    kv_tokens_of_a_pod=32_000,
)
OPTIONS = GatewayOptions(utilisation=0.8, kv_utilisation=0.8)


def test_each_bound_in_its_turn():
    assert recommend(LOAD, 1, OPTIONS).replicas == 5  # 64 / (16 * 0.8)
    assert recommend(replace(LOAD, in_flight=8), 1, OPTIONS).replicas == 3  # 64,000 / (0.8 * 32,000) = 2.5
    assert recommend(replace(LOAD, in_flight=8, tokens_in_flight=0), 1, OPTIONS).replicas == 2  # 4 * 0.4 / 0.8


def test_a_rising_rate_is_met_one_start_up_ahead_and_believed_to_a_bound():
    rising = replace(LOAD, in_flight=0, tokens_in_flight=0, arrivals_slope=0.02)
    assert recommend(rising, 1, OPTIONS).replicas == 3  # (4 + 60 * 0.02) * 0.4 / 0.8 = 2.6
    assert recommend(replace(rising, arrivals_slope=9.0), 1, OPTIONS).replicas == 3  # 1.5 * 4 * 0.4 / 0.8
    assert recommend(replace(rising, arrivals_slope=-9.0), 1, OPTIONS).replicas == 2


def test_held_requests_are_worked_off_in_a_start_up_time():
    held = replace(LOAD, in_flight=0, held=300, sustained_concurrency=None, arrivals_per_second=0, tokens_in_flight=0)
    assert recommend(held, 0, OPTIONS).replicas == 2  # 300 * 0.4 / 60


def test_late_first_tokens_ask_for_one_more():
    late = replace(LOAD, ttft_p90_seconds=3.0)
    assert recommend(late, 5, replace(OPTIONS, ttft_target_seconds=2.0)).replicas == 6
    assert recommend(late, 5, replace(OPTIONS, ttft_target_seconds=4.0)).replicas == 5


def test_nothing_learned_changes_nothing():
    unknown = replace(LOAD, prefill_seconds=None, sustained_concurrency=None, kv_tokens_of_a_pod=None)
    answer = recommend(unknown, 3, OPTIONS)
    assert (answer.replicas, answer.why) == (3, Why.NO_METRICS)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 100))
def test_more_to_do_never_wants_fewer(in_flight: int, held: int, more: int):
    load = replace(LOAD, in_flight=in_flight, held=held)
    busier = replace(load, in_flight=in_flight + more, held=held + more)
    assert recommend(busier, 1, OPTIONS).replicas >= recommend(load, 1, OPTIONS).replicas


def pod(name: str, in_flight: int = 0, cached: float = 0, *, ready: bool = True, created: float = 0) -> DrainCandidate:
    return DrainCandidate(name, ready, in_flight, cached, created)


def test_who_goes_first():
    pods = [
        pod("busy", 9),
        pod("cold", 1, 10),
        pod("warm", 1, 99),
        pod("starting", ready=False),
        pod("young", 1, 10, created=5),
    ]
    assert victims(pods, 4) == ("starting", "young", "cold", "warm")


def test_who_was_chosen_stays_chosen():
    pods = [pod("a", 2), pod("b", 1)]
    assert victims(pods, 1, chosen=["a"]) == ("a",)
    assert victims(pods, 0, chosen=["a"]) == ()


def test_the_first_to_go_costs_least():
    assert deletion_costs([pod("a"), pod("b")], ["b", "a", "gone"]) == {"b": -3, "a": -2}
