"""The kinds of objects that the controller reads and writes, and where each keeps its pod templates."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """One kind in the API. `templates` are paths to pod templates; `*` stands for every item of a list."""

    name: str
    group: str
    version: str
    plural: str
    templates: tuple[str, ...] = ()
    leader_labels: tuple[tuple[str, str], ...] = ()
    """Labels of the pods that answer HTTP, where a replica is made of several pods."""

    @property
    def api_version(self) -> str:
        """As objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "") -> str:
        """The path in the API: of all objects, of those in a namespace, or of one."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return (
            root + (f"/namespaces/{namespace}" if namespace else "") + f"/{self.plural}" + (f"/{name}" if name else "")
        )


DEPLOYMENT = ObjectKind("Deployment", "apps", "v1", "deployments", ("spec.template",))
STATEFUL_SET = ObjectKind("StatefulSet", "apps", "v1", "statefulsets", ("spec.template",))
LEADER_WORKER_SET = ObjectKind(
    "LeaderWorkerSet",
    "leaderworkerset.x-k8s.io",
    "v1",
    "leaderworkersets",
    # Without a template of its own, the leader is made from the workers' one.
    ("spec.leaderWorkerTemplate.leaderTemplate", "spec.leaderWorkerTemplate.workerTemplate"),
    (("leaderworkerset.sigs.k8s.io/worker-index", "0"),),
)
RAY_CLUSTER_FLEET = ObjectKind(
    "RayClusterFleet",
    "orchestration.aibrix.ai",
    "v1alpha1",
    "rayclusterfleets",
    ("spec.template.spec.headGroupSpec.template",),
    (("ray.io/node-type", "head"),),
)
STORM_SERVICE = ObjectKind(
    "StormService",
    "orchestration.aibrix.ai",
    "v1alpha1",
    "stormservices",
    ("spec.template.spec.roles.*.template",),
)
MODEL_ADAPTER = ObjectKind("ModelAdapter", "model.aibrix.ai", "v1alpha1", "modeladapters")

SERVICE = ObjectKind("Service", "", "v1", "services")
HTTP_ROUTE = ObjectKind("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes")
REFERENCE_GRANT = ObjectKind("ReferenceGrant", "gateway.networking.k8s.io", "v1beta1", "referencegrants")
GATEWAY = ObjectKind("Gateway", "gateway.networking.k8s.io", "v1", "gateways")
GATEWAY_CLASS = ObjectKind("GatewayClass", "gateway.networking.k8s.io", "v1", "gatewayclasses")
POD = ObjectKind("Pod", "", "v1", "pods")
ENVOY_EXTENSION_POLICY = ObjectKind(
    "EnvoyExtensionPolicy", "gateway.envoyproxy.io", "v1alpha1", "envoyextensionpolicies"
)
BACKEND_TRAFFIC_POLICY = ObjectKind(
    "BackendTrafficPolicy", "gateway.envoyproxy.io", "v1alpha1", "backendtrafficpolicies"
)
EVENT = ObjectKind("Event", "", "v1", "events")
ENDPOINT_SLICE = ObjectKind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
LEASE = ObjectKind("Lease", "coordination.k8s.io", "v1", "leases")
POD_METRICS = ObjectKind("PodMetrics", "metrics.k8s.io", "v1beta1", "pods")
POD_AUTOSCALER = ObjectKind("PodAutoscaler", "autoscaling.aibrix.ai", "v1alpha1", "podautoscalers")
RAY_CLUSTER_REPLICA_SET = ObjectKind(
    "RayClusterReplicaSet", "orchestration.aibrix.ai", "v1alpha1", "rayclusterreplicasets"
)
KV_CACHE = ObjectKind("KVCache", "orchestration.aibrix.ai", "v1alpha1", "kvcaches")
RAY_CLUSTER = ObjectKind("RayCluster", "ray.io", "v1", "rayclusters")

WORKLOADS = (DEPLOYMENT, STATEFUL_SET, LEADER_WORKER_SET, RAY_CLUSTER_FLEET, STORM_SERVICE, MODEL_ADAPTER)
WRITTEN = (SERVICE, REFERENCE_GRANT, HTTP_ROUTE)
POLICIES = (ENVOY_EXTENSION_POLICY, BACKEND_TRAFFIC_POLICY)
WATCHED = (*WORKLOADS, *WRITTEN, GATEWAY)
REQUIRED = (DEPLOYMENT, STATEFUL_SET, SERVICE, HTTP_ROUTE, REFERENCE_GRANT, GATEWAY)
"""Without these nothing can be routed; a cluster need not have the others."""
_OTHERS = (
    GATEWAY_CLASS,
    POD,
    EVENT,
    ENDPOINT_SLICE,
    LEASE,
    POD_AUTOSCALER,
    RAY_CLUSTER_REPLICA_SET,
    RAY_CLUSTER,
    KV_CACHE,
)
BY_NAME = MappingProxyType({kind.name: kind for kind in (*WATCHED, *POLICIES, *_OTHERS)})
