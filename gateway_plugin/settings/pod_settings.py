"""Settings of the topic `pods`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads it at run time
from typing import Literal

from pydantic import Field

from gateway_plugin.settings.topic import LabelPrefix, Seconds, Topic, items_of


class PodSettings(Topic):
    """Where pods come from, and what is read of them."""

    discovery: Literal["file", "kubernetes"] = Field(
        "file", description="where models and pods come from: endpoints_file, or pods and ModelAdapters of Kubernetes"
    )
    endpoints_file: Path | None = Field(
        None,
        description="with discovery: file: pods per model, in AIBrix's standalone format; reloaded when it changes",
    )
    kubernetes_namespaces: str = Field(
        "", description="namespaces whose pods are used, separated by commas; empty: all, as in AIBrix"
    )
    kubernetes_pods: Literal["all", "labelled"] = Field(
        "all",
        description="all: a model's name may be an annotation, too; labelled: only pods with the label are watched,"
        " less traffic in clusters of many thousand other pods",
    )
    route_namespace: str = Field(
        "",
        description="where the controller makes HTTPRoutes; a model with a route and without pods, as when it is scaled"
        " to zero, is known then: 503 instead of 400. Empty: only pods make a model known",
    )
    label_prefix: LabelPrefix = Field(
        "model.aibrix.ai",
        description="of the labels and annotations on pods: name, port, metric-port, engine, config; AIBrix's",
    )
    pod_ip_family: Literal["primary", "ipv4", "ipv6"] = Field(
        "primary", description="which address of a pod with two; must be the family of the models' Services"
    )
    kubeconfig: Path | None = Field(
        None, description="outside of a cluster; empty: KUBECONFIG, the pod's service account, or ~/.kube/config"
    )
    gpu_labels: str = Field(
        "gpu,gpu-type,accelerator,nvidia.com/gpu.product,amd.com/gpu.product-name,cloud.google.com/gke-accelerator",
        description="pod labels that name the accelerator, separated by commas, the strongest first",
    )
    scrape_interval_seconds: Seconds = Field(
        1.0, description="between two reads of a pod's metrics page; shorter costs the engines CPU"
    )

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces to watch; none means all."""
        return items_of(self.kubernetes_namespaces)

    @property
    def gpu_label_keys(self) -> tuple[str, ...]:
        """The keys in `gpu_labels`."""
        return items_of(self.gpu_labels)
