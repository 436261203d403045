"""What is tried, one flow after the other, in one cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.real_kubernetes import accidents, everyday, installations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.real_kubernetes.cluster import TestCluster
    from tests.real_kubernetes.results import Result

FLOWS: dict[str, Callable[[TestCluster, Result], Awaitable[None]]] = {
    "install": everyday.install,
    "quiet": everyday.quiet,
    "users": everyday.users,
    "two GPU types": everyday.two_gpu_types,
    "AIBrix kinds": everyday.aibrix_kinds,
    "roll engines": everyday.roll_engines,
    "roll plugin": everyday.roll_plugin,
    "scale to zero": everyday.scale_to_zero,
    "no plugin": accidents.no_plugin,
    "kinds replaced": accidents.kinds_replaced,
    "API away": accidents.api_away,
    "authority rotated": accidents.authority_rotated,
    "node drained": accidents.node_drained,
    "Envoy Gateway away": accidents.envoy_gateway_away,
    "limited": installations.limited,
    "two": installations.two,
    "upgrade": installations.upgrade,
    "many": installations.many,
    "churn": accidents.churn,
    "etcd restored": accidents.etcd_restored,
}
"""In this order: the last ones leave little as it was."""
