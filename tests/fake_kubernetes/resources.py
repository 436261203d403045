"""The kinds that the server knows at start; `Cluster.install` adds more while it runs."""

from __future__ import annotations

from dataclasses import dataclass

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind. The first version is the preferred one; all versions show the same objects."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    has_status: bool = True
    short_names: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As in messages and in `kubectl`: "pods", "httproutes.gateway.networking.k8s.io"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def api_version(self, version: str = "") -> str:
        """What stands in an object's `apiVersion`."""
        version = version or self.versions[0]
        return f"{self.group}/{version}" if self.group else version


_GATEWAY = "gateway.networking.k8s.io"
_ENVOY = "gateway.envoyproxy.io"
_ORCHESTRATION = "orchestration.aibrix.ai"

RESOURCES = (
    Resource("", ("v1",), "namespaces", "Namespace", namespaced=False, short_names=("ns",)),
    Resource("", ("v1",), "pods", "Pod", short_names=("po",)),
    Resource("", ("v1",), "services", "Service", short_names=("svc",)),
    Resource("", ("v1",), "events", "Event", has_status=False, short_names=("ev",)),
    Resource("", ("v1",), "configmaps", "ConfigMap", has_status=False),
    Resource("", ("v1",), "secrets", "Secret", has_status=False),
    Resource("apps", ("v1",), "deployments", "Deployment"),
    Resource("apps", ("v1",), "statefulsets", "StatefulSet"),
    Resource("apps", ("v1",), "replicasets", "ReplicaSet"),
    Resource("discovery.k8s.io", ("v1",), "endpointslices", "EndpointSlice", has_status=False),
    Resource("coordination.k8s.io", ("v1",), "leases", "Lease", has_status=False),
    Resource(
        "apiextensions.k8s.io", ("v1",), "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
    ),
    Resource(_GATEWAY, ("v1",), "gatewayclasses", "GatewayClass", namespaced=False),
    Resource(_GATEWAY, ("v1",), "gateways", "Gateway"),
    Resource(_GATEWAY, ("v1", "v1beta1"), "httproutes", "HTTPRoute"),
    Resource(_GATEWAY, ("v1beta1",), "referencegrants", "ReferenceGrant", has_status=False),
    Resource(_ENVOY, ("v1alpha1",), "backendtrafficpolicies", "BackendTrafficPolicy"),
    Resource(_ENVOY, ("v1alpha1",), "clienttrafficpolicies", "ClientTrafficPolicy"),
    Resource(_ENVOY, ("v1alpha1",), "envoyextensionpolicies", "EnvoyExtensionPolicy"),
    Resource(_ENVOY, ("v1alpha1",), "envoyproxies", "EnvoyProxy"),
    Resource("model.aibrix.ai", ("v1alpha1",), "modeladapters", "ModelAdapter"),
    Resource("leaderworkerset.x-k8s.io", ("v1",), "leaderworkersets", "LeaderWorkerSet", short_names=("lws",)),
    Resource(_ORCHESTRATION, ("v1alpha1",), "rayclusterfleets", "RayClusterFleet"),
    Resource(_ORCHESTRATION, ("v1alpha1",), "stormservices", "StormService"),
    Resource("ray.io", ("v1",), "rayclusters", "RayCluster"),
)
