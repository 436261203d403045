"""On which pods an adapter should be: AIBrix's schedulers, and one that knows slots.

    leastAdapters    fewest adapters                       binPack          most adapters that still leave room
    leastLatency     lowest latency                        leastThroughput  fewest tokens per second
    random           by lot                                slots, default   room first, fewest adapters, latency

Pods that hold it already come first whatever the policy, so that nothing moves without need; pods without room come
last. Only pods that have been ready for `SETTLED_SECONDS` are given something new: one that has just come up may go
at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from orchestration.adapters.adapter_pods import AdapterPod, WantedAdapter

SETTLED_SECONDS = 5.0
"""As AIBrix waits."""

Rank = tuple[float, ...]

_POLICIES: dict[str, Callable[[AdapterPod], Rank]] = {
    "leastAdapters": lambda pod: (len(pod.loaded),),
    "binPack": lambda pod: (-len(pod.loaded),),
    "leastLatency": lambda pod: (pod.latency_seconds,),
    "leastThroughput": lambda pod: (pod.tokens_per_second,),
    "random": lambda pod: (),
    "slots": lambda pod: (len(pod.loaded), pod.latency_seconds),
}
_OTHER_NAMES = {"default": "slots", "least-adapters": "leastAdapters", "bin-pack": "binPack"}
POLICIES = (*_POLICIES, *_OTHER_NAMES)


def placed(wanted: WantedAdapter, pods: Sequence[AdapterPod], rng: random.Random) -> tuple[str, ...]:
    """The pods it should be on, best first; fewer than it has replicas when there are not so many.

    ValueError for a policy that nobody knows.
    """
    rank = _rank(wanted.policy)
    able = [pod for pod in pods if pod.name in wanted.pods and _may_take(wanted, pod)]
    if wanted.replicas is None:
        return tuple(pod.name for pod in able)

    def order(pod: AdapterPod) -> tuple[bool, bool, Rank, float]:
        holds = wanted.name in pod.loaded
        return (not holds, not holds and pod.room <= 0, rank(pod), rng.random())

    return tuple(pod.name for pod in sorted(able, key=order)[: wanted.replicas])


def _rank(policy: str) -> Callable[[AdapterPod], Rank]:
    try:
        return _POLICIES[_OTHER_NAMES.get(policy, policy)]
    except KeyError:
        raise ValueError(f"schedulerName {policy!r} is none of {', '.join(POLICIES)}") from None


def _may_take(wanted: WantedAdapter, pod: AdapterPod) -> bool:
    if pod.ready_for_seconds is None:
        return False
    return wanted.name in pod.loaded or pod.ready_for_seconds >= SETTLED_SECONDS
