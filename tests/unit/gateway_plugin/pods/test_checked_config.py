"""A model's configuration is checked whole when it is read: nothing is wrong in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_plugin.pods.checked_config import check_strategies, read_checked
from gateway_plugin.pods.endpoints_file import parse_endpoints
from gateway_plugin.pods.node import EndpointsError
from routing.profiles import ProfileCache, ProfileError, parse_profiles

FINE = {
    "lockedRoutingStrategy": "prefix-cache:2,least-request",
    "profiles": {"default": {"routingStrategy": "pd", "routingConfig": {"minMatchRatio": 0.2, "combined": True}}},
}


def test_what_is_fine_is_read_as_ever():
    assert read_checked(FINE) == parse_profiles(FINE)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"lockedRoutingStrategy": "prefix-cahce"},
            "lockedRoutingStrategy is 'prefix-cahce'.*did you mean prefix-cache?",
        ),
        (
            {"profiles": {"chat": {"routingStrategy": "least-requests"}}},
            r"profiles.'chat'.routingStrategy is .*did you mean least-request\?",
        ),
        ({"profiles": {"a": {"routingStrategy": "random,nonsense"}}}, "random,nonsense"),
        ({"lockedStrategy": "random"}, r"a key of config is 'lockedStrategy'.*did you mean lockedRoutingStrategy\?"),
        (
            {"profiles": {"a": {"requestPerSecond": 5}}},
            r"a key of profiles.'a' is 'requestPerSecond'.*did you mean requestsPerSecond\?",
        ),
        (
            {"profiles": {"a": {"routingConfig": {"minMatchRation": 0.1}}}},
            r"a key of profiles.'a'.routingConfig .*did you mean minMatchRatio\?",
        ),
        ('{"profiles": {"a": {}, "a": {}}}', "a key is 'a'; allowed: each key once"),
    ],
)
def test_what_is_wrong_says_where_and_what_was_meant(config: object, message: str):
    with pytest.raises(ProfileError, match=message):
        read_checked(config)  # type: ignore[arg-type]


def test_annotations_may_have_keys_of_others_and_no_unknown_strategies():
    cache = ProfileCache(check=check_strategies)
    assert cache.get('{"somebodyElses": 1, "profiles": {}}') is not None
    for _ in range(2):
        with pytest.raises(ProfileError, match="no-such"):
            cache.get('{"lockedRoutingStrategy": "no-such"}')


def parse(text: str) -> None:
    parse_endpoints(text.encode(), Path("/e.yaml"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("{name: m, endpoints: [], engine: vlllm}", r"engine is 'vlllm'; allowed: .*did you mean vllm\?"),
        ("{name: lora, endpoints: [], parent: bsae}", r"parent is 'bsae'; allowed: .*did you mean base\?"),
        ("{name: m, endpoint: []}", r"endpoint is an unknown key; .*did you mean endpoints\?"),
        ("{name: m, endpoints: [], config: {lockedRoutingStrategy: x}}", "config is .*lockedRoutingStrategy is 'x'"),
    ],
)
def test_the_endpoints_file_is_checked_whole(model: str, message: str):
    with pytest.raises(EndpointsError, match=message):
        parse(f"models: [{{name: base, endpoints: []}}, {model}]")
    parse("models: [{name: base, endpoints: [], engine: SGLang}, {name: lora, endpoints: [], parent: base}]")
