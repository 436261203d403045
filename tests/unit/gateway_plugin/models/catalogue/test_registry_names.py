"""Aliases and canaries: who gets which model."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway_plugin.models.catalogue.registry import (
    ALIAS,
    RULE,
    Alias,
    Canary,
    ModelRule,
    Registry,
    Target,
    decode_registry,
    encode_alias,
    encode_rule,
)


def canary(weight_percent: float) -> Registry:
    return Registry({"gpt-4o": Alias("m")}, {"m": ModelRule(canary=Canary("m-v2", weight_percent))})


def test_names_that_nobody_arranged_stand_for_themselves():
    assert Registry().resolve("m", "lgy") == Target("m", "m", "m")


def test_an_alias_leads_to_its_model():
    registry = Registry({"gpt-4o": Alias("m", restore_name=True)})
    assert registry.resolve("gpt-4o", "lgy") == Target("m", "gpt-4o", "m", restore_name=True)
    assert registry.restores_names
    assert not canary(5).restores_names


@given(st.text(min_size=1), st.floats(0, 100), st.floats(0, 100))
def test_a_user_stays_with_a_canary_whose_weight_grows(user: str, one: float, other: float):
    less, more = sorted((one, other))
    if canary(less).resolve("m", user).model == "m-v2":
        assert canary(more).resolve("m", user).model == "m-v2"
    assert canary(less).resolve("gpt-4o", user).model == canary(less).resolve("m", user).model


def test_a_canary_gets_its_share_of_users():
    registry = canary(10)
    fallen = sum(registry.resolve("m", f"user-{number}").model == "m-v2" for number in range(10_000))
    assert 850 <= fallen <= 1150
    assert canary(0).resolve("m", "lgy").model == "m"
    assert canary(100).resolve("m", "lgy").model == "m-v2"


def test_what_is_stored_comes_back_and_what_is_broken_is_left_out():
    registry = canary(12.5)
    stored = {ALIAS + name: encode_alias(alias) for name, alias in registry.aliases.items()}
    stored |= {RULE + model: encode_rule(rule) for model, rule in registry.rules.items()}
    broken = {"alias/a": b"{", "model/b": b'{"hidden": 1}', "other/c": b"1"}
    decoded, unreadable = decode_registry(stored | broken)
    assert decoded == registry
    assert unreadable == ["alias/a", "model/b"]
