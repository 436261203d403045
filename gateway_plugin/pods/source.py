"""Where pods come from, by the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway_plugin.pods.discovery_error import DiscoveryError
from gateway_plugin.pods.file import FileDiscovery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client.registry import Collector

    from gateway_plugin.pods.reload_metrics import Reloads
    from gateway_plugin.settings.settings import Settings
    from routing.spec import ClusterState


class Discovery(Protocol):
    """One source of ClusterStates."""

    async def load(self) -> ClusterState:
        """The state to start with; raises DiscoveryError or EndpointsError."""

    async def run(self) -> None:
        """Tells every change until cancelled."""

    async def first_state(self) -> None:
        """Returns as soon as the models are known."""

    @property
    def problem(self) -> str:
        """Why the models are not known yet; empty when they are."""

    @property
    def refused(self) -> str:
        """Why the newest configuration is not taken over, so that the last good one stays; empty when it is."""

    def followed(self) -> Mapping[str, Callable[[], Reloads]]:
        """Files that are read again, for metrics."""

    def collectors(self) -> Sequence[Collector]:
        """Metrics of its own."""


def new_discovery(settings: Settings, on_state: Callable[[ClusterState], None]) -> Discovery:
    """Raises DiscoveryError."""
    if settings.pods.discovery == "kubernetes":
        return _on_kubernetes(settings, on_state)
    if settings.pods.endpoints_file is None:
        raise DiscoveryError(
            "pods.endpoints_file is not set; set GATEWAY_ENDPOINTS_FILE to a file of models and their pods,"
            " or GATEWAY_DISCOVERY=kubernetes"
        )
    return FileDiscovery(settings.pods.endpoints_file, on_state=on_state)


def _on_kubernetes(settings: Settings, on_state: Callable[[ClusterState], None]) -> Discovery:
    try:
        # The client is large, and many run without it.
        from gateway_plugin.pods.kubernetes.discovery import KubernetesDiscovery, Options  # noqa: PLC0415
        from gateway_plugin.pods.kubernetes.label_keys import LabelKeys  # noqa: PLC0415
    except ImportError as error:
        message = "pods.discovery = 'kubernetes' needs the Kubernetes client: pip install 'gateway-plugin[kubernetes]'"
        raise DiscoveryError(f"{message} ({error})") from None
    options = Options(
        keys=LabelKeys(settings.pods.label_prefix),
        namespaces=settings.pods.namespaces,
        route_namespace=settings.pods.route_namespace,
        labelled_only=settings.pods.kubernetes_pods == "labelled",
        ip_family=settings.pods.pod_ip_family,
        kubeconfig=settings.pods.kubeconfig,
        replica=settings.process.replica,
    )
    return KubernetesDiscovery(options, on_state)
