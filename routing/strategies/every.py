"""All strategies by their names on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.strategies.least_busy_time import LeastBusyTime
from routing.strategies.least_kv_cache import LeastKvCache
from routing.strategies.least_latency import LeastLatency
from routing.strategies.least_request import LeastRequest
from routing.strategies.least_utilization import LeastUtilization
from routing.strategies.power_of_two import PowerOfTwo
from routing.strategies.prefix_cache import PrefixCache
from routing.strategies.prefix_cache_and_load import PrefixCacheAndLoad
from routing.strategies.random import Random
from routing.strategies.session_affinity import SessionAffinity
from routing.strategies.throughput import Throughput
from routing.strategies.vtc_basic import VtcBasic

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from routing.strategies.policy import Policy

ALIASES = {
    "least-gpu-cache": "least-kv-cache",
    "prefix-cache-preble": "prefix-cache-and-load",
    # What AIBrix's serving modes fall back to there, as long as they mean nothing of their own here.
    **dict.fromkeys(("pd", "slo", "slo-pack-load", "slo-least-load", "slo-least-load-pulling"), "least-request"),
}


def all_policies(clock: Callable[[], float], rng: np.random.Generator) -> dict[str, Policy]:
    """A fresh instance of every strategy, by its name on the wire."""
    policies: list[Policy] = [
        Random(),
        LeastRequest(),
        Throughput(),
        LeastBusyTime(),
        LeastKvCache(),
        LeastLatency(),
        LeastUtilization(),
        PrefixCache(),
        PrefixCacheAndLoad(),
        VtcBasic(clock),
        PowerOfTwo(rng),
        SessionAffinity(),
    ]
    return {policy.name: policy for policy in policies}
