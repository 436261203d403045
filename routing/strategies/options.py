"""Numbers of the strategies that a profile may change in its `routingConfig`; defaults, units and reasons stand here.

{"profiles": {"default": {"routingStrategy": "prefix-cache", "routingConfig": {"minMatchRatio": 0.3}}}}
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

OPTIONS: Mapping[str, float] = {
    # prefix-cache: share of the prompt below which a match is not worth following; a few words are in all prompts
    "minMatchRatio": 0.1,
    # prefix-cache: requests in flight up to which a match is followed: a multiple of the idlest pod's, and some more.
    # Of the idlest and not of the mean, or a pod that holds nothing would never get its first request. The pods that
    # hold the longest match share the second number: what many hold is popular, and one more copy pays off.
    "loadBoundFactor": 1.25,
    "loadBoundRequests": 6.0,
    # prefix-cache-and-load, least-latency: what each open request adds to a decoding step, where
    # nothing has told of it yet: published steps of A10 to H100 with 8B to 70B say 1 to 6 %
    "decodeShare": 0.03,
    # prefix-cache-and-load: seconds that a half full KV cache counts as, for a prompt of which nothing is cached
    "kvBarrierSeconds": 0.15,
    # throughput, vtc-basic: an output token costs about twice a prompt token to serve
    "promptTokenWeight": 1.0,
    "outputTokenWeight": 2.0,
}


def with_defaults(config: Mapping[str, Any]) -> Mapping[str, float]:
    """All of them as they hold under a profile's `routingConfig`, which may say other things, too."""
    told = {name: config[name] for name in OPTIONS if config.get(name) is not None}
    return MappingProxyType({**OPTIONS, **told})


def wrong_option(config: Mapping[str, Any]) -> str | None:
    """The name of an option that is not a number of at least 0, or None."""
    for name in OPTIONS:
        value = config.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
            return name
    return None
