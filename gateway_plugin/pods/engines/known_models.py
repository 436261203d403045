"""Adapters that engines have loaded, joined to what discovery says: between discovery and the pod table.

An adapter that an engine lists is served by that pod, and requests for it are routed there, as if discovery had named
it. An engine is believed only what concerns itself: an adapter must name as its parent a model of the same pod, and
must not bear the name of a base model that discovery knows, or a confused pod would take away others' requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from routing.spec import ClusterState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from routing.spec import PodSpec


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model as its engine lists it; empty and None are "not said"."""

    id: str
    root: str = ""
    parent: str = ""
    max_model_len: int | None = None


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What one engine lists, and its version."""

    cards: tuple[ModelCard, ...] = ()
    version: str = ""

    def lists(self, model: str) -> bool:
        """Whether the model is loaded; an engine that lists nothing says nothing."""
        return not self.cards or any(card.id == model for card in self.cards)


class AdapterInfo(NamedTuple):
    """What is known of an adapter; empty where it is not."""

    parent: str = ""
    root: str = ""


class KnownModels:
    """`apply` takes over a whole state: the pod table's."""

    def __init__(self, apply: Callable[[ClusterState], None]) -> None:
        self.adapters: dict[str, AdapterInfo] = {}
        """All of them, declared or reported."""
        self._apply = apply
        self._state = ClusterState((), frozenset())
        self._reports: dict[str, tuple[str, EngineReport]] = {}
        self._is_dirty = False
        self._bases: frozenset[str] = frozenset()
        """Base models that discovery knows."""
        self.undeclared: dict[str, str] = {}
        """Base models of the adapters that only their engines know."""

    def discovered(self, state: ClusterState) -> None:
        """Discovery sees this now. Reports of pods that have gone are forgotten."""
        self._state = state
        self._bases = state.models.union(*(pod.models for pod in state.pods)) - state.adapters.keys()
        if self._reports:
            uids = {pod.address: pod.uid for pod in state.pods}
            self._reports = {
                address: (uid, report) for address, (uid, report) in self._reports.items() if uids.get(address) == uid
            }
        self._is_dirty = True
        self.flush()

    def reported(self, address: str, uid: str, report: EngineReport) -> None:
        """An engine has said what it serves; it counts from the next `flush` on, one for many reports."""
        if self._reports.get(address) != (uid, report):
            self._reports[address] = uid, report
            self._is_dirty = True

    def flush(self) -> None:
        """Brings the pod table up to date."""
        if not self._is_dirty:
            return
        self._is_dirty = False
        declared = self._state.adapters
        self.undeclared = {}
        self.adapters = {model: AdapterInfo(one.parent, one.root) for model, one in declared.items()}
        pods = tuple(map(self._with_adapters, self._state.pods)) if self._reports else self._state.pods
        self._apply(replace(self._state, pods=pods))

    def report(self, address: str) -> EngineReport | None:
        """The last report of the engine at the address."""
        known = self._reports.get(address)
        return known[1] if known is not None else None

    def _with_adapters(self, pod: PodSpec) -> PodSpec:
        known = self._reports.get(pod.address)
        if known is None or known[0] != pod.uid:
            return pod
        adapters = _own_adapters(pod, known[1].cards, self._bases)
        for card in adapters:
            said = self.adapters.get(card.id, AdapterInfo())
            info = AdapterInfo(said.parent or _parent_here(pod, card), said.root or card.root)
            self.adapters[card.id] = info
            if card.id not in self._state.models and card.id not in self._state.adapters:
                self.undeclared[card.id] = info.parent
        models = tuple(dict.fromkeys((*pod.models, *(card.id for card in adapters))))
        return pod if models == pod.models else replace(pod, models=models)


def _own_adapters(pod: PodSpec, cards: Iterable[ModelCard], bases: frozenset[str]) -> list[ModelCard]:
    cards = list(cards)
    own = {*pod.models, *(card.id for card in cards if not card.parent)}
    return [card for card in cards if card.parent and card.parent in own and card.id not in bases]


def _parent_here(pod: PodSpec, card: ModelCard) -> str:
    # Engines may know their model by another name than clients do.
    return card.parent if card.parent in pod.models or not pod.models else pod.models[0]
