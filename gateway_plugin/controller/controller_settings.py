"""Every setting of the controller and of `doctor`, and its default: name, unit, reason.

Read like those of the plugin: `GATEWAY_<NAME>` in the environment, then a YAML file, then the defaults here.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import ClassVar

from pydantic import Field, field_validator

from gateway_plugin.controller.desired import RouteRules
from gateway_plugin.controller.orchestration_rules import OrchestrationRules
from gateway_plugin.controller.route_keys import RouteKeys
from gateway_plugin.controller.routes import Parent
from gateway_plugin.endpoints.endpoint_table import EndpointTable
from gateway_plugin.endpoints.extra_paths import parse_extra_paths
from gateway_plugin.settings.log_lines import LogFormat, LogLevel  # noqa: TC001 - pydantic reads them at run time
from gateway_plugin.settings.topic import LabelPrefix, Port, Topic, items_of


class ControllerSettings(Topic):
    """Effective configuration of one controller process."""

    env_also: ClassVar[dict[str, str]] = {"route_timeout_seconds": "AIBRIX_GATEWAY_TIMEOUT_SECONDS"}

    bind_host: str = Field("0.0.0.0", description="address of the HTTP port; every interface, for probes and metrics")  # noqa: S104
    controller_port: Port = Field(8081, description="HTTP: /healthz, /readyz, /metrics, /debug/routes")
    route_namespace: str = Field("gateway-plugin-system", description="where HTTPRoutes are made", min_length=1)
    gateway_name: str = Field("gateway-plugin", description="the Gateway that serves the routes", min_length=1)
    gateway_namespace: str = Field("", description="where the Gateway is; empty: route_namespace")
    gateway_listener: str = Field("", description="one listener of the Gateway, by name; empty: every listener")
    label_prefix: LabelPrefix = Field(
        "model.aibrix.ai",
        description="of the labels and annotations on workloads: name, port, service-name; AIBrix's",
    )
    kubernetes_namespaces: str = Field(
        "", description="where workloads are looked for, separated by commas; empty: all"
    )
    kubeconfig: Path | None = Field(
        None, description="outside of a cluster; empty: KUBECONFIG, the pod's service account, or ~/.kube/config"
    )
    extra_paths: str = Field(
        "", description="exact paths of engines beyond docs/endpoints.md, separated by commas; as for the plugin"
    )
    create_services: bool = Field(True, description="make a Service for a model that has none")
    route_timeout_seconds: int = Field(
        0, description="longest request; 0: the Gateway's policy decides, and streams are not cut", ge=0, le=86400
    )
    resync_seconds: int = Field(
        300, description="between two complete readings of the cluster, which find what watches missed", ge=1, le=86400
    )
    adapters: bool = Field(False, description="load and unload the LoRA adapters of ModelAdapters")
    autoscalers: bool = Field(False, description="scale what PodAutoscalers name")
    fleets: bool = Field(False, description="make and roll the Ray clusters of RayClusterFleets; needs KubeRay")
    kvcaches: bool = Field(False, description="make the objects of KVCaches: vineyard with its etcd, or LMCache")
    take_over: bool = Field(
        False, description="act on adapters, autoscalers and fleets though AIBrix's own controller manager is running"
    )
    gateway_service: str = Field(
        "",
        description="Service of the plugin in route_namespace: they are asked for their load; empty: none",
    )
    log_level: LogLevel = Field("info", description="how much is said")
    log_format: LogFormat = Field("human", description="json: an object a line, for whoever collects logs")

    @field_validator("extra_paths")
    @classmethod
    def _are_paths(cls, text: str) -> str:
        parse_extra_paths(text)
        return text

    @property
    def rules(self) -> RouteRules:
        """What shapes the routes."""
        parent = Parent(self.gateway_namespace or self.route_namespace, self.gateway_name, self.gateway_listener)
        keys = RouteKeys(f"{self.label_prefix}/")
        endpoints = EndpointTable(parse_extra_paths(self.extra_paths))
        timeout_seconds = self.route_timeout_seconds
        return RouteRules(keys, self.route_namespace, parent, self.create_services, timeout_seconds, endpoints)

    @property
    def orchestration(self) -> OrchestrationRules:
        """What of adapters and autoscalers runs."""
        gateway = (self.route_namespace, self.gateway_service)
        return OrchestrationRules(self.adapters, self.autoscalers, self.take_over, gateway, self.fleets, self.kvcaches)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """All that must be read; empty: the whole cluster."""
        named = set(items_of(self.kubernetes_namespaces))
        own = {self.route_namespace, self.gateway_namespace or self.route_namespace}
        return tuple(sorted(named | own)) if named else ()
