"""A model's configuration checked whole: what a request would find wrong is found when it is read.

An unknown strategy would answer every request of the model 400, and blame its client. Keys that nobody knows are
refused where the file is ours; annotations on Kubernetes may have some that other programs read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway_plugin.settings.nearest import did_you_mean
from routing.profiles import ModelConfig, ProfileError, decoded, parse_profiles
from routing.strategies.every import ALIASES, all_policies
from routing.strategies.options import OPTIONS
from routing.strategies.strategy_text import Strategies

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROOT_KEYS = ("lockedRoutingStrategy", "defaultProfile", "profiles")
_PROFILE_KEYS = ("routingStrategy", "routingConfig", "requestsPerSecond")
_HINTS = ("promptTokensGte", "promptTokensLt", "maxTokensGte", "maxTokensLt")
# What AIBrix reads for prefill/decode disaggregation, which nobody does here.
_OTHERS = ("promptLenBucketMinLength", "promptLenBucketMaxLength", "combined", "prefillScorePolicy")
_ROUTING_KEYS = (*OPTIONS, *_HINTS, *_OTHERS, "decodeScorePolicy")


@cache
def _strategies() -> Strategies:
    return Strategies(all_policies(lambda: 0.0, np.random.default_rng(0)), ALIASES)


def check_strategies(config: ModelConfig) -> None:
    """Raises ProfileError for a strategy that nobody knows."""
    named = [("lockedRoutingStrategy", config.locked_strategy)]
    named += [(f"profiles.{name!r}.routingStrategy", profile.strategy) for name, profile in config.profiles.items()]
    for where, strategy in named:
        if strategy and _strategies().resolve(strategy) is None:
            names = _strategies().names()
            allowed = f"{', '.join(names)}, or several with weights"
            raise ProfileError(where, strategy, allowed + did_you_mean(strategy, names))


def read_checked(source: str | Mapping[str, Any]) -> ModelConfig:
    """As `parse_profiles`, of a file that nobody else reads; raises ProfileError."""
    config = parse_profiles(source)
    check_strategies(config)
    root = decoded(source) if isinstance(source, str) else source
    _check_keys("config", root, _ROOT_KEYS)
    for name, profile in _mapping(root, "profiles").items():
        where = f"profiles.{name!r}"
        _check_keys(where, profile, _PROFILE_KEYS)
        _check_keys(f"{where}.routingConfig", _mapping(profile, "routingConfig"), _ROUTING_KEYS)
    return config


def _check_keys(where: str, value: object, known: Iterable[str]) -> None:
    for key in value if isinstance(value, Mapping) else ():
        if key not in known:
            raise ProfileError(f"a key of {where}", key, f"{', '.join(known)}{did_you_mean(key, known)}")


def _mapping(value: object, key: str) -> Mapping[str, Any]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
