"""Adapters that are loaded at their first request, and let go when a pod has too many: the least used first.

    nobody asked for it yet    on no pod
    somebody waits for it      placed as others are, on one pod where nothing else is said
    it is loaded               where it is
    a pod has more than it can hold in memory    the least used that nobody uses now leaves it, until the rest fit

Adapters that are wanted everywhere are not let go, and what others loaded counts, but is left alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestration.adapters.placement import placed

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from orchestration.adapters.adapter_pods import AdapterPod, WantedAdapter


def places_of(
    adapters: Sequence[WantedAdapter], pods: Sequence[AdapterPod], rng: random.Random
) -> dict[str, tuple[str, ...]]:
    """By adapter that is not deleted: the pods it should be on, best first."""
    places = {one.name: _place(one, pods, rng) for one in adapters if not one.deleted}
    by_name = {one.name: one for one in adapters}
    for pod in pods:
        for name in _leaving(pod, places, by_name):
            places[name] = tuple(place for place in places[name] if place != pod.name)
    return places


def _place(one: WantedAdapter, pods: Sequence[AdapterPod], rng: random.Random) -> tuple[str, ...]:
    if not one.first_use:
        return placed(one, pods, rng)
    holders = tuple(pod.name for pod in pods if pod.name in one.pods and one.name in pod.loaded)
    if holders or not one.waiting:
        return holders
    return placed(replace(one, replicas=one.replicas or 1), pods, rng)


def _leaving(pod: AdapterPod, places: Mapping[str, Sequence[str]], by_name: Mapping[str, WantedAdapter]) -> list[str]:
    if pod.max_held is None:
        return []
    own = {name for name, chosen in places.items() if pod.name in chosen}
    foreign = sum(name not in by_name for name in pod.loaded)
    idle = [by_name[name] for name in own if _may_go(by_name[name])]
    idle.sort(key=lambda one: (one.requests_per_second, one.name))
    return [one.name for one in idle[: max(0, len(own) + foreign - pod.max_held)]]


def _may_go(one: WantedAdapter) -> bool:
    return one.first_use and not one.in_use and not one.waiting
