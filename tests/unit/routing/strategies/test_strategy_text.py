"""Texts on the wire and the policies they mean."""

from __future__ import annotations

import pytest

from routing.strategies.policy import Policy
from routing.strategies.strategy_text import Strategies

NAMES = ("least-request", "prefix-cache", "random", "power-of-two")
MODES = ("pd", "slo", "slo-pack-load", "slo-least-load", "slo-least-load-pulling")
ALIASES = {
    "least-load": "least-request",
    "dice": "random",
    "random": "least-request",
    **dict.fromkeys(MODES, "least-request"),
}


class Named(Policy):
    def __init__(self, name: str) -> None:
        self.name = name


POLICIES: dict[str, Policy] = {name: Named(name) for name in NAMES}


def make(max_cached: int = 256) -> Strategies:
    return Strategies(POLICIES, ALIASES, max_cached)


def shown(text: str) -> str:
    policy = make().resolve(text)
    return policy.name if isinstance(policy, Named) else repr(policy)


def test_names_with_aliases_sorted():
    assert make().names() == sorted({*NAMES, *ALIASES} - {*MODES})


def test_an_alias_must_lead_somewhere():
    with pytest.raises(KeyError):
        Strategies(POLICIES, {"a": "nobody"})


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("random", "random"),  # the policy's own name wins over the alias
        ("least-load", "least-request"),
        (" least-request ", "least-request"),
        ("prefix-cache:7", "prefix-cache"),
        ("random:2", "random"),
        ("random:1,random:1", "random"),
        ("least-request,least-load", "least-request"),
        ("least-request:0,random", "random"),
        ("nobody:0,random", "random"),
        *[(mode, "least-request") for mode in MODES],
        ("pd:2,slo", "least-request"),
        ("least-request:1,slo-least-load", "least-request"),
        ("prefix-cache,pd,slo", "prefix-cache"),
        ("slo-pack-load:3,prefix-cache,pd", "prefix-cache"),
        ("pd:0,slo,random", "random"),
        ("pd,random:0", "least-request"),
    ],
)
def test_texts_that_mean_one_policy(text, name):
    assert shown(text) == name


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("least-request,prefix-cache", "least-request:1,prefix-cache:1"),
        (" prefix-cache : 2 , least-load:1", "prefix-cache:2,least-request:1"),
        ("prefix-cache:2,least-request,prefix-cache:3", "prefix-cache:5,least-request:1"),
        ("prefix-cache:1000000,least-request:007", "prefix-cache:1000000,least-request:7"),
        ("prefix-cache,least-request,random:0", "prefix-cache:1,least-request:1"),
        ("slo:9,prefix-cache:2,pd,least-request", "prefix-cache:2,least-request:1"),
    ],
)
def test_combinations(text, parts):
    assert shown(text) == f"<Combined {parts}>"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ",",
        "nobody",
        "Least-Request",
        "least_request",
        "least-request,",
        ",least-request",
        "least-request,,prefix-cache",
        "least-request,nobody",
        "least-request:",
        ":1",
        "least-request:-1",
        "least-request:+1",
        "least-request:1.5",
        "least-request:a",
        "least-request:1_0",
        "least-request:\u0661",
        "least-request:1:2",
        "least-request:1000001",
        "least request",
        "least-request:0",
        "least-request:0,prefix-cache:0",
        "least-request,random",
        "dice,prefix-cache",
        "power-of-two:2,prefix-cache",
        "nobody,pd",
        "slow",
        "slo-nobody",
        "slo-nobody,least-request",
        f"least-request,{' ' * 1024}prefix-cache",
    ],
)
def test_texts_that_mean_nothing(text):
    assert make().resolve(text) is None


def test_parsed_texts_are_kept_and_bounded_good_and_bad_alike():
    strategies = make(max_cached=3)
    text = "least-request:2,prefix-cache"
    first = strategies.resolve(text)
    assert strategies.resolve(text) is first
    for weight in range(1, 10):
        strategies.resolve(f"prefix-cache:{weight},least-request")
        strategies.resolve(f"nobody:{weight}")
        strategies.resolve(f"{weight}" * 2000)
    assert strategies._parsed.cache_info().currsize == 3
    assert strategies.resolve(text) is not first
