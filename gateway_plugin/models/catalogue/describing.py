"""From the pods of a model to what is said of it.

    ready        every pod that is awake is ready        degraded     some are
    loading      none is, and some are on their way      sleeping     none is, and some are asleep
    unavailable  no pod, or all are sick

Sleeping pods were put to sleep on purpose and degrade nothing. Labels are those of all pods, with every value that
occurs; what Kubernetes itself writes is left out, for it changes with every rollout.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.models.catalogue.facts import Kind, ModelFacts, Reason, Status
from gateway_plugin.models.catalogue.observing import Condition
from gateway_plugin.pods.engines.engine_checks import LENIENT_ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway_plugin.models.catalogue.observing import SeenPod
    from gateway_plugin.pods.engines.known_models import AdapterInfo, ModelCard

# Bounds on what pods can make the list hold.
MAX_LABELS = 64
MAX_VALUES = 16
"""Of one label, where pods differ."""
_MAX_CHARACTERS = 256
"""Of a label's value that is shown."""

_KUBERNETES_OWN = re.compile(
    r"pod-template-hash|controller-revision-hash|pod-template-generation|statefulset\.kubernetes\.io/.*"
    r"|apps\.kubernetes\.io/pod-index|batch\.kubernetes\.io/.*|job-name|controller-uid"
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_OWNER_LABELS = ("owned-by", "owned_by", "model.aibrix.ai/owned-by")
_TAG_LABELS = ("tags", "model.aibrix.ai/tags")
_TEXTS = {
    Condition.SICK: "{count} of {total} pods fail requests{detail}",
    Condition.ASLEEP: "{count} of {total} pods sleep",
    Condition.NOT_READY: "{count} of {total} pods are not ready",
    Condition.NOT_LOADED: "{count} of {total} pods do not list it",
}


@dataclass(frozen=True, slots=True)
class Describer:
    """`gpu_labels`: pod labels that name the accelerator, by preference."""

    owned_by: str = "gateway-plugin"
    gpu_labels: tuple[str, ...] = ()

    def describe(self, model: str, pods: Sequence[SeenPod], adapter: AdapterInfo | None, created: int) -> ModelFacts:
        """What is said of a model with these pods."""
        cards = [card for pod in pods if pod.report for card in pod.report.cards if card.id == model]
        parent = (adapter.parent if adapter else "") or min((card.parent for card in cards if card.parent), default="")
        is_adapter = adapter is not None or bool(parent)
        root = (adapter.root if adapter else "") or min((card.root for card in cards if card.root), default="")
        conditions = Counter(_condition(pod, model, is_adapter=is_adapter) for pod in pods)
        labels = _labels(pods)
        return ModelFacts(
            id=model,
            created=created,
            owned_by=next((labels[key][0] for key in _OWNER_LABELS if key in labels), self.owned_by),
            kind=Kind.ADAPTER if is_adapter else Kind.BASE,
            root=root or parent or model,
            parent=parent or None,
            status=_status(conditions),
            reasons=_reasons(conditions, pods),
            ready_pods=conditions[Condition.READY],
            total_pods=len(pods),
            engines=_sorted(pod.spec.engine for pod in pods),
            engine_versions=_sorted(pod.report.version for pod in pods if pod.report),
            gpus=_sorted(self._gpu(pod) for pod in pods),
            max_model_len=_max_model_len(cards),
            labels=labels,
            tags=_tags(labels),
        )

    def _gpu(self, pod: SeenPod) -> str:
        return next((pod.spec.labels[key] for key in self.gpu_labels if pod.spec.labels.get(key)), "")


def serving(model: str, pods: Iterable[SeenPod], *, is_adapter: bool) -> frozenset[str]:
    """Addresses of the pods that can take its requests."""
    return frozenset(
        pod.spec.address for pod in pods if _condition(pod, model, is_adapter=is_adapter) is Condition.READY
    )


def _condition(pod: SeenPod, model: str, *, is_adapter: bool) -> Condition:
    if pod.condition is not Condition.READY or pod.report is None or pod.report.lists(model):
        return pod.condition
    if is_adapter or pod.spec.engine.lower() not in LENIENT_ENGINES:
        return Condition.NOT_LOADED
    return pod.condition


def _status(conditions: Counter[Condition]) -> Status:
    coming = conditions[Condition.NOT_READY] + conditions[Condition.NOT_LOADED]
    if conditions[Condition.READY]:
        return Status.DEGRADED if coming or conditions[Condition.SICK] else Status.READY
    if coming:
        return Status.LOADING
    return Status.SLEEPING if conditions[Condition.ASLEEP] else Status.UNAVAILABLE


def _reasons(conditions: Counter[Condition], pods: Sequence[SeenPod]) -> tuple[Reason, ...]:
    if not pods:
        return (Reason("no_pods", 0, "no pod serves it"),)
    details = _sorted(pod.detail for pod in pods if pod.condition is Condition.SICK)
    detail = f": {', '.join(details)}" if details else ""
    return tuple(
        Reason(condition.value, count, text.format(count=count, total=len(pods), detail=detail))
        for condition, text in _TEXTS.items()
        if (count := conditions[condition])
    )


def _max_model_len(cards: Iterable[ModelCard]) -> int | None:
    return min((card.max_model_len for card in cards if card.max_model_len), default=None)


def _labels(pods: Iterable[SeenPod]) -> dict[str, tuple[str, ...]]:
    values: dict[str, set[str]] = {}
    for pod in pods:
        for key, value in pod.spec.labels.items():
            values.setdefault(key, set()).add(value)
    shown = sorted(key for key in values if _is_shown(key) and all(_is_shown(value) for value in values[key]))
    return {key: tuple(sorted(values[key])[:MAX_VALUES]) for key in shown[:MAX_LABELS]}


def _is_shown(text: str) -> bool:
    return len(text) <= _MAX_CHARACTERS and not _CONTROL.search(text) and not _KUBERNETES_OWN.fullmatch(text)


def _tags(labels: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    # A label of Kubernetes cannot hold a comma; dots stand in.
    texts = [text for key in _TAG_LABELS for text in labels.get(key, ())]
    return _sorted(tag.strip() for text in texts for tag in text.split("," if "," in text else "."))


def _sorted(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text[:_MAX_CHARACTERS] for text in texts if text})[:MAX_VALUES])
