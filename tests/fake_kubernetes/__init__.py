"""A Kubernetes API server for tests: real list, watch, create, update, patch and delete over HTTP, faults on demand.

    async with running() as server:
        server.cluster.create("pods", {"metadata": {"name": "a", "labels": {...}}, "status": {...}})
        config = server.kubeconfig(tmp_path)         # for clients in this process or another
        server.faults.fail(503, verb="watch", times=2)
        server.abort_watches()
        server.cluster.forget_history()              # watchers that come back from before this get 410 Gone

What a client can tell from a real server is the same: resource versions, conflicts, paging, selectors, bookmarks,
finalizers, owners, the status subresource, admission. Nothing runs behind it: no scheduler, no controllers, and pods go
the moment they are deleted (`cluster.start_deletion` makes one terminate first).
"""

from tests.fake_kubernetes.access import Access
from tests.fake_kubernetes.builders import adapter, pod, readiness
from tests.fake_kubernetes.cluster import Cluster, Json
from tests.fake_kubernetes.errors import ApiError
from tests.fake_kubernetes.faults import Faults
from tests.fake_kubernetes.resources import RESOURCES, Resource
from tests.fake_kubernetes.server import FakeServer, running

__all__ = [
    "RESOURCES",
    "Access",
    "ApiError",
    "Cluster",
    "FakeServer",
    "Faults",
    "Json",
    "Resource",
    "adapter",
    "pod",
    "readiness",
    "running",
]
