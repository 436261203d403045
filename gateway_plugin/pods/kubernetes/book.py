"""Everything seen of the cluster, and the one ClusterState that follows from it.

A complete list replaces its scope at once, so that a model that was served before and after is never missing in
between; single events change single objects. Most status updates of a pod change nothing that routing sees, and then
there is nothing to tell.

- A model is known while any of its pods, its adapter or its route exists, ready or not.
- Two pods at one address: the address is the ready one's, else the one's that stays, else the newer one's. That is a
  complaint only if both are there to stay: a pod that ends may give up its address late.
- A model's configuration is that of its newest pod that has one, so that a rollout brings it; an adapter's own goes
  before its pods'.
- A pod's name is unique only within its namespace; where several namespaces have pods of one name, they are told as
  "namespace/name".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gateway_plugin.pods.kubernetes.complaints import Complaint, ComplaintReason
from kube.shelf import Shelf
from routing.spec import AdapterSpec, ClusterState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway_plugin.pods.kubernetes.pod_readings import AdapterReading, PodReading
    from routing.profiles import ModelConfig
    from routing.spec import PodSpec

_Adapters = dict[tuple[str, str], list[str]]
_Holders = dict[str, "tuple[PodSpec, PodReading]"]


@dataclass(frozen=True, slots=True)
class BookSnapshot:
    """One moment."""

    state: ClusterState
    complaints: tuple[Complaint, ...]


class Book:
    """Whoever reads objects puts them on the shelves."""

    def __init__(self) -> None:
        self.pods: Shelf[PodReading] = Shelf()
        self.adapters: Shelf[AdapterReading] = Shelf()
        self.routed: Shelf[str] = Shelf()
        """Models that have a route, with pods or without."""

    def snapshot(self) -> BookSnapshot:
        """All that is known, in one piece."""
        adapters = self._adapters_by_pod()
        holders, complaints = self._addresses()
        shared = _shared_names(holders)
        pods = tuple(_finished(spec, reading, adapters, shared) for spec, reading in holders.values())
        models = {model for reading in self.pods for model in reading.models}
        models |= {adapter.ref.name for adapter in self.adapters} | set(self.routed)
        complaints += [complaint for reading in self.pods for complaint in reading.complaints]
        complaints += [complaint for adapter in self.adapters for complaint in adapter.complaints]
        state = ClusterState(pods, frozenset(models), self._configs(adapters), self._adapter_specs())
        return BookSnapshot(state, tuple(complaints))

    def _adapters_by_pod(self) -> _Adapters:
        names: _Adapters = defaultdict(list)
        for adapter in self.adapters:
            for instance in adapter.instances:
                names[adapter.ref.namespace, instance].append(adapter.ref.name)
        return names

    def _adapter_specs(self) -> dict[str, AdapterSpec]:
        served = {(reading.ref.namespace, reading.ref.name): reading.models for reading in self.pods}
        specs: dict[str, AdapterSpec] = {}
        for adapter in self.adapters:
            of_pods = (served.get((adapter.ref.namespace, instance), ()) for instance in adapter.instances)
            parent = adapter.base_model or next((models[0] for models in of_pods if models), "")
            specs[adapter.ref.name] = AdapterSpec(parent, adapter.artifact)
        return specs

    def _addresses(self) -> tuple[_Holders, list[Complaint]]:
        holders: _Holders = {}
        complaints = []
        for reading in self.pods:
            for spec in reading.specs:
                other = holders.get(spec.address)
                if other is None:
                    holders[spec.address] = spec, reading
                    continue
                winner, loser = sorted([(spec, reading), other], key=lambda one: one[1].claim, reverse=True)
                holders[spec.address] = winner
                if not (winner[1].terminating or loser[1].terminating):
                    complaints.append(_same_address(spec.address, winner[1], loser[1]))
        return holders, complaints

    def _configs(self, adapters: _Adapters) -> Mapping[str, ModelConfig]:
        newest: dict[str, tuple[tuple[bool, str, str], ModelConfig]] = {}

        def offer(model: str, config: ModelConfig, order: tuple[bool, str, str]) -> None:
            if model not in newest or order > newest[model][0]:
                newest[model] = order, config

        for reading in self.pods:
            if reading.config is not None:
                ref = reading.ref
                for model in (*reading.models, *adapters.get((ref.namespace, ref.name), ())):
                    offer(model, reading.config, (False, reading.created_at, ref.uid))
        for adapter in self.adapters:
            if adapter.config is not None:
                offer(adapter.ref.name, adapter.config, (True, adapter.created_at, adapter.ref.uid))
        return {model: config for model, (_, config) in newest.items()}


def _shared_names(holders: _Holders) -> set[str]:
    names = Counter(spec.name for spec, _ in holders.values())
    return {name for name, count in names.items() if count > 1}


def _finished(spec: PodSpec, reading: PodReading, adapters: _Adapters, shared_names: set[str]) -> PodSpec:
    """What only the whole cluster can tell of a pod."""
    if spec.name in shared_names:
        spec = replace(spec, name=f"{reading.ref.namespace}/{spec.name}")
    names = adapters.get((reading.ref.namespace, reading.ref.name))
    return replace(spec, models=tuple(dict.fromkeys((*spec.models, *sorted(names))))) if names else spec


def _same_address(address: str, winner: PodReading, loser: PodReading) -> Complaint:
    other = winner.ref
    text = f"its address {address} is also that of {other}; only {other.namespace}/{other.name} gets requests"
    return Complaint(loser.ref, ComplaintReason.SAME_ADDRESS, text)
