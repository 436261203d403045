"""All peers by name, and what their replicas share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.routing.peers.aibrix import AibrixLeastLatency, AibrixPreble, AibrixPrefixCache
from benchmarks.routing.peers.clairvoyant import Clairvoyant, ClairvoyantForFirstTokens
from benchmarks.routing.peers.endpoint_picker import EndpointPicker, EndpointPickerNoHitLru
from benchmarks.routing.peers.peer import LeastRequest, RoundRobin
from benchmarks.routing.peers.proxies import DynamoKv, PrefixAware, SglangCacheAware

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.routing.gateway import Gateway
    from benchmarks.routing.peers.peer import Peer

CLAIRVOYANT: dict[str, type[Peer]] = {
    "clairvoyant": Clairvoyant,
    "clairvoyant: first tokens": ClairvoyantForFirstTokens,
}
"""Who know what nobody can know: no products, but what these are measured by."""
PRODUCTS: dict[str, type[Peer]] = {
    "aibrix: prefix-cache": AibrixPrefixCache,
    "aibrix: preble": AibrixPreble,
    "aibrix: least-latency": AibrixLeastLatency,
    "llm-d: default": EndpointPicker,
    "llm-d: no-hit-lru": EndpointPickerNoHitLru,
    "sglang: cache_aware": SglangCacheAware,
    "production-stack: prefixaware": PrefixAware,
    "dynamo: kv": DynamoKv,
    "round-robin": RoundRobin,
    "peer: least-request": LeastRequest,
}
PEERS = PRODUCTS | CLAIRVOYANT


def peer_replicas(name: str, clock: Callable[[], float], seed: int, replicas: int, *, sharing: bool) -> list[Gateway]:
    """Replicas of one peer; what its product's replicas share is one thing, told without delay, when they share."""
    first, *others = peers = [PEERS[name](clock, seed + number) for number in range(replicas)]
    if sharing:
        for other in others:
            _share(first, other)
    return [*peers]


def _share(first: Peer, other: Peer) -> None:
    if first.shares_counts:
        other.counts = first.counts
        for name in ("prefill_tokens", "active_tokens"):
            if hasattr(first, name):
                setattr(other, name, getattr(first, name))
    if first.shares_index and hasattr(first, "index"):
        other.__dict__["index"] = first.__dict__["index"]
