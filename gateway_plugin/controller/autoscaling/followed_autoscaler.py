"""One PodAutoscaler over time: its formulas with their memory, made anew when its author changes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway_plugin.controller.autoscaling.autoscaler_spec import AutoscalerError, AutoscalerSpec, read_autoscaler
from gateway_plugin.controller.autoscaling.gateway_scaling import GatewayScaling
from gateway_plugin.controller.autoscaling.pod_pages import value_of
from gateway_plugin.controller.autoscaling.resource_usage import RESOURCES
from gateway_plugin.controller.autoscaling.scale_targets import ScaleTarget, target_of_spec
from gateway_plugin.controller.workloads import texts
from orchestration.scaling.annotations import Asked, asked, first_token_target, gateway_options, kpa_options
from orchestration.scaling.autoscaler import Autoscaler
from orchestration.scaling.gateway_strategy import GatewayStrategy
from orchestration.scaling.metric_aliases import metric_named
from orchestration.scaling.samples import Observation, PodSample
from orchestration.scaling.strategies import behavior_of, strategy
from orchestration.scaling.target_value import target_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway_plugin.controller.autoscaling.autoscaler_spec import MetricSource
    from gateway_plugin.controller.autoscaling.pod_facts import PodFacts
    from gateway_plugin.controller.autoscaling.pod_scraping import Page
    from gateway_plugin.controller.workloads import Raw
    from orchestration.scaling.schedules import Timetable
    from orchestration.scaling.strategies import Strategy

IDLE_SECONDS = 300.0
"""Without a request for so long a model may go to zero pods: a start costs minutes."""


@dataclass(slots=True)
class Followed:
    """An autoscaler that is right, and what it remembers."""

    spec: AutoscalerSpec
    target: ScaleTarget
    timetable: Timetable
    autoscaler: Autoscaler
    notes: tuple[str, ...]
    """Worth an event: a target that was read as percent, keys that nobody reads."""
    gateway: GatewayScaling | None = None
    """Where the gateway's figures decide, in place of the sources' formulas."""
    model: str = ""
    """Of its pods, as soon as it is known: what the gateway calls the load of."""

    def observations(
        self, now: float, replicas: int, pods: Sequence[PodFacts], pages: Mapping[str, Page]
    ) -> list[Observation]:
        """One for each source, in their order."""
        if self.gateway is not None:
            return [Observation(now, replicas, tuple(PodSample(pod.ready) for pod in pods))]
        return [self._observed(source, now, replicas, pods, pages) for source in self.spec.metrics_sources]

    def urls(self, pods: Sequence[PodFacts]) -> list[str]:
        """Everything that must be read for it."""
        if self.gateway is not None:
            return []
        return [url for source in self.spec.metrics_sources for url in self._urls_of(source, pods).values()]

    @property
    def resources(self) -> tuple[str, ...]:
        """Those of `cpu` and `memory` that a source wants."""
        if self.gateway is not None:
            return ()
        wanted = {one.target_metric for one in self.spec.metrics_sources if one.metric_source_type == "resource"}
        return tuple(name for name in RESOURCES if name in wanted)

    def unread(self, pods: Sequence[PodFacts], pages: Mapping[str, Page]) -> list[str]:
        """What was asked for and did not answer, by pod or address, each once."""
        if self.gateway is not None:
            return ["the gateway"] if self.gateway.strategy.view is None else []
        asked_for = {name or url: url for source in self.spec.metrics_sources
                     for name, url in self._urls_of(source, pods).items()}  # fmt: skip
        return sorted(name for name, url in asked_for.items() if url not in pages)

    def _urls_of(self, source: MetricSource, pods: Sequence[PodFacts]) -> dict[str, str]:
        if source.metric_source_type == "pod":
            ready = [pod for pod in pods if pod.ready and pod.address]
            return {pod.name: pod.url(source.protocol_type, source.port, source.url_path) for pod in ready}
        if source.endpoint:
            return {"": f"{source.protocol_type}://{source.endpoint}{source.url_path}"}
        return {}

    def _observed(
        self, source: MetricSource, now: float, replicas: int, pods: Sequence[PodFacts], pages: Mapping[str, Page]
    ) -> Observation:
        urls = self._urls_of(source, pods)
        if source.metric_source_type == "resource":
            told = {pod.name: pages.get(resource_page(pod.name), {}).get(source.target_metric) for pod in pods}
            own = {name: values[0] for name, values in told.items() if values}
            return Observation(now, replicas, tuple(PodSample(pod.ready, own.get(pod.name)) for pod in pods))
        if source.metric_source_type == "pod":
            values = {
                pod.name: value_of(source.target_metric, pod.engine, pages[urls[pod.name]])
                for pod in pods
                if urls.get(pod.name) in pages
            }
            samples = tuple(PodSample(pod.ready, values.get(pod.name)) for pod in pods)
            return Observation(now, replicas, samples)
        page = pages.get(urls.get("", ""))
        return _of_the_whole(now, replicas, pods, None if page is None else value_of(source.target_metric, "", page))


def resource_page(pod: str) -> str:
    """The name of what metrics.k8s.io tells of a pod, among the pages that were read."""
    return f"metrics.k8s.io {pod}"


def _of_the_whole(now: float, replicas: int, pods: Sequence[PodFacts], total: float | None) -> Observation:
    """A value of the whole workload counts in equal parts on each of its ready pods."""
    ready = sum(pod.ready for pod in pods)
    share = None if total is None or not ready else total / ready
    return Observation(now, replicas, tuple(PodSample(pod.ready, share if pod.ready else None) for pod in pods))


def followed(raw: Raw) -> Followed:
    """AutoscalerError when it cannot be followed."""
    spec = read_autoscaler(raw.get("spec") or {})
    metadata = raw.get("metadata") or {}
    try:
        wanted = asked(texts(raw, "metadata", "annotations"), texts(raw, "metadata", "labels"))
        gateway = _gateway(spec, wanted)
        strategies, notes = ([gateway.strategy], []) if gateway else _strategies(spec, wanted)
    except ValueError as error:
        raise AutoscalerError("MetricsConfigError", str(error)) from None
    behavior = spec.behavior_over(behavior_of("GATEWAY" if gateway else spec.scaling_strategy, wanted))
    to_zero = wanted.values.get("scale_to_zero") == "true"
    timetable = spec.timetable(scale_to_zero=to_zero)
    idle_seconds = _idle_seconds(wanted) if to_zero or spec.min_replicas == 0 else None
    autoscaler = Autoscaler(strategies, behavior, kpa_options(wanted).activation_scale, idle_seconds)
    target = target_of_spec(spec, str(metadata.get("namespace", "")))
    return Followed(spec, target, timetable, autoscaler, (*notes, *_slips(wanted)), gateway)


def _gateway(spec: AutoscalerSpec, wanted: Asked) -> GatewayScaling | None:
    """Asked for by the strategy, or by an annotation where AIBrix's CRD has no such strategy."""
    if spec.scaling_strategy != "GATEWAY" and wanted.values.get("policy") != "gateway":
        return None
    return GatewayScaling(GatewayStrategy(first_token_target(wanted), gateway_options(wanted)))


def _strategies(spec: AutoscalerSpec, wanted: Asked) -> tuple[list[Strategy], list[str]]:
    found, notes = [], []
    for source in spec.metrics_sources:
        metric = metric_named(source.target_metric)
        target = target_of(source.target_value, metric, wanted.values.get("target_unit"))
        if target.read_as_percent:
            notes.append(f"TargetReadAsPercent: {source.target_metric} {source.target_value!r} is {target.value:g}")
        seconds = (spec.observe_window_seconds, spec.panic_window_seconds)
        found.append(strategy(spec.scaling_strategy, target.value, wanted, *seconds))
    return found, notes


def _idle_seconds(wanted: Asked) -> float:
    return max(IDLE_SECONDS, kpa_options(wanted).stable_window_seconds)


def _slips(wanted: Asked) -> list[str]:
    labels = [f"AnnotationIsLabel: {key} is a label and should be an annotation" for key in wanted.from_labels]
    return [*labels, *(f"UnknownAnnotation: nobody reads {key}" for key in wanted.unknown)]
