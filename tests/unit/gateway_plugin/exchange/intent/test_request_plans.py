"""Kept plans are the plans that would be made now."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.exchange.intent import request as plans
from gateway_plugin.exchange.intent.request import Planner, make_plan, read_intent
from gateway_plugin.exchange.intent.request_rules import Rules
from gateway_plugin.openai.prompt import Prompt
from routing.profiles import parse_profiles
from routing.spec import ClusterState, PodSpec
from tests.unit.gateway_plugin.exchange.bench import Bench

CONFIGS: list[dict[str, Any] | None] = [
    None,
    {"defaultProfile": "a", "profiles": {"a": {"routingStrategy": "random"}, "b": {"requestsPerSecond": 3}}},
    {"lockedRoutingStrategy": "prefix-cache"},
    {"profiles": {"b": {"routingStrategy": "throughput", "routingConfig": {"promptTokensGte": 2}}}},
]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["request", "request", "apply"]),
        st.sampled_from(["m", "n", "unknown"]),
        st.sampled_from(["", "random", "least-request:2,throughput"]),
        st.sampled_from(["", "a", "b", "auto"]),
        st.binary(max_size=12),
        st.sampled_from(CONFIGS),
    ),
    max_size=25,
)
PODS = (PodSpec("pod-0", "10.0.0.0:8000", ("m", "n")),)


@given(STEPS)
def test_plans(steps: list[tuple[str, str, str, str, bytes, dict[str, Any] | None]]):
    bench = Bench()
    rules = Rules("least-request")
    planner = Planner(rules, bench.router)
    for what, model, strategy, profile, key, config in steps:
        if what == "apply":
            parsed = {model: parse_profiles(config)} if config is not None else {}
            bench.pods.apply(ClusterState(PODS, frozenset(), parsed))
            continue
        sent = {"routing-strategy": strategy, "config-profile": profile}
        intent, prompt = read_intent(sent, rules, "id"), Prompt(key, "", None)
        expected = make_plan(intent, model, rules, bench.router, prompt)
        assert planner.plan(intent, model, prompt) == expected


def test_few_plans_are_kept():
    bench = Bench()
    planner = Planner(Rules("random"), bench.router)
    for number in range(plans._MAX_PLANS_KEPT + 7):
        planner.plan(read_intent({}, Rules(), "id"), f"model-{number}", None)
    assert len(planner._kept) == 7
    planner.plan(read_intent({"config-profile": "x" * 10_000}, Rules(), "id"), "m", None)
    assert len(planner._kept) == 7, "what clients choose at length is not kept"
