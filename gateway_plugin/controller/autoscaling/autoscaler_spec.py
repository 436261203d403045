"""A PodAutoscaler as its author wrote it, checked; unknown fields are the API server's to refuse."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from gateway_plugin.controller.autoscaling.resource_usage import RESOURCES
from orchestration.scaling.behavior import Behavior, Direction, RatePolicy
from orchestration.scaling.schedules import DAYS, Schedule, SizeBounds, Timetable
from orchestration.scaling.strategies import StrategyName  # noqa: TC001 - pydantic reads it at run time

_DEFAULT_MINIMUM = 1
_MOST_ERRORS = 3
"""Of one object: a condition is read by a person."""


class AutoscalerError(Exception):
    """What is wrong with a PodAutoscaler: the condition ValidSpec's reason and message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class TargetRef(_Part):
    api_version: str = ""
    kind: str = Field(min_length=1)
    name: str = Field(min_length=1)


class SubTarget(_Part):
    role_name: str = ""


class MetricSource(_Part):
    """Where a metric is read. Ports are text in AIBrix's API."""

    metric_source_type: Literal["pod", "resource", "custom", "external", "domain"]
    protocol_type: Literal["http", "https"] = "http"
    endpoint: str = ""
    path: str = ""
    port: str = ""
    target_metric: str = Field(min_length=1)
    target_value: str

    @property
    def url_path(self) -> str:
        """`metrics` and `/metrics` are the same."""
        return "/" + (self.path or "metrics").lstrip("/")


class _RatePolicy(_Part):
    type: Literal["Pods", "Percent"]
    value: int = Field(ge=1)
    period_seconds: int = Field(ge=1, le=1800)


class _Direction(_Part):
    stabilization_window_seconds: int | None = Field(None, ge=0, le=3600)
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    policies: tuple[_RatePolicy, ...] = ()

    def over(self, default: Direction) -> Direction:
        """With the default's parts where it has none."""
        own = tuple(RatePolicy(one.type, one.value, one.period_seconds) for one in self.policies)
        window = self.stabilization_window_seconds
        seconds = default.stabilization_seconds if window is None else float(window)
        return Direction(seconds, own or default.policies, self.select_policy)


class _Behavior(_Part):
    scale_up: _Direction = _Direction()
    scale_down: _Direction = _Direction()


def _clock(value: object) -> object:
    return time.fromisoformat(value) if isinstance(value, str) else value


class _Schedule(_Part):
    name: str
    timezone: str = "UTC"
    days_of_week: tuple[str, ...] | None = None
    start_time: Annotated[time, BeforeValidator(_clock)]
    end_time: Annotated[time, BeforeValidator(_clock)]
    min_replicas: int | None = None
    max_replicas: int | None = None

    def schedule(self) -> Schedule:
        days = frozenset(day.lower() for day in self.days_of_week) if self.days_of_week else frozenset(DAYS)
        if not days <= set(DAYS):
            raise ValueError(f"schedule {self.name!r}: days are {', '.join(DAYS)}")
        return Schedule(self.name, self.start_time, self.end_time, days, self.min_replicas, self.max_replicas)


class AutoscalerSpec(_Part):
    scale_target_ref: TargetRef
    sub_target_selector: SubTarget = SubTarget()
    min_replicas: int | None = Field(None, ge=0)
    max_replicas: int = Field(ge=1)
    metrics_sources: tuple[MetricSource, ...] = Field(min_length=1, max_length=16)
    scaling_strategy: StrategyName
    observe_window_seconds: int | None = Field(None, ge=1, le=3600)
    panic_window_seconds: int | None = Field(None, ge=1, le=3600)
    schedules: tuple[_Schedule, ...] = ()
    behavior: _Behavior | None = None

    def timetable(self, *, scale_to_zero: bool = False) -> Timetable:
        """AutoscalerError when bounds or schedules contradict one another."""
        default = 0 if scale_to_zero else _DEFAULT_MINIMUM
        minimum = default if self.min_replicas is None else self.min_replicas
        if minimum > self.max_replicas:
            message = f"minReplicas {minimum} is above maxReplicas {self.max_replicas}"
            raise AutoscalerError("InvalidBounds", message)
        zones = {one.timezone for one in self.schedules} or {"UTC"}
        if len(zones) > 1:
            raise AutoscalerError("InvalidSpec", f"schedules are in different time zones: {', '.join(sorted(zones))}")
        try:
            schedules = [one.schedule() for one in self.schedules]
            return Timetable(SizeBounds(minimum, self.max_replicas), schedules, ZoneInfo(zones.pop()))
        except ZoneInfoNotFoundError as error:
            raise AutoscalerError("InvalidSpec", f"no such time zone: {error}") from None
        except ValueError as error:
            raise AutoscalerError("InvalidSpec", str(error)) from None

    def behavior_over(self, default: Behavior) -> Behavior:
        """`spec.behavior`, with the strategy's own where it says nothing."""
        if self.behavior is None:
            return default
        return Behavior(self.behavior.scale_up.over(default.up), self.behavior.scale_down.over(default.down))


def read_autoscaler(raw_spec: object) -> AutoscalerSpec:
    """AutoscalerError when it is not one."""
    try:
        spec = AutoscalerSpec.model_validate(raw_spec)
    except ValidationError as error:
        raise AutoscalerError("InvalidSpec", _words(error)) from None
    if spec.scaling_strategy == "HPA" and spec.sub_target_selector.role_name:
        raise AutoscalerError("InvalidSpec", "subTargetSelector cannot be had with scalingStrategy HPA")
    for source in spec.metrics_sources:
        _check_source(source)
    return spec


def _check_source(source: MetricSource) -> None:
    if source.metric_source_type == "pod" and not source.port.isdecimal():
        raise AutoscalerError("MetricsConfigError", f"{source.target_metric}: a source of pods needs their port")
    if source.metric_source_type == "resource" and source.target_metric not in RESOURCES:
        message = f"{source.target_metric}: a source of type resource is one of {', '.join(RESOURCES)}"
        raise AutoscalerError("MetricsConfigError", message)
    if source.metric_source_type == "domain" and not source.endpoint:
        raise AutoscalerError(
            "MetricsConfigError", f"{source.target_metric}: a source of type domain needs an endpoint"
        )


def _words(error: ValidationError) -> str:
    parts = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:_MOST_ERRORS])
    return "; ".join(parts)
