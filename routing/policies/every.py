"""All strategies by their names on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from routing.policies.least_busy_time import LeastBusyTime
from routing.policies.least_kv_cache import LeastKvCache
from routing.policies.least_latency import LeastLatency
from routing.policies.least_request import LeastRequest
from routing.policies.least_utilization import LeastUtilization
from routing.policies.power_of_two import PowerOfTwo
from routing.policies.prefix_cache import PrefixCache
from routing.policies.prefix_cache_and_load import PrefixCacheAndLoad
from routing.policies.random import Random
from routing.policies.session_affinity import SessionAffinity
from routing.policies.throughput import Throughput
from routing.policies.vtc_basic import VtcBasic

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from routing.policy import Policy

ALIASES = {"least-gpu-cache": "least-kv-cache", "prefix-cache-preble": "prefix-cache-and-load"}


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
