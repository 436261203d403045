"""Sharing as the settings want it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from gateway_plugin.peers.news import News
from gateway_plugin.peers.peer_metrics import ReplicaCollector
from gateway_plugin.peers.peer_store import PeerStore
from gateway_plugin.peers.post import Post
from gateway_plugin.peers.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from gateway_plugin.settings.settings import Settings
    from routing.pods.pod_table import PodTable
    from routing.router import Router


def new_sharing(
    settings: Settings,
    replica: str,
    pods: PodTable,
    router: Router,
    registry: CollectorRegistry,
    replicas: Callable[[], int],
) -> Sharing | None:
    """None without Redis, or where sharing is off. `replicas` tells how many share the store, this one included."""
    if not settings.redis.effective_url or settings.peers.replica_sharing == "off":
        return None
    store = PeerStore.from_url(settings.redis.effective_url, settings.redis.timeout_seconds)

    def is_alone() -> bool:
        return replicas() == 1

    news = News(pods, router, is_alone)
    sharing = Sharing(replica, store, pods, Post(replica, router), news, random.Random(), is_alone)
    registry.register(ReplicaCollector(sharing))
    return sharing
